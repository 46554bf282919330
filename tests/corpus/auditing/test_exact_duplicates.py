from babyllama.corpus.auditing.exact_duplicates import LONG, ExactDuplicates, Repeats
from babyllama.corpus.pieces import Piece

LINE = "a line of eight words that comes again"
PIECES = [
    Piece("books", f"yes\n{LINE}\nyes\n", True),
    Piece("books", "the end\n", False),
    Piece("films", f"  yes \n\n{LINE}\n{LINE}\n", True),
    Piece("films", f"yes\n{LINE}\nyes\n", True),
    Piece("films", "the end\n", False),
    Piece("films", "the end\n", True),
]


def counted(pieces: list[Piece]) -> dict[str, Repeats]:
    duplicates = ExactDuplicates()
    for piece in pieces:
        duplicates.add(piece)
    return {row.source: row for row in duplicates.counts()}


def test_every_copy_after_the_first_is_a_repeat_of_its_own_source() -> None:
    rows = counted(PIECES)
    assert (rows["books"].lines, rows["books"].line_words) == (1, 1)
    assert (rows["films"].lines, rows["films"].line_words) == (8, 3 + 24 + 4)


def test_long_lines_are_counted_apart() -> None:
    assert len(LINE.split()) == LONG
    rows = counted(PIECES)
    assert (rows["books"].long_lines, rows["films"].long_lines) == (0, 3)
    assert rows["films"].long_line_words == 3 * LONG


def test_a_document_is_repeated_with_all_of_its_pieces_or_not_at_all() -> None:
    rows = counted(PIECES)
    assert (rows["films"].documents, rows["films"].document_words) == (1, 12)
    assert rows["books"].documents == 0


def test_documents_do_not_depend_on_where_they_were_cut() -> None:
    pieces = [Piece("a", "one\ntwo\n", True), Piece("b", "one\n", True), Piece("b", "two\n", False)]
    assert counted(pieces)["b"].documents == 1


def test_a_line_that_differs_in_a_letter_is_no_repeat() -> None:
    assert counted([Piece("a", "the cat\nThe cat\nthe cat.\n", True)])["a"].lines == 0


def test_the_most_repeated_long_lines_are_listed_with_their_texts() -> None:
    other = LINE.replace("eight", "8")
    pieces = [*PIECES, Piece("more", f"{other}\nnot again\n", True), Piece("more", other, True)]
    duplicates = ExactDuplicates()
    for piece in pieces:
        duplicates.add(piece)
    listed = duplicates.most_repeated(lambda: pieces)
    assert [(row.text, row.source, row.times, row.words) for row in listed] == [
        (LINE, "books", 4, LONG),
        (other, "more", 2, LONG),
    ]


def test_nothing_is_repeated_in_nothing() -> None:
    assert counted([]) == {}
    assert ExactDuplicates().most_repeated(list) == []
