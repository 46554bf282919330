"""Pools that are made: from models of a finished run, held against a computation of all logits."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from babyllama import pools
from babyllama.errors import CorruptDataError, RecipeError
from babyllama.lineage import settled
from babyllama.models.folders import load_model
from babyllama.recipe import Recipe
from babyllama.recipe_distillation import Distillation
from babyllama.resolve import resolve
from babyllama.tokens.packing import read_packed
from babyllama.tokens.tokenizer import load_tokenizer, token_bytes
from tiny import LLAMA, TRAINING, babyllama, recipe, started, write_recipe

TEACHERS = ["llama", "gpt2", "control"]
CHUNK = 16


def resolved(**distillation: Any) -> Recipe:
    """The tiny recipe with a student of three teachers."""
    raw = recipe(Path("data"))
    student = {"architecture": LLAMA, "teachers": TEACHERS, "distillation": distillation}
    raw["models"] |= {"control": {"architecture": LLAMA, "seed": 2}, "student": student}
    return resolve(raw)


def folders(finished: Path, *names: str) -> dict[str, Path]:
    return {name: finished / "runs/first/models" / name for name in names}


def log_probabilities(
    finished: Path, folder: Path, starts: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor]:
    """All logits [N, V] of a model in float64, at all positions with a next token, and those."""
    ids = np.asarray(read_packed(finished / "runs/first/tokens", "dev").ids, np.int64)
    rows = torch.from_numpy(np.stack([ids[start : start + CHUNK] for start in starts]))
    with torch.no_grad():
        logits = load_model(folder)(rows).logits[:, :-1].double()
    return logits.flatten(0, 1), rows[:, 1:].flatten()


def starts(batches: list[Any]) -> np.ndarray:
    return np.concatenate([batch.starts.numpy() for batch in batches])


def nats(logs: torch.Tensor, labels: torch.Tensor) -> float:
    return -float(logs[torch.arange(len(labels)), labels].mean())


def written(folder: Path, name: str) -> dict[str, Any]:
    return dict(json.loads((folder / name).read_text("utf-8")))


@pytest.mark.parametrize("pool", ["logits", "probabilities"])
def test_an_ensemble_is_validated_as_its_members_are(
    finished: Path, tmp_path: Path, pool: Any
) -> None:
    run = finished / "runs/first"
    members = folders(finished, "llama", "gpt2")
    distillation = Distillation(pool=pool, teacher_weights={"llama": 3})
    pools.make_ensemble(
        resolved(),
        "both",
        members=members,
        candidates=members,
        distillation=distillation,
        weighing_flops=7.0,
        tokens=run / "tokens",
        tokenizer=run / "tokenizer",
        out=tmp_path,
    )
    found = written(tmp_path, "ensemble.json")
    text = starts(pools.validation_text(resolved(), run / "tokens"))
    one, labels = log_probabilities(finished, members["llama"], text)
    two, _ = log_probabilities(finished, members["gpt2"], text)
    mixed = (0.75 * one.softmax(-1) + 0.25 * two.softmax(-1)).log()
    pooled = (0.75 * one + 0.25 * two).log_softmax(-1) if pool == "logits" else mixed
    assert found["validation"]["cross_entropy"] == pytest.approx(nats(pooled, labels), rel=1e-5)
    size = sum(token_bytes(load_tokenizer(run / "tokenizer"))[label] for label in labels.tolist())
    bits = nats(pooled, labels) * len(labels) / math.log(2) / size
    assert found["validation"]["bits_per_byte"] == pytest.approx(bits, rel=1e-5)
    own = {name: written(folder, "training.json") for name, folder in members.items()}
    for name, member in found["members"].items():
        expected = own[name]["validation"]["cross_entropy"]
        assert member["cross_entropy"] == pytest.approx(expected, rel=1e-5)
    assert [m["weight"] for m in found["members"].values()] == [0.75, 0.25]
    assert found["teacher_training_flops"] == sum(each["flops"] for each in own.values())
    assert found["teacher_flops"] == 7.0


def weights(finished: Path, out: Path, **distillation: Any) -> dict[str, Any]:
    """What is found of the pool of three teachers."""
    run, teachers = finished / "runs/first", folders(finished, *TEACHERS)
    recipe = resolved(**distillation)
    pools.make_weights(recipe, "student", tokens=run / "tokens", teachers=teachers, out=out)
    return written(out, "weights.json")


def test_learned_weights_are_the_best_on_text_that_is_not_validated_on(
    finished: Path, tmp_path: Path
) -> None:
    found = weights(finished, tmp_path, learned_weights=True)
    run, recipe = finished / "runs/first", resolved()
    text = starts(pools.held_out_text(recipe, run / "tokens"))
    assert not {*text} & {*starts(pools.validation_text(recipe, run / "tokens"))}
    each = folders(finished, *TEACHERS)
    logits = {name: log_probabilities(finished, each[name], text)[0] for name in TEACHERS}
    labels = log_probabilities(finished, each["llama"], text)[1]
    assert found["tokens"] == len(labels)
    assert sum(found["weights"].values()) == pytest.approx(1)

    def value(shares: dict[str, float]) -> float:
        pooled = sum(share * logits[name] for name, share in shares.items())
        return nats(torch.as_tensor(pooled).log_softmax(-1), labels)

    assert found["cross_entropy"] == pytest.approx(value(found["weights"]), rel=1e-5)
    assert found["cross_entropy_of_all"] == pytest.approx(value(dict.fromkeys(TEACHERS, 1 / 3)))
    grid = [(a / 10, b / 10) for a in range(11) for b in range(11 - a)]
    tried = [value(dict(zip(TEACHERS, (a, b, 1 - a - b), strict=True))) for a, b in grid]
    assert found["cross_entropy"] <= min(tried) + 1e-6
    alone = {name: value({name: 1.0}) for name in TEACHERS}
    assert found["cross_entropy_alone"] == pytest.approx(alone, rel=1e-5)


def test_the_best_are_chosen_with_the_weights_that_are_given(
    finished: Path, tmp_path: Path
) -> None:
    given = {"teacher_weights": {"llama": 3.0, "gpt2": 2.0}, "pool": "probabilities"}
    found = weights(finished, tmp_path, best_teachers=2, **given)
    order = [one["teacher"] for one in found["chosen"]]
    alone = found["cross_entropy_alone"]
    assert order[0] == min(alone, key=lambda name: alone[name])
    assert found["weights"].keys() == {*order}
    parts = {"llama": 3.0, "gpt2": 2.0, "control": 1.0}
    total = sum(parts[name] for name in order)
    assert found["weights"] == pytest.approx({name: parts[name] / total for name in order})
    assert found["cross_entropy"] == pytest.approx(found["chosen"][-1]["cross_entropy"])


def test_the_best_can_have_learned_weights(finished: Path, tmp_path: Path) -> None:
    for name in ("plain", "learned"):
        (tmp_path / name).mkdir()
    plain = weights(finished, tmp_path / "plain", best_teachers=2)
    learned = weights(finished, tmp_path / "learned", best_teachers=2, learned_weights=True)
    assert plain["chosen"] == learned["chosen"]
    assert learned["weights"].keys() <= plain["weights"].keys()
    assert learned["cross_entropy"] <= plain["cross_entropy"]
    assert learned["flops"] > plain["flops"]


def test_without_held_out_text_nothing_is_learned(finished: Path, tmp_path: Path) -> None:
    tokens = finished / "runs/first/tokens"
    whole = len(read_packed(tokens, "dev").ids) // CHUNK
    raw = resolved(learned_weights=True).model_dump(mode="json")
    raw["tokens"]["validation_chunks"] = whole
    with pytest.raises(RecipeError, match=r"tokens\.validation_chunks: all .* lower it"):
        pools.held_out_text(resolve(raw), tokens)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"weights": {}, "flops": 1}'])
def test_weights_that_are_none_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "weights.json").write_text(content)
    with pytest.raises(CorruptDataError, match=r"weights\.json does not hold weights: delete"):
        pools.read_weights(tmp_path)


def test_an_ensemble_of_models_that_are_not_causal_is_refused() -> None:
    raw = recipe(Path("data"), ensembles={"x": {"members": ["llama", "bert"]}})
    raw["models"]["bert"] = {"architecture": {**LLAMA, "type": "roberta"}}
    with pytest.raises(RecipeError, match=r"ensembles\.x\.members: bert is a model of the kind"):
        pools.check_members(resolve(raw))


def test_a_settled_student_has_the_teachers_that_were_chosen_and_no_other_model_changes() -> None:
    before = resolved(best_teachers=2)
    after = settled(before, "student", {"gpt2": 0.6, "llama": 0.4})
    student = after.models["student"]
    assert student.teachers == ["gpt2", "llama"]
    assert student.distillation
    assert student.distillation.teacher_weights == {"gpt2": 0.6, "llama": 0.4}
    assert before.models["student"].teachers == TEACHERS
    others = {name: model for name, model in after.models.items() if name != "student"}
    assert others == {n: m for n, m in before.models.items() if n != "student"}


def test_a_run_with_a_chosen_pool(copied: Path, data: Path) -> None:
    """The teacher that is left out is not run, and what was spent on it is counted."""
    raw = recipe(data, ensembles={"both": {"members": ["llama", "gpt2"]}})
    raw["models"]["third"] = {"architecture": LLAMA, "seed": 4}
    raw["models"]["student"] |= {
        "teachers": ["llama", "gpt2", "third"],
        "distillation": {"best_teachers": 2, "learned_weights": True},
    }
    file = write_recipe(copied / "pool.yaml", raw)
    command = babyllama(copied, "run", file, "--run-dir", "runs/pool")
    assert command.code == 0, command.err
    run = copied / "runs/pool"
    found, model = written(run / "weights/student", "weights.json"), run / "models/student"
    record = written(model, "training.json")
    assert record["teachers"] == [*found["weights"]]
    assert len(record["teachers"]) <= 2
    assert record["distillation"]["teacher_weights"] == found["weights"]
    made = {n: written(run / "models" / n, "training.json") for n in ("llama", "gpt2", "third")}
    assert record["teacher_training_flops"] == sum(each["flops"] for each in made.values())
    forward = sum(made[n]["flops"] / made[n]["tokens_seen"] / 3 for n in record["teachers"])
    running = record["tokens_seen"] * forward
    assert record["teacher_flops"] == pytest.approx(running + found["flops"])
    pooled = written(run / "ensembles/ensemble", "ensemble.json")
    assert {n: m["weight"] for n, m in pooled["members"].items()} == pytest.approx(found["weights"])
    assert pooled["teacher_training_flops"] == record["teacher_training_flops"]
    report = (run / "report/report.md").read_text("utf-8").replace("\\", "")
    assert "mean of members of ensemble-both" in report
    assert "(learned, best 2)" in report
    again = babyllama(copied, "run", file, "--run-dir", "runs/pool")
    assert "made " not in again.err


@pytest.mark.slow
def test_a_student_of_a_learned_pool_goes_on_bit_for_bit_after_a_kill(
    copied: Path, data: Path
) -> None:
    import signal

    from safetensors.torch import load_file

    raw = recipe(data)
    raw["models"]["student"] |= {
        "distillation": {"learned_weights": True, "pool": "probabilities"},
        "training": {**TRAINING, "epochs": 3, "checkpoint_minutes": 1e-4},
    }
    file = write_recipe(copied / "pool.yaml", raw)
    shutil.copytree(copied / "runs", copied / "other", symlinks=True)
    with started(copied, "run", file, "--run-dir", "runs/pool") as command:
        partial = copied / "runs/.store"
        while not [*partial.glob("model-*.partial/checkpoints/*")]:
            assert command.process.is_alive(), command.err
        command.send(signal.SIGKILL)
    assert babyllama(copied, "run", file, "--run-dir", "runs/pool").code == 0
    assert babyllama(copied, "run", file, "--run-dir", "other/pool").code == 0
    one, other = (
        load_file(copied / place / "pool/models/student/model.safetensors")
        for place in ("runs", "other")
    )
    assert all(torch.equal(one[key], other[key]) for key in one)
