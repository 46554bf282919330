"""What is used is what was made: damage is refused by name, and changes make stale by name."""

import os
import re
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import yaml
from sabotage import Instant, die_at

from tiny import Finished, babyllama, started, write_pairs, write_recipe, write_text

RUN = ("run", "r.yaml", "--run-dir", "runs/a")


def flip(path: Path, *, unseen: bool = False) -> None:
    """Change a byte in the middle; `unseen` leaves the time of change as it was."""
    before, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    if unseen:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def refusal(command: Finished) -> str:
    """The one line of a run that ends with corrupt data."""
    assert command.code == 4, command.err
    (line,) = command.error_lines
    return line


FILES = [
    "corpus/train/story.jsonl",
    "tokenizer/tokenizer.json",
    "tokens/train.bin",
    "tokens/train.offsets.npy",
    "models/llama/model.safetensors",
    "signal/student/train-rank0-00000.bin",
    "suites/generated/*.jsonl",
    "scores/student/pairs.items.npy",
    "samples/samples.json",
]
QUICK = {"tokens/train.bin", "models/llama/model.safetensors"}


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in FILES],
)
def test_a_flipped_byte_in_any_artifact_is_refused_by_the_name_of_its_file(
    own_run: Path, name: str
) -> None:
    found = sorted((own_run / "runs" / "a").glob(name))[0]
    path = found.resolve().relative_to(own_run.resolve())
    flip(own_run / path)
    line = refusal(babyllama(own_run, *RUN))
    artifact = Path(*path.parts[:3])
    assert f"{path} does not have the sha256 of its manifest: delete {artifact} and run" in line


def test_damage_that_hides_behind_the_old_time_is_found_by_verify(own_run: Path) -> None:
    path = (own_run / "runs/a/tokens/train.bin").resolve()
    flip(path, unseen=True)
    assert babyllama(own_run, *RUN).code == 0
    line = refusal(babyllama(own_run, *RUN, "--verify"))
    assert f"{path.relative_to(own_run)} does not have the sha256 of its manifest: delete" in line


@pytest.mark.slow
def test_verify_on_a_run_that_is_whole_says_nothing_more(own_run: Path) -> None:
    command = babyllama(own_run, *RUN, "--verify")
    assert command.code == 0, command.err
    assert command.error_lines == []
    assert "made " not in command.err


def test_verify_has_no_place_in_a_dry_run(own_run: Path) -> None:
    command = babyllama(own_run, *RUN, "--verify", "--dry-run")
    assert (command.code, len(command.error_lines)) == (2, 1)


def test_an_input_that_changes_under_a_run_is_refused_before_its_next_use(unmade: Path) -> None:
    """The tokens are made from the corpus that this very process has made, a while later."""
    held = partial(die_at, Instant("rename", r"/tokenizer-[0-9a-f]+\.new"), signal.SIGSTOP)
    with started(unmade, *RUN, first=held) as command:
        command.wait_until_stopped()
        flip((unmade / "runs/a/corpus/dev/story.jsonl").resolve())
        command.send(signal.SIGCONT)
        line = refusal(command.finish())
    assert "dev/story.jsonl does not have the sha256 of its manifest" in line


def test_a_model_of_a_store_is_verified_wherever_it_is_read(own_run: Path) -> None:
    flip((own_run / "runs/a/models/student/model.safetensors").resolve())
    line = refusal(babyllama(own_run, "generate", "runs/a/models/student", "The king"))
    assert "model.safetensors does not have the sha256 of its manifest: delete" in line


def widen() -> None:
    """So that no row of a table is broken in two."""
    os.environ["COLUMNS"] = "300"


def stale(folder: Path, *overrides: str) -> dict[str, str]:
    """Stage -> reason of all that a run would make, as a dry run tells it."""
    with started(folder, *RUN, "--dry-run", *overrides, first=widen) as command:
        finished = command.finish()
    assert finished.code == 0, finished.err
    rows = re.findall(r"^│ (\S+) +│ (up to date|to do) +│ (.*?) *│$", finished.out, re.MULTILINE)
    assert len(rows) == 12
    return {stage: reason for stage, state, reason in rows if state == "to do"}


def move_to(folder: Path, key: str, place: Path) -> None:
    """Let the recipe read another folder."""
    raw = yaml.safe_load((folder / "r.yaml").read_text("utf-8"))
    section = raw["corpus"] if key == "path" else raw["evaluation"]["suites"]
    section[key] = str(place)
    write_recipe(folder / "r.yaml", raw)


def other_text(folder: Path) -> None:
    move_to(folder, "path", write_text(folder / "text", seed=5))


def other_pairs(folder: Path) -> None:
    move_to(folder, "pairs", write_pairs(folder / "pairs", pairs=9))


def scores(of: str = "(llama|student)", on: str = "(pairs|generated)") -> list[str]:
    """Names of the scores of some models on some suites."""
    names = [f"scores/{m}/{s}" for m in ("llama", "student") for s in ("pairs", "generated")]
    return [name for name in names if re.fullmatch(f"scores/{of}/{on}", name)]


OF_MODELS = {name: f"models/{name.split('/')[1]} changed" for name in scores()}
OF_STUDENT = dict.fromkeys([*scores("student"), "samples"], "models/student changed")
OF_TOKENIZER = {
    "tokens": "tokenizer changed",
    "models/llama": "tokens changed, tokenizer changed",
    "signal/student": "tokenizer changed, tokens changed, models/llama changed",
    "models/student": "tokens changed, tokenizer changed, signal changed",
    **{name: f"tokenizer changed, {reason}" for name, reason in OF_MODELS.items()},
    "samples": "tokenizer changed, models/student changed",
}
CHANGES: dict[str, tuple[Callable[[Path], None] | str, dict[str, str]]] = {
    "the text": (
        other_text,
        OF_TOKENIZER
        | {
            "corpus": "text changed",
            "tokenizer": "corpus changed",
            "tokens": "corpus changed, tokenizer changed",
            "suites/generated": "corpus changed",
            "signal/student": "corpus changed, " + OF_TOKENIZER["signal/student"],
        }
        | {
            name: f"{OF_TOKENIZER[name]}, suites/generated changed"
            for name in scores(on="generated")
        },
    ),
    "the tokenizer": (
        "tokenizer.vocabulary=299",
        {"tokenizer": "vocabulary 300 -> 299", **OF_TOKENIZER},
    ),
    "a teacher": (
        "models.llama.training.learning_rate=5e-3",
        {
            "models/llama": "training.learning_rate 0.002 -> 0.005",
            "signal/student": "models/llama changed",
            "models/student": "signal changed",
            **OF_MODELS,
            "samples": "models/student changed",
        },
    ),
    "a setting of the cache": (
        "models.student.distillation.signal=hidden-fp16",
        {
            "signal/student": "kind hidden-int8 -> hidden-fp16",
            "models/student": "signal changed",
            **OF_STUDENT,
        },
    ),
    "a setting of the student": (
        "models.student.distillation.temperature=1",
        {"models/student": "distillation.temperature 2.0 -> 1.0", **OF_STUDENT},
    ),
    "the pairs": (other_pairs, dict.fromkeys(scores(on="pairs"), "suites/pairs changed")),
    "a rule of scoring": (
        "evaluation.normalise=tokens",
        dict.fromkeys(scores(), "normalise None -> tokens"),
    ),
    "the samples": ("report.sample_tokens=5", {"samples": "sample_tokens 4 -> 5"}),
    "how it is run": ("runtime.compile=off", {}),
}
QUICK_CHANGES = {"the text"}


@pytest.mark.parametrize(
    "what",
    [pytest.param(w, marks=() if w in QUICK_CHANGES else pytest.mark.slow) for w in CHANGES],
)
def test_a_change_makes_stale_what_depends_on_it_and_says_why(own_run: Path, what: str) -> None:
    change, expected = CHANGES[what]
    if callable(change):
        change(own_run)
    assert stale(own_run, *([] if callable(change) else [change])) == expected
