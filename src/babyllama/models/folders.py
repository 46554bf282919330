"""Models as plain Hugging Face folders: `AutoModelForCausalLM.from_pretrained` reads them.

Those of masked models and encoder-decoders are for the Auto classes of their kind.
"""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import torch
from transformers import AutoConfig, PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from babyllama.errors import BabyllamaError, CorruptDataError, RecipeError
from babyllama.models.kinds import ADDED, AUTO_CLASSES, Kind, kind_of_config
from babyllama.store import VERIFIED, joint_digest, verify_stored
from babyllama.tokens.added import write_extended
from babyllama.tokens.tokenizer import load_tokenizer, reason_of, tokenizer_rules

BY_WORDS = "by-words"
"""The folder, in a model's, of the models that it was along its training."""
WEIGHTS = "weights"
"""The folder, in a model's, of the models whose weights its training kept beside its last."""
_WORDS = re.compile(r"words-(\d+)")


def save_model(model: PreTrainedModel, tokenizer: Path, folder: Path) -> None:
    """Write weights as safetensors, the configuration, and the tokenizer's files."""
    folder.mkdir(parents=True, exist_ok=True)
    disable_progress_bar()
    model.save_pretrained(str(folder))
    _copy_tokenizer(tokenizer, folder)


def own_tokenizer(model: PreTrainedModel, tokenizer: Path, folder: Path) -> Path:
    """The folder of a new model's tokenizer: the run's or, made in `folder`, one with more tokens.

    A masked model has a mask and an encoder-decoder has sentinels, see `tokens.added`.
    """
    added = ADDED.get(kind_of_config(model.config))
    if not added:
        return tokenizer
    write_extended(tokenizer, added, folder)
    return folder


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
    found = kind_of_config(AutoConfig.from_pretrained(str(folder), **own))
    if found != kind:
        return found, (None, None)
    return found, AUTO_CLASSES[kind].from_pretrained(
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
    return kind_of_config(load_config(folder))


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


def weights_folder(model: Path, weights: str) -> Path:
    """Where a model's folder has weights, by what `start.weights` of a recipe calls them."""
    return model if weights == "last" else model / WEIGHTS / weights


def saved_by_words(model: Path) -> dict[int, Path]:
    """Words seen -> folder of each model that `training.save_at_words` kept, rising."""
    names = [(path, _WORDS.fullmatch(path.name)) for path in (model / BY_WORDS).glob("*")]
    return dict(sorted((int(name[1]), path) for path, name in names if name))
