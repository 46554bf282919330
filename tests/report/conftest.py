"""A run directory with made-up numbers of a likely size: five models, BLiMP's 67 paradigms."""

import json
import math
import random
import shutil
from pathlib import Path

import pytest

from babyllama.report import figures

PARADIGMS = {
    "anaphor_agreement": 2,
    "argument_structure": 9,
    "binding": 7,
    "control_raising": 5,
    "determiner_noun_agreement": 8,
    "ellipsis": 2,
    "filler_gap_dependency": 7,
    "irregular_forms": 2,
    "island_effects": 8,
    "npi_licensing": 7,
    "quantifiers": 4,
    "subject_verb_agreement": 6,
}
LEVELS = {"control": 0.0, "student": 0.03, "gpt2": -0.01, "llama": 0.01, "ensemble": 0.035}
SIZES = {"control": 11_214_080, "student": 11_214_080, "gpt2": 24_805_376, "llama": 19_402_752}
RECIPE = """\
name: mini
corpus: {words: 1500000}
models:
  llama: {architecture: llama, layers: 8}
  gpt2: {architecture: gpt2, layers: 8}
  control: {architecture: llama, layers: 6}
  student:
    architecture: llama
    layers: 6
    teachers: [llama, gpt2]
distillation: {temperature: 2, ce_weight: 0.5}
"""


def effect(lines: int, dropped: int, fewer: int, *examples: tuple[str, str]) -> dict[str, object]:
    words = {"words_before": 7 * lines, "words_after": 7 * lines - fewer}
    return {"lines": lines, "dropped": dropped, **words, "examples": examples}


EFFECTS = {
    "aochildes": {
        "plain_characters": effect(0, 0, 0),
        "drop_wordless": effect(12, 12, 12, ("* * *", "")),
        "join_punctuation": effect(5210, 0, 5210, ("well , no .", "well, no."), ("a !", "a!")),
        "drop_unsettled": effect(0, 0, 0),
    },
    "gutenberg": {"join_dashes": effect(1, 0, 1, ("so — they said", "so—they said"))},
    "wikipedia": {"drop_tags": effect(0, 0, 0)},
}


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def score(accuracy: float, n: int, **names: object) -> dict[str, object]:
    error = math.sqrt(accuracy * (1 - accuracy) / n)
    return {"accuracy": accuracy, "standard_error": error, "n": n, **names}


def macro(rows: list[dict[str, object]]) -> dict[str, object]:
    errors = [float(str(row["standard_error"])) for row in rows]
    accuracies = [float(str(row["accuracy"])) for row in rows]
    return {
        "accuracy": sum(accuracies) / len(rows),
        "standard_error": math.hypot(*errors) / len(rows),
        "n": len(rows),
    }


def suite_scores(model: str, suite: str, pairs: int, seed: int = 0) -> dict[str, object]:
    common, own = random.Random(seed), random.Random(f"{seed}{model}")  # noqa: S311 (made up)
    paradigms = []
    for phenomenon, number in PARADIGMS.items():
        middle = common.uniform(0.55, 0.85) + LEVELS.get(model, 0) + own.gauss(0, 0.02)
        for index in range(number):
            accuracy = min(0.99, max(0.2, middle + common.uniform(-0.2, 0.2)))
            names = {"paradigm": f"{phenomenon}_{index + 1}", "phenomenon": phenomenon, "ties": 0}
            paradigms.append(score(round(accuracy, 3), pairs, **names))
    phenomena = []
    for phenomenon in PARADIGMS:
        rows = [row for row in paradigms if row["phenomenon"] == phenomenon]
        whole = macro(rows)
        phenomena.append({**whole, "phenomenon": phenomenon, "n": pairs * len(rows)})
    return {
        "model": model,
        "suite": suite,
        "convention": {"prefix": "newline", "score": "sum", "ties": "half"},
        "paradigms": paradigms,
        "phenomena": phenomena,
        "macro_phenomena": macro(phenomena),
        "macro_paradigms": macro(paradigms),
        "seconds": 21.4,
    }


def training(name: str, teachers: list[str], steps: int) -> dict[str, object]:
    shown, taught = 9_000_000.0, 18_000_000.0 if teachers else 0.0
    return {
        "model": name,
        "architecture": "gpt2" if name == "gpt2" else "llama",
        "parameters": SIZES[name],
        "teachers": teachers,
        "steps": steps,
        "epochs": 6,
        "batch_size": 32,
        "tokens_seen": steps * 32 * 128,
        "words_seen": shown,
        "teacher_words_seen": taught,
        "flops": 6 * SIZES[name] * steps * 4096.0,
        "teacher_flops": 3.1e15 if teachers else 0.0,
        "seconds": 754.2,
        "tokens_per_second": 16_410.7,
        "precision": "bf16",
        "kept": "last",
        "validation": {
            "cross_entropy": 4.31 - 5 * LEVELS[name],
            "bits_per_byte": 1.42 - LEVELS[name],
            "objective": 4.4,
        },
        "distillation": {"temperature": 2, "ce_weight": 0.5} if teachers else None,
    }


def log(name: str, distilled: bool, steps: int, every: int = 5) -> list[dict[str, object]]:
    draw = random.Random(name)  # noqa: S311 (made up)
    rows: list[dict[str, object]] = []
    for step in range(every, steps + 1, every):
        value = 4.0 - 5 * LEVELS[name] + 5.5 * math.exp(-step / (steps * 0.06))
        value += 0.6 * (1 - step / steps)
        row = {
            "kind": "step",
            "step": step,
            "epoch": 6 * step // steps,
            "learning_rate": 3e-4,
            "loss": value,
            "cross_entropy": value + draw.gauss(0, 0.08),
            "gradient_norm": 0.8,
            "tokens_per_second": 16_000.0,
        }
        if distilled:
            row |= {"kl": value / 6 + draw.gauss(0, 0.02), "cross_entropy_share": 0.62}
        rows.append(row)
        if step % (steps // 6) < every:
            found = {"cross_entropy": value + 0.15, "bits_per_byte": 1.4, "objective": value}
            rows.append({"kind": "validation", "step": step, "epoch": 6 * step // steps} | found)
    return rows


def write_model(run: Path, name: str, teachers: list[str], steps: int = 2160) -> None:
    folder = run / "models" / name
    write_json(folder / "training.json", training(name, teachers, steps))
    rows = log(name, bool(teachers), steps)
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_text_figures(run: Path) -> None:
    sizes = {"aochildes": 120_412, "gutenberg": 251_730, "wikipedia": 143_016}
    split = {
        name: {"files": 1, "documents": 3, "words": n, "words_raw": n + 912, "bytes": 5 * n}
        for name, n in sizes.items()
    }
    write_json(run / "corpus" / "corpus.json", {"train": split, "dev": split})
    write_json(run / "corpus" / "effects.json", {"train": EFFECTS, "dev": EFFECTS})
    sources = {
        name: {"words": n, "tokens": round(n * 1.31), "tokens_per_word": 1.31}
        for name, n in sizes.items()
    }
    write_json(run / "tokens" / "fertility.json", {"vocabulary": 8000, "sources": sources})
    counts = {"vocabulary": 8000, "train_tokens": 1_474_560, "dev_tokens": 151_002}
    write_json(run / "tokens" / "tokens.json", counts)


def write_run(run: Path) -> Path:
    run.mkdir(parents=True)
    (run / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    write_text_figures(run)
    for name in ("llama", "gpt2", "control"):
        write_model(run, name, [])
    write_model(run, "student", ["llama", "gpt2"])
    for name in LEVELS:
        write_json(run / "scores" / name / "blimp.json", suite_scores(name, "blimp", 900))
        paradigms = suite_scores(name, "generated", 200, seed=1)
        write_json(run / "scores" / name / "generated.json", paradigms)
    names = ("corpus", "tokenizer", "tokens", "models/llama", "models/gpt2", "models/student")
    stages = [{"stage": name, "seconds": 12.3, "reused": name == "corpus"} for name in names]
    write_json(run / "stages.json", stages)
    return run


@pytest.fixture(scope="session")
def pristine_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run that no test may change."""
    return write_run(tmp_path_factory.mktemp("runs") / "mini")


@pytest.fixture
def run(pristine_run: Path, tmp_path: Path) -> Path:
    """A copy of the run that a test may damage."""
    return Path(shutil.copytree(pristine_run, tmp_path / "mini"))


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the pictures empty: saving them takes nearly all the time of a report."""
    monkeypatch.setattr(figures, "_written", lambda *_: b"")
