import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from babyllama.corpus.auditing.near_duplicates import (
    EXCERPT,
    MOST,
    SHORTEST,
    NearDuplicate,
    NearDuplicates,
    passages,
)
from babyllama.corpus.pieces import Piece
from babyllama.corpus.shingles import read_words


def lines(seed: int, count: int, words: int = 8) -> list[str]:
    numbers = np.random.default_rng(seed).integers(0, 5_000, (count, words)).tolist()
    return [" ".join(f"w{number}" for number in line) for line in numbers]


def piece(source: str, text: list[str], *, starts: bool = True) -> Piece:
    return Piece(source, "".join(line + "\n" for line in text), starts)


def listed(pieces: list[Piece]) -> list[NearDuplicate]:
    near = NearDuplicates()
    for part in pieces:
        near.add(read_words(part.text))
    return list(near.listed(lambda: pieces))


def altered(text: list[str], every: int) -> list[str]:
    """The text with one word in so many replaced."""
    words = [line.split() for line in text]
    number = 0
    for line in words:
        for at in range(len(line)):
            number += 1
            if number % every == 0:
                line[at] = f"new{number}"
    return [" ".join(line) for line in words]


def test_a_copy_is_found_wherever_it_stands() -> None:
    story = lines(1, 150)
    found = listed([piece("books", story), piece("web", lines(2, 37) + story + lines(3, 20))])
    assert {(row.source, row.earlier_source) for row in found} == {("web", "books")}
    assert sum(row.words for row in found) > 0.75 * 150 * 8
    assert all(row.similarity == 1 for row in found)


def test_different_text_is_not_listed() -> None:
    assert listed([piece("a", lines(1, 150)), piece("b", lines(2, 150))]) == []


def test_listed_are_those_of_a_similarity_of_at_least_eight_tenths() -> None:
    text = lines(4, 6)
    near, far = altered(text, 48), altered(text, 20)
    found = listed([piece("a", text), piece("b", near), piece("c", far)])
    assert [row.source for row in found] == ["b"]
    assert found[0].similarity == 43 / 45  # one of 44 shingles differs


def test_case_and_punctuation_make_no_difference() -> None:
    text = lines(5, 6)
    (found,) = listed([piece("a", text), piece("a", [line.upper() + "!" for line in text])])
    assert (found.similarity, found.document, found.earlier_document) == (1.0, 2, 1)


def test_texts_are_shown_as_they_are_and_cut() -> None:
    text = ["Who,  me? " + line for line in lines(6, 4)]
    (found,) = listed([piece("a", text), piece("b", ["", *text])])
    assert found.text == found.earlier_text == " ".join(" ".join(text).split())[:EXCERPT]


def test_every_later_copy_is_listed_once_against_an_earlier_one() -> None:
    text = lines(7, 6)
    found = listed([piece(str(number), text) for number in range(4)])
    assert [(row.source, row.earlier_source) for row in found] == [
        ("1", "0"),
        ("2", "0"),
        ("3", "0"),
    ]


def test_all_of_a_text_but_short_rests_is_looked_at() -> None:
    near = NearDuplicates()
    near.add(read_words("\n".join(lines(8, 500))))
    near.add(read_words("too short\n"))
    near.add(read_words("\n"))
    assert 4_000 - SHORTEST < near.words <= 4_000
    assert 20 <= near.passages <= 60


def test_nothing_is_near_in_nothing() -> None:
    assert listed([]) == []
    assert listed([piece("a", ["short"])]) == []


@settings(max_examples=40)
@given(st.lists(st.integers(0, 250), max_size=40), st.integers(0, 5))
def test_passages_are_whole_lines_without_gaps_and_of_bounded_length(
    lengths: list[int], seed: int
) -> None:
    draw = np.random.default_rng(seed)
    text = "\n".join(" ".join(draw.choice(list("abcdef"), length)) for length in lengths)
    words = read_words(text)
    cut = list(passages(words))
    at = 0
    for passage in cut:
        begins = words.ends[passage.first - 1] if passage.first else 0
        assert (passage.first, passage.begin) == (at, begins)
        assert passage.end == words.ends[passage.last - 1]
        assert SHORTEST <= passage.end - passage.begin < MOST + 251
        at = passage.last
    assert len(words.hashes) - (cut[-1].end if cut else 0) < MOST
