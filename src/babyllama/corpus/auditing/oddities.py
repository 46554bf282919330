"""Signs that something went wrong with the characters of a text before it came here.

| kind | what is counted |
| --- | --- |
| `replacement` | U+FFFD: bytes that could not be read |
| `mojibake` | UTF-8 read as Windows-1252 or Latin-1, once or more: `donâ€™t`, `cafÃ©` |
| `entity` | an HTML entity: `&amp;`, `&#39;` |
| `private use` | characters that mean nothing outside the font of their maker |
| `control` | control characters other than tab and newline |
| `invisible` | zero-width characters, soft hyphens, byte-order marks, direction marks; joiners \
count where they stand between ASCII letters only, as some scripts need them |
| `not NFC` | lines that have another composed form of the same text: two spellings of one word |
| `quotes` | backticks and doubled signs for quotes, primes and accents for apostrophes |
| `apostrophes` | apostrophes in a word, other than the one that the source has most |
| `rare script` | letters of a script that has less than 1 in 100 of a source's characters |

Nothing is judged: a page about the Greek alphabet has rare letters for a good reason.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from babyllama.corpus.pieces import Piece
from babyllama.corpus.shingles import text_lines

RARE = 0.01
_AROUND = 30

# A first byte of two, three or four, and what follows it, read as Windows-1252 or Latin-1.
# What may also close a quotation after a capital is not enough by itself.
_SECOND = "[\u0080-\u00ba\u00bc-\u00bf€‚ƒ„†‡ˆ‰Š‹ŒŽ•–—˜™šœžŸ]"
_CONTINUED = "[\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]"
_PLAIN: Mapping[str, re.Pattern[str]] = {
    "entity": re.compile(r"&(?:[A-Za-z]{2,8}|#\d{2,6}|#[xX][0-9A-Fa-f]{2,5});"),
    "control": re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]"),
    "quotes": re.compile(r"``|''|[`´˝]"),
    "apostrophes": re.compile(r"['’‘ʼʹ′´`＇](?<=[^\W\d_].)(?=[^\W\d_])"),
}
_BEYOND_ASCII: Mapping[str, re.Pattern[str]] = {
    "replacement": re.compile("\ufffd"),
    "private use": re.compile("[\ue000-\uf8ff\U000f0000-\U0010fffd]"),
    "invisible": re.compile(
        "[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]"
        "|[\u200c\u200d](?<=[A-Za-z].)(?=[A-Za-z])"
    ),
    "mojibake": re.compile(f"[ÂÃÄÅÎÏÐÑ]{_SECOND}|[âãäåæçèéï]{_CONTINUED}{{2}}|ð{_CONTINUED}{{3}}"),
    "rare script": re.compile(r"[^\W\d_\u0000-\u024f]"),
}


@dataclass(frozen=True, kw_only=True)
class Oddity:
    """What one source has of one kind."""

    source: str
    kind: str
    count: int
    example: str
    """The first one, with what stands around it."""


class Oddities:
    """Takes the pieces of a split; then says what is odd about each source."""

    def __init__(self) -> None:
        self._sources: dict[str, _Tally] = defaultdict(_Tally)

    def add(self, piece: Piece) -> None:
        """Look at a piece."""
        self._sources[piece.source].add(piece.text)

    def found(self) -> list[Oddity]:
        """List what was found, by source in order of first mention, most frequent kind first."""
        return [
            Oddity(source=source, kind=kind, count=count, example=example)
            for source, tally in self._sources.items()
            for kind, count, example in tally.found()
        ]


class _Tally:
    """What one source has."""

    def __init__(self) -> None:
        self._characters = 0
        self._counts: Counter[tuple[str, str]] = Counter()
        self._examples: dict[tuple[str, str], str] = {}

    def add(self, text: str) -> None:
        self._characters += len(text)
        for kind, pattern in _PLAIN.items():
            self._count(kind, pattern, text)
        if not text.isascii():
            for kind, pattern in _BEYOND_ASCII.items():
                self._count(kind, pattern, text)
            self._count_decomposed(text)

    def found(self) -> list[tuple[str, int, str]]:
        apostrophes = [key for key, _ in self._counts.most_common() if key[0] == "apostrophes"]
        rows = [
            (kind, count, self._examples[kind, detail])
            for (kind, detail), count in self._counts.items()
            if not detail
        ]
        if others := apostrophes[1:]:
            count = sum(self._counts[key] for key in others)
            rows.append(("apostrophes", count, self._examples[others[0]]))
        for (kind, script), count in self._counts.items():
            if kind == "rare script" and count < RARE * self._characters:
                example = self._examples[kind, script]
                rows.append((f"{kind}: {script.title()}", count, example))
        return sorted(rows, key=lambda row: (-row[1], row[0]))

    def _count(self, kind: str, pattern: re.Pattern[str], text: str) -> None:
        for match in pattern.finditer(text):
            detail = _detail(kind, match[0])
            if detail is not None:
                self._counts[kind, detail] += 1
                if (kind, detail) not in self._examples:
                    begin, end = max(0, match.start() - _AROUND), match.end() + _AROUND
                    self._examples[kind, detail] = " ".join(text[begin:end].split())

    def _count_decomposed(self, text: str) -> None:
        if not unicodedata.is_normalized("NFC", text):
            for line in text_lines(text):
                if not unicodedata.is_normalized("NFC", line):
                    self._counts["not NFC", ""] += 1
                    self._examples.setdefault(("not NFC", ""), line.strip()[: 2 * _AROUND])


def _detail(kind: str, found: str) -> str | None:
    """What to count apart within a kind; None where it is not of this kind after all."""
    if kind == "apostrophes":
        return found
    return _script(found) if kind == "rare script" else ""


@cache
def _script(character: str) -> str | None:
    """The script of a letter, from its name in Unicode; None for signs and Latin letters.

    >>> _script("ж"), _script("猫"), _script("ː"), _script("ℏ")
    ('CYRILLIC', 'CJK', None, None)
    """
    plain = unicodedata.normalize("NFKC", character)[0]
    script = unicodedata.name(plain, "UNKNOWN").split()[0]
    return None if unicodedata.category(plain) == "Lm" or script == "LATIN" else script
