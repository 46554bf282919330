"""Whole runs in processes of their own: made once, shared, and redone where something changed."""

import html
import re
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from babyllama.evaluation.conventions import convention
from babyllama.evaluation.minimal_pairs import read_suite, sentences
from babyllama.evaluation.scorers import model_scorer
from babyllama.evaluation.scoring import encode, score
from babyllama.models.folders import load_model
from babyllama.resolve import load_recipe
from babyllama.tokens.tokenizer import load_tokenizer
from tiny import (
    LLAMA,
    babyllama,
    recipe,
    write_recipe,
)
from told import made, read, same_weights, status, up_to_date, weights

STAGES = [
    "corpus",
    "tokenizer",
    "tokens",
    "models/llama",
    "models/gpt2",
    "models/student",
    "models/control",
    "ensembles/ensemble",
    "scores/llama/pairs",
    "scores/gpt2/pairs",
    "scores/student/pairs",
    "scores/control/pairs",
    "scores/ensemble/pairs",
    "samples",
]


def times(store: Path) -> dict[Path, int]:
    return {path: path.lstat().st_mtime_ns for path in store.rglob("*")}


def test_a_first_run_makes_every_stage_and_the_report(finished: Path) -> None:
    run = finished / "runs" / "first"
    assert [row["stage"] for row in read(run / "stages.json")] == STAGES
    for name in STAGES:
        place = run / (f"{name}.json" if name.startswith("scores/") else name)
        assert place.is_symlink()
        assert place.exists()
    assert status(run) == "done"
    scores = read(run / "scores" / "ensemble" / "pairs.json")
    assert (scores["model"], scores["suite"]) == ("ensemble", "pairs")
    assert {path.name for path in (finished / "runs").iterdir()} == {".store", "first"}


def test_the_report_of_a_run_holds_its_scores(finished: Path) -> None:
    run = finished / "runs" / "first"
    report = (run / "report" / "report.md").read_text("utf-8")
    roles = {"control": "control", "student": "distilled", "llama": "teacher"}
    for name, role in {**roles, "ensemble": "ensemble"}.items():
        macro = read(run / "scores" / name / "pairs.json")["macro_phenomena"]
        row = rf"\| {name} \| {role} \| .*\b{100 * macro['accuracy']:.1f} ± "
        assert re.search(row, report), name


def test_the_report_of_a_run_holds_what_its_student_wrote(finished: Path) -> None:
    run = finished / "runs" / "first"
    (sample,) = read(run / "samples" / "samples.json")
    prompt, text = sample["prompt"], sample["text"]
    assert (sample["model"], prompt) == ("student", "The king")
    assert text.startswith(prompt)
    page = html.unescape((run / "report" / "index.html").read_text("utf-8"))
    assert "as continued by student." in page
    assert f"<strong>{prompt}</strong>{text.removeprefix(prompt)}</blockquote>" in page


def test_a_run_without_suites_ends_with_a_report_without_scores(copied: Path, data: Path) -> None:
    command = babyllama(
        copied, "run", data / "tiny.yaml", "evaluation.suites.pairs=null", "--run-dir", "runs/first"
    )
    assert command.code == 0, command.err
    assert made(command) == []
    report = (copied / "runs" / "first" / "report" / "report.md").read_text("utf-8")
    assert "No scores: this run has no scores/." in report.replace("\\", "")
    assert "Validation cross-entropy" in report


def test_the_recipe_of_a_run_is_that_run_again(finished: Path, data: Path) -> None:
    kept = finished / "runs" / "first" / "recipe.yaml"
    assert load_recipe(str(kept)) == load_recipe(str(data / "tiny.yaml"))


def test_the_same_command_again_does_nothing_twice(copied: Path, data: Path) -> None:
    before = times(copied / "runs" / ".store")
    begun = time.monotonic()
    again = babyllama(copied, "run", data / "tiny.yaml", "--run-dir", "runs/first")
    assert again.code == 0, again.err
    assert up_to_date(again) == STAGES
    assert made(again) == []
    assert time.monotonic() - begun < 20
    assert times(copied / "runs" / ".store") == before


def test_a_neighbouring_run_shares_what_it_has_in_common(copied: Path, data: Path) -> None:
    command = babyllama(
        copied, "run", data / "tiny.yaml", "distillation.temperature=1", "--run-dir", "runs/t1"
    )
    assert command.code == 0, command.err
    assert made(command) == ["models/student", "scores/student/pairs", "samples"]
    first, second = copied / "runs" / "first", copied / "runs" / "t1"
    for name in ("corpus", "tokenizer", "tokens", "models/llama", "models/gpt2", "models/control"):
        assert (first / name).resolve() == (second / name).resolve()
    assert (first / "models" / "student").resolve() != (second / "models" / "student").resolve()
    assert not same_weights(weights(first, "student"), weights(second, "student"))


def test_a_changed_setting_redoes_what_depends_on_it_and_says_so(copied: Path, data: Path) -> None:
    before = times(copied / "runs" / ".store")
    command = babyllama(
        copied,
        "run",
        data / "tiny.yaml",
        "models.gpt2.training.learning_rate=5e-3",
        "--run-dir",
        "runs/first",
    )
    assert command.code == 0, command.err
    assert made(command) == [
        "models/gpt2",
        "models/student",
        "ensembles/ensemble",
        "scores/gpt2/pairs",
        "scores/student/pairs",
        "scores/ensemble/pairs",
        "samples",
    ]
    assert "making     models/gpt2  (training.learning_rate 0.002 -> 0.005)" in command.err
    assert "making     models/student  (models/gpt2 changed)" in command.err
    after = times(copied / "runs" / ".store")
    assert {path: after[path] for path in before if path.name != ".store"} == before


def test_a_student_that_does_not_listen_is_its_control_bit_for_bit(
    copied: Path, data: Path
) -> None:
    command = babyllama(
        copied, "run", data / "tiny.yaml", "distillation.ce_weight=1", "--run-dir", "runs/first"
    )
    assert command.code == 0, command.err
    assert made(command) == ["models/student", "scores/student/pairs", "samples"]
    run = copied / "runs" / "first"
    assert same_weights(weights(run, "student"), weights(run, "control"))
    assert read(run / "models" / "student" / "training.json")["teachers"] == []


def test_a_model_that_is_gone_from_the_recipe_is_gone_from_the_run(
    copied: Path, data: Path
) -> None:
    raw = recipe(data)
    del raw["models"]["control"]
    write_recipe(copied / "less.yaml", raw)
    command = babyllama(copied, "run", "less.yaml", "--run-dir", "runs/first")
    assert command.code == 0, command.err
    assert made(command) == []
    assert "control" not in (copied / "runs/first/report/index.html").read_text("utf-8")


def test_another_convention_makes_the_scores_anew_and_is_told_in_them(
    data: Path, copied: Path
) -> None:
    settings = (
        "evaluation.convention=lm-eval",
        "evaluation.prefix=</s>",
        "evaluation.normalise=tokens",
    )
    command = babyllama(copied, "run", data / "tiny.yaml", *settings, "--run-dir", "runs/first")
    assert command.code == 0, command.err
    assert {stage.split("/")[0] for stage in made(command)} == {"scores"}
    run, rules = copied / "runs" / "first", convention("lm-eval", "</s>", "tokens")
    told = read(run / "scores" / "ensemble" / "pairs.json")["convention"]
    assert told == rules.described(told["precision"])
    model, tokenizer = load_model(run / "models" / "llama"), load_tokenizer(run / "tokenizer")
    expected = score(
        model_scorer(model, told["precision"]),
        encode(tokenizer, sentences(read_suite(data / "pairs")), "</s>", leading_space=True),
        vocabulary=len(tokenizer),
        positions=64,
        device=model.device,
        normalise="tokens",
    )
    kept = np.load(run / "scores" / "llama" / "pairs.items.npy")
    np.testing.assert_allclose(kept.flatten(), expected, atol=1e-4)


def test_the_built_in_pairs_of_a_corpus_are_scored(data: Path, copied: Path) -> None:
    suites = {"generated": "builtin:paradigms"}
    raw = recipe(data, models={"llama": {"architecture": LLAMA}}, evaluation={"suites": suites})
    write_recipe(copied / "r.yaml", raw)
    command = babyllama(copied, "run", "r.yaml", "--run-dir", "runs/first")
    assert command.code == 0, command.err
    scores = read(copied / "runs" / "first" / "scores" / "llama" / "generated.json")
    assert len(scores["paradigms"]) >= 4
    assert (scores["convention"]["name"], scores["convention"]["prefix"]) == (
        "babyllama",
        "newline",
    )
    assert not (copied / "runs" / "first" / "scores" / "llama" / "pairs.json").exists()


def test_chains_self_distillation_and_many_students_are_recipes(data: Path, copied: Path) -> None:
    run = copied / "runs" / "first"
    outside = shutil.copytree(run / "models" / "gpt2", copied / "outside")
    models = {
        "second": {"twin_of": "first", "teachers": ["llama", "outside"], **temperature(1.0)},
        "first": {"architecture": LLAMA, "teachers": ["llama", "outside"], **temperature(2.0)},
        "reborn": {"twin_of": "llama", "teachers": ["llama"], "seed": 2},
        "again": {"twin_of": "reborn", "teachers": ["reborn"], "seed": 3},
        "tuned": {"checkpoint": str(outside), "training": {}, "teachers": ["again"]},
        "llama": {"architecture": LLAMA},
        "outside": {"checkpoint": str(outside)},
    }
    write_recipe(copied / "many.yaml", recipe(data, models=models))
    command = babyllama(copied, "run", "many.yaml", "--run-dir", "runs/many")
    assert command.code == 0, command.err
    order = [name for name in made(command) if name.startswith("models/")]
    assert order == [f"models/{n}" for n in ("outside", "second", "first", *CHAIN)]
    many = copied / "runs" / "many"
    assert "models/llama" in up_to_date(command)
    assert (many / "models" / "llama").resolve() == (run / "models" / "llama").resolve()
    assert same_weights(weights(many, "outside"), weights(run, "gpt2"))
    facts = {name: read(many / "models" / name / "training.json") for name in models}
    # The checkpoint is a model of the first run, which trained it under another name.
    fingerprint = read(run / "models" / "gpt2" / "manifest.json")["fingerprint"]
    assert facts["outside"]["origin"] == fingerprint
    assert facts["first"]["ancestors"][fingerprint]["name"] == "outside"
    assert facts["again"]["teachers"] == ["reborn"]
    assert facts["tuned"]["architecture"] == "gpt2"
    assert facts["again"]["teacher_words_seen"] == pytest.approx(2 * facts["llama"]["words_seen"])
    ensembles = [path.name for path in (many / "scores").iterdir() if "ensemble" in path.name]
    assert ensembles == ["ensemble"]


CHAIN = ("reborn", "again", "tuned")


def temperature(value: float) -> dict[str, Any]:
    return {"distillation": {"temperature": value}}


def test_the_tokenizer_beside_a_model_is_that_of_the_run(finished: Path) -> None:
    from babyllama.tokens.tokenizer import load_tokenizer

    run = finished / "runs" / "first"
    text = "The old king is happy and he saw this dog .\nThe girls are\n"
    ids = load_tokenizer(run / "tokenizer")(text, add_special_tokens=False).input_ids
    for name in ("llama", "gpt2", "student"):
        theirs = AutoTokenizer.from_pretrained(run / "models" / name)
        assert theirs(text, add_special_tokens=False).input_ids == ids


def test_the_saved_model_has_the_validation_loss_of_the_training(finished: Path) -> None:
    """The numbers of the last epoch are those of the folder's weights in plain transformers."""
    from babyllama.tokens.batches import validation_batches
    from babyllama.tokens.packing import read_packed

    run = finished / "runs" / "first"
    model = AutoModelForCausalLM.from_pretrained(run / "models" / "student")
    dev = read_packed(run / "tokens", "dev")
    batches = validation_batches(dev.ids, 16, chunks=8, seed=1, batch_size=8)
    nats, count = 0.0, 0
    with torch.no_grad():
        for batch in batches:
            logits = model(batch.input_ids).logits[:, :-1].flatten(0, 1)
            labels = batch.labels[:, :-1].flatten()
            nats += float(torch.nn.functional.cross_entropy(logits, labels, reduction="sum"))
            count += len(labels)
    recorded = read(run / "models" / "student" / "training.json")["validation"]["cross_entropy"]
    assert nats / count == pytest.approx(recorded, abs=1e-5)
