"""The commands that look at a recipe's corpus alone."""

import json
from pathlib import Path

import pytest

from tiny import babyllama, recipe, write_pairs, write_recipe


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A corpus of one source with something to clean, a dev split, pairs, and a recipe."""
    (tmp_path / "text").mkdir()
    lines = "".join(f"*MOT: you see {n} dogs there . [points]\n" for n in range(40))
    twelve = "*CHI: one two three four five six seven eight nine ten eleven twelve .\n"
    (tmp_path / "text" / "childes.train").write_text(lines + twelve, "utf-8")
    (tmp_path / "text" / "childes.dev").write_text(twelve, "utf-8")
    write_pairs(tmp_path / "pairs")
    write_recipe(tmp_path / "tiny.yaml", recipe(tmp_path))
    return tmp_path


def test_clean_makes_the_corpus_alone_and_counts_it(folder: Path) -> None:
    command = babyllama(folder, "clean", "tiny.yaml")
    assert command.code == 0, command.err
    [header, train, dev] = command.out.splitlines()
    assert "overlapping" not in header  # a column of zeros
    assert train.split() == ["train", "childes", "1", "1", "41", "334", "253"]
    assert dev.split()[:2] == ["dev", "childes"]
    assert "making     corpus" in command.err
    assert {path.name for path in (folder / "runs" / "tiny").iterdir()} == {"corpus"}


def test_what_clean_made_a_run_does_not_make_again(folder: Path) -> None:
    babyllama(folder, "clean", "tiny.yaml")
    again = babyllama(folder, "clean", "tiny.yaml")
    assert "making" not in again.err
    run = babyllama(folder, "run", "tiny.yaml", "corpus.words=400")
    assert "making     corpus" in run.err  # another part of it
    back = babyllama(folder, "clean", "tiny.yaml")
    assert "making" not in back.err


def test_explain_shows_counts_and_examples_of_every_rule(folder: Path) -> None:
    command = babyllama(folder, "clean", "tiny.yaml", "--explain", "childes")
    assert command.code == 0, command.err
    [row] = [line for line in command.out.splitlines() if line.startswith("drop_notes ")][:1]
    assert row.split()[1:] == ["40", "0", "320", "280"]
    shown = command.out.split("\ndrop_notes\n")[1].split("\n\n")[0].splitlines()
    assert len(shown) == 10
    assert shown[0].startswith("  - *MOT: you see ")
    assert shown[0].endswith(". [points]")
    assert "[points]" not in shown[1]


def test_explaining_a_source_that_is_not_there_names_those_that_are(folder: Path) -> None:
    command = babyllama(folder, "clean", "tiny.yaml", "--explain", "chldes")
    assert command.code == 2
    assert "there is no source 'chldes'; did you mean 'childes'?" in command.err


def test_audit_tells_what_train_shares_with_dev_and_writes_it(folder: Path) -> None:
    command = babyllama(folder, "audit", "tiny.yaml", "--out", "audit.json")
    assert command.code == 0, command.err
    found = json.loads((folder / "audit.json").read_text("utf-8"))
    assert [row["documents_found"] for row in found["dev"]] == [1]
    assert list(found["suites"]) == ["pairs"]
    assert [row["lines"] for row in found["overlapping"]] == [1]
    dropped = babyllama(folder, "clean", "tiny.yaml", "corpus.drop_overlap=true")
    assert dropped.out.splitlines()[1].split()[-1] == "1"


def test_readability_prints_a_row_a_source_and_writes_it(folder: Path) -> None:
    command = babyllama(folder, "readability", "tiny.yaml", "--out", "table.json")
    assert command.code == 0, command.err
    assert "childes" in command.out
    assert all(
        h in command.out for h in ("reading ease", "grade", "fog", "ARI", "SMOG", "mean rank")
    )
    [row] = json.loads((folder / "table.json").read_text("utf-8"))
    assert len(row["scores"]) == 5
    assert row["mean_rank"] == 1


def test_nothing_of_the_models_is_looked_at(folder: Path) -> None:
    write_recipe(
        folder / "tiny.yaml",
        recipe(folder, models={"outside": {"checkpoint": "nowhere"}}),
    )
    assert babyllama(folder, "clean", "tiny.yaml").code == 0


def test_text_that_cannot_be_read_is_one_line_and_exit_code_4(folder: Path) -> None:
    (folder / "text" / "childes.train").write_bytes(b"caf\xe9\n")
    command = babyllama(folder, "clean", "tiny.yaml")
    assert command.code == 4
    [line] = command.error_lines
    assert "byte 0xe9 at offset 3" in line
    assert "corpus.bad_bytes=replace" in line


def test_the_corpus_of_a_finished_run_is_not_exchanged_under_it(folder: Path) -> None:
    small = ("training.batch_size=4", "tokenizer.vocabulary=265", "evaluation.suites=null")
    run = babyllama(folder, "run", "tiny.yaml", *small)
    assert run.code == 0, run.err
    before = (folder / "runs" / "tiny" / "corpus").resolve()
    command = babyllama(folder, "clean", "tiny.yaml", "corpus.words=100")
    assert command.code == 0
    assert "stays that of the run" in command.err
    assert (folder / "runs" / "tiny" / "corpus").resolve() == before


def test_a_file_that_cannot_be_written_is_refused_before_the_work(folder: Path) -> None:
    command = babyllama(folder, "audit", "tiny.yaml", "--out", "nowhere/audit.json")
    assert command.code == 2
    assert command.error_lines == [
        "error: --out nowhere/audit.json: nowhere is no folder: create it or choose another"
    ]
    assert not (folder / "runs").exists()


def test_an_expression_that_is_none_is_refused_by_its_key(folder: Path) -> None:
    command = babyllama(folder, "clean", "tiny.yaml", "corpus.cleaners.childes={document: '['}")
    assert command.code == 2
    [line] = command.error_lines
    assert "corpus.cleaners.childes" in line
    assert "'[' is not a regular expression" in line
