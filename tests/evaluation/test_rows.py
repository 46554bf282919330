"""What holds of every model that is not causal, however it comes to a sentence's score."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import PreTrainedModel

from babyllama.errors import BabyllamaError, CorruptDataError, RecipeError
from babyllama.evaluation.baselines import SCORES
from babyllama.evaluation.conventions import CONVENTIONS
from babyllama.models.folders import load_model, model_kind
from babyllama.tokens.tokenizer import load_tokenizer
from baselines import SENTENCES, own_ids, write_model, write_tokenizer

OURS = CONVENTIONS["babyllama"]


@pytest.fixture(scope="module", params=["roberta", "bert", "t5"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / request.param, request.param)


def parts(folder: Path) -> tuple[Any, PreTrainedModel, Any]:
    """What scores sentences by a folder's model, the model, and its tokenizer."""
    kind = model_kind(folder)
    model, tokenizer = load_model(folder, kind), load_tokenizer(folder)
    return partial(SCORES[kind], model, tokenizer), model, tokenizer


def test_a_mean_is_over_the_tokens_of_the_sentence(folder: Path) -> None:
    score, _, tokenizer = parts(folder)
    lengths = [len(own_ids(tokenizer, text)) for text in SENTENCES]
    means = score(SENTENCES, replace(OURS, normalise="tokens"))
    np.testing.assert_allclose(means, score(SENTENCES, OURS) / lengths)


def test_equal_sentences_have_the_same_score_to_the_last_bit(folder: Path) -> None:
    scores = parts(folder)[0]([SENTENCES[0], *SENTENCES, SENTENCES[0]], OURS)
    assert scores[0] == scores[1] == scores[-1]


@pytest.mark.parametrize(
    ("kind", "own", "frame"),
    [("bert", "<mask>", "<s> $A </s>"), ("t5", "<extra_id_0>", "$A </s>")],
)
def test_a_tokenizer_with_more_ids_than_the_model_is_refused(
    kind: str, own: str, frame: str, tmp_path: Path
) -> None:
    names = [*(f"<{number}>" for number in range(9)), own]
    wide = write_tokenizer(tmp_path / "wide", names=names, frame=frame)
    score, *_ = parts(write_model(tmp_path / "model", kind, wide))
    with pytest.raises(RecipeError, match=r"model has 275 embeddings, and its tokenizer gives"):
        score(SENTENCES, OURS)


def test_a_sentence_without_text_and_a_broken_model_are_refused(folder: Path) -> None:
    score, model, _ = parts(folder)
    with pytest.raises(CorruptDataError, match=r"sentence '' has no tokens"):
        score(["The heron", ""], OURS)
    next(model.parameters()).data.fill_(float("nan"))
    with pytest.raises(BabyllamaError, match=r"6 of 6 sentences have no finite log-probability"):
        score(SENTENCES, OURS)
