"""Bad input: one line that names the thing and the remedy, its exit code, nothing spoilt."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from disks import small_disk as disk
from tiny import LLAMA, TRAINING, Finished, babyllama, recipe, write_pairs, write_recipe, write_text

Refused = Callable[..., str]


def times(store: Path) -> dict[Path, int]:
    """When every file of every finished artifact was written."""
    files = (file for folder in store.glob("*-*[0-9a-f]") for file in folder.rglob("*"))
    return {file: file.stat().st_mtime_ns for file in files}


def one_line(command: Finished, code: int) -> str:
    """The only line of a refusal."""
    assert command.code == code, command.err
    assert len(command.error_lines) == 1, command.err
    assert command.error_lines[0].startswith("error: ")
    return command.error_lines[0]


@pytest.fixture
def refused(copied: Path, data: Path) -> Refused:
    """Run a recipe beside a finished run; give the one line of its refusal."""

    def run(code: int, *overrides: str, **sections: Any) -> str:
        before = times(copied / "runs" / ".store")
        write_recipe(copied / "bad.yaml", recipe(data) | sections)
        command = babyllama(copied, "run", "bad.yaml", *overrides, "--run-dir", "runs/bad")
        after = times(copied / "runs" / ".store")
        assert {path: after.get(path) for path in before} == before
        return one_line(command, code)

    return run


@pytest.fixture
def text(tmp_path: Path) -> Path:
    return write_text(tmp_path / "text", sentences=60)


def test_a_corpus_that_does_not_exist(refused: Refused, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    assert f"corpus.path {gone} does not exist" in refused(2, f"corpus.path={gone}")


def test_a_corpus_folder_without_files(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    message = refused(2, f"corpus.path={tmp_path / 'empty'}")
    assert f"{tmp_path / 'empty'} holds no text" in message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has zero bytes: expected text; delete the file or fill it"),
        (b"\x7fELF\0\0\0", "is binary (NUL at byte 4)"),
        (b"good text\n caf\xe9 \n", "is not UTF-8 (byte 0xe9 at offset 14): convert it"),
    ],
)
def test_a_file_that_is_not_text(
    refused: Refused, text: Path, content: bytes, message: str
) -> None:
    (text / "other.txt").write_bytes(content)
    line = refused(4, f"corpus.path={text}")
    assert f"{text / 'other.txt'} {message}" in line


def test_a_corpus_of_white_space(refused: Refused, text: Path) -> None:
    (text / "story.txt").write_text("\n \n")
    assert f"the train split of {text} has no text left" in refused(4, f"corpus.path={text}")


def test_a_vocabulary_that_the_text_does_not_support(refused: Refused) -> None:
    message = refused(2, "tokenizer.vocabulary=5000")
    assert "tokenizer.vocabulary: the training text supports" in message
    assert "lower it to at most" in message


def test_a_chunk_longer_than_the_corpus(refused: Refused, data: Path) -> None:
    models = {"a": {"architecture": LLAMA | {"positions": 100_000}}}
    message = refused(2, "tokens.chunk_length=20000", models=models)
    assert "models.a: tokens.chunk_length: no chunk of 20000 tokens" in message
    assert "shorten it or add text" in message


def test_a_chunk_longer_than_the_dev_split(refused: Refused) -> None:
    models = {"a": {"architecture": LLAMA | {"positions": 100_000}}}
    message = refused(2, "tokens.chunk_length=2000", "training.batch_size=1", models=models)
    assert "a chunk of 2000 tokens is longer than the dev split" in message


def test_a_batch_larger_than_the_corpus(refused: Refused) -> None:
    message = refused(2, "training.batch_size=5000")
    assert "models.llama: training.batch_size: a batch of 5000 sequences is larger than" in message


def test_positions_fewer_than_the_chunk(refused: Refused, copied: Path) -> None:
    message = refused(2, "tokens.chunk_length=65")
    assert "models.llama.architecture.positions: 64 positions are fewer than" in message
    models = {"a": {"checkpoint": str(copied / "runs/first/models/llama")}}
    message = refused(2, "tokens.chunk_length=65", models=models)
    assert "models.a.checkpoint: 64 positions are fewer than tokens.chunk_length 65" in message


def test_an_architecture_that_cannot_be(refused: Refused) -> None:
    message = refused(2, "models.llama.architecture.type=lama")
    assert "models.llama: architecture.type: transformers has no causal model 'lama'" in message
    assert "did you mean 'llama'?" in message
    message = refused(2, "models.llama.architecture.options.attention_bais=true")
    assert "models.llama: unknown key architecture.options.attention_bais" in message
    assert "did you mean 'attention_bias'?" in message
    message = refused(2, "models.llama.architecture.heads=3")
    assert "models.llama: architecture.width: 16 is not a multiple of 3 heads" in message


def test_an_architecture_that_would_be_read_with_another_tokenizer(
    refused: Refused, copied: Path
) -> None:
    """It is refused before any other model is trained."""
    models = {"a": {"architecture": LLAMA}, "b": {"architecture": LLAMA | {"type": "qwen2"}}}
    message = refused(2, "seed=9", models=models)
    assert "models.b.architecture.type: transformers reads the tokenizer beside a qwen2" in message
    assert len([*(copied / "runs" / ".store").glob("model-*")]) == 4


def outside_models(folder: Path) -> dict[str, Any]:
    return {
        "outside": {"checkpoint": str(folder)},
        "student": {"architecture": LLAMA, "teachers": ["outside"]},
    }


def test_a_teacher_folder_that_is_missing(refused: Refused, tmp_path: Path) -> None:
    message = refused(2, models=outside_models(tmp_path / "gone"))
    assert f"model folder {tmp_path / 'gone'} does not exist" in message


def test_a_teacher_folder_without_a_model(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    message = refused(4, models=outside_models(tmp_path / "empty"))
    assert f"models.outside: {tmp_path / 'empty'} holds no readable config.json" in message


def test_a_teacher_whose_weights_are_missing_or_damaged(refused: Refused, copied: Path) -> None:
    outside = shutil.copytree(copied / "runs/first/models/gpt2", copied / "outside")
    (outside / "model.safetensors").write_bytes(b"damaged")
    assert f"{outside} holds no causal model" in refused(4, models=outside_models(outside))
    (outside / "model.safetensors").unlink()
    assert f"{outside} holds no causal model" in refused(4, models=outside_models(outside))


@pytest.mark.parametrize("training", [{}, {"training": {}}])
def test_a_checkpoint_with_another_tokenizer(
    refused: Refused, copied: Path, data: Path, training: dict[str, Any]
) -> None:
    """It is refused before any other model is trained."""
    message = refused(
        1,
        "corpus.words=2000",
        models={
            "first": {"architecture": LLAMA},
            "outside": {"checkpoint": str(copied / "runs/first/models/gpt2")} | training,
        },
    )
    assert "model outside" in message
    assert "has another tokenizer than the run" in message
    assert len([*(copied / "runs" / ".store").glob("model-*")]) == 4


def test_a_checkpoint_with_more_ids_than_its_tokenizer(refused: Refused, copied: Path) -> None:
    outside = shutil.copytree(copied / "runs/first/models/llama", copied / "outside")
    config = (outside / "config.json").read_text()
    (outside / "config.json").write_text(config.replace('"vocab_size": 300', '"vocab_size": 320'))
    tensors = load_file(outside / "model.safetensors")
    padded = {
        name: torch.cat([t, torch.zeros(20, *t.shape[1:])]) if len(t) == 300 else t
        for name, t in tensors.items()
    }
    save_file(padded, outside / "model.safetensors", {"format": "pt"})
    message = refused(1, models=outside_models(outside))
    assert f"model outside ({outside}) predicts 320 ids, the tokenizer has 300" in message


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["models.llama.teachers=[student]"], "circle: llama -> student -> llama"),
        (["models.student.teachers=[student]"], "a model cannot teach itself"),
        (["models.student.teachers=[lama]"], "no model 'lama'; did you mean 'llama'?"),
        (["training.learning_rate=-1"], "training.learning_rate: Input should be greater than 0"),
        (["training.epoch=1"], "unknown key training.epoch; did you mean 'epochs'?"),
        (["models.llama.training.epoch=1"], "unknown key models.llama.training.epoch; did you"),
        (["runtime.device=gpu"], "no device 'gpu'"),
        (["corpus.cleaners.story=cbx"], "no cleaner 'cbx'; did you mean 'cbt'?"),
        (["epochs"], "override 'epochs' must look like key.path=value"),
    ],
)
def test_a_setting_that_cannot_be_meant(
    refused: Refused, overrides: list[str], message: str
) -> None:
    assert message in refused(2, *overrides)


def test_a_learning_rate_at_which_training_diverges(refused: Refused, copied: Path) -> None:
    message = refused(
        3, models={"a": {"architecture": LLAMA}}, training=TRAINING | {"learning_rate": 1e30}
    )
    assert "a diverged at step" in message
    assert "lower models.a.training.learning_rate" in message
    assert '"failed"' in (copied / "runs" / "bad" / "status.json").read_text()


def test_a_suite_folder_that_is_missing(refused: Refused, tmp_path: Path) -> None:
    message = refused(2, f"evaluation.suites.blimp={tmp_path / 'gone'}")
    assert f"suite {tmp_path / 'gone'}: no such folder, here or in data/" in message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 11 is not JSON"),
        ('{"sentence_good": "a"}', "line 11 has no text under 'sentence_bad'"),
        ("7", "line 11 has no text under 'sentence_good'"),
    ],
)
def test_a_pair_file_that_is_broken(
    refused: Refused, tmp_path: Path, line: str, message: str
) -> None:
    pairs = write_pairs(tmp_path / "pairs")
    with (pairs / "agreement_was.jsonl").open("a") as file:
        file.write(line + "\n")
    found = refused(4, f"evaluation.suites.pairs={pairs}")
    assert f"{pairs / 'agreement_was.jsonl'}, {message}" in found


def test_a_sentence_longer_than_a_model_is_named_before_the_first_training(
    refused: Refused, copied: Path, tmp_path: Path
) -> None:
    (tmp_path / "pairs").mkdir()
    row = f'{{"sentence_good": "{"king " * 100}", "sentence_bad": "king"}}'
    (tmp_path / "pairs" / "long.jsonl").write_text(row)
    models = {"a": {"architecture": LLAMA | {"positions": 128}}, "b": {"architecture": LLAMA}}
    message = refused(2, f"evaluation.suites.pairs={tmp_path / 'pairs'}", models=models)
    assert "evaluation.suites.pairs: the sentence 'king king king" in message
    assert "models.b has 64: give the model more or leave the sentence out" in message
    assert not [*(copied / "runs" / ".store").glob("model-*.partial")]
    assert len([*(copied / "runs" / ".store").glob("model-*")]) == 4


def test_a_corpus_without_the_words_of_the_built_in_pairs(refused: Refused, text: Path) -> None:
    lines = "".join(f"{n} zwo drei {n * n} vier\n" for n in range(2000))
    (text / "story.txt").write_text(lines)
    suites = {"generated": "builtin:paradigms"}
    message = refused(1, f"corpus.path={text}", evaluation={"suites": suites})
    assert "too few English words" in message
    assert "evaluation.suites.generated=null" in message


def test_a_damaged_artifact(copied: Path, data: Path) -> None:
    artifact = (copied / "runs" / "first" / "tokens").resolve()
    with (artifact / "train.bin").open("r+b") as file:
        file.truncate(100)
    for extra in ((), ("--dry-run",)):
        command = babyllama(copied, "run", data / "tiny.yaml", "--run-dir", "runs/first", *extra)
        message = one_line(command, 4)
        assert "train.bin is 100 bytes, expected" in message
        assert f"delete {artifact} and run again" in message.replace(
            "runs/.store", str(artifact.parent)
        )
    shutil.rmtree(artifact)
    command = babyllama(copied, "run", data / "tiny.yaml", "--run-dir", "runs/first")
    assert command.code == 0, command.err
    assert command.err.count("\nmade ") == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.yaml", None, "recipe file gone.yaml does not exist: check the path"),
        ("bad.yaml", "a: [", "recipe bad.yaml is not YAML"),
        ("list.yaml", "- a", "recipe list.yaml must be a mapping of sections, not list"),
        ("minni", None, "no recipe 'minni'; did you mean 'mini'?"),
    ],
)
def test_a_recipe_that_cannot_be_read(
    tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    assert message in one_line(babyllama(tmp_path, "run", name), 2)
    assert not (tmp_path / "runs").exists()


def test_a_run_directory_that_is_a_file(tmp_path: Path, data: Path) -> None:
    (tmp_path / "file").write_text("mine")
    command = babyllama(tmp_path, "run", data / "tiny.yaml", "--run-dir", "file")
    assert "--run-dir file is a file: name a folder" in one_line(command, 2)
    command = babyllama(tmp_path, "run", data / "tiny.yaml", "--run-dir", "file/a")
    assert "--run-dir file/a: Not a directory: choose another folder" in one_line(command, 2)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_run_directory_that_cannot_be_made(tmp_path: Path, data: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o555)
    # Nothing is closed to root but the system's own folders.
    place = Path("/proc/runs/a") if os.geteuid() == 0 else folder / "runs" / "a"
    command = babyllama(tmp_path, "run", data / "tiny.yaml", "--run-dir", place)
    message = one_line(command, 2)
    assert f"--run-dir {place}: " in message
    assert "choose another folder" in message


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a thousand kilobytes."""
    with disk(tmp_path / "disk", "900k") as place:
        yield place


@pytest.mark.parametrize(
    ("kilobytes", "stage"),
    [
        (20, "corpus"),
        (180, "models/a"),
        pytest.param(4, None, marks=pytest.mark.slow),
        pytest.param(110, "tokens", marks=pytest.mark.slow),
        pytest.param(300, "models/a", marks=pytest.mark.slow),
    ],
)
def test_a_full_disk(
    small_disk: Path, tmp_path: Path, data: Path, kilobytes: int, stage: str | None
) -> None:
    (small_disk / "ballast").write_bytes(b"x" * ((900 - kilobytes) * 1024))
    write_recipe(tmp_path / "one.yaml", recipe(data, models={"a": {"architecture": LLAMA}}))
    run = ("run", "one.yaml", "--run-dir", small_disk / "runs" / "a")
    command = babyllama(tmp_path, *run)
    message = one_line(command, 1)
    assert "the disk is full: free space or choose a --run-dir on another disk" in message
    assert [None, *re.findall(r"^making +(\S+)", command.err, re.MULTILINE)][-1] == stage
    finished = times(small_disk / "runs" / ".store")
    (small_disk / "ballast").unlink()
    again = babyllama(tmp_path, *run)
    assert again.code == 0, again.err
    after = times(small_disk / "runs" / ".store")
    assert {path: after.get(path) for path in finished} == finished


def test_generating_from_what_is_no_model(copied: Path) -> None:
    command = babyllama(copied, "generate", "gone", "The king")
    assert "model folder gone does not exist: check the path" in one_line(command, 2)
    command = babyllama(copied, "generate", "runs", "The king")
    assert "runs holds no causal model" in one_line(command, 4)
    command = babyllama(copied, "generate", "runs/first/models/llama", "king " * 100)
    assert "fills the model's 64 positions: shorten it" in one_line(command, 2)
