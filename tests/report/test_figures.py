import struct
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from hypothesis import given
from hypothesis import strategies as st

from babyllama.report import figures
from babyllama.report.results import Model, read_results

HOSTILE = "<script>alert(1)</script> $\\frac{1}$ --> _a\x00b"


def models(names: Sequence[str]) -> list[Model]:
    return [Model(name=name, role="distilled") for name in names]


def test_the_scores_are_drawn_as_svg_and_png_with_a_text(run: Path) -> None:
    picture = figures.score_figure(read_results(run), "blimp")
    assert ET.fromstring(picture.svg).tag.endswith("svg")  # noqa: S314 (our own bytes)
    assert struct.unpack(">8s4x4sII", picture.png[:24])[0] == b"\x89PNG\r\n\x1a\n"
    assert "student" in picture.alt
    assert "12 phenomena" in picture.alt
    assert b"determiner noun agreement" in picture.svg


def test_every_figure_is_the_same_twice_over(run: Path) -> None:
    results = read_results(run)
    assert figures.loss_figure(results) == figures.loss_figure(results)


def test_several_ensembles_are_told_apart() -> None:
    names = ("ensemble-a", "ensemble-b")
    found = figures.looks([Model(name=name, role="ensemble") for name in names])
    assert len({*found.values()}) == 2
    assert {look.colour for look in found.values()} == {"#000000"}


def test_a_figure_leaves_the_settings_of_the_caller_alone(run: Path) -> None:
    results = read_results(run)
    with mpl.rc_context({"font.size": 23.0}):
        figures.distillation_figure(results)
        assert mpl.rcParams["font.size"] == 23.0


def test_the_losses_name_the_last_validation_of_every_model(run: Path) -> None:
    picture = figures.loss_figure(read_results(run))
    assert picture is not None
    for name in ("control", "student", "llama", "gpt2"):
        assert f"{name} 4." in picture.alt or f"{name} 3." in picture.alt
    assert "ensemble" not in picture.alt


def test_only_distilled_models_have_parts_of_a_loss(run: Path) -> None:
    picture = figures.distillation_figure(read_results(run))
    assert picture is not None
    assert "student" in picture.alt
    assert "control" not in picture.alt


def test_a_run_without_logs_has_no_curves(tmp_path: Path) -> None:
    results = read_results(tmp_path)
    assert figures.loss_figure(results) is None
    assert figures.distillation_figure(results) is None


def test_a_hostile_name_is_drawn_as_text(run: Path) -> None:
    (run / "scores" / "student").rename(run / "scores" / "_$x$ <script>")
    picture = figures.score_figure(read_results(run), "blimp")
    root = ET.fromstring(picture.svg)  # noqa: S314 (our own bytes)
    assert not [element for element in root.iter() if element.tag.endswith("script")]
    assert b"_$x$" in picture.svg


def test_labels_are_printable_and_short() -> None:
    assert figures.label("student_t1") == "student_t1"
    assert len(figures.label("x" * 500)) == 28
    assert figures.label("a\x00b\nc") == "a?b c"


def test_looks_differ_for_any_likely_number_of_models() -> None:
    found = figures.looks(models([f"m{index}" for index in range(24)]))
    assert len({(look.colour, look.line) for look in found.values()}) == 24


def test_the_ensemble_does_not_shift_the_looks_of_others() -> None:
    few = models(["a", "b"])
    pooled = Model(name="ensemble", role="ensemble")
    assert figures.looks([pooled, *few])["a"] == figures.looks(few)["a"]


@given(st.lists(st.floats(-10, 10), max_size=350))
def test_smoothing_keeps_range_and_order_in_few_points(values: list[float]) -> None:
    found = figures.smoothed([(float(index), value) for index, value in enumerate(values)])
    assert len(found) <= 100
    assert [x for x, _ in found] == sorted(x for x, _ in found)
    for _, value in found:
        assert min(values) - 1e-9 <= value <= max(values) + 1e-9


def test_a_hostile_name_survives_as_a_label() -> None:
    assert figures.label(HOSTILE).isprintable()
