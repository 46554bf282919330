import json
from io import StringIO

import pytest
from rich.console import Console

from babyllama.corpus.auditing.audit import Audit, audit, to_json
from babyllama.corpus.auditing.tables import print_audit
from babyllama.corpus.overlap import as_documents, collect, drop_overlap
from babyllama.corpus.pieces import Piece

SONG = "row row row your boat gently down the stream merrily merrily merrily life is but a dream"
TRAIN = [
    Piece("books", f"An old book.\n{SONG}\n[b]The \x1b[31mend\x1b[0m!\n", True),
    Piece("books", "".join(f"word{n} of this long passage\n" for n in range(12)), False),
    Piece("talk", "".join(f"word{n} of this long passage\n" for n in range(12)), True),
    Piece("talk", "Who left\nthe old house?\nyes\nyes\n", True),
]
DEV = [Piece("songs", SONG + "\n", True), Piece("songs", "Nothing of this is there.\n", True)]
SENTENCES = [
    ("island", "Who left the old house?"),
    ("island", "Who left?"),
    ("npi", "No dog ever."),
]


def suite() -> list[Piece]:
    return list(as_documents(SENTENCES))


def printed(found: Audit) -> str:
    out = StringIO()
    print_audit(found, Console(file=out, width=160))
    return out.getvalue()


@pytest.fixture(scope="module")
def found() -> Audit:
    return audit(lambda: TRAIN, lambda: DEV, {"blimp": suite})


def test_sizes_are_counted_by_split_and_source(found: Audit) -> None:
    rows = {(row.split, row.source): row for row in found.sizes}
    assert list(rows) == [("train", "books"), ("train", "talk"), ("dev", "songs")]
    books = rows["train", "books"]
    assert (books.documents, books.lines, books.words) == (1, 15, 3 + 17 + 2 + 60)
    assert rows["train", "talk"].documents == 2
    assert rows["dev", "songs"].distinct == 17


def test_the_vocabulary_is_of_the_training_split(found: Audit) -> None:
    assert found.vocabulary.words == found.vocabulary.curve[-1][0]
    assert found.vocabulary.words < sum(row.words for row in found.sizes) + 10


def test_what_dev_and_the_suites_share_with_train_is_counted(found: Audit) -> None:
    (songs,) = found.dev
    assert (songs.documents, songs.documents_found, songs.ngrams_found) == (2, 1, 6)
    island, npi = found.suites["blimp"]
    assert (island.documents, island.documents_found, island.too_short) == (2, 1, 1)
    assert (npi.documents_found, npi.too_short) == (0, 1)


def test_the_lines_listed_are_the_lines_that_would_be_dropped(found: Audit) -> None:
    listed = [(row.source, row.document, row.text) for row in found.overlapping_lines]
    assert listed == [
        ("books", 1, SONG),
        ("talk", 2, "Who left"),
        ("talk", 2, "the old house?"),
    ]
    assert [(row.source, row.lines, row.words) for row in found.overlapping] == [
        ("books", 1, 17),
        ("talk", 2, 5),
    ]
    kept = drop_overlap(TRAIN, collect([*DEV, *suite()]))
    lines = sum(row.lines for row in found.sizes if row.split == "train")
    assert sum(piece.text.count("\n") for piece in kept) == lines - len(listed)


def test_after_dropping_the_audit_finds_no_overlap() -> None:
    kept = list(drop_overlap(TRAIN, collect([*DEV, *suite()])))
    again = audit(lambda: kept, lambda: DEV, {"blimp": suite})
    assert again.overlapping == again.overlapping_lines == ()
    assert sum(row.documents_found for row in (*again.dev, *again.suites["blimp"])) == 0


def test_repeats_near_duplicates_and_oddities_are_of_the_training_split(found: Audit) -> None:
    talk = found.repeats[1]
    assert (talk.source, talk.documents, talk.lines) == ("talk", 0, 13)
    (near,) = found.near.counts
    assert (near.source, near.earlier_source, near.passages) == ("talk", "books", 1)
    assert found.near.listed[0].similarity == 1
    assert [(row.source, row.kind, row.count) for row in found.oddities] == [
        ("books", "control", 2)
    ]


def test_the_json_holds_all_of_it(found: Audit) -> None:
    read = json.loads(to_json(found))
    assert read["n"] == 12
    assert read["suites"]["blimp"][0]["examples"] == ["Who left the old house?"]
    assert len(read["overlapping_lines"]) == 3
    assert read["near"]["listed"][0]["earlier_source"] == "books"


def test_the_tables_show_what_was_found_and_no_control_characters(found: Audit) -> None:
    shown = printed(found)
    assert "\x1b" not in shown
    assert "[b]The \\x1b[31mend" in shown
    songs = next(line for line in shown.splitlines() if "songs" in line and SONG[:20] in line)
    assert "85.71 %" in songs  # six of seven runs: a short document is one
    assert "77.27 %" in songs  # 17 of 22 words
    assert "Who left the old house?" in shown


def test_what_was_not_found_is_said() -> None:
    clean = audit(lambda: [Piece("a", "One line.\n", True)], lambda: [], {})
    assert "Odd characters: nothing found" in printed(clean)


def test_the_audit_does_not_depend_on_where_documents_are_cut(found: Audit) -> None:
    cut = [
        Piece(piece.source, line + "\n", piece.starts and number == 0)
        for piece in TRAIN
        for number, line in enumerate(piece.text.removesuffix("\n").split("\n"))
    ]
    again = audit(lambda: cut, lambda: DEV, {"blimp": suite})
    assert (again.sizes, again.repeats, again.dev, again.suites, again.overlapping_lines) == (
        found.sizes,
        found.repeats,
        found.dev,
        found.suites,
        found.overlapping_lines,
    )
