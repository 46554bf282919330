"""A sentence's score is the sum of its tokens' log-probabilities behind an explicit prefix."""

import math
from collections.abc import Callable, Sequence
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pytest
import torch
from transformers import PreTrainedModel

from babyllama.distillation.loss import Pool
from babyllama.distillation.teachers import Teachers
from babyllama.errors import BabyllamaError, CorruptDataError
from babyllama.evaluation import scoring
from babyllama.evaluation.minimal_pairs import Paradigm, sentences, summarise
from babyllama.evaluation.scorers import Scorer, ensemble_scorer, model_scorer
from babyllama.evaluation.scoring import encode, prefix_ids, score
from babyllama.evaluation.trees import Batch
from babyllama.models import readout
from babyllama.recipe import Prefix
from dense import ensemble_log_probabilities

Build = Callable[..., PreTrainedModel]
VOCABULARY = 275
PREFIXES: tuple[Prefix, ...] = get_args(Prefix)
SENTENCES = [
    "The heron waits.",
    "The heron wait.",
    "Water is still until the heron waits in the reeds",
    "a",
    "the reeds",
    "the reeds",
    "<s> is no token here </s>",
]


def scores_of(
    model: Scorer,
    tokenizer: Any,
    texts: Sequence[str] = SENTENCES,
    prefix: Prefix = "newline",
    positions: int = 48,
) -> npt.NDArray[np.float64]:
    rows = encode(tokenizer, texts, prefix)
    device = torch.device("cpu")
    return score(model, rows, vocabulary=VOCABULARY, positions=positions, device=device)


def uniform(batch: Batch) -> torch.Tensor:
    """A model that knows nothing."""
    return torch.full(batch.reads.shape, -math.log(VOCABULARY))


UNIFORM = Scorer(uniform)


@torch.no_grad()
def one_at_a_time(model: PreTrainedModel, tokenizer: Any, text: str, prefix: Prefix) -> float:
    """The score by its definition: a sentence alone, a token after the other."""
    plain = tokenizer.backend_tokenizer
    plain.encode_special_tokens = True
    before = {"none": [], "<s>": [1], "</s>": [2], "newline": plain.encode("\n").ids}[prefix]
    ids = before + plain.encode(text).ids
    plain.encode_special_tokens = False
    total = 0.0
    for position in range(max(1, len(before)), len(ids)):
        logits = model(input_ids=torch.tensor([ids[:position]])).logits[0, -1]
        total += float(logits.double().log_softmax(-1)[ids[position]])
    return total


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("kind", ["llama", "gpt2", "cohere"])  # the last scales its logits
def test_a_score_is_the_sum_of_log_probabilities_of_a_sentence_alone(
    build: Build, tokenizer: Any, kind: str, prefix: Prefix
) -> None:
    model = build(kind)
    expected = [one_at_a_time(model, tokenizer, text, prefix) for text in SENTENCES]
    found = scores_of(model_scorer(model), tokenizer, prefix=prefix)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.ptp(expected) > 1


@pytest.mark.parametrize("tokens", [1, 30, 200, 1 << 11])
def test_a_score_does_not_depend_on_the_batch_or_on_its_place(
    build: Build, tokenizer: Any, monkeypatch: pytest.MonkeyPatch, tokens: int
) -> None:
    model = model_scorer(build("gpt2"))
    texts = [f"the {noun} {verb}" for noun in ("reed", "heron") for verb in ("is", "waits")] * 2
    alone = [scores_of(model, tokenizer, [text])[0] for text in texts]
    monkeypatch.setitem(scoring.TOKENS, "cpu", tokens)
    np.testing.assert_allclose(scores_of(model, tokenizer, texts), alone, atol=1e-4)
    np.testing.assert_allclose(scores_of(model, tokenizer, texts[::-1]), alone[::-1], atol=1e-4)


@pytest.mark.parametrize("trees", [True, False])
def test_a_batch_of_a_large_vocabulary_has_fewer_tokens(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch, trees: bool
) -> None:
    shapes: list[tuple[int, ...]] = []

    def nats(batch: Batch) -> torch.Tensor:
        shapes.append(tuple(batch.ids.shape))
        return uniform(batch)

    texts = [word * n for n in range(1, 40) for word in ("x", "y", "z", "q", "j", "k")]
    scores_of(Scorer(nats, trees), tokenizer, texts)
    many = len(shapes)
    monkeypatch.setattr(scoring, "LOGITS_BUDGET", VOCABULARY * 150)
    scores_of(Scorer(nats, trees), tokenizer, texts)
    assert all(rows * length <= 150 for rows, length in shapes[many:])
    assert len(shapes) - many > many


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_prefix_is_not_itself_scored_and_without_one_the_first_token_is_not(
    tokenizer: Any, prefix: Prefix
) -> None:
    text = "The heron waits."
    tokens = len(tokenizer(text)["input_ids"])
    scored = tokens - 1 if prefix == "none" else tokens
    [found] = scores_of(UNIFORM, tokenizer, [text], prefix)
    assert found == pytest.approx(-scored * math.log(VOCABULARY), rel=1e-6)


def test_the_prefix_conditions_the_sentence(build: Build, tokenizer: Any) -> None:
    model = model_scorer(build())
    found = {prefix: scores_of(model, tokenizer, ["the reeds"], prefix)[0] for prefix in PREFIXES}
    assert len({round(value, 3) for value in found.values()}) == 4


def test_prefixes_are_the_tokens_that_they_name(tokenizer: Any) -> None:
    [newline] = tokenizer("\n")["input_ids"]
    assert [prefix_ids(tokenizer, p) for p in PREFIXES] == [[], [1], [2], [newline]]


def test_a_sentence_is_encoded_without_a_leading_space_and_without_special_tokens(
    tokenizer: Any,
) -> None:
    [newline] = tokenizer("\n")["input_ids"]
    [plain, spelt_out] = encode(tokenizer, ["The", "<s>"], "newline")
    assert plain == (newline, *tokenizer("The")["input_ids"])
    assert tokenizer.bos_token_id not in spelt_out


def test_a_prefix_that_the_tokenizer_lacks_is_refused() -> None:
    class Bare:
        bos_token_id = None
        eos_token_id: int | None = 7

    assert prefix_ids(Bare(), "</s>") == [7]
    message = r"no <s>: give </s>, newline or none as evaluation\.prefix or --prefix"
    with pytest.raises(BabyllamaError, match=message):
        prefix_ids(Bare(), "<s>")
    Bare.eos_token_id = None
    with pytest.raises(BabyllamaError, match=r"no </s>: give newline or none as"):
        prefix_ids(Bare(), "</s>")


def test_sentences_with_the_same_ids_tie_exactly_and_count_as_half(
    build: Build, tokenizer: Any
) -> None:
    suite = [Paradigm("p", "p", [("the reeds", "the reeds"), ("\ufb01sh", "fish")])]
    scores = scores_of(model_scorer(build()), tokenizer, sentences(suite))
    [row] = summarise(suite, scores)["paradigms"]
    assert (row["accuracy"], row["ties"], row["n"]) == (0.5, 2, 2)


def test_equal_sentences_are_scored_once(tokenizer: Any) -> None:
    rows = 0

    def nats(batch: Batch) -> torch.Tensor:
        nonlocal rows
        rows += len(batch.ids)
        return uniform(batch)

    scores_of(Scorer(nats), tokenizer, ["the reeds"] * 5 + ["the heron"])
    assert rows == 2


def test_the_last_token_of_a_sentence_needs_no_position(build: Build, tokenizer: Any) -> None:
    model, texts = build("gpt2", positions=16), ["a", "x" * 16]
    assert [len(row) for row in encode(tokenizer, texts, "newline")] == [2, 17]
    found = scores_of(model_scorer(model), tokenizer, texts, positions=16)
    expected = [one_at_a_time(model, tokenizer, text, "newline") for text in texts]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_sentence_longer_than_the_positions_is_refused(build: Build, tokenizer: Any) -> None:
    model = build("gpt2", positions=16)
    with pytest.raises(BabyllamaError, match=r"a sentence of 18 tokens.* 16 positions"):
        scores_of(model_scorer(model), tokenizer, ["a", "x" * 17], positions=16)


def test_a_sentence_without_text_is_refused(tokenizer: Any) -> None:
    with pytest.raises(CorruptDataError, match="sentence '' has no tokens"):
        encode(tokenizer, ["the reeds", ""], "newline")


def test_no_sentences_give_no_scores(tokenizer: Any) -> None:
    assert scores_of(UNIFORM, tokenizer, []).shape == (0,)


def test_a_model_that_gives_no_numbers_is_refused(build: Build, tokenizer: Any) -> None:
    model = build()
    next(model.parameters()).data.fill_(math.nan)
    with pytest.raises(BabyllamaError, match=r"2 of 2 sentences have no finite log-probability"):
        scores_of(model_scorer(model), tokenizer, ["the reeds", "the heron"])


def test_dropout_does_not_act_on_a_score(build: Build, tokenizer: Any) -> None:
    model = model_scorer(build("gpt2", dropout=0.5).train())
    assert scores_of(model, tokenizer).tolist() == scores_of(model, tokenizer).tolist()


@pytest.mark.parametrize("pool", get_args(Pool))
def test_an_ensemble_of_one_teacher_scores_as_that_teacher(
    build: Build, tokenizer: Any, pool: Pool
) -> None:
    model = build("gpt2")
    found = scores_of(ensemble_scorer(Teachers({"only": model}, {"only": 5.0}), pool), tokenizer)
    expected = [one_at_a_time(model, tokenizer, text, "newline") for text in SENTENCES]
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("kind", ["cohere", "gemma2"])
def test_a_model_that_bends_its_logits_is_scored_in_float32_throughout(
    build: Build, tokenizer: Any, kind: str
) -> None:
    """Its logits would come out of autocast rounded to bf16, before the softmax."""
    model = build(kind)
    exact = scores_of(model_scorer(model), tokenizer)
    narrow = scores_of(model_scorer(model, "bf16"), tokenizer)
    np.testing.assert_allclose(narrow, exact, rtol=1e-6)


def test_with_bf16_the_token_s_own_logit_and_the_sum_over_the_vocabulary_are_wide(
    build: Build, tokenizer: Any
) -> None:
    model, ids = build("llama"), torch.tensor([[5, 6, 7]])
    narrow = scores_of(model_scorer(model, "bf16"), tokenizer)
    assert abs(narrow - scores_of(model_scorer(model), tokenizer)).max() > 1e-4
    head = model.get_output_embeddings().weight.detach()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        features = model.base_model(input_ids=ids).last_hidden_state.float()[0]
    rounded = (features.bfloat16() @ head.bfloat16().T).float()
    follows = torch.tensor([6, 7, 8])
    expected = (features * head[follows]).sum(1) - rounded.logsumexp(1)
    found = model_scorer(model, "bf16").nats(Batch(ids, torch.arange(3), follows))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pool", get_args(Pool))
@pytest.mark.parametrize("chunk", [1, 700, 1 << 20])
def test_an_ensemble_scores_by_its_pooled_log_probabilities(
    build: Build, tokenizer: Any, monkeypatch: pytest.MonkeyPatch, pool: Pool, chunk: int
) -> None:
    monkeypatch.setitem(readout.CHUNK_LOGITS, "cpu", chunk)
    models = {"llama": build("llama"), "gpt2": build("gpt2")}
    teachers = Teachers(models, {"llama": 3.0})
    expected = []
    for row in encode(tokenizer, SENTENCES, "newline"):
        ids = torch.tensor([row])
        pooled = ensemble_log_probabilities(teachers, ids[:, :-1], pool)
        expected.append(float(pooled.gather(2, ids[:, 1:, None]).sum()))
    found = scores_of(ensemble_scorer(teachers, pool), tokenizer)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    for model in models.values():
        assert abs(found - scores_of(model_scorer(model), tokenizer)).max() > 0.1
