"""`babyllama evaluate` and `babyllama surprisal`: what they print and write, and how they end."""

import json
import shutil
from pathlib import Path

import pytest

from babyllama.evaluation.surprisal import surprisals
from babyllama.models.folders import load_model
from babyllama.tokens.tokenizer import load_tokenizer
from baselines import write_model
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
    for shown in ("mean of 1 phenomenon", "mean of 2 paradigms", "agreement", "name babylm-2023"):
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


def test_the_precision_can_be_asked_for_and_every_row_says_it(
    models: tuple[Path, Path], data: Path, tmp_path: Path
) -> None:
    for precision in ("fp32", "bf16"):
        arguments = ("--suite", data / "pairs", "--precision", precision, "--out", "o.json")
        command = babyllama(tmp_path, "evaluate", models[0], *arguments)
        assert command.code == 0, command.err
        rows = json.loads((tmp_path / "o.json").read_text())
        assert all(f"precision {precision}" in row["convention"] for row in rows)


@pytest.mark.parametrize(
    ("pairs", "suite", "code", "message"),
    [
        (
            "",
            "gone",
            2,
            "error: suite gone: no such folder, here or in data/, and no suite of that",
        ),
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


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_an_empty_pair_file_is_refused_by_name(
    models: tuple[Path, Path], tmp_path: Path, content: str
) -> None:
    write_pairs(tmp_path / "mine")
    (tmp_path / "mine" / "empty.jsonl").write_text(content)
    command = babyllama(tmp_path, "evaluate", models[0], "--suite", "mine")
    assert (command.code, command.out) == (4, "")
    assert command.err == "error: mine/empty.jsonl holds no pairs: delete the file or fill it\n"


@pytest.mark.parametrize("option", ["--out", "--predictions"])
@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("gone/x.json", ": gone is no folder"),
        (".", " is a folder: name a file in it"),
        (f"{'x' * 300}.json", " cannot be written ("),
        ("file/x.json", ": file is no folder"),
    ],
)
def test_a_place_where_nothing_can_be_written_is_refused_before_the_models_are_read(
    tmp_path: Path, option: str, place: str, message: str
) -> None:
    (tmp_path / "file").write_text("")
    command = babyllama(tmp_path, "evaluate", "gone", "--suite", "gone", option, place)
    assert (command.code, command.out) == (2, "")
    assert command.err.startswith(f"error: {option} {place}{message}")
    assert len(command.err.splitlines()) == 1


def test_a_place_that_can_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    told = ("--suite", "gone", "--out", "there/x.json", "--predictions", "there/y.json")
    assert babyllama(tmp_path, "evaluate", "gone", *told).code == 2
    assert [*(tmp_path / "there").iterdir()] == []


def test_scores_can_be_means_a_token_and_every_row_says_it(
    models: tuple[Path, Path], tmp_path: Path
) -> None:
    write_pairs(tmp_path / "mine")
    told = ("evaluate", models[0], "--suite", "mine", "--out", "o.json")
    for arguments, expected in ((("--normalise", "tokens"), "tokens"), ((), "sum")):
        command = babyllama(tmp_path, *told, *arguments)
        assert (command.code, command.err) == (0, "")
        rows = json.loads((tmp_path / "o.json").read_text())
        assert all(f"normalise {expected}" in row["convention"] for row in rows)


@pytest.mark.parametrize(("convention", "shown"), [("babyllama", "50.00"), ("lm-eval", "100.00")])
def test_equal_sentences_tie_and_count_as_the_convention_says(
    models: tuple[Path, Path], tmp_path: Path, convention: str, shown: str
) -> None:
    row = {"sentence_good": "The king was old .", "sentence_bad": "The king was old ."}
    (tmp_path / "pairs.jsonl").write_text(f"{json.dumps(row)}\n" * 3)
    told = ("--convention", convention, "--out", "o.json")
    command = babyllama(tmp_path, "evaluate", models[0], "--suite", ".", *told)
    assert (command.code, command.err) == (0, "")
    assert shown in command.out
    assert json.loads((tmp_path / "o.json").read_text())[0]["value"] == float(shown) / 100


@pytest.mark.parametrize("convention", ["lm-eval", "babylm-2025"])
def test_a_tokenizer_without_the_prefix_s_token_is_refused_by_the_prefix(
    models: tuple[Path, Path], tmp_path: Path, convention: str
) -> None:
    model = shutil.copytree(models[0], tmp_path / "model")
    file = model / "tokenizer_config.json"
    config = json.loads(file.read_text())
    del config["bos_token"]
    file.write_text(json.dumps(config))
    write_pairs(tmp_path / "mine")
    told = ("evaluate", "model", "--suite", "mine", "--convention", convention)
    command = babyllama(tmp_path, *told)
    assert (command.code, command.out) == (1, "")
    assert command.err == (
        "error: the tokenizer has no <s>: give </s>, newline or none as evaluation.prefix or"
        " --prefix\n"
    )
    assert babyllama(tmp_path, *told, "--prefix", "newline").code == 0


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
        ("fine\n" + "x" * 100, 2, f"error: the sentence '{'x' * 60}' takes 100 positions"),
    ],
)
def test_surprisal_ends_with_one_line_where_it_cannot_read(
    models: tuple[Path, Path], tmp_path: Path, content: str | None, code: int, message: str
) -> None:
    if content is not None:
        (tmp_path / "text.txt").write_text(content)
    command = babyllama(tmp_path, "surprisal", models[0], "text.txt")
    assert (command.code, command.out) == (code, "")
    assert command.err.startswith(message)
    assert len(command.err.splitlines()) == 1


def test_models_of_every_kind_stand_in_one_table_and_surprisal_takes_causal_ones(
    data: Path, tmp_path: Path
) -> None:
    folders = [write_model(tmp_path / kind, kind) for kind in ("opt", "roberta", "t5")]
    arguments = ("--suite", data / "pairs", "--out", "o.json")
    command = babyllama(tmp_path, "evaluate", *folders, *arguments)
    assert (command.code, command.err) == (0, "")
    assert "scored by" in command.out
    rows = json.loads((tmp_path / "o.json").read_text())
    assert {row["model"] for row in rows} == {*map(str, folders)}
    (tmp_path / "text.txt").write_text("the king\n")
    command = babyllama(tmp_path, "surprisal", folders[1], "text.txt")
    assert (command.code, command.err) == (
        2,
        f"error: {folders[1]} holds a model of the kind masked, which only babyllama evaluate"
        " takes: give a causal model\n",
    )
