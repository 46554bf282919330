"""`babyllama acquisition` and `acquisition-curves`: what they print and write, how they end."""

import json
from pathlib import Path

import pytest

from evaluation.acquisition.conftest import chatter, make_words, write_utterances, write_words
from tiny import babyllama


@pytest.fixture
def model(finished: Path) -> Path:
    return finished / "runs" / "first" / "models" / "llama"


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, ...]:
    words = write_words(tmp_path / "words.csv", make_words())
    said = write_utterances(tmp_path / "said.json", chatter())
    return ("--words", str(words), "--utterances", str(said))


def test_acquisition_prints_a_table_and_writes_rows(
    model: Path, files: tuple[str, ...], tmp_path: Path
) -> None:
    command = babyllama(tmp_path, "acquisition", model, *files, "--out", "o.json")
    assert (command.code, command.err) == (0, "")
    for shown in ("overall (22)", "function words (8)", "without surprisal", "alignment before"):
        assert shown in command.out
    rows = json.loads((tmp_path / "o.json").read_text())
    [overall] = [row for row in rows if (row["task"], row["metric"]) == ("overall", "deviation")]
    assert f"{overall['value']:.3f} ± {overall['standard_error']:.3f}" in command.out
    other = babyllama(
        tmp_path, "acquisition", model, *files, "--alignment", "same-position", "--prefix", "none"
    )
    assert other.code == 0
    assert "alignment same-position, prefix none" in other.out
    assert f"{overall['value']:.3f} ±" not in other.out.split("without")[0]


@pytest.mark.parametrize(
    ("changed", "content", "code", "message"),
    [
        ("words.csv", "word_clean\nball\n", 4, "error: words.csv has no column 'aoa'"),
        ("said.json", "[]", 4, "error: said.json is no list of utterances"),
        ("said.json", None, 2, "error: said.json is no file"),
    ],
)
def test_acquisition_ends_with_one_line_where_it_cannot_measure(
    model: Path, files: tuple[str, ...], tmp_path: Path, *,
    changed: str, content: str | None, code: int, message: str,
) -> None:  # fmt: skip
    (tmp_path / changed).unlink()
    if content is not None:
        (tmp_path / changed).write_text(content)
    arguments = ("--words", "words.csv", "--utterances", "said.json")
    command = babyllama(tmp_path, "acquisition", model, *arguments)
    assert (command.code, command.out) == (code, "")
    assert command.err.startswith(message)
    assert len(command.err.splitlines()) == 1


def test_acquisition_curves_asks_for_checkpoints(model: Path, tmp_path: Path) -> None:
    arguments = ("--contexts", "c.json", "--curves", "h.csv")
    command = babyllama(tmp_path, "acquisition-curves", model, *arguments)
    assert (command.code, command.out) == (2, "")
    assert command.err == (
        f"error: {model} holds 0 models as by-words/words-N, and a curve needs at least 4: train it"
        " with training.save_at_words=babylm\n"
    )
