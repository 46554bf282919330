"""How hard each source is to read, by five formulas, and sources in buckets of rising complexity.

The formulas (Flesch reading ease, Flesch-Kincaid grade, Gunning fog, automated readability index,
SMOG; by the library textstat) were fitted to English school texts: they count syllables by an
English dictionary, and say nothing about other languages. Text that is mostly not in Latin
letters is refused; that a text is English rather than, say, German is for the user to know.

They are taken over a sample of a source: whole passages of about `PASSAGE` words, drawn by the
seed and the place of the passage alone. All five depend on the length of sentences. Where a text
has sentence stops, textstat finds the sentences by them (those of one or two words do not count
as sentences). Where stops are rarer than one in `MOST_WORDS_A_STOP` words, as in transcripts
without punctuation, a line is an utterance and is taken as a sentence: otherwise all of the
source would be one sentence of thousands of words.
"""

import heapq
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from itertools import pairwise

import textstat
from rich.table import Table
from rich.text import Text

from babyllama.corpus.pieces import Piece
from babyllama.corpus.shingles import text_lines
from babyllama.corpus.words import count_words
from babyllama.errors import RecipeError

SAMPLE_WORDS = 50_000
PASSAGE = 200
MOST_WORDS_A_STOP = 60
LEAST_LATIN = 0.5
LEAST_WORDS = 100

MEASURES = (
    "flesch_reading_ease",
    "flesch_kincaid_grade",
    "gunning_fog",
    "automated_readability_index",
    "smog_index",
)
EASE = "flesch_reading_ease"
"""The one measure that is high where a text is easy."""

PAPER_BUCKETS: tuple[tuple[str, ...], ...] = (
    ("aochildes",),
    ("open_subtitles",),
    ("switchboard", "cbt", "qed", "children_stories", "bnc_spoken"),
    ("simple_wikipedia", "gutenberg"),
    ("wikipedia",),
)
"""The buckets of the paper's appendix B, to compare with."""

_STOP = re.compile(r"[.!?]")
_ENDED = re.compile(r"[.!?][\W_]*$")
_LETTER = re.compile(r"[^\W\d_]")
_LATIN = re.compile("[A-Za-zªºÀ-ÖØ-öø-ɏḀ-ỿ]")


@dataclass(frozen=True, kw_only=True)
class Readability:
    """How hard a source is to read. Grades are years of American school."""

    source: str
    words: int
    """Words of the source."""
    sample_words: int
    """Words that were scored."""
    sentences: str
    """What was taken as a sentence: `stops`, or `lines` where the text has no stops."""
    scores: Mapping[str, float]
    """The value of every measure; empty where there is none."""
    skipped: str = ""
    """Why there is none."""


class _Sample:
    """Some passages of a source, drawn as they come by; never more than are wanted."""

    def __init__(self, source: str, words: int, seed: int) -> None:
        self._name = f"{seed}/{source}"
        self._wanted = words
        self._drawn: list[tuple[int, int, int, str]] = []
        self._passages = 0
        self.words = 0
        self.sample_words = 0

    def add(self, passage: str, words: int) -> None:
        """Draw the passage if its number is among the lowest."""
        name = f"{self._name}/{self._passages}"
        number = int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little")
        heapq.heappush(self._drawn, (-number, self._passages, words, passage))
        self._passages += 1
        self.words += words
        self.sample_words += words
        while self.sample_words - self._drawn[0][2] >= self._wanted:
            self.sample_words -= heapq.heappop(self._drawn)[2]

    def passages(self) -> list[str]:
        """What was drawn, in text order."""
        return [text for _, _, text in sorted(row[1:] for row in self._drawn)]


def readability(
    pieces: Iterable[Piece], *, words: int = SAMPLE_WORDS, seed: int = 1
) -> list[Readability]:
    """Score every source on a sample of about so many words, in order of first mention."""
    samples: dict[str, _Sample] = {}
    for piece in pieces:
        source = samples.setdefault(piece.source, _Sample(piece.source, words, seed))
        for passage, length in _passages(piece.text):
            source.add(passage, length)
    return [_score(name, sample) for name, sample in samples.items()]


def _passages(text: str) -> Iterator[tuple[str, int]]:
    lines: list[str] = []
    words = 0
    for line in text_lines(text):
        lines.append(line)
        words += count_words(line)
        if words >= PASSAGE:
            yield "\n".join(lines), words
            lines, words = [], 0
    if words:
        yield "\n".join(lines), words


def _score(source: str, sample: _Sample) -> Readability:
    passages = sample.passages()
    reason = why_skipped("\n".join(passages))
    by_lines = not reason and not has_stops("\n".join(passages))
    return Readability(
        source=source,
        words=sample.words,
        sample_words=0 if reason else sample.sample_words,
        sentences="" if reason else "lines" if by_lines else "stops",
        scores={} if reason else scores(passages, by_lines=by_lines),
        skipped=reason,
    )


def why_skipped(text: str) -> str:
    """Say why the formulas would mean nothing for a text; empty if they can be taken.

    >>> why_skipped("мама мыла раму, " * 50)
    'only 0 % of its letters are Latin: the formulas are for English'
    """
    if (words := count_words(text)) < LEAST_WORDS:
        return f"{words} words are too few: the formulas want {LEAST_WORDS} or more"
    latin = len(_LATIN.findall(text)) / max(1, len(_LETTER.findall(text)))
    if latin < LEAST_LATIN:
        return f"only {100 * latin:.0f} % of its letters are Latin: the formulas are for English"
    return ""


def has_stops(text: str) -> bool:
    """Say whether a text marks the ends of its sentences."""
    return len(_STOP.findall(text)) * MOST_WORDS_A_STOP >= count_words(text)


def scores(passages: Sequence[str], *, by_lines: bool) -> dict[str, float]:
    """Take the five measures over all of the passages together.

    The end of a passage ends a sentence, and with `by_lines` the end of every line does.
    """
    units = [line for text in passages for line in text_lines(text)] if by_lines else passages
    text = "\n".join(unit if _ENDED.search(unit) else unit + "." for unit in units if unit.strip())
    return {measure: float(getattr(textstat, measure)(text)) for measure in MEASURES}


def mean_ranks(table: Iterable[Readability]) -> dict[str, float]:
    """The mean over the measures of a source's rank, 1 for the easiest; equals share their rank."""
    rows = [row for row in table if row.scores]
    ranks: dict[str, list[float]] = {row.source: [] for row in rows}
    for measure in MEASURES:
        sign = -1 if measure == EASE else 1
        values = [sign * row.scores[measure] for row in rows]
        for row, value in zip(rows, values, strict=True):
            below, equal = sum(v < value for v in values), values.count(value)
            ranks[row.source].append(below + (equal + 1) / 2)
    return {source: sum(found) / len(found) for source, found in ranks.items()}


def buckets(table: Iterable[Readability], n: int = 5) -> list[list[str]]:
    """Part the sources into `n` buckets of rising mean rank, as equal in number as can be.

    Where the numbers differ, the first buckets have one more; equal ranks go by name.
    Raises RecipeError where there are fewer than `n` sources, or one without scores.
    """
    table = list(table)
    if skipped := [f"{row.source} ({row.skipped})" for row in table if row.skipped]:
        raise RecipeError(
            f"{skipped[0]} cannot be put in a bucket: expected scores for every source;"
            " name the buckets in the recipe instead"
        )
    ranks = mean_ranks(table)
    if not 1 <= n <= len(ranks):
        raise RecipeError(
            f"training.curriculum.buckets: {n} buckets cannot be made of {len(ranks)} sources:"
            f" expected 1 to {len(ranks)}"
        )
    order = sorted(ranks, key=lambda source: (ranks[source], source))
    size, more = divmod(len(order), n)
    cuts = [number * size + min(number, more) for number in range(n + 1)]
    return [order[begin:end] for begin, end in pairwise(cuts)]


def to_json(table: Sequence[Readability]) -> str:
    """Write the table, the easiest source first, with the mean rank of every source."""
    ranks = mean_ranks(table)
    rows = [asdict(row) | {"mean_rank": ranks.get(row.source)} for row in _in_order(table, ranks)]
    return json.dumps(rows, ensure_ascii=False, indent=1) + "\n"


def from_json(text: str) -> list[Readability]:
    """Read what `to_json` wrote."""
    return [
        Readability(**{key: value for key, value in row.items() if key != "mean_rank"})
        for row in json.loads(text)
    ]


def to_table(table: Sequence[Readability], n: int | None = None) -> Table:
    """Lay the table out for a terminal, the easiest source first.

    It numbers `n` buckets, if they can be made; by default as many as the paper's, or as there are
    sources.
    """
    ranks = mean_ranks(table)
    notes = [f"{row.source}: {row.skipped}" for row in table if row.skipped]
    try:
        ours = _numbered(buckets(table, n or min(len(table), len(PAPER_BUCKETS))))
    except RecipeError as error:
        ours, notes = {}, [*notes, f"no buckets: {error}"]
    paper = _numbered(PAPER_BUCKETS)
    title = "Readability of English, on a sample of every source, easiest first"
    shown = Table(
        title=title, title_justify="left", caption_justify="left", box=None, pad_edge=False
    )
    shown.add_column("source")
    headers = ("reading ease", "grade", "fog", "ARI", "SMOG")
    for header in ("words scored", "by", *headers, "mean rank", "bucket", "paper's"):
        shown.add_column(header, justify="right")
    for row in _in_order(table, ranks):
        cells = [f"{row.scores[measure]:.1f}" for measure in MEASURES if row.scores]
        rank = f"{ranks[row.source]:.1f}" if row.scores else ""
        shown.add_row(
            Text(row.source),
            f"{row.sample_words:,}",
            row.sentences or "skipped",
            *(cells or [""] * len(MEASURES)),
            rank,
            ours.get(row.source, ""),
            paper.get(row.source, ""),
        )
    if any(row.sentences == "lines" for row in table):
        notes.append("lines: the source has no stops, so a line was taken as a sentence")
    shown.caption = Text("; ".join(notes))
    return shown


def _in_order(table: Iterable[Readability], ranks: Mapping[str, float]) -> list[Readability]:
    return sorted(table, key=lambda row: (ranks.get(row.source, len(ranks) + 1), row.source))


def _numbered(found: Sequence[Sequence[str]]) -> dict[str, str]:
    return {source: str(at) for at, bucket in enumerate(found, start=1) for source in bucket}
