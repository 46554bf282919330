"""`babyllama evaluate` and `babyllama surprisal`: what they print and write, and how they end."""

import json
from pathlib import Path

import pytest

from babyllama.evaluation.surprisal import surprisals
from babyllama.models.folders import load_model
from babyllama.tokens.tokenizer import load_tokenizer
from tiny import babyllama, write_pairs


@pytest.fixture
def models(finished: Path) -> tuple[Path, Path]:
    folder = finished / "runs" / "first" / "models"
    return folder / "llama", folder / "student"


def test_evaluate_prints_a_table_and_writes_every_figure(
    models: tuple[Path, Path], tmp_path: Path
) -> None:
    write_pairs(tmp_path / "data" / "mine")
    arguments = ("--convention", "babylm-2023", "--pool", "logits", "--limit", 4, "--out", "o.json")
    command = babyllama(tmp_path, "evaluate", *models, "--suite", "mine", *arguments)
    assert (command.code, command.err) == (0, "")
    for shown in ("mean of 1 phenomena", "mean of 2 paradigms", "agreement", "name babylm-2023"):
        assert shown in command.out
    rows = json.loads((tmp_path / "o.json").read_text())
    assert {row["model"] for row in rows} == {*map(str, models), "ensemble (logits)"}
    assert {row["n"] for row in rows if row["task"].startswith("paradigm/")} == {4}
    assert {row["suite"] for row in rows} == {"mine"}


def test_evaluate_agrees_with_the_scores_of_the_run(
    models: tuple[Path, Path], finished: Path, data: Path, tmp_path: Path
) -> None:
    suite = data / "pairs"
    command = babyllama(tmp_path, "evaluate", *models, "--suite", suite, "--out", "o.json")
    assert command.code == 0, command.err
    rows = json.loads((tmp_path / "o.json").read_text())
    for model in models:
        file = finished / "runs" / "first" / "scores" / model.name / "pairs.json"
        scores = json.loads(file.read_text())
        expected = [scores["macro_phenomena"], scores["macro_paradigms"]]
        found = [row for row in rows if row["model"] == str(model)][:2]
        assert [row["value"] for row in found] == [row["accuracy"] for row in expected]


@pytest.mark.parametrize(
    ("pairs", "suite", "code", "message"),
    [
        ("", "gone", 2, "error: suite gone: neither gone nor data/gone is a folder: give a folder"),
        ("", ".", 2, "error: suite folder . holds no .jsonl or .json files"),
        ('{"sentence_good": "x"}', ".", 4, "error: pairs.jsonl, line 1 has no text under"),
        ("[", ".", 4, "error: pairs.jsonl, line 1 is not JSON"),
        (
            json.dumps({"sentence_good": "x" * 100, "sentence_bad": "y"}),
            ".",
            2,
            f"error: the sentence '{'x' * 60}' takes 100 positions, prefix included",
        ),
    ],
)
def test_evaluate_ends_with_one_line_where_it_cannot_score(
    models: tuple[Path, Path], tmp_path: Path, *, pairs: str, suite: str, code: int, message: str
) -> None:
    if pairs:
        (tmp_path / "pairs.jsonl").write_text(pairs)
    command = babyllama(tmp_path, "evaluate", models[0], "--suite", suite)
    assert (command.code, command.out) == (code, "")
    assert command.err.startswith(message)
    assert len(command.err.splitlines()) == 1


def test_evaluate_names_a_model_folder_that_is_not_there(tmp_path: Path) -> None:
    write_pairs(tmp_path / "mine")
    command = babyllama(tmp_path, "evaluate", "gone", "--suite", "mine")
    assert (command.code, command.err) == (
        2,
        "error: model folder gone does not exist: check the path\n",
    )


def test_surprisal_prints_a_row_a_word(models: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("The king  was old .\n\nqueen\n")
    command = babyllama(tmp_path, "surprisal", models[0], "text.txt", "--prefix", "<s>")
    assert (command.code, command.err) == (0, "")
    header, *rows = [line.split("\t") for line in command.out.splitlines()]
    assert header == ["line", "number", "word", "bits"]
    lines = [["The", "king", "was", "old", "."], [], ["queen"]]
    expected = [*surprisals(load_model(models[0]), load_tokenizer(models[0]), lines, "<s>")]
    assert [row[:3] for row in rows] == [[str(w.line), str(w.number), w.text] for w in expected]
    bits = [word.bits for word in expected]
    assert [float(row[3]) for row in rows] == pytest.approx(bits, abs=1e-4)


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        (None, 2, "error: text.txt is no file"),
        ("", 4, "error: text.txt holds no word"),
        ("x" * 100, 2, f"error: the sentence '{'x' * 60}' takes 100 positions"),
    ],
)
def test_surprisal_ends_with_one_line_where_it_cannot_read(
    models: tuple[Path, Path], tmp_path: Path, content: str | None, code: int, message: str
) -> None:
    if content is not None:
        (tmp_path / "text.txt").write_text(content)
    command = babyllama(tmp_path, "surprisal", models[0], "text.txt")
    assert command.code == code
    assert command.err.startswith(message)
    assert len(command.err.splitlines()) == 1
