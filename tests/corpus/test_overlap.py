from collections.abc import Iterable
from itertools import accumulate, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from babyllama.corpus.overlap import (
    SHORTEST,
    Ngrams,
    Overlap,
    Search,
    as_documents,
    collect,
    drop_overlap,
    flag_lines,
    measure,
    runs,
)
from babyllama.corpus.pieces import Piece
from babyllama.corpus.shingles import text_lines

SONG = "row row row your boat gently down the stream merrily merrily merrily life is but a dream"
WORDS = SONG.split()


def piece(*lines: str, source: str = "train", starts: bool = True) -> Piece:
    return Piece(source, "".join(line + "\n" for line in lines), starts)


def flagged(train: Iterable[Piece], reference: Ngrams) -> list[str]:
    return [
        line
        for part, flags in flag_lines(train, reference)
        for line, flag in zip(text_lines(part.text), flags, strict=True)
        if flag
    ]


def found_in(train: Iterable[Piece], reference: list[Piece], n: int = 12) -> list[Overlap]:
    search = Search(collect(reference, n))
    for run in runs(train, n):
        search.add(run)
    return measure(reference, search.found())


def test_twelve_words_in_a_row_overlap_and_eleven_do_not() -> None:
    dev = [piece(SONG, source="dev")]
    assert found_in([piece("we sing " + " ".join(WORDS[:12]))], dev)[0].ngrams_found == 1
    assert found_in([piece("we sing " + " ".join(WORDS[:11]))], dev)[0].ngrams_found == 0


def test_shares_are_counted_by_source() -> None:
    dev = [
        piece(SONG, source="songs"),
        piece(" ".join(f"other{n}" for n in range(20)), source="prose"),
    ]
    songs, prose = found_in([piece("A boat: " + " ".join(WORDS[1:15]))], dev)
    assert (songs.source, songs.documents, songs.documents_found) == ("songs", 1, 1)
    assert (songs.words, songs.words_found) == (17, 14)
    assert (songs.ngrams, songs.ngrams_found) == (6, 3)
    assert (prose.words_found, prose.ngrams, prose.examples) == (0, 9, [])


def test_case_and_punctuation_do_not_hide_a_copy() -> None:
    copy = SONG.upper().replace(" ", ", ")
    assert found_in([piece(copy)], [piece(SONG)])[0].ngrams_found == 6


def test_a_run_goes_over_lines_and_pieces_but_never_into_another_document() -> None:
    reference = collect([piece(SONG, source="dev")])
    first, second = " ".join(WORDS[:6]), " ".join(WORDS[6:])
    assert flagged([piece("hello", first, second, "bye")], reference) == [first, second]
    assert flagged([piece("hello", first), piece(second, starts=False)], reference) == [
        first,
        second,
    ]
    assert flagged([piece("hello", first), piece(second)], reference) == []
    parts = [piece(first), piece("...", second, "so", starts=False)]
    assert flagged(parts, reference) == [first, second]


def test_a_line_without_words_goes_with_the_one_above_it() -> None:
    reference = collect([piece(SONG, source="dev")])
    assert flagged([piece("...", SONG, "...", "no", "...")], reference) == [SONG, "..."]


def test_a_reference_cut_into_pieces_is_the_same_reference() -> None:
    whole = collect([piece(*WORDS)])
    cut = collect([piece(*WORDS[:3]), *(piece(word, starts=False) for word in WORDS[3:])])
    assert {k: v.tolist() for k, v in cut.hashes.items()} == {
        k: v.tolist() for k, v in whole.hashes.items()
    }


def test_a_short_sentence_is_looked_up_whole_and_a_very_short_one_not_at_all() -> None:
    suite = list(
        as_documents(
            [
                ("islands", "Who left the old house?"),
                ("islands", "Who left the new house?"),
                ("islands", "Who left it there?"),
                ("npi", "Nobody ever saw a cat that wanted to swim over there."),
            ]
        )
    )
    islands, npi = found_in([piece("yes", "so who left", "the old house he said")], suite)
    assert (islands.documents, islands.documents_found, islands.too_short) == (3, 1, 1)
    assert islands.examples == ["Who left the old house?"]
    assert (npi.documents, npi.documents_found) == (1, 0)
    assert SHORTEST == 5


def test_a_long_sentence_is_found_by_a_part_of_it_and_examples_are_three() -> None:
    suite = list(as_documents([("songs", f"{SONG} {n}") for n in range(5)]))
    (songs,) = found_in([piece(SONG)], suite)
    assert songs.documents_found == 5
    assert songs.examples == [f"{SONG} {n}" for n in range(3)]


def test_a_short_sentence_does_not_count_as_found_inside_a_longer_one() -> None:
    suite = list(
        as_documents([("a", "who left the old house"), ("a", f"who left the old house {SONG}")])
    )
    (found,) = found_in([piece("who left the old house")], suite)
    assert found.documents_found == 1


def test_dropping_leaves_the_other_lines_and_cuts_the_document_there() -> None:
    train = [piece("one", SONG, "two", "three"), piece("four", starts=False), piece("five")]
    left = list(drop_overlap(train, collect([piece(SONG, source="dev")])))
    assert left == [
        piece("one"),
        piece("two", "three"),
        piece("four", starts=False),
        piece("five"),
    ]


def test_nothing_is_dropped_without_a_reference() -> None:
    train = [piece("one", "two"), piece("three", starts=False)]
    assert list(drop_overlap(train, collect([]))) == train
    assert found_in([], [piece("")])[0].documents == 1


# The law: the search finds what a search by hand finds, however the documents are cut.
N = 6
line = st.lists(st.sampled_from("xy"), max_size=5).map(" ".join)
document = st.lists(line, min_size=1, max_size=6)
cut_documents = st.lists(st.tuples(document, st.integers(1, 3)), min_size=1, max_size=3)


def pieces_of(documents: list[tuple[list[str], int]]) -> list[Piece]:
    return [
        piece(*lines[at : at + size], starts=at == 0)
        for lines, size in documents
        for at in range(0, len(lines), size)
    ]


def by_hand(lines: list[str], reference: set[tuple[str, ...]]) -> list[bool]:
    words = [word for line in lines for word in line.split()]
    covered = [False] * len(words)
    for length in (SHORTEST, N):
        for at in range(len(words) - length + 1):
            if tuple(words[at : at + length]) in reference:
                covered[at : at + length] = [True] * length
    ends = [0, *accumulate(len(line.split()) for line in lines)]
    return [any(covered[begin:end]) for begin, end in pairwise(ends)]


def runs_by_hand(lines: list[str]) -> set[tuple[str, ...]]:
    words = " ".join(lines).split()
    if len(words) < N:
        return {tuple(words)} if len(words) >= SHORTEST else set()
    return {tuple(words[at : at + N]) for at in range(len(words) - N + 1)}


@settings(max_examples=150)
@given(cut_documents, cut_documents)
def test_lines_are_flagged_as_by_hand_and_nothing_is_left_after_dropping(
    train: list[tuple[list[str], int]], dev: list[tuple[list[str], int]]
) -> None:
    reference = collect(pieces_of(dev), N)
    wanted = {run for lines, _ in dev for run in runs_by_hand(lines)}
    expected = [flag for lines, _ in train for flag in by_hand(lines, wanted)]
    rows = list(flag_lines(pieces_of(train), reference))
    flags = [flag for _, found in rows for flag in found]
    worded = [bool(line.strip()) for part, _ in rows for line in text_lines(part.text)]
    assert [f for f, w in zip(flags, worded, strict=True) if w] == [
        f for f, w in zip(expected, worded, strict=True) if w
    ]
    left = drop_overlap(pieces_of(train), reference)
    assert not any(flag for _, found in flag_lines(left, reference) for flag in found)


@settings(max_examples=100)
@given(cut_documents, cut_documents)
def test_what_is_found_of_dev_is_what_is_found_by_hand(
    train: list[tuple[list[str], int]], dev: list[tuple[list[str], int]]
) -> None:
    text = [" " + " ".join(" ".join(lines).split()) + " " for lines, _ in train]
    tallies = found_in(pieces_of(train), pieces_of(dev), N)
    expected = sum(
        any(" " + " ".join(run) + " " in words for words in text for run in runs_by_hand(lines))
        for lines, _ in dev
    )
    assert sum(tally.documents_found for tally in tallies) == expected


@pytest.mark.parametrize("size", [1, 100, 20_000])
def test_the_quick_look_finds_all_and_nothing_else(size: int) -> None:
    import numpy as np

    numbers = np.random.default_rng(0).integers(0, 2**64, 2 * size, dtype=np.uint64)
    known = Ngrams(5, {5: [numbers[:size]]})
    assert known.contain(5, numbers).tolist() == [True] * size + [False] * size
    assert not known.contain(4, numbers).any()
