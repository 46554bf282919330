"""A model along its training: the checkpoints that it saved by words seen, validated and scored."""

import shutil
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import torch

from babyllama.builders import Check, make_scores, validation_text
from babyllama.devices import pick_device, resolve_precision
from babyllama.errors import IgnoredSettingWarning
from babyllama.models.folders import load_model, saved_by_words
from babyllama.recipe import Distillation, Recipe
from babyllama.store import write_json
from babyllama.tokens.tokenizer import load_tokenizer, token_bytes
from babyllama.training.objectives import CrossEntropy
from babyllama.training.validation import validate


def validate_milestones(
    recipe: Recipe, name: str, *, model: Path, tokens: Path, tokenizer: Path, out: Path
) -> None:
    """Validate every checkpoint as the training does; `validation.json` has them by words seen."""
    training = recipe.models[name].training
    assert training
    device = pick_device(recipe.runtime.device)
    narrow = resolve_precision(training.precision, device) == "bf16"
    found = {}
    for words, folder in saved_by_words(model).items():
        network: Any = load_model(folder)
        found[str(words)] = validate(
            CrossEntropy(network.to(device)),
            validation_text(recipe, tokens),
            torch.tensor(token_bytes(load_tokenizer(tokenizer))),
            autocast=partial(torch.autocast, device.type, torch.bfloat16, enabled=narrow),
            signal=lambda _: [],
            device=device,
        )
    if not found:
        warnings.warn(
            f"evaluation.checkpoints has no effect on {name}: its training ended before it had seen"
            " as many words as its training.save_at_words asks for",
            IgnoredSettingWarning,
            stacklevel=2,
        )
    write_json(out / "validation.json", found)


def score_milestones(
    recipe: Recipe, name: str, suite_name: str, *, model: Path, suite: Path, tokenizer: Path,
    out: Path, work: Path, check_unchanged: Check,
) -> None:  # fmt: skip
    """`words-N.json` and `words-N.items.npy` of every checkpoint, as `make_scores` makes them.

    `work` keeps what is scored already when a run is stopped.
    """
    for words, folder in saved_by_words(model).items():
        done, begun = work / f"words-{words}", work / ".new"
        if not done.exists():
            shutil.rmtree(begun, ignore_errors=True)
            begun.mkdir()
            make_scores(
                recipe,
                name,
                suite_name,
                members={name: folder},
                distillation=Distillation(),
                suite=suite,
                tokenizer=tokenizer,
                out=begun,
                check_unchanged=check_unchanged,
            )
            begun.rename(done)
        shutil.copyfile(done / "scores.json", out / f"words-{words}.json")
        shutil.copyfile(done / "items.npy", out / f"words-{words}.items.npy")
