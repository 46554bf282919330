"""Models as plain Hugging Face folders: `AutoModelForCausalLM.from_pretrained` reads them.

Folders of masked models and encoder-decoders are read too, by what their configuration says.
"""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, cast

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    PreTrainedModel,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES
from transformers.utils.logging import disable_progress_bar

from babyllama.errors import BabyllamaError, CorruptDataError, RecipeError
from babyllama.models.architectures import CAUSAL
from babyllama.store import VERIFIED, joint_digest, verify_stored
from babyllama.tokens.tokenizer import load_tokenizer, reason_of, tokenizer_rules

Kind = Literal["causal", "masked", "encoder-decoder"]
"""What a model predicts: the next token, a masked one, or the tokens of a masked span."""
READERS: dict[Kind, Any] = {
    "causal": AutoModelForCausalLM,
    "masked": AutoModelForMaskedLM,
    "encoder-decoder": AutoModelForSeq2SeqLM,
}
BY_WORDS = "by-words"
"""The folder, in a model's, of the models that it was along its training."""
_WORDS = re.compile(r"words-(\d+)")


def save_model(model: PreTrainedModel, tokenizer: Path, folder: Path) -> None:
    """Write weights as safetensors, the configuration, and the tokenizer's files."""
    folder.mkdir(parents=True, exist_ok=True)
    disable_progress_bar()
    model.save_pretrained(str(folder))
    _copy_tokenizer(tokenizer, folder)


def _copy_tokenizer(tokenizer: Path, folder: Path) -> None:
    for path in sorted(tokenizer.glob("*token*.json")):
        shutil.copyfile(path, folder / path.name)


def load_model(folder: Path, kind: Kind = "causal") -> PreTrainedModel:
    """A model in float32 from a folder, from nowhere else.

    Raises:
        RecipeError: the folder is missing, or its model is of another kind.
        CorruptDataError: it holds no model that transformers can read, or not all of one; or it is
            one of a store, and is not what was made.
    """
    _check_exists(folder)
    verify_stored(folder)
    disable_progress_bar()
    try:
        found, (model, report) = _read_model(folder, kind)
    except Exception as error:
        reason = reason_of(error)
        raise CorruptDataError(f"{folder} holds no {kind} model as safetensors: {reason}") from None
    if found != kind:
        raise RecipeError(
            f"{folder} holds a model of the kind {found}, which only babyllama evaluate takes:"
            f" give a {kind} model"
        )
    # transformers fills what is missing with random numbers.
    if report["missing_keys"]:
        missing = ", ".join(sorted(report["missing_keys"]))[:300]
        raise CorruptDataError(f"{folder} lacks weights of the model it describes: {missing}")
    return cast(PreTrainedModel, model)


def _read_model(folder: Path, kind: Kind) -> tuple[Kind, tuple[Any, Any]]:
    """The kind that a folder holds and, where it is the wanted one, the model and its report."""
    own: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    found = _kind(AutoConfig.from_pretrained(str(folder), **own))
    if found != kind:
        return found, (None, None)
    return found, READERS[kind].from_pretrained(
        str(folder),
        dtype=torch.float32,
        use_safetensors=True,
        output_loading_info=True,
        **own,
    )


def model_kind(folder: Path) -> Kind:
    """What the model in a folder predicts, by its configuration.

    Raises:
        RecipeError: the folder is missing.
        CorruptDataError: its configuration cannot be read.
    """
    return _kind(load_config(folder))


def _kind(config: Any) -> Kind:
    """BERT and its kin are causal models too: their flag says which of the two was trained."""
    if getattr(config, "is_encoder_decoder", False):
        return "encoder-decoder"
    both_ways = config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return "masked" if both_ways and not any(getattr(config, k, 0) for k in CAUSAL) else "causal"


def load_config(folder: Path) -> Any:
    """The configuration of a model folder alone."""
    _check_exists(folder)
    try:
        return AutoConfig.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
    except Exception as error:
        reason = reason_of(error)
        raise CorruptDataError(f"{folder} holds no readable config.json: {reason}") from None


def check_same_tokenizer(name: str, folder: Path, tokenizer: Any) -> None:
    """Refuse a checkpoint whose ids mean something else than the run's.

    Raises:
        BabyllamaError: its tokenizer differs from the run's.
    """
    different = _differences(load_tokenizer(folder), tokenizer)
    if different:
        raise BabyllamaError(
            f"model {name} ({folder}) has another tokenizer than the run: {different}"
            f" differ; distillation compares ids, so train both on one tokenizer"
        )


def _differences(tokenizer: Any, other: Any) -> str:
    theirs, ours = tokenizer_rules(tokenizer), tokenizer_rules(other)
    return ", ".join(key for key in ours if theirs[key] != ours[key])


def check_tokenizer_stays(name: str, config: Any, tokenizer: Path) -> None:
    """Refuse an architecture whose model folder would not load the tokenizer that is in it.

    For some types (qwen2) `AutoTokenizer` builds the rules of their first models instead.

    Raises:
        RecipeError: the saved model would be read with another tokenizer.
    """
    with TemporaryDirectory() as place:
        config.save_pretrained(place)
        _copy_tokenizer(tokenizer, Path(place))
        different = _differences(load_tokenizer(Path(place)), load_tokenizer(tokenizer))
    if different:
        raise RecipeError(
            f"models.{name}.architecture.type: transformers reads the tokenizer beside a"
            f" {config.model_type} model as another one ({different} differ): take another type,"
            " such as llama"
        )


def folder_digest(folder: Path) -> str:
    """One digest over a checkpoint's configuration and weights."""
    _check_exists(folder)
    found = sorted(path for path in folder.iterdir() if path.name != VERIFIED)
    files = [path for path in found if path.suffix in {".json", ".safetensors"}]
    return joint_digest(files)


def check_folders(folders: Sequence[Path]) -> None:
    """Refuse a list of models that cannot be meant.

    Raises:
        RecipeError: a folder that is missing or named twice.
    """
    for folder in folders:
        _check_exists(folder)
        if folders.count(folder) > 1:
            raise RecipeError(f"model {folder} is named twice: name it once")


def _check_exists(folder: Path) -> None:
    if not folder.is_dir():
        raise RecipeError(f"model folder {folder} does not exist: check the path")


def words_folder(model: Path, words: int) -> Path:
    """Where a model's folder has what it was when it had seen a number of words."""
    return model / BY_WORDS / f"words-{words}"


def saved_by_words(model: Path) -> dict[int, Path]:
    """Words seen -> folder of each model that `training.save_at_words` kept, rising."""
    names = [(path, _WORDS.fullmatch(path.name)) for path in (model / BY_WORDS).glob("*")]
    return dict(sorted((int(name[1]), path) for path, name in names if name))
