"""A model along its training: the checkpoints that it saved by words seen, validated and scored."""

import shutil
import warnings
from pathlib import Path

from babyllama.builders import Check, make_scores
from babyllama.errors import IgnoredSettingWarning
from babyllama.models.folders import load_model, model_kind, saved_by_words
from babyllama.recipe import Recipe
from babyllama.recipe_distillation import Distillation
from babyllama.store import write_json
from babyllama.validated import validate_network


def validate_milestones(
    recipe: Recipe, name: str, *, model: Path, tokens: Path, tokenizer: Path, out: Path
) -> None:
    """Validate every checkpoint as the training does; `validation.json` has them by words seen."""
    training = recipe.models[name].training
    assert training
    found = {
        str(words): validate_network(
            recipe,
            load_model(folder, model_kind(folder)),
            training.precision,
            tokens=tokens,
            tokenizer=tokenizer,
        )
        for words, folder in saved_by_words(model).items()
    }
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
