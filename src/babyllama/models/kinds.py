"""What a model predicts: the next token, a masked one, or the tokens of a masked span.

The kind of a model decides its class in transformers, what it is trained for and how it is scored.
"""

from collections.abc import Mapping
from typing import Any, Literal

from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from babyllama.errors import RecipeError
from babyllama.lineage import line_of
from babyllama.recipe import Architecture, Model
from babyllama.tokens.added import MASKED, SPANS, Added
from babyllama.tokens.corruption import span_lengths

Kind = Literal["causal", "masked", "encoder-decoder"]
AUTO_CLASSES: Mapping[Kind, Any] = {
    "causal": AutoModelForCausalLM,
    "masked": AutoModelForMaskedLM,
    "encoder-decoder": AutoModelForSeq2SeqLM,
}
# Without these BERT, XLM and their kin look at the token that they predict.
CAUSAL = ("is_decoder", "causal")
TRAINED: Mapping[str, Kind] = {"roberta": "masked", "t5": "encoder-decoder"}
"""The types of a recipe that are not causal."""
ADDED: Mapping[Kind, Added] = {"masked": MASKED, "encoder-decoder": SPANS}
"""What the tokenizer of a model has beside the run's, by its kind."""


def kind_of_config(config: Any) -> Kind:
    """BERT and its kin are causal models too: their flag says which of the two was trained."""
    if getattr(config, "is_encoder_decoder", False):
        return "encoder-decoder"
    both_ways = config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return "masked" if both_ways and not any(getattr(config, k, 0) for k in CAUSAL) else "causal"


def kind_of_architecture(architecture: Architecture) -> Kind:
    """By the type's name; a `roberta` with the option `is_decoder` is causal."""
    told = any(architecture.options.get(flag) for flag in CAUSAL)
    return "causal" if told else TRAINED.get(architecture.type, "causal")


def kind_of_model(models: Mapping[str, Model], name: str) -> Kind:
    """Of an entry of a recipe; an outside model is causal, or refused where it is read."""
    architecture = models[line_of(models, name)[0]].architecture
    return kind_of_architecture(architecture) if architecture else "causal"


def added_tokens(kind: Kind) -> int:
    """Ids that a model has behind those of the run's vocabulary."""
    return len(ADDED[kind].names) if kind in ADDED else 0


def check_kinds(models: Mapping[str, Model], chunk_length: int) -> None:
    """Refuse what only causal models can do.

    Raises:
        RecipeError: another kind that teaches or is taught, or chunks with more spans than there
            are sentinels.
    """
    kinds = {name: kind_of_model(models, name) for name in models}
    for name, model in models.items():
        if kinds[name] != "causal" and model.teachers:
            raise RecipeError(
                f"models.{name}.teachers: {name} is {_article(kinds[name])} model, which has no"
                " next token to learn from them: leave them out, or take a causal type"
            )
        for teacher in model.teachers:
            if kinds[teacher] != "causal":
                raise RecipeError(
                    f"models.{name}.teachers: {teacher} is {_article(kinds[teacher])} model, which"
                    " says nothing of the next token: take causal teachers"
                )
        spans = span_lengths(chunk_length).spans
        if kinds[name] == "encoder-decoder" and spans > len(SPANS.names):
            raise RecipeError(
                f"tokens.chunk_length: models.{name} would have {spans} spans in {chunk_length}"
                f" tokens, and there are {len(SPANS.names)} sentinels: shorten the chunks"
            )


def check_causal(key: str, config: Any) -> None:
    """Refuse an outside model of another kind.

    Raises:
        RecipeError: it is one, by its configuration.
    """
    kind = kind_of_config(config)
    if kind != "causal":
        raise RecipeError(
            f"{key}: a model of the kind {kind} ({config.model_type}), and a run takes outside"
            " models that are causal: score it with babyllama evaluate"
        )


def _article(kind: Kind) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
