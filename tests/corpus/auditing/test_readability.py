import json
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from babyllama.corpus.auditing.readability import (
    EASE,
    MEASURES,
    PASSAGE,
    Readability,
    buckets,
    from_json,
    mean_ranks,
    readability,
    scores,
    to_json,
    to_table,
)
from babyllama.corpus.pieces import Piece
from babyllama.errors import RecipeError

EASY = "The cat sat on the mat. The dog saw it and ran to me. We had a lot of fun.\n"
HARD = (
    "The administrative consequences of constitutional disagreements, notwithstanding"
    " considerable international encouragement, necessitated an extraordinarily complicated"
    " reorganisation of governmental responsibilities.\n"
)
TALK = "come over here and sit\nlook at the big red ball\nyou want to see the dog\n"
RUSSIAN = "Мама мыла раму, а потом пошла гулять.\n"


def piece(source: str, line: str, times: int = 40) -> Piece:
    return Piece(source, line * times, True)


def row(source: str, level: float) -> Readability:
    values = {measure: -level if measure == EASE else level for measure in MEASURES}
    return Readability(source=source, words=1, sample_words=1, sentences="stops", scores=values)


def test_hard_text_is_harder_by_every_measure() -> None:
    easy, hard = readability([piece("easy", EASY), piece("hard", HARD)])
    assert easy.scores[EASE] > 90
    assert hard.scores[EASE] < 0
    assert all(hard.scores[name] > easy.scores[name] + 10 for name in MEASURES if name != EASE)
    assert mean_ranks([easy, hard]) == {"easy": 1.0, "hard": 2.0}


def test_the_measures_are_those_of_textstat() -> None:
    found = scores([EASY], by_lines=False)
    characters, words, sentences = len("".join(EASY.split())), 20, 3
    index = 4.71 * characters / words + 0.5 * words / sentences - 21.43
    assert found["automated_readability_index"] == pytest.approx(index)
    assert set(found) == set(MEASURES)


def test_lines_are_sentences_where_a_source_has_no_stops() -> None:
    (talk,) = readability([piece("talk", TALK)])
    assert talk.sentences == "lines"
    (stopped,) = readability([piece("talk", TALK.replace("\n", ".\n"))])
    assert stopped.sentences == "stops"
    assert talk.scores == pytest.approx(stopped.scores)


def test_lines_are_not_sentences_where_a_source_has_stops() -> None:
    words = EASY.split()
    wrapped = "\n".join(" ".join(words[at : at + 3]) for at in range(0, len(words), 3)) + "\n"
    (whole,) = readability([piece("a", EASY)])
    (broken,) = readability([piece("a", wrapped)])
    assert broken.sentences == "stops"
    assert broken.scores == pytest.approx(whole.scores)


def test_text_in_another_script_is_skipped_with_the_reason() -> None:
    russian, mixed = readability([piece("russian", RUSSIAN), piece("mixed", RUSSIAN + EASY * 3)])
    assert (russian.scores, russian.sample_words) == ({}, 0)
    assert russian.skipped == "only 0 % of its letters are Latin: the formulas are for English"
    assert mixed.skipped == ""


def test_too_little_text_is_skipped_with_the_reason() -> None:
    (short,) = readability([piece("short", EASY, times=2)])
    assert short.skipped == "40 words are too few: the formulas want 100 or more"
    assert readability([Piece("empty", "\n", True)])[0].scores == {}


def test_a_long_source_is_scored_on_a_sample_of_whole_passages() -> None:
    lines = "".join(f"Line number {n} of this long book is here to be read. \n" for n in range(900))
    pieces = [Piece("book", lines, True), Piece("book", lines.replace("book", "play"), True)]
    (sampled,) = readability(pieces, words=1_000)
    assert sampled.words == 2 * 900 * 12
    assert 1_000 <= sampled.sample_words < 1_000 + PASSAGE + 12
    assert readability(pieces, words=1_000) == [sampled]
    (whole,) = readability(pieces, words=10**9)
    assert whole.sample_words == whole.words


def test_another_seed_draws_another_sample_and_other_sources_do_not_matter() -> None:
    lines = "".join(f"Numeral {n} has {'very ' * (n % 7)}few friends.\n" for n in range(2_000))
    book = Piece("book", lines, True)
    (one,) = readability([book], words=1_000, seed=1)
    (two,) = readability([book], words=1_000, seed=2)
    assert one.scores != two.scores
    assert readability([piece("a", EASY), book], words=1_000, seed=1)[1] == one


def test_buckets_rise_and_are_as_equal_as_can_be() -> None:
    table = [row("d", 4), row("a", 1), row("c", 3), row("e", 5), row("b", 2)]
    assert buckets(table, 5) == [["a"], ["b"], ["c"], ["d"], ["e"]]
    assert buckets(table, 2) == [["a", "b", "c"], ["d", "e"]]
    assert buckets(table, 1) == [["a", "b", "c", "d", "e"]]


def test_equal_sources_share_their_rank_and_go_by_name() -> None:
    table = [row("b", 1), row("a", 1), row("c", 0)]
    assert mean_ranks(table) == {"b": 2.5, "a": 2.5, "c": 1.0}
    assert buckets(table, 3) == [["c"], ["a"], ["b"]]


@given(st.dictionaries(st.text("abcdef", min_size=1), st.integers(0, 9), min_size=1), st.data())
def test_every_source_is_in_one_bucket_whatever_their_order(
    levels: dict[str, int], data: st.DataObject
) -> None:
    table = [row(source, level) for source, level in levels.items()]
    n = data.draw(st.integers(1, len(table)))
    found = buckets(table, n)
    assert sorted(source for bucket in found for source in bucket) == sorted(levels)
    assert len(found) == n
    assert {len(bucket) for bucket in found} <= {len(table) // n, -(-len(table) // n)}
    tops = [max(levels[source] for source in bucket) for bucket in found]
    bottoms = [min(levels[source] for source in bucket) for bucket in found]
    assert all(top <= bottom for top, bottom in zip(tops, bottoms[1:], strict=False))
    assert buckets(data.draw(st.permutations(table)), n) == found


def test_too_many_buckets_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"buckets: 5 buckets cannot be made of 2 sources"):
        buckets([row("a", 1), row("b", 2)])


def test_a_source_without_scores_is_in_no_bucket() -> None:
    table = readability([piece("russian", RUSSIAN), piece("easy", EASY)])
    with pytest.raises(RecipeError, match=r"russian .* cannot be put in a bucket"):
        buckets(table, 2)


def test_the_table_shows_the_paper_beside_it() -> None:
    table = readability([piece("wikipedia", HARD), piece("qed", EASY), piece("talk", TALK)])
    out = StringIO()
    Console(file=out, width=200).print(to_table(table))
    shown = out.getvalue().splitlines()
    wikipedia = next(line for line in shown if "wikipedia" in line)
    assert wikipedia.split()[-2:] == ["3", "5"]
    assert any("a line was taken as a sentence" in line for line in shown)


def test_the_table_has_the_buckets_that_a_training_would_make_or_says_why_there_are_none() -> None:
    table = readability([piece("hard", HARD), piece("plain", EASY), piece("talk", TALK)])

    def shown(*more: Readability, n: int | None = None) -> list[str]:
        out = StringIO()
        Console(file=out, width=300).print(to_table([*table, *more], n))
        return out.getvalue().splitlines()

    def bucket(lines: list[str], source: str) -> str:
        return next(line for line in lines if line.startswith(source)).split()[-1]

    for n in (1, 2, 3):
        for number, sources in enumerate(buckets(table, n), 1):
            assert all(bucket(shown(n=n), source) == str(number) for source in sources)
    assert any("4 buckets cannot be made of 3 sources" in line for line in shown(n=4))
    skipped = shown(*readability([piece("[b]ru", RUSSIAN)]), n=2)
    assert any("[b]ru: only 0 % of its letters" in line for line in skipped)
    assert any("no buckets: [b]ru" in line for line in skipped)
    assert all(bucket(skipped, source) != "2" for source in ("hard", "plain", "talk"))


def test_the_json_has_the_easiest_first() -> None:
    table = readability([piece("hard", HARD), piece("russian", RUSSIAN), piece("easy", EASY)])
    rows = json.loads(to_json(table))
    assert [(row["source"], row["mean_rank"]) for row in rows] == [
        ("easy", 1.0),
        ("hard", 2.0),
        ("russian", None),
    ]
    assert rows[0]["sample_words"] == 40 * 20


def test_the_table_is_read_as_it_was_written() -> None:
    table = readability([piece("hard", HARD), piece("russian", RUSSIAN), piece("easy", EASY)])
    read = from_json(to_json(table))
    assert sorted(read, key=str) == sorted(table, key=str)
    assert buckets([row for row in read if row.scores], 2) == [["easy"], ["hard"]]
