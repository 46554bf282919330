"""What cleaning did to the training text, source by source: a page of its own, and tables.

The page shows real lines of the corpus before and after each rule, so it is as long as it is
useful: all sources start folded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from babyllama.report.counts import RuleEffect
from babyllama.report.results import Results
from babyllama.report.tables import Table
from babyllama.report.template import filled

FILE = "cleaning.html"
SPLIT = "train"
COLUMNS = ("rule", "lines changed", "lines dropped", "words before", "words after")
COUNTED = (
    "Lines dropped are among the lines changed. A line that a rule changed twice, because another "
    "rule gave it cause to, counts twice. Words are those of the changed lines, before and after "
    "the rule. Counted over all the text that was cleaned: before a part was held out, overlap "
    "dropped or a sample drawn."
)
EXAMPLES = (
    "The examples are lines of the corpus, cut where they are long, and under its licence. "
    "Characters that cannot be seen are shown by their number."
)


@dataclass(frozen=True, kw_only=True)
class CleanedSource:
    """What the rules did to one source: those that changed a line, most lines first."""

    name: str
    rules: Mapping[str, RuleEffect]
    idle: tuple[str, ...]
    """Names of the rules that found nothing to do."""

    @property
    def table(self) -> Table:
        """A row a rule; without rows where no rule did anything."""
        return Table(
            caption=f"{self.name}: what each rule did",
            header=COLUMNS,
            rows=tuple((name, *_figures(effect)) for name, effect in self.rules.items()),
        )

    @property
    def summary(self) -> str:
        """All rules together, in one line."""
        return _summary(list(self.rules.values()))

    @property
    def nothing_to_do(self) -> str:
        """One line that names the rules that did nothing; empty where all did something."""
        return f"Nothing to do for: {', '.join(self.idle)}." if self.idle else ""


def cleaned_sources(results: Results) -> tuple[CleanedSource, ...]:
    """The training sources that went through a cleaner; none where the run does not say."""
    sources = (results.effects or {}).get(SPLIT, {})
    return tuple(_cleaned(name, rules) for name, rules in sources.items() if rules)


def _cleaned(name: str, rules: Mapping[str, RuleEffect]) -> CleanedSource:
    ordered = sorted(rules.items(), key=lambda item: (-item[1].lines, item[0]))
    return CleanedSource(
        name=name,
        rules={rule: effect for rule, effect in ordered if effect.lines},
        idle=tuple(rule for rule, effect in ordered if not effect.lines),
    )


def _figures(effect: RuleEffect) -> tuple[str, ...]:
    figures = (effect.lines, effect.dropped, effect.words_before, effect.words_after)
    return tuple(f"{figure:,}" for figure in figures)


def _summary(effects: Sequence[RuleEffect]) -> str:
    """Sum up rules; the words they took add up to those that the text lost.

    >>> _summary([RuleEffect(lines=1, dropped=0, words_before=9, words_after=7)])
    '1 change of a line, 0 lines dropped, 2 words fewer'
    """
    if not effects:
        return "no rule changed anything"
    changes = sum(effect.lines for effect in effects)
    dropped = sum(effect.dropped for effect in effects)
    fewer = sum(effect.words_before - effect.words_after for effect in effects)
    return ", ".join(
        (
            "1 change of a line" if changes == 1 else f"{changes:,} changes of lines",
            "1 line dropped" if dropped == 1 else f"{dropped:,} lines dropped",
            f"{abs(fewer):,} {'word' if abs(fewer) == 1 else 'words'}"
            f" {'fewer' if fewer >= 0 else 'more'}",
        )
    )


def to_html(sources: Sequence[CleanedSource], title: str) -> str:
    """Write the page: a source folds out to its table and, for each rule, its examples."""
    return filled(
        "cleaning.html.jinja",
        title=title,
        summary=_summary([effect for source in sources for effect in source.rules.values()]),
        notes=(COUNTED, EXAMPLES),
        sources=sources,
    )
