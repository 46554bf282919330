import time
from collections.abc import Iterator
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babyllama.corpus.cleaners.cleaning import CLEANERS
from babyllama.corpus.documents import LICENCE_HEAD, document_parts

SOURCES = [*sorted(CLEANERS), "my_text"]


def split_documents(source: str, raw: str, block: int = 0, opening: str | None = None) -> list[str]:
    """Documents put together from their parts; with `block`, read in so many lines at a time."""
    lines = raw.splitlines(keepends=True)
    size = block or max(1, len(lines))
    blocks = ["".join(lines[at : at + size]) for at in range(0, len(lines), size)]
    documents: list[str] = []
    for text, starts in document_parts(source, lambda: blocks, opening):
        if starts:
            documents.append(text)
        else:
            documents[-1] += text
    return documents


def test_a_wikipedia_article_opens_with_its_title_and_the_start_may_be_mid_article() -> None:
    raw = "month.\n= = = August = = =\nA month.\n= = = 1616 = = =\nA year.\n"
    assert split_documents("simple_wikipedia", raw) == [
        "month.\n",
        "= = = August = = =\nA month.\n",
        "= = = 1616 = = =\nA year.\n",
    ]


def test_only_the_shallowest_headings_of_wikipedia_are_titles() -> None:
    raw = " = Cat = \nA pet.\n = = Food = = \nMice.\n = = = Raw = = = \nYes.\n = Dog = \nA pet.\n"
    documents = split_documents("wikipedia", raw)
    assert [document.split("\n")[0].strip() for document in documents] == ["= Cat =", "= Dog ="]
    assert "Raw" in documents[0]


@pytest.mark.parametrize("size", [1, 700, 0])
def test_a_stray_line_of_signs_is_not_the_level_of_a_thousand_titles(size: int) -> None:
    article = "= = = Title = = =\nText.\n"
    documents = split_documents("wikipedia", article * 500 + "= 5 =\n" + article * 500, size)
    assert len(documents) == 1000
    assert documents[499] == article + "= 5 =\n"


def test_a_level_with_one_in_a_hundred_titles_is_one() -> None:
    raw = "= Cat =\n" + "= = Food = =\nMice.\n" * 99
    assert len(split_documents("wikipedia", raw + "= Dog =\n")) == 2
    assert len(split_documents("wikipedia", raw * 2)) == 2


def test_an_equation_is_no_heading() -> None:
    assert len(split_documents("wikipedia", "x = y\n= y\na = = b\n")) == 1


def test_cleaned_articles_keep_title_and_boundary() -> None:
    documents = split_documents("simple_wiki", "the month.\n\n= = = August = = =\n\nHot.\n")
    assert [CLEANERS["simple_wiki"](d) for d in documents] == ["the month.\n", "August\nHot.\n"]


def test_marks_of_files_part_books_and_recordings_wherever_they_stand() -> None:
    books = split_documents("gutenberg", "The end. = = = PG7 = = = NEXT\n= = = PG8 = = =\nLast\n")
    assert [book.strip() for book in books] == ["The end.", "NEXT", "Last"]
    talks = split_documents(
        "childes", "*MOT: bye. = = = childes/Some_UK/a b/020824.cha = = =\n*CHI: no."
    )
    assert [talk.strip() for talk in talks] == ["*MOT: bye.", "*CHI: no."]


@pytest.mark.parametrize("source", ["cbt", "switchboard", "open_subtitles", "my_text"])
def test_other_sources_are_one_document_blank_lines_or_not(source: str) -> None:
    raw = "One.\n\n\nTwo.\n= = = Three = = =\n"
    assert split_documents(source, raw) == [raw]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("raw", ["", "\n \n\t", "= = = PG1 = = =\n"])
def test_no_text_no_document(source: str, raw: str) -> None:
    assert all(document.strip() for document in split_documents(source, raw))
    assert split_documents("gutenberg", raw) == []


def test_a_line_of_signs_does_not_stall() -> None:
    line = "= " * 20_000 + "z"
    start = time.perf_counter()
    assert split_documents("wikipedia", line) == [line]
    assert time.perf_counter() - start < 1


@given(
    st.lists(
        st.sampled_from(["= = = A = = =", "= B =", "==", "= = C = =", "text", "", " "]), max_size=12
    )
)
def test_articles_hold_every_line_in_order(lines: list[str]) -> None:
    raw = "".join(line + "\n" for line in lines)
    documents = split_documents("wikipedia", raw)
    assert "".join(documents).split() == raw.split()
    for size in (1, 2, 5):
        again = split_documents("wikipedia", raw, block=size)
        assert [d.split() for d in again] == [d.split() for d in documents]


@pytest.mark.parametrize("size", [1, 2, 0])
def test_a_licence_is_cut_from_every_book_however_the_file_is_read(size: int) -> None:
    raw = (
        "Terms.\n*** START OF THE PROJECT GUTENBERG EBOOK A ***\nOnce.\nUpon.\n"
        "*** END OF THE PROJECT GUTENBERG EBOOK A ***\nMore terms.\n= = = PG2 = = =\nTwice.\n"
    )
    assert [d.strip() for d in split_documents("gutenberg", raw, size)] == [
        "Once.\nUpon.",
        "Twice.",
    ]


START = "*** START OF THE PROJECT GUTENBERG EBOOK A ***\n"
END = "*** END OF THIS PROJECT GUTENBERG EBOOK A ***\n"
LICENCE = "Terms of the licence.\n"


@pytest.mark.parametrize("size", [1, 2, 0])
def test_ebooks_one_behind_the_other_are_a_document_each(size: int) -> None:
    books = [f"Book {number}.\nOnce.\n" for number in range(3)]
    raw = "".join(LICENCE + START + book + END + LICENCE for book in books)
    assert split_documents("gutenberg", raw, size) == books
    # Only START tells where a book without END is over, so the next one's licence stays.
    raw = "".join(START + book for book in books)
    assert split_documents("gutenberg", raw, size) == books


@pytest.mark.parametrize("size", [1, 7, 0])
def test_only_the_head_of_a_document_is_taken_for_its_licence(size: int) -> None:
    line = "A line of text.\n"
    few, many = LICENCE_HEAD // len(line) * line, (LICENCE_HEAD // len(line) + 1) * line
    assert split_documents("gutenberg", few + START + line, size) == [line]
    assert split_documents("gutenberg", many + START + line, size) == [many, line]
    marked = line + "= = = PG2 = = =" + few.removeprefix("A line") + START + line
    assert [d.strip() for d in split_documents("gutenberg", marked, size)] == [line.strip()] * 2


@pytest.mark.parametrize("size", [1, 0])
def test_a_book_that_begins_before_the_file_is_kept_up_to_its_end_mark(size: int) -> None:
    raw = "the end.\n" + END + LICENCE + START + "Once.\n"
    assert split_documents("gutenberg", raw, size) == ["the end.\n", "Once.\n"]


@given(
    st.lists(st.sampled_from(["Once.", "", "*** START ***", "THE END", "* * *"]), max_size=9),
    st.sampled_from([1, 2, 0]),
)
def test_a_book_without_licence_marks_loses_nothing(lines: list[str], size: int) -> None:
    raw = "".join(line + "\n" for line in lines)
    assert "".join(split_documents("gutenberg", raw, size)).split() == raw.split()


@pytest.mark.parametrize("start", ["", START])
def test_a_book_comes_as_it_is_read_and_is_never_held_whole(start: str) -> None:
    block = "A line of text.\n" * 1000
    read = 0

    def blocks() -> Iterator[str]:
        nonlocal read
        yield start
        for _ in range(100):
            read += len(block)
            yield block

    parts = document_parts("gutenberg", blocks)
    behind = [read - total for total in accumulate(len(text) for text, _ in parts)]
    assert len(behind) > 90
    assert max(behind) <= LICENCE_HEAD + len(block)


@pytest.mark.parametrize("size", [1, 2, 0])
def test_the_end_of_a_block_opens_no_document(size: int) -> None:
    documents = split_documents("generic", "a\nb\n\nc\nd\n", size, opening="^$")
    assert [d.strip() for d in documents] == ["a\nb", "c\nd"]
    assert split_documents("generic", "a\nx", size, opening="(?<=x)$") == ["a\n", "x"]


@pytest.mark.parametrize("size", [1, 2, 0])
def test_an_expression_of_ones_own_says_which_lines_open_documents(size: int) -> None:
    raw = "front\n# One\na\nb # not here\n# Two\nc\n"
    found = split_documents("generic", raw, size, opening=r"^# ")
    assert found == ["front\n", "# One\na\nb # not here\n", "# Two\nc\n"]
    assert split_documents("generic", "a\nChapter 1, part\nb\n", size, opening="Chapter") == [
        "a\n",
        "Chapter 1, part\nb\n",
    ]
