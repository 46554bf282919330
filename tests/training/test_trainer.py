"""One training from its first step to its summary; `test_resume.py` has what interrupts it."""

import json
import traceback
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from babyllama.distillation.teachers import Teachers
from babyllama.errors import DivergedError
from babyllama.models.folders import save_model
from babyllama.tokens.tokenizer import save_tokenizer, train_tokenizer
from babyllama.training.checkpoints import load_checkpoint
from babyllama.training.health import StopRequest
from babyllama.training.job import make_objective
from babyllama.training.objectives import CrossEntropy, Distilled
from babyllama.training.optimizers import learning_rate
from babyllama.training.trainer import Trainer, train
from tiny_jobs import (
    CHUNK,
    STEPS_PER_EPOCH,
    VOCABULARY,
    assert_equal_weights,
    new_job,
    new_model,
    new_teachers,
    run,
)


def log_rows(work: Path, kind: str) -> list[dict[str, Any]]:
    rows = map(json.loads, (work / "log.jsonl").read_text("utf-8").splitlines())
    return [row for row in rows if row["kind"] == kind]


def state(model: PreTrainedModel) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


class ValuesRead(TorchDispatchMode):
    """Files of the code that made Python wait for a tensor's value."""

    def __init__(self) -> None:
        super().__init__()
        self.files: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            paths = [Path(frame.filename) for frame in traceback.extract_stack()[:-1]]
            self.files += [p.name for p in paths if "torch" not in p.parts][-1:]
        return func(*args, **kwargs or {})


def raw_gradients(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """Gradients of the first step, which is not taken."""
    monkeypatch.setattr(trainer.optimizer, "step", lambda: None)
    monkeypatch.setattr(trainer.optimizer, "zero_grad", lambda: None)
    trainer.step()
    found = trainer.job.model.named_parameters()
    return {name: p.grad.clone() for name, p in found if p.grad is not None}


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    run(new_job(epochs=4), tmp_path)
    losses = [row["cross_entropy"] for row in log_rows(tmp_path, "validation")]
    assert len(losses) == 4
    assert losses[-1] < losses[0] - 0.1


def test_the_summary_counts_what_was_done(tmp_path: Path) -> None:
    job = new_job(teachers=new_teachers(), epochs=2, micro_batch=3)
    summary = run(job, tmp_path)
    assert summary["steps"] == 2 * STEPS_PER_EPOCH
    assert summary["tokens_seen"] == summary["steps"] * 8 * CHUNK
    assert summary["words_seen"] == summary["tokens_seen"] / 2
    assert summary["parameters"] == sum(p.numel() for p in job.model.parameters())
    assert summary["teachers"] == ["llama", "gpt2"]
    assert summary["architecture"] == "llama"
    assert summary["micro_batch"] == 3
    assert summary["precision"] == "fp32"
    assert summary["kept"] == "last"
    assert summary["distillation"]["temperature"] == 2
    assert 0 < summary["seconds"] < 60
    assert json.loads(json.dumps(summary)) == summary


def test_every_step_is_logged_with_its_parts(tmp_path: Path) -> None:
    job = new_job(teachers=new_teachers(), distillation={"ce_weight": 0.25, "temperature": 3.0})
    summary = run(job, tmp_path)
    rows = log_rows(tmp_path, "step")
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["epoch"] for row in rows] == [0, 0, 0, 1, 1, 1]
    for row in rows:
        assert row["learning_rate"] == learning_rate(row["step"] - 1, 6, job.settings)
        assert row["loss"] == pytest.approx(
            0.25 * row["cross_entropy"] + 0.75 * 9 * row["kl"], rel=1e-5
        )
        share = 0.25 * row["cross_entropy"] / row["loss"]
        assert row["cross_entropy_share"] == pytest.approx(share, rel=1e-5)
        assert row["gradient_norm"] > 0
        assert row["tokens_per_second"] > 0
    last = log_rows(tmp_path, "validation")[-1]
    assert {key: last[key] for key in summary["validation"]} == summary["validation"]
    assert (last["step"], last["epoch"]) == (6, 2)


@pytest.mark.parametrize("schedule", ["constant", "linear", "wsd"])
def test_the_loss_of_a_step_has_the_weight_of_the_step_and_validation_that_of_the_last(
    schedule: str, tmp_path: Path
) -> None:
    settings = {"ce_weight": 0.2, "ce_weight_schedule": schedule}
    settings |= {} if schedule == "constant" else {"ce_weight_end": 0.9}
    run(new_job(teachers=new_teachers(), distillation=settings), tmp_path)
    steps, (middle, last) = log_rows(tmp_path, "step"), log_rows(tmp_path, "validation")
    weights = {
        "constant": [0.2] * 6,
        "linear": [0.2, 0.34, 0.48, 0.62, 0.76, 0.9],
        "wsd": [1, 0.2, 0.2, 0.2, 0.2, 0.9],
    }[schedule]
    assert [row["ce_weight"] for row in steps] == pytest.approx(weights)
    for row, weight in zip(steps, weights, strict=True):
        loss = weight * row["cross_entropy"] + (1 - weight) * 4 * row["kl"]
        assert row["loss"] == pytest.approx(loss, rel=1e-5)
        share = weight * row["cross_entropy"] / loss
        assert row["cross_entropy_share"] == pytest.approx(share, rel=1e-5)
    for row, weight in ((middle, weights[2]), (last, weights[-1])):
        kl = (row["objective"] - weight * row["cross_entropy"]) / (4 * (1 - weight))
        assert 0 < kl < 0.5
    # The same student with a constant weight of the last step has this objective.
    other = new_job(teachers=new_teachers(), distillation={"ce_weight": weights[-1]})
    if schedule != "constant":
        trainer = Trainer(other, tmp_path)
        trainer.restore()
        found = trainer._validate(other.validation)
        assert found["objective"] == pytest.approx(last["objective"], rel=1e-6)


def test_without_teachers_the_loss_is_cross_entropy_alone(tmp_path: Path) -> None:
    assert run(new_job(), tmp_path)["distillation"] is None
    for row in log_rows(tmp_path, "step"):
        assert row["loss"] == pytest.approx(row["cross_entropy"])
        assert "kl" not in row
        assert not {"cross_entropy_share", "ce_weight"} & {*row}


def test_an_objective_distils_only_where_there_are_teachers() -> None:
    assert isinstance(make_objective(new_job()), CrossEntropy)
    settings = {"ce_weight": 0.3, "pool": "probabilities", "teacher_weights": {"gpt2": 3}}
    job = new_job(teachers=new_teachers(), distillation=settings)
    objective = make_objective(job)
    assert isinstance(objective, Distilled)
    assert objective.loss.ce_weight == 0.3
    assert objective.loss.pool == "probabilities"
    assert objective.loss.divergence == "forward"


@pytest.mark.parametrize("teachers", [False, True])
@pytest.mark.parametrize("size", [1, 3])
def test_micro_batches_give_the_raw_gradient_of_the_whole_batch(
    teachers: bool, size: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def gradients(size: int) -> dict[str, Tensor]:
        ensemble = Teachers({"gpt2": new_model("gpt2", seed=3).double()}) if teachers else None
        job = new_job(
            model=new_model().double(), teachers=ensemble, clip_norm=None, micro_batch=size
        )
        assert job.micro_batch == size
        return raw_gradients(Trainer(job, tmp_path), monkeypatch)

    parts, whole = gradients(size), gradients(8)
    assert len(whole) > 5
    for name, gradient in whole.items():
        assert gradient.abs().max() > 0, name
        torch.testing.assert_close(parts[name], gradient, rtol=1e-10, atol=1e-14, msg=name)


def test_one_update_is_the_optimizers_step_on_the_clipped_gradient(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patch:
        raw = raw_gradients(Trainer(new_job(clip_norm=None), tmp_path), patch)
    norm = float(torch.stack([g.norm() for g in raw.values()]).norm())
    for limit in (None, norm / 2, norm * 2):
        job = new_job(clip_norm=limit, warmup_steps=0, schedule="constant")
        trainer = Trainer(job, tmp_path)
        before = state(trainer.job.model)
        trainer.optimizer = torch.optim.SGD(trainer.objective.parameters())  # type: ignore[assignment]
        row = trainer.step()
        assert row["gradient_norm"] == pytest.approx(norm, rel=1e-5)
        factor = min(1.0, limit / norm) if limit else 1.0
        for name, parameter in trainer.job.model.named_parameters():
            expected = before[name] - row["learning_rate"] * factor * raw[name]
            torch.testing.assert_close(parameter.detach(), expected, rtol=1e-5, atol=1e-7)


def test_a_step_reads_no_value_but_the_counts_of_its_batch_before_its_end(tmp_path: Path) -> None:
    """On a GPU each would be a wait; the row for the log is read at once, with `tolist`."""
    trainer = Trainer(new_job(teachers=new_teachers(), micro_batch=2), tmp_path)
    trainer.step()
    with ValuesRead() as read:
        trainer.step()
    of_transformers = {"masking_utils.py", "modeling_utils.py"}
    assert [name for name in read.files if name not in of_transformers] == ["batches.py"]


def test_teachers_stay_in_evaluation_mode_frozen_and_apart(tmp_path: Path) -> None:
    models = {"llama": new_model(seed=3), "gpt2": new_model("gpt2", seed=4, dropout=0.5).train()}
    before = {name: state(model) for name, model in models.items()}
    job = new_job(teachers=Teachers(models))
    apart = {id(p) for p in make_objective(job).parameters()}
    run(job, tmp_path)
    for name, model in models.items():
        assert not any(module.training for module in model.modules())
        assert all(p.grad is None and id(p) not in apart for p in model.parameters())
        after = model.state_dict()
        assert all(torch.equal(tensor, after[key]) for key, tensor in before[name].items())


def test_a_teachers_dropout_changes_nothing(tmp_path: Path) -> None:
    jobs = []
    for rate in (0.0, 0.5):
        teachers = Teachers({"gpt2": new_model("gpt2", seed=4, dropout=rate).train()})
        jobs.append(new_job(teachers=teachers))
        run(jobs[-1], tmp_path / str(rate))
    assert_equal_weights(jobs[0].model, jobs[1].model)


def test_dropout_depends_on_the_step_and_the_micro_batch_alone(tmp_path: Path) -> None:
    def losses(drawn: int) -> list[float]:
        """Of two micro-batches of two steps, all with the same ids and the same weights."""
        job = new_job(model=new_model("gpt2", dropout=0.3), warmup_steps=3, micro_batch=4)
        job.order.ids[:] = 100
        trainer = Trainer(job, tmp_path)
        found: list[float] = []
        trainer.objective.register_forward_hook(lambda *held: found.append(held[2][0].item()))
        torch.rand(drawn)
        for _ in range(2):  # The first has rate 0.
            trainer.step()
        return found

    assert losses(drawn=1) == losses(drawn=5)
    assert len(set(losses(drawn=1))) == 4


def test_models_of_one_process_may_differ_in_precision(tmp_path: Path) -> None:
    models = []
    for number, precision in enumerate(("bf16", "fp32", "fp32")):
        job = new_job(precision=precision, epochs=1)
        assert run(job, tmp_path / str(number))["precision"] == precision
        assert all(p.dtype == torch.float32 for p in job.model.parameters())
        models.append(job.model)
    assert_equal_weights(models[1], models[2])
    assert not torch.equal(*(m.get_output_embeddings().weight for m in models[:2]))


def test_a_loss_that_is_not_finite_keeps_weights_and_checkpoint(tmp_path: Path) -> None:
    job = new_job(learning_rate=1e30, warmup_steps=0, checkpoint_minutes=1e-9)
    starts = ", ".join(map(str, job.order.batch(0, 1).starts.tolist()))
    named = rf"\(epoch 0, chunks of the train split from tokens {starts}\)"
    with pytest.raises(
        DivergedError, match=f"tiny diverged at step 2 {named}: loss (nan|inf)"
    ) as e:
        train(job, tmp_path, StopRequest())
    assert e.value.exit_code == 3
    kept = load_checkpoint(tmp_path / "checkpoints")
    assert kept is not None
    assert kept.state["step"] == 1
    for name, parameter in job.model.named_parameters():
        assert torch.equal(parameter.detach(), kept.tensors["model"][name])
    assert [row["step"] for row in log_rows(tmp_path, "step")] == [1]


def test_a_state_that_is_not_finite_takes_no_good_ones_place(tmp_path: Path) -> None:
    trainer = Trainer(new_job(), tmp_path)
    trainer.save()
    trainer.position.step = 1
    next(trainer.objective.parameters()).data[0, 0] = torch.nan
    trainer.save()
    kept = load_checkpoint(tmp_path / "checkpoints")
    assert kept is not None
    assert kept.state["step"] == 0


def test_a_last_update_that_spoils_the_model_is_no_success(tmp_path: Path) -> None:
    job = new_job(epochs=1, learning_rate=1e-3)

    class Spoiling(Trainer):
        def step(self, stop: StopRequest | None = None) -> dict[str, Any]:
            row = super().step(stop)
            if self.position.step == job.total_steps:
                job.model.get_output_embeddings().weight.data[0, 0] = torch.nan
            return row

    with pytest.raises(DivergedError, match="step 3: cross_entropy nan"):
        Spoiling(job, tmp_path).run(StopRequest())


@pytest.mark.parametrize(("select_by", "best"), [("cross_entropy", 2), ("objective", 3)])
def test_keep_best_gives_the_weights_of_the_best_epoch(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    select_by: str,
    best: int,
) -> None:
    settings = {"schedule": "constant", "warmup_steps": 0}
    wanted = new_job(epochs=best, **settings)
    run(wanted, tmp_path / "wanted")
    found = iter(
        {"cross_entropy": nats, "bits_per_byte": 1.0, "objective": mixed}
        for nats, mixed in [(3.0, 9.0), (1.0, 8.0), (2.0, 7.0), (2.0, 7.5)]
    )
    monkeypatch.setattr(Trainer, "rehearse", lambda _: None)
    monkeypatch.setattr("babyllama.training.trainer.validate", lambda *_, **__: next(found))
    job = new_job(epochs=4, keep="best", select_by=select_by, **settings)
    summary = run(job, tmp_path / "kept")
    assert_equal_weights(job.model, wanted.model)
    assert summary["kept"] == "best"
    assert summary["validation"][select_by] == {2: 1.0, 3: 7.0}[best]


def test_keep_last_gives_the_last_weights_however_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = new_job(epochs=2)
    run(wanted, tmp_path / "wanted")
    found = iter(
        {"cross_entropy": nats, "bits_per_byte": 1.0, "objective": 1.0} for nats in (1.0, 2.0)
    )
    monkeypatch.setattr(Trainer, "rehearse", lambda _: None)
    monkeypatch.setattr("babyllama.training.trainer.validate", lambda *_, **__: next(found))
    job = new_job(epochs=2)
    assert run(job, tmp_path / "kept")["validation"]["cross_entropy"] == 2
    assert_equal_weights(job.model, wanted.model)


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    """A tokenizer's folder."""
    words = "the quick brown foxes jump over lazy dogs while seven wizards make toxic brew"
    save_tokenizer(train_tokenizer([f"{words}\n"] * 9, VOCABULARY), tmp_path / "tokenizer")
    return tmp_path / "tokenizer"


def test_models_saved_by_words_are_plain_folders_of_that_moment(
    tokenizer: Path, tmp_path: Path
) -> None:
    # A step sees 48 words.
    job = new_job(save_at_words=[100_000, 100, 48], fields={"tokenizer": tokenizer})
    run(job, tmp_path)
    folders = tmp_path / "by-words"
    assert sorted(path.name for path in folders.iterdir()) == ["words-100", "words-48"]
    for words, step in ((48, 1), (100, 3)):
        trainer = Trainer(new_job(), tmp_path / "again")
        for _ in range(step):
            trainer.step()
        saved = AutoModelForCausalLM.from_pretrained(folders / f"words-{words}")
        assert_equal_weights(saved, trainer.job.model)
        assert len(AutoTokenizer.from_pretrained(folders / f"words-{words}")) == VOCABULARY


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_plain_transformers_gives_the_logits_that_the_model_has_after_its_training(
    kind: str, tokenizer: Path, tmp_path: Path
) -> None:
    job, ids = new_job(model=new_model(kind)), torch.arange(3, 3 + CHUNK)[None]
    run(job, tmp_path / "work")
    save_model(job.model, tokenizer, tmp_path / "model")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    with torch.no_grad():
        expected = job.model(input_ids=ids).logits
        torch.testing.assert_close(plain(ids).logits, expected, rtol=0, atol=1e-5)


def test_nothing_is_pickled(tmp_path: Path) -> None:
    run(new_job(keep="best", save_at_words=[48]), tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".safetensors", ".json", ".jsonl"}
    for folder in ("checkpoints", "best"):
        found = {path.suffix for path in (tmp_path / folder).rglob("*") if path.is_file()}
        assert found == {".safetensors", ".json"}
