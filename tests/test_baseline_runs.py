"""The recipes of BabyLM's baselines from text to report, on a text of seconds."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoModelForSeq2SeqLM, AutoTokenizer

from babyllama.errors import RecipeError
from babyllama.evaluation.baselines import score_sentences
from babyllama.evaluation.conventions import convention
from babyllama.evaluation.finetuning.classifier import load_classifier
from babyllama.evaluation.minimal_pairs import read_suite, sentences
from babyllama.models.kinds import Kind
from tiny import QUICK, Finished, babyllama, write_pairs, write_text

SMALL = [
    *QUICK,
    "training.save_at_words=[500,1000]",
    "evaluation.checkpoints=true",
]
SIZES = ("layers=1", "width=16", "feed_forward=32")
KINDS: dict[str, Kind] = {"roberta": "masked", "t5": "encoder-decoder"}
QUANTITY = {"roberta": "masked_cross_entropy", "t5": "span_cross_entropy"}
LABEL = {"roberta": "nats/masked token", "t5": "nats/token of spans"}
OTHERS = pytest.mark.parametrize("name", KINDS)


def run_baseline(folder: Path, name: str, *more: str) -> Finished:
    sizes = [f"models.{name}.architecture.{size}" for size in SIZES]
    return babyllama(folder, "run", f"baseline-{name}-micro", *SMALL, *sizes, *more)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("baselines")
    write_text(folder / "text", sentences=200)
    write_pairs(folder / "pairs")
    for name in ("opt", *KINDS):
        done = run_baseline(folder, name)
        assert done.code == 0, done.err
    return folder / "runs"


def read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


@OTHERS
def test_a_model_is_saved_for_the_auto_class_of_its_kind(runs: Path, name: str) -> None:
    folder = runs / f"baseline-{name}-micro" / "models" / name
    auto: Any = AutoModelForMaskedLM if name == "roberta" else AutoModelForSeq2SeqLM
    for place in (folder, folder / "by-words" / "words-500"):
        model, tokenizer = auto.from_pretrained(place), AutoTokenizer.from_pretrained(place)
        assert len(tokenizer) == model.get_input_embeddings().weight.shape[0]
        given = tokenizer("The king is old .", return_tensors="pt")
        assert given.input_ids[0, -1] == 2
        if name == "roberta":
            assert given.input_ids[0, 0] == 1
            assert tokenizer.mask_token_id == 300
            assert model(**given).logits.shape[-1] == 301
        else:
            assert tokenizer.convert_tokens_to_ids("<extra_id_0>") == 300
            written = model.generate(**given, max_new_tokens=3, do_sample=False)
            assert written.shape[0] == 1
    assert read(folder / "config.json")["architectures"] == [type(model).__name__]


@OTHERS
def test_a_run_scores_a_model_as_evaluate_does(runs: Path, name: str) -> None:
    run = runs / f"baseline-{name}-micro"
    scores = read(run / "scores" / name / "pairs.json")
    ways = {"roberta": "pseudo-log-likelihood", "t5": "one masked span"}
    assert scores["convention"]["scored_by"] == ways[name]
    assert scores["convention"]["prefix"] == "special tokens"
    texts = sentences(read_suite(runs.parent / "pairs"))
    rules = convention("babyllama", None, None)
    device = torch.device("cpu")
    expected = score_sentences(run / "models" / name, KINDS[name], texts, rules, device)
    items = np.load(run / "scores" / name / "pairs.items.npy")
    np.testing.assert_allclose(items.flatten(), expected, rtol=1e-5, atol=1e-4)


@OTHERS
def test_what_it_was_along_its_training_is_validated_and_scored(runs: Path, name: str) -> None:
    found = runs / f"baseline-{name}-micro" / "checkpoints" / name
    validated = read(found / "_validation" / "validation.json")
    assert {*validated} == {"500", "1000"}
    assert all({*each} == {QUANTITY[name], "objective"} for each in validated.values())
    for words in (500, 1000):
        scores = read(found / "pairs" / f"words-{words}.json")
        assert "scored_by" in scores["convention"]


@OTHERS
def test_its_loss_has_a_name_and_a_place_of_its_own(runs: Path, name: str) -> None:
    run = runs / f"baseline-{name}-micro"
    record = read(run / "models" / name / "training.json")
    assert {*record["validation"]} == {QUANTITY[name], "objective"}
    page = (run / "report" / "report.md").read_text("utf-8")
    assert LABEL[name] in page
    assert f"losses-{QUANTITY[name].partition('_')[0]}.png" in page
    assert "no loss curve" not in page
    [row] = [line for line in page.splitlines() if line.startswith(f"| {name} | control")]
    assert row.split(" | ")[3:5] == ["–", "–"]
    opt = (runs / "baseline-opt-micro" / "report" / "report.md").read_text("utf-8")
    assert LABEL[name] not in opt


@OTHERS
def test_settings_of_scores_that_it_does_not_take_are_told_and_change_nothing(
    runs: Path, name: str
) -> None:
    changed = ("evaluation.prefix=none", "evaluation.precision=bf16")
    done = run_baseline(runs.parent, name, *changed)
    assert done.code == 0
    assert "making" not in done.err
    for key in ("prefix", "precision"):
        assert f"evaluation.{key} has no effect on {name}: only causal models" in done.err


def test_they_share_text_tokens_and_pairs(runs: Path) -> None:
    for stage in ("corpus", "tokenizer", "tokens"):
        places = {(runs / f"baseline-{n}-micro" / stage).resolve() for n in ("opt", *KINDS)}
        assert len(places) == 1


@OTHERS
def test_none_but_a_causal_model_goes_on_with_prompts(runs: Path, name: str) -> None:
    run = runs / f"baseline-{name}-micro"
    assert "## Samples" not in (run / "report" / "report.md").read_text("utf-8")
    assert "## Samples" in (runs / "baseline-opt-micro/report/report.md").read_text("utf-8")
    asked = babyllama(runs, "generate", run / "models" / name, "The king")
    assert asked.code == 2
    assert f"a model of the kind {KINDS[name]}" in asked.err


def test_losses_of_other_objectives_are_not_compared(runs: Path) -> None:
    places = [runs / f"baseline-{name}-micro" for name in ("roberta", "opt")]
    done = babyllama(runs, "compare", *places, "--models", "roberta", "opt")
    assert done.code != 0
    assert "scored_by pseudo-log-likelihood and not stated" in done.err


@OTHERS
def test_a_finished_run_is_up_to_date(runs: Path, name: str) -> None:
    done = run_baseline(runs.parent, name)
    assert done.code == 0
    assert "making" not in done.err


@OTHERS
def test_a_dry_run_and_doctor_count_it(runs: Path, name: str) -> None:
    dry = run_baseline(runs.parent, name, "--dry-run")
    assert dry.code == 0, dry.err
    assert "to do" not in dry.out
    record = read(runs / f"baseline-{name}-micro" / "models" / name / "training.json")
    assert f"{record['parameters']:,}" in dry.out
    assert f"{record['steps']:,}" in dry.out


def test_a_masked_model_becomes_a_classifier_and_an_encoder_decoder_is_refused(
    runs: Path,
) -> None:
    folders = {name: runs / f"baseline-{name}-micro" / "models" / name for name in KINDS}
    assert load_classifier(folders["roberta"], ["no", "yes"], 1).num_labels == 2
    with pytest.raises(RecipeError, match="holds an encoder-decoder, which is not fine-tuned"):
        load_classifier(folders["t5"], ["no", "yes"], 1)


@OTHERS
def test_as_a_teacher_it_is_refused_before_anything_is_made(tmp_path: Path, name: str) -> None:
    write_text(tmp_path / "text", sentences=20)
    more = ["models.student.teachers=[llama]", f"models.llama.architecture.type={name}"]
    done = babyllama(tmp_path, "run", "micro", "corpus.path=text", *more)
    assert done.code == 2
    [line] = done.error_lines
    assert f"llama is {'a' if name == 'roberta' else 'an'} {KINDS[name]} model" in line
    assert not (tmp_path / "runs").exists() or not [*(tmp_path / "runs").rglob("corpus.json")]
