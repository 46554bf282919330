"""The training and evaluation curves of a task's tries, as one picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")  # Okabe and Ito (2008)
LINES = ("-", "--")
# Of the best try, and of any other: marker, size, filled, what it means.
MARKS = {False: ("o", 5, False, "selected moment of a try"), True: ("*", 13, True, "the best try")}
ROWS = {"training_loss": "training loss (nats)", "loss": "selection loss (nats)"}


def draw_tries(file: Path, title: str, score_name: str, tries: Sequence[Mapping[str, Any]]) -> None:
    """Draw a column a learning rate: training loss, selection loss and score over the epochs.

    Colour is the batch size, the line the number of epochs; the ring is the moment that was
    selected of a try, the star that of the best try. Diverged tries have no line.
    """
    rates = sorted({each["settings"]["learning_rate"] for each in tries})
    looks = _looks(tries)
    figure = Figure(figsize=(3.2 * len(rates) + 1, 7.6), layout="constrained", dpi=150)
    panels = figure.subplots(len(ROWS) + 1, len(rates), sharex=True, sharey="row", squeeze=False)
    scored = [each for each in tries if each["best"]]
    best = max(scored, key=lambda each: (each["best"]["score"], -each["best"]["loss"]))
    for column, rate in zip(panels.T, rates, strict=True):
        for each in tries:
            if each["settings"]["learning_rate"] == rate:
                _draw(column, each, looks[_look_key(each)], is_best=each is best)
        column[0].set_title(f"learning rate {rate:g}", fontsize=10)
        column[-1].set_xlabel("epochs")
    for row, name in zip(panels[:, 0], [*ROWS.values(), f"selection {score_name}"], strict=True):
        row.set_ylabel(name)
    figure.suptitle(title, fontsize=11, parse_math=False)
    handles, labels = _samples(panels[0, 0], looks)
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    beside = file.with_name(f".{file.name}.new")
    figure.savefig(beside, format="png")
    beside.replace(file)


def _look_key(tried: Mapping[str, Any]) -> tuple[int, int]:
    return tried["settings"]["batch_size"], tried["settings"]["max_epochs"]


def _looks(tries: Sequence[Mapping[str, Any]]) -> dict[tuple[int, int], dict[str, Any]]:
    """Batch size and epochs -> how their lines are drawn."""
    keys = sorted({_look_key(each) for each in tries})
    batches = sorted({batch for batch, _ in keys})
    epochs = sorted({number for _, number in keys}, reverse=True)
    return {
        (batch, number): {
            "color": COLOURS[batches.index(batch) % len(COLOURS)],
            "linestyle": LINES[epochs.index(number) % len(LINES)],
        }
        for batch, number in keys
    }


def _draw(
    column: Sequence[Axes], tried: Mapping[str, Any], look: dict[str, Any], *, is_best: bool
) -> None:
    epochs = [moment["epoch"] for moment in tried["curve"]]
    for axes, key in zip(column, [*ROWS, "score"], strict=True):
        axes.plot(epochs, [moment[key] for moment in tried["curve"]], linewidth=1.4, **look)
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    if tried["best"]:
        marker, size, filled, _ = MARKS[is_best]
        column[-1].plot(
            tried["best"]["epoch"],
            tried["best"]["score"],
            marker=marker,
            markersize=size,
            markerfacecolor=look["color"] if filled else "none",
            markeredgecolor=look["color"],
            clip_on=False,
            zorder=3,
        )


def _samples(
    axes: Axes, looks: Mapping[tuple[int, int], dict[str, Any]]
) -> tuple[list[Any], list[str]]:
    """The legend: the lines, and the marks of what was selected."""
    handles = [axes.plot([], [], linewidth=1.4, **look)[0] for look in looks.values()]
    labels = [f"batch size {batch}, up to {number} epochs" for batch, number in looks]
    for marker, size, filled, label in MARKS.values():
        face = "#444444" if filled else "none"
        style: dict[str, Any] = {"marker": marker, "markersize": size, "markerfacecolor": face}
        handles += axes.plot([], [], linestyle="none", markeredgecolor="#444444", **style)
        labels.append(label)
    return handles, labels
