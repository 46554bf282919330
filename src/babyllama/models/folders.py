"""Models as plain Hugging Face folders: `AutoModelForCausalLM.from_pretrained` reads them."""

import hashlib
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from babyllama.errors import BabyllamaError, CorruptDataError, RecipeError
from babyllama.store import file_digest
from babyllama.tokens.tokenizer import load_tokenizer, reason_of, tokenizer_rules


def save_model(model: PreTrainedModel, tokenizer: Path, folder: Path) -> None:
    """Write weights as safetensors, the configuration, and the tokenizer's files."""
    folder.mkdir(parents=True, exist_ok=True)
    disable_progress_bar()
    model.save_pretrained(str(folder))
    _copy_tokenizer(tokenizer, folder)


def _copy_tokenizer(tokenizer: Path, folder: Path) -> None:
    for path in sorted(tokenizer.glob("*token*.json")):
        shutil.copyfile(path, folder / path.name)


def load_model(folder: Path) -> PreTrainedModel:
    """A causal model in float32 from a folder, from nowhere else.

    Raises:
        RecipeError: the folder is missing.
        CorruptDataError: it holds no causal model that transformers can read, or not all of one.
    """
    if not folder.is_dir():
        raise RecipeError(f"model folder {folder} does not exist: check the path")
    disable_progress_bar()
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            str(folder),
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    except Exception as error:
        reason = reason_of(error)
        raise CorruptDataError(f"{folder} holds no causal model as safetensors: {reason}") from None
    # transformers fills what is missing with random numbers.
    model, report = loaded
    if report["missing_keys"]:
        missing = ", ".join(sorted(report["missing_keys"]))[:300]
        raise CorruptDataError(f"{folder} lacks weights of the model it describes: {missing}")
    return cast(PreTrainedModel, model)


def load_config(folder: Path) -> Any:
    """The configuration of a model folder alone."""
    if not folder.is_dir():
        raise RecipeError(f"model folder {folder} does not exist: check the path")
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
    if not folder.is_dir():
        raise RecipeError(f"model folder {folder} does not exist: check the path")
    files = [p for p in sorted(folder.iterdir()) if p.suffix in {".json", ".safetensors"}]
    lines = [f"{path.name} {file_digest(path)}" for path in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
