"""Models and their ensemble on one suite: figures, where they come from, what is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from rich.console import Console
from transformers import PreTrainedModel

from babyllama.distillation.loss import Pool
from babyllama.distillation.teachers import Teachers
from babyllama.errors import CorruptDataError, RecipeError
from babyllama.evaluation.conventions import CONVENTIONS
from babyllama.evaluation.evaluate import Evaluation, evaluate
from babyllama.evaluation.minimal_pairs import read_suite, sentences, suite_digest, summarise
from babyllama.evaluation.scorers import ensemble_scorer
from babyllama.evaluation.scoring import encode, score
from babyllama.models.folders import folder_digest, load_model, save_model
from babyllama.tokens.tokenizer import load_tokenizer, save_tokenizer, train_tokenizer

Build = Callable[..., PreTrainedModel]
OURS, HARNESS = CONVENTIONS["babyllama"], CONVENTIONS["lm-eval"]


@pytest.fixture(scope="module")
def models(
    build: Build, tokenizer: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("models")
    for name, kind in (("a", "llama"), ("b", "gpt2")):
        save_model(build(kind), Path(tokenizer.name_or_path), folder / name)
    return folder / "a", folder / "b"


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three paradigms of two phenomena; the last pair of each is a tie."""
    folder = tmp_path_factory.mktemp("pairs")
    for name, phenomenon in (("x", "one"), ("y", "one"), ("z", "two")):
        texts = [(f"the {n} heron {name}", f"the {n} {name} heron") for n in "abcde"]
        lines = [
            json.dumps({"sentence_good": good, "sentence_bad": bad, "linguistics_term": phenomenon})
            for good, bad in [*texts, ("the reeds", "the reeds")]
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    return folder


def expected(folders: list[Path], pool: Pool, suite: Path) -> dict[str, Any]:
    """What pooled models score by the rules of the harness, from the parts."""
    pairs, tokenizer = read_suite(suite), load_tokenizer(folders[0])
    teachers = Teachers({folder.name: load_model(folder) for folder in folders})
    rows = encode(tokenizer, sentences(pairs), "<s>", leading_space=True)
    device = torch.device("cpu")
    scorer = ensemble_scorer(teachers, pool)
    scores = score(scorer, rows, vocabulary=275, positions=48, device=device)
    return summarise(pairs, scores, "good")


@pytest.mark.parametrize("pool", get_args(Pool))
def test_every_model_and_the_ensemble_are_scored_by_the_convention(
    models: tuple[Path, Path], suite: Path, pool: Pool
) -> None:
    found = evaluate([*models], suite, HARNESS, pool=pool, precision="fp32").scores
    assert found == {
        str(models[0]): expected([models[0]], pool, suite),
        str(models[1]): expected([models[1]], pool, suite),
        f"ensemble ({pool})": expected([*models], pool, suite),
    }


def test_every_figure_says_of_what_it_is_and_how_it_was_made(
    models: tuple[Path, Path], suite: Path
) -> None:
    found = evaluate([*models], suite, HARNESS, precision="fp32")
    rows = found.rows()
    tasks = [row["task"] for row in rows if row["model"] == str(models[1])]
    macros, phenomena = ["phenomena", "paradigms"], ["one", "two"]
    assert tasks == [
        *(f"macro/{name}" for name in macros),
        *(f"phenomenon/{name}" for name in phenomena),
        *(f"paradigm/{name}" for name in "xyz"),
    ]
    summary = found.scores[str(models[1])]["phenomena"][0]
    assert rows[len(tasks) + 2] == {
        "model": str(models[1]),
        "suite": suite.name,
        "task": "phenomenon/one",
        "metric": "accuracy",
        "value": summary["accuracy"],
        "standard_error": summary["standard_error"],
        "n": 12,
        "convention": "name lm-eval, prefix <s>, leading_space yes, normalise sum, ties good,"
        " headline paradigms, precision fp32",
        "limit": None,
        "data_sha256": suite_digest(suite),
        "model_sha256": folder_digest(models[1]),
    }


def test_an_ensemble_has_a_digest_of_its_members(models: tuple[Path, Path], suite: Path) -> None:
    one, other = (
        evaluate(list(order), suite, OURS, limit=1, pool="logits").model_digests
        for order in (models, models[::-1])
    )
    assert one[str(models[0])] == folder_digest(models[0])
    assert len({*one.values(), other["ensemble (logits)"]}) == 4


def test_a_limit_takes_the_first_pairs_of_every_paradigm(
    models: tuple[Path, Path], suite: Path, tmp_path: Path
) -> None:
    short = tmp_path / "short"
    shutil.copytree(suite, short)
    for file in short.iterdir():
        file.write_text("\n".join(file.read_text().splitlines()[:2]))
    limited = evaluate(models[:1], suite, OURS, limit=2)
    assert limited.scores == evaluate(models[:1], short, OURS).scores
    assert {row["limit"] for row in limited.rows()} == {2}
    assert "first 2 pairs a paradigm" in printed(limited)


def printed(found: Evaluation) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(found.table())
    return capture.get()


def test_the_table_has_the_convention_s_mean_first_and_every_phenomenon(
    models: tuple[Path, Path], suite: Path
) -> None:
    for rules, means in (
        (OURS, ["mean of 2 phenomena", "mean of 3 paradigms"]),
        (HARNESS, ["mean of 3 paradigms", "mean of 2 phenomena"]),
    ):
        found = evaluate([*models], suite, rules)
        text = printed(found)
        lines = [line for line in text.splitlines() if "±" in line]
        assert [line.split("  ")[0].strip() for line in lines[:2]] == means
        assert [line.split()[0] for line in lines[2:]] == ["one", "two"]
        macro = found.scores[str(models[0])][f"macro_{rules.headline}"]
        figure = f"{100 * macro['accuracy']:.2f} ± {100 * macro['standard_error']:.2f}"
        assert figure in lines[0]
        assert f"name {rules.name}, prefix {rules.prefix}" in " ".join(text.split())


def test_models_that_cannot_be_meant_are_refused(models: tuple[Path, Path], suite: Path) -> None:
    one, _ = models
    with pytest.raises(RecipeError, match=r"model folder gone does not exist"):
        evaluate([one, Path("gone")], suite, OURS)
    with pytest.raises(RecipeError, match=r"model .*a is named twice"):
        evaluate([one, one], suite, OURS)
    with pytest.raises(RecipeError, match=r"--pool takes two models or more"):
        evaluate([one], suite, OURS, pool="logits")


def test_models_of_different_tokenizers_are_scored_but_not_pooled(
    models: tuple[Path, Path], suite: Path, build: Build, tmp_path: Path
) -> None:
    save_tokenizer(train_tokenizer(["one two three " * 9], 265), tmp_path / "tokenizer")
    save_model(build(), tmp_path / "tokenizer", tmp_path / "c")
    assert len(evaluate([models[0], tmp_path / "c"], suite, OURS).scores) == 2
    with pytest.raises(RecipeError, match=r"c has another tokenizer than .*a: pool models"):
        evaluate([models[0], tmp_path / "c"], suite, OURS, pool="logits")


def test_a_tokenizer_with_more_ids_than_the_model_is_refused(
    build: Build, suite: Path, tmp_path: Path
) -> None:
    text = " ".join(f"the {n} heron {name} reeds" for n in "abcde" for name in "xyz")
    save_tokenizer(train_tokenizer([text * 9], 280), tmp_path / "tokenizer")
    save_model(build(), tmp_path / "tokenizer", tmp_path / "c")
    with pytest.raises(RecipeError, match=r"c has 275 embeddings, and its tokenizer gives larger"):
        evaluate([tmp_path / "c"], suite, OURS)


def test_a_sentence_that_is_too_long_is_refused_by_name(
    models: tuple[Path, Path], tmp_path: Path
) -> None:
    long = {"sentence_good": "x" * 49, "sentence_bad": "y"}
    (tmp_path / "p.jsonl").write_text(json.dumps(long))
    message = r"the sentence 'x{49}' takes 49 positions, prefix included, and .*a has 48"
    with pytest.raises(RecipeError, match=message):
        evaluate(models[:1], tmp_path, OURS)
    (tmp_path / "p.jsonl").write_text(json.dumps(long | {"sentence_good": "x" * 48}))
    evaluate(models[:1], tmp_path, OURS)


def test_a_bad_pair_file_is_refused_with_its_line(
    models: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "p.jsonl").write_text('{"sentence_good": "x"}')
    with pytest.raises(
        CorruptDataError, match=r"p\.jsonl, line 1 has no text under 'sentence_bad'"
    ):
        evaluate(models[:1], tmp_path, OURS)
