"""Saved checkpoints: validated and scored as models are, planned only when asked, correlated."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from babyllama import milestones
from babyllama.errors import IgnoredSettingWarning
from babyllama.evaluation.comparing.correlation import correlate
from babyllama.evaluation.comparing.milestones import milestones as milestones_of
from babyllama.evaluation.comparing.sides import Run
from babyllama.evaluation.conventions import CONVENTIONS
from babyllama.evaluation.evaluate import evaluate
from babyllama.resolve import resolve
from stale import fingerprints
from tiny import LLAMA, TRAINING, babyllama, recipe, write_pairs, write_recipe

MARKS = [1000, 2000, 3000, 4000, 6000]
"""The training sees 6,209 words in 25 steps: the last mark is passed in its last step."""


def along(data: Path, *, marks: Any = MARKS, checkpoints: bool = True) -> dict[str, Any]:
    """One model that is saved on its way."""
    return recipe(
        data,
        models={"llama": {"architecture": LLAMA}},
        training=TRAINING | {"save_at_words": marks},
        evaluation={"suites": {"pairs": str(data / "pairs")}, "checkpoints": checkpoints},
    )


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; no test may change it."""
    folder = tmp_path_factory.mktemp("along")
    write_recipe(folder / "along.yaml", along(data))
    command = babyllama(folder, "run", "along.yaml", "--run-dir", "runs/along")
    assert command.code == 0, command.err
    return folder / "runs" / "along"


def test_a_checkpoint_is_validated_as_the_training_does_it(run: Path) -> None:
    found = json.loads((run / "checkpoints/llama/_validation/validation.json").read_text())
    assert [int(words) for words in found] == MARKS
    losses = [each["cross_entropy"] for each in found.values()]
    assert losses == sorted(losses, reverse=True)
    trained = json.loads((run / "models/llama/training.json").read_text())["validation"]
    assert found["6000"]["cross_entropy"] == pytest.approx(trained["cross_entropy"], abs=1e-6)
    assert found["6000"]["bits_per_byte"] == pytest.approx(trained["bits_per_byte"], abs=1e-6)


def test_a_checkpoint_is_scored_as_the_model_folder_that_it_is(run: Path, data: Path) -> None:
    folder = run / "models/llama/by-words/words-2000"
    expected = evaluate([folder], data / "pairs", CONVENTIONS["babyllama"]).scores[str(folder)]
    found = json.loads((run / "checkpoints/llama/pairs/words-2000.json").read_text())
    assert found["paradigms"] == expected["paradigms"]
    assert found["macro_phenomena"] == expected["macro_phenomena"]


def test_the_correlation_is_over_models_and_checkpoints_the_same_weights_once(run: Path) -> None:
    found = correlate([run])
    assert [point.words for point in found.points] == [None, 1000, 2000, 3000, 4000]
    file = run / "checkpoints/llama/_validation/validation.json"
    losses = [each["cross_entropy"] for each in json.loads(file.read_text()).values()]
    assert [p.cross_entropy for p in found.points[1:]] == losses[:-1]
    for point in found.points[1:]:
        scores = json.loads((run / f"checkpoints/llama/pairs/words-{point.words}.json").read_text())
        assert point.accuracy == pytest.approx(scores["macro_phenomena"]["accuracy"])
    assert str(found.points[1].side) == "along/llama at 1,000 words"
    assert found.found.n == 5


def test_the_command_tells_models_from_checkpoints(run: Path, tmp_path: Path) -> None:
    command = babyllama(tmp_path, "compare", "--correlate", run, "--out", "o.json")
    assert command.code == 0, command.err
    assert "n = 5 (1 models, 4 saved checkpoints)" in command.out
    assert "along/llama at 4,000 words" in command.out
    found = json.loads((tmp_path / "o.json").read_text())
    assert [row["words"] for row in found["models"]] == [None, 1000, 2000, 3000, 4000]


def test_a_run_that_scores_no_checkpoints_has_none(finished: Path) -> None:
    assert [*milestones_of(Run(finished / "runs/first", "first"))] == []


def test_checkpoints_have_stages_only_where_they_are_asked_for(data: Path) -> None:
    asked, plain = (fingerprints(resolve(along(data, checkpoints=on))) for on in (True, False))
    added = {"checkpoints/llama/_validation", "checkpoints/llama/pairs"}
    assert set(asked) - set(plain) == added
    assert {name: asked[name] for name in plain} == plain
    assert len({asked["scores/llama/pairs"], *(asked[name] for name in added)}) == 3


def test_a_model_that_is_not_saved_on_its_way_has_no_such_stages(data: Path) -> None:
    raw = along(data)
    raw["models"]["gpt2"] = {
        "architecture": {**LLAMA, "type": "gpt2"},
        "training": {"save_at_words": []},
    }
    assert not [name for name in fingerprints(resolve(raw)) if name.startswith("checkpoints/gpt2")]


def test_another_suite_leaves_the_other_stages_of_checkpoints_alone(
    data: Path, tmp_path: Path
) -> None:
    raw = along(data)
    before = fingerprints(resolve(raw))
    raw = along(data)
    raw["evaluation"]["suites"]["more"] = str(write_pairs(tmp_path / "more", 3))
    after = fingerprints(resolve(raw))
    changed = {name for name in after if before.get(name) != after[name]}
    assert changed == {"scores/llama/more", "checkpoints/llama/more"}


def test_a_key_without_a_checkpoint_to_score_warns(data: Path) -> None:
    with pytest.warns(
        IgnoredSettingWarning, match="evaluation.checkpoints has no effect: no model"
    ):
        resolve(along(data, marks=[]))


def test_a_training_that_ends_before_the_first_mark_warns(
    run: Path, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()
    with pytest.warns(IgnoredSettingWarning, match="no effect on llama: its training ended before"):
        milestones.validate_milestones(
            resolve(along(data)),
            "llama",
            model=tmp_path / "model",
            tokens=run / "tokens",
            tokenizer=run / "tokenizer",
            out=tmp_path,
        )
    assert json.loads((tmp_path / "validation.json").read_text()) == {}


def test_scoring_that_is_stopped_goes_on_with_what_it_has(
    run: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []

    def stopping(*_: Any, members: dict[str, Path], out: Path, **__: Any) -> None:
        (out / "scores.json").write_text(str(len(made)))
        if len(made) == 2:
            made.append(Path())
            raise KeyboardInterrupt
        (out / "items.npy").write_text("")
        made.append(members["llama"])

    monkeypatch.setattr(milestones, "make_scores", stopping)
    for name in ("work", "out"):
        (tmp_path / name).mkdir()

    def score() -> None:
        milestones.score_milestones(
            resolve(along(data)),
            "llama",
            "pairs",
            model=run / "models/llama",
            suite=data / "pairs",
            tokenizer=run / "tokenizer",
            out=tmp_path / "out",
            work=tmp_path / "work",
            check_unchanged=lambda: None,
        )

    with pytest.raises(KeyboardInterrupt):
        score()
    score()
    scored = [folder.name for folder in made if folder.name]
    assert scored == [f"words-{words}" for words in MARKS]
    texts = [(tmp_path / f"out/words-{words}.json").read_text() for words in MARKS]
    assert texts == ["0", "1", "3", "4", "5"]


def test_links_to_checkpoints_go_with_the_key(run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(run.parents[1], tmp_path / "copied", symlinks=True)
    told = ("along.yaml", "evaluation.checkpoints=false", "--run-dir", "runs/along")
    command = babyllama(folder, "run", *told)
    assert command.code == 0, command.err
    assert "making" not in command.err
    assert not [*(folder / "runs/along").glob("checkpoints/*")]
