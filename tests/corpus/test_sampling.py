import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from babyllama.corpus.sampling import PIECE_WORDS, count_words, part, pieces, quotas, sample
from babyllama.errors import RecipeError


def document(name: str, lines: int, words_a_line: int = 7) -> str:
    return "".join(f"{name}{n} " + "w " * (words_a_line - 2) + "end\n" for n in range(lines))


CORPUS = {
    "big": [document("x", 3_000), document("y", 1_500)],
    "many": [document(f"d{n}-", 5) for n in range(200)],
    "small": [document("s", 40)],
}
TOTAL = sum(count_words(text) for texts in CORPUS.values() for text in texts)


def words_of(texts: list[str]) -> int:
    return sum(map(count_words, texts))


def is_subsequence(lines: list[str], text: list[str]) -> bool:
    rest = iter(text)
    return all(line in rest for line in lines)


@pytest.mark.parametrize("words", [200, 5_000, 20_000, TOTAL])
def test_every_source_keeps_its_share_and_the_total_is_met(words: int) -> None:
    drawn = sample(CORPUS, words, seed=3)
    assert abs(sum(map(words_of, drawn.values())) - words) <= max(0.01 * words, 12)
    for source, texts in CORPUS.items():
        assert abs(words_of(drawn[source]) - words * words_of(texts) / TOTAL) <= 4.5


def test_all_words_are_the_whole_corpus() -> None:
    assert sample(CORPUS, TOTAL, seed=0) == CORPUS


def test_lines_stay_whole_and_in_order() -> None:
    for source, texts in sample(CORPUS, 9_000, seed=1).items():
        lines = "".join(texts).splitlines()
        assert is_subsequence(lines, "".join(CORPUS[source]).splitlines())


def test_no_drawn_document_bridges_a_gap_or_two_documents() -> None:
    drawn = sample(CORPUS, 20_000, seed=2)
    assert all(
        any(text in whole for whole in CORPUS[s]) for s, texts in drawn.items() for text in texts
    )
    assert len(drawn["many"]) > 50


def test_a_sample_depends_on_the_seed_and_not_on_the_order_of_sources() -> None:
    backwards = dict(reversed(CORPUS.items()))
    assert sample(CORPUS, 9_000, seed=1) == sample(backwards, 9_000, seed=1)
    assert sample(CORPUS, 9_000, seed=1) != sample(CORPUS, 9_000, seed=2)


def test_a_source_is_drawn_the_same_whatever_its_company() -> None:
    alone, _ = part(CORPUS["big"], 4_000, seed=5, stream="sample/big")
    quota = quotas({source: words_of(texts) for source, texts in CORPUS.items()}, 20_000)["big"]
    together, _ = part(CORPUS["big"], quota, seed=5, stream="sample/big")
    assert sample(CORPUS, 20_000, seed=5)["big"] == together
    assert words_of(alone) == pytest.approx(4_000, abs=4)


def test_a_sample_is_the_same_in_another_process() -> None:
    code = (
        "from babyllama.corpus.sampling import part;"
        "print(hash(1), part([f'{n} b\\n' for n in range(50)], 20, seed=7, stream='a')[0])"
    )
    outputs = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
        for _ in range(2)
    }
    assert len(outputs) == 1


@pytest.mark.parametrize("words", [TOTAL + 1, 0, -5])
def test_words_that_are_not_there_are_refused_with_the_number_that_is(words: int) -> None:
    with pytest.raises(RecipeError, match=f"{TOTAL:,}"):
        sample(CORPUS, words, seed=0)


def test_pieces_are_the_document_and_none_is_too_long() -> None:
    text = document("x", 3_000)
    cut = list(pieces(text))
    assert "".join(cut) == text
    assert len(cut) == 11
    assert all(count_words(piece) <= PIECE_WORDS for piece in cut)
    assert list(pieces("w " * 5_000)) == ["w " * 5_000]
    assert list(pieces("")) == []


texts = st.lists(st.text("ab \n\x0b\u2028", max_size=30), max_size=6)


@settings(max_examples=150, deadline=None)
@given(texts=texts, words=st.integers(0, 30), seed=st.integers(0, 2**32))
def test_part_and_rest_are_the_corpus(texts: list[str], words: int, seed: int) -> None:
    drawn, rest = part(texts, words, seed=seed, stream="s")
    lines = [line for text in texts for line in text.split("\n") if line]
    kept = [line for text in (*drawn, *rest) for line in text.split("\n") if line]
    assert sorted(kept) == sorted(lines)
    assert is_subsequence([line for text in drawn for line in text.split("\n") if line], lines)
    assert not any(text == "" for text in (*drawn, *rest))


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 50), min_size=1), st.data())
def test_quotas_add_up_and_stay_within_the_sources(
    counts: dict[str, int], data: st.DataObject
) -> None:
    total = sum(counts.values())
    if total == 0:
        return
    words = data.draw(st.integers(1, total))
    quota = quotas(counts, words)
    assert sum(quota.values()) == words
    assert all(0 <= quota[source] <= counts[source] for source in counts)
