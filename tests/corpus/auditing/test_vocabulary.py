from hypothesis import given, settings
from hypothesis import strategies as st

from babyllama.corpus.auditing.vocabulary import Growth, Vocabulary
from babyllama.corpus.shingles import read_words


def growth(*texts: str) -> Growth:
    vocabulary = Vocabulary()
    for text in texts:
        vocabulary.add(read_words(text).hashes)
    return vocabulary.growth()


def test_words_distinct_words_and_hapaxes_are_counted() -> None:
    found = growth("The cat saw", "the dog. The end!")
    assert (found.words, found.distinct, found.hapaxes) == (7, 5, 4)
    assert found.curve == ((7, 5),)


def test_the_curve_has_a_point_at_every_mark_and_at_the_end() -> None:
    found = growth(" ".join(f"w{number}" for number in range(1_500)), "w0 " * 3_000)
    assert found.curve == ((1_000, 1_000), (2_000, 1_500), (4_000, 1_500), (4_500, 1_500))
    assert growth("a " * 2_000).curve == ((1_000, 1), (2_000, 1))


def test_an_empty_text_has_no_words() -> None:
    assert growth() == Growth(words=0, distinct=0, hapaxes=0, curve=((0, 0),))


@settings(max_examples=20)
@given(st.lists(st.integers(1, 1_500), min_size=1, max_size=5))
def test_the_cuts_of_a_text_do_not_matter(sizes: list[int]) -> None:
    words = [f"w{(number * number) % 997}" for number in range(sum(sizes))]
    texts, at = [], 0
    for size in sizes:
        texts.append(" ".join(words[at : at + size]))
        at += size
    assert growth(*texts) == growth(" ".join(words))
