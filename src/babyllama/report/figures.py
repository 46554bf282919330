"""The figures of a report, drawn with matplotlib's own objects and no shared plotting state.

A model has the same colour, marker and line in every figure. The colours are those of Okabe and
Ito (2008), which stay apart for colour-blind readers; markers and lines repeat the distinction.
"""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from babyllama.report.records import LOSSES
from babyllama.report.results import Model, Results, Score
from babyllama.report.tables import spaced

Line = Literal["-", "--", "-.", ":"]
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = "osD^vPX"
LINES: tuple[Line, ...] = ("-", "--", "-.", ":")
CURVE_POINTS = 100
LEGEND_CHARACTERS = 95  # that fit beside each other, a line sample taking up six
MILLION = 1e6
CHANCE = 50.0  # per cent: one of two sentences
_SETTINGS: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#666666",
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.dpi": 150,
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "grid.color": "#dddddd",
    "legend.frameon": False,
    "svg.hashsalt": "babyllama",  # the same figure gives the same bytes
    "text.parse_math": False,  # names are text, also with a $ in them
    "text.usetex": False,
}


@dataclass(frozen=True, kw_only=True)
class Look:
    """How one model is drawn."""

    colour: str
    marker: str
    line: Line


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A drawn figure as SVG and PNG, with the text that stands in for it."""

    name: str
    svg: bytes
    png: bytes
    alt: str
    caption: str


def looks(models: Sequence[Model]) -> dict[str, Look]:
    """Give every model its look; an ensemble is black, as it is no model of its own."""
    found = {}
    for number, model in enumerate(model for model in models if model.role != "ensemble"):
        found[model.name] = Look(
            colour=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number % len(MARKERS)],
            line=LINES[number // len(COLOURS) % len(LINES)],
        )
    for number, model in enumerate(model for model in models if model.role == "ensemble"):
        found[model.name] = Look(colour="#000000", marker="*", line=LINES[number % len(LINES)])
    return found


def score_figure(results: Results, suite: str) -> Picture:
    """Draw parallel coordinates: one line a model over the phenomena of a suite."""
    models = results.scored(suite)
    names = list(dict.fromkeys(s.phenomenon for m in models for s in m.scores[suite].phenomena))
    found = {m.name: {s.phenomenon: s for s in m.scores[suite].phenomena} for m in models}
    with _settings():
        figure = Figure(figsize=(9, 5.2), layout="constrained")
        axes = figure.subplots()
        for model in models:
            _draw_scores(axes, looks(results.models)[model.name], names, found[model.name])
        axes.axhline(CHANCE, color="#666666", linewidth=1, linestyle=(0, (1, 2)))
        axes.set_xticks(
            range(len(names)), [label(spaced(name)) for name in names], rotation=35, ha="right"
        )
        axes.set_xlim(-0.4, len(names) - 0.6)
        axes.set_ylabel("accuracy, %")
        _legend(figure, [model.name for model in models], results.models)
        macro = "; ".join(
            f"{model.name} {100 * model.scores[suite].macro_phenomena.accuracy:.1f} %"
            for model in models
        )
        return _finished(
            figure,
            name=f"scores-{_slug(suite)}",
            alt=f"Accuracy on {suite} over {len(names)} phenomena, one line a model. "
            f"Macro means: {macro}.",
            caption=f"Accuracy on {suite} by phenomenon. Bars: one standard error. "
            "Dotted: chance. The lines join a model's points and mean nothing between them.",
        )


def _draw_scores(axes: Axes, look: Look, names: Sequence[str], found: Mapping[str, Score]) -> None:
    at = [index for index, name in enumerate(names) if name in found]
    scores = [found[names[index]] for index in at]
    axes.errorbar(
        at,
        [100 * score.accuracy for score in scores],
        yerr=[100 * score.standard_error for score in scores],
        color=look.colour,
        linestyle=look.line,
        marker=look.marker,
        markersize=6,
        linewidth=1.6,
        elinewidth=1,
    )


def loss_figure(results: Results, key: str = "cross_entropy") -> Picture | None:
    """Draw one of `LOSSES` against tokens seen: training as lines, validation as markers."""
    models = [model for model in results.models if model.curve("step", key)]
    if not models:
        return None
    title = key.replace("_", " ").replace("cross entropy", "cross-entropy")
    with _settings():
        figure = Figure(figsize=(9, 4.8), layout="constrained")
        axes = figure.subplots()
        style = looks(results.models)
        axes.set_ylim(top=max(_draw_losses(axes, style[m.name], m, key) for m in models))
        axes.set_ylabel(f"{title}, {LOSSES[key].replace('/', ' per ')}")
        axes.set_xlabel("tokens seen, millions")
        _legend(figure, [model.name for model in models], results.models)
        last = [(m.name, m.curve("validation", key)[-1:]) for m in models]
        ends = "; ".join(f"{name} {value:.3f}" for name, row in last for _, value in row)
        against = f"{title[0].upper()}{title[1:]} against tokens seen"
        return _finished(
            figure,
            name="losses" if key == "cross_entropy" else f"losses-{key.partition('_')[0]}",
            alt=f"{against}, one curve a model. Last validation: {ends}.",
            caption=f"{against}. Lines: training, each point the mean of up to"
            f" {_block(models, key)} logged steps. Markers: validation. The first steps lie above"
            " the picture.",
        )


def _draw_losses(axes: Axes, look: Look, model: Model, key: str) -> float:
    """Draw one model; give back the top of the picture that shows all but its first steps."""
    training = smoothed(model.curve("step", key))
    validation = model.curve("validation", key)
    axes.plot(*_millions(training), color=look.colour, linestyle=look.line, linewidth=1.2)
    axes.plot(
        *_millions(validation),
        color=look.colour,
        marker=look.marker,
        markersize=7,
        linestyle="none",
        markeredgecolor="white",
    )
    settled = training[len(training) // 20 :]
    return max(value for _, value in (*settled, *validation)) * 1.03


def distillation_figure(results: Results) -> Picture | None:
    """Draw cross-entropy, KL and the share of cross-entropy of every distilled model."""
    models = [model for model in results.models if model.curve("step", "kl")]
    if not models:
        return None
    parts = {
        "cross_entropy": "cross-entropy, nats per token",
        "kl": "KL to the teachers, nats",
        "cross_entropy_share": "share of cross-entropy, %",
    }
    with _settings():
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        panels = figure.subplots(1, len(parts))
        for axes, (key, title) in zip(panels, parts.items(), strict=True):
            scale = 100 if key == "cross_entropy_share" else 1
            for model in models:
                _draw_part(axes, looks(results.models)[model.name], model.curve("step", key), scale)
            axes.set_title(title, fontsize=10, loc="left")
            axes.set_xlabel("tokens seen, millions")
            axes.set_ylim(bottom=0)
        _legend(figure, [model.name for model in models], results.models)
        return _finished(
            figure,
            name="distillation",
            alt="Three panels over the training of "
            f"{', '.join(model.name for model in models)}: {'; '.join(parts.values())}.",
            caption="The parts of the distillation loss during training. The share is the part "
            "of cross-entropy in the weighted sum.",
        )


def _draw_part(axes: Axes, look: Look, curve: Sequence[tuple[float, float]], scale: float) -> None:
    tokens, values = _millions(smoothed(curve))
    axes.plot(tokens, [scale * v for v in values], color=look.colour, linestyle=look.line)


def smoothed(curve: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Average a curve over at most 100 equal stretches.

    >>> smoothed([(1.0, 4.0), (2.0, 3.0)])
    [(1.0, 4.0), (2.0, 3.0)]
    """
    size = -(-len(curve) // CURVE_POINTS)
    blocks = (curve[start : start + size] for start in range(0, len(curve), size or 1))
    return [(fmean(x for x, _ in block), fmean(y for _, y in block)) for block in blocks]


def _block(models: Iterable[Model], key: str) -> int:
    return max(-(-len(m.curve("step", key)) // CURVE_POINTS) for m in models)


def _millions(curve: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x / MILLION for x, _ in curve], [y for _, y in curve]


def _legend(figure: Figure, names: Sequence[str], models: Sequence[Model]) -> None:
    """Name the models above the picture.

    The names are set last: a label that starts with an underscore would be left out.
    """
    known = looks(models)
    handles = [
        Line2D([], [], color=known[n].colour, marker=known[n].marker, linestyle=known[n].line)
        for n in names
    ]
    labels = [label(name) for name in names]
    columns = max(1, LEGEND_CHARACTERS // (6 + max(map(len, labels), default=0)))
    numbers = [str(number) for number in range(len(names))]
    legend = figure.legend(handles, numbers, loc="outside upper left", ncols=min(5, columns))
    for text, words in zip(legend.get_texts(), labels, strict=True):
        text.set_text(words)


def label(name: str, limit: int = 28) -> str:
    """Write a name so that a figure can hold it: printable, on one line, not too long."""
    line = "".join(c if c.isprintable() else "?" for c in " ".join(name.split()))
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _slug(name: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in name)


@contextmanager
def _settings() -> Iterator[None]:
    """Draw with the settings of this file, whatever the user's matplotlibrc says."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        yield


def _finished(figure: Figure, *, name: str, alt: str, caption: str) -> Picture:
    svg = _written(figure, "svg")
    return Picture(name=name, svg=svg, png=_written(figure, "png"), alt=alt, caption=caption)


def _written(figure: Figure, form: Literal["svg", "png"]) -> bytes:
    with io.BytesIO() as file:
        nothing = {"svg": {"Date": None}, "png": {"Software": None}}
        figure.savefig(file, format=form, metadata=nothing[form], facecolor="white")
        return file.getvalue()
