"""The convention `lm-eval` gives what lm-eval itself gives: tokens, log-probabilities, decisions.

Both read the same model folder and the same pair files; lm-eval's tasks are written as in its
tasks/blimp/_template_yaml. Nothing here may reach for the network.
"""

import importlib.metadata
import json
import random
import shutil
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import yaml
from transformers import PreTrainedModel

import tiny
from babyllama.errors import BabyllamaError
from babyllama.evaluation.conventions import Convention, convention
from babyllama.evaluation.evaluate import evaluate
from babyllama.evaluation.minimal_pairs import read_suite, sentences
from babyllama.evaluation.scorers import model_scorer
from babyllama.evaluation.scoring import encode, score
from babyllama.models.architectures import build_model, longest_input, model_config
from babyllama.models.folders import load_model, save_model
from babyllama.recipe import Architecture
from babyllama.tokens.tokenizer import load_tokenizer, save_tokenizer, train_tokenizer

pytest.importorskip("lm_eval", reason="wants lm-eval: install the extra eval-parity")

BLIMP = Path(__file__).parents[3] / "shared" / "data" / "evaluation" / "blimp_filtered"
PARADIGMS = (
    "adjunct_island",
    "anaphor_gender_agreement",
    "determiner_noun_agreement_1",
    "irregular_past_participle_verbs",
    "wh_vs_that_with_gap_long_distance",
)
KINDS = ("llama", "gpt2")
VOCABULARY, POSITIONS, STEPS = 360, 128, 60
HARNESS = convention("lm-eval")

AGREEMENT = [
    ("The good king is old .", "The good king are old ."),
    # A long prefix in common, and no more than the last token apart.
    ("The old queen was poor and she saw this dog .", "The old queen was poor and she saw this ."),
    ("The old queen was poor and she saw this dog .", "The old queen was poor and she saw these ."),
    ("the reeds", "the reeds"),
    ("Dogs", "dogs"),
    ("A", "I"),
    ("Who should Derek hug?", "Who should Derek hug: him, \"her\" or {it}; 'they'?"),
    ("The naïve child saw a café — twice!", "The naive child saw a cafe - twice!"),
    ("  two spaces  ", "two spaces"),
    # With `<s>` and one token more than the model has positions.
    ("7" * (POSITIONS - 1), "8" * (POSITIONS - 1)),
]
ORDER = [
    (f"The {one} {noun} is {two} .", f"The {noun} {one} is {two} .")
    for one, two, noun in zip(tiny.ADJECTIVES, tiny.ADJECTIVES[::-1], tiny.NOUNS, strict=False)
]


@pytest.fixture(scope="module", autouse=True)
def offline() -> Iterator[None]:
    """Any attempt to connect is an error, whatever the libraries read from the environment."""

    def refuse(*to: Any) -> None:
        raise AssertionError(f"a connection was tried: {to[1:]}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        yield


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Model folders by kind, trained for some dozens of steps, with a tokenizer of ours."""
    root = tmp_path_factory.mktemp("trained")
    chance = random.Random(1)  # noqa: S311 (made up)
    text = [f"{tiny.sentence(chance)}\n" for _ in range(400)]
    save_tokenizer(train_tokenizer(text, VOCABULARY), root / "tokenizer")
    ids = load_tokenizer(root / "tokenizer")("".join(text))["input_ids"]
    for kind in KINDS:
        save_model(trained(kind, ids), root / "tokenizer", root / kind)
    return {kind: root / kind for kind in KINDS}


def trained(kind: str, ids: Sequence[int]) -> PreTrainedModel:
    """A model that has learnt enough for its log-probabilities to differ by nats."""
    sizes = Architecture(
        type=kind, layers=2, heads=2, width=32, feed_forward=64, positions=POSITIONS
    )
    model = build_model(model_config(sizes, VOCABULARY, (0, 1, 2)), 1)
    chunks = torch.tensor(ids[: len(ids) // 32 * 32]).view(-1, 32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for step in range(STEPS):
        batch = chunks[(torch.arange(16) + 16 * step) % len(chunks)]
        loss = model(input_ids=batch, labels=batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 3.5 < np.log(VOCABULARY)
    return model.eval()


def write_suite(folder: Path, paradigms: dict[str, list[tuple[str, str]]]) -> Path:
    """A suite of ours."""
    folder.mkdir()
    for name, pairs in paradigms.items():
        rows = [
            {"sentence_good": good, "sentence_bad": bad, "linguistics_term": "one", "UID": name}
            for good, bad in pairs
        ]
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines, "utf-8")
    return folder


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two paradigms of one phenomenon, of different sizes."""
    folder = tmp_path_factory.mktemp("suite") / "pairs"
    return write_suite(folder, {"agreement": AGREEMENT, "order": ORDER[:7]})


@dataclass(frozen=True)
class Found:
    """What one side says of every sentence [2 * pairs] and of every pair [pairs]."""

    rows: list[tuple[int, ...]]
    nats: npt.NDArray[np.float64]
    decisions: list[float]
    accuracies: dict[str, float]
    """Of each paradigm, and of `mean`, the one number."""


def ours(folder: Path, suite: Path, rules: Convention = HARNESS) -> Found:
    """By this project."""
    pairs = read_suite(suite)
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    texts = sentences(pairs)
    rows = encode(tokenizer, texts, rules.prefix, leading_space=rules.leading_space)
    nats = score(
        model_scorer(model),
        rows,
        vocabulary=len(tokenizer),
        positions=longest_input(model),
        device=torch.device("cpu"),
        normalise=rules.normalise,
    )
    [summary] = evaluate([folder], suite, rules, precision="fp32").scores.values()
    accuracies = {row["paradigm"]: row["accuracy"] for row in summary["paradigms"]}
    accuracies["mean"] = summary[f"macro_{rules.headline}"]["accuracy"]
    margins = nats[0::2] - nats[1::2]
    decisions = np.where(margins == 0, {"good": 1.0, "half": 0.5}[rules.ties], margins > 0)
    return Found(rows, nats, decisions.tolist(), accuracies)


def write_tasks(folder: Path, suite: Path) -> list[str]:
    """One task a paradigm, as in lm-eval's tasks/blimp/_template_yaml, and their group."""
    names = [path.stem for path in sorted(suite.glob("*.jsonl"))]
    for name in names:
        task = {
            "task": name,
            "dataset_path": "json",
            "dataset_kwargs": {
                "data_files": {"train": str(suite / f"{name}.jsonl")},
                "cache_dir": str(folder / "cache"),
            },
            "output_type": "multiple_choice",
            "validation_split": "train",
            "doc_to_text": "",
            "doc_to_target": 0,
            "doc_to_choice": "{{[sentence_good, sentence_bad]}}",
            "num_fewshot": 0,
            "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        }
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(task, sort_keys=False))
    mean = {"metric": "acc", "aggregation": "mean", "weight_by_size": False}  # as in _blimp.yaml
    group = {"group": "suite", "task": names, "aggregate_metric_list": [mean]}
    (folder / "suite.yaml").write_text(yaml.safe_dump(group, sort_keys=False))
    return names


def theirs(folder: Path, suite: Path, tasks: Path, batch_size: int = 8, **options: Any) -> Found:
    """By lm-eval, with the ids that it gives its model."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    names = write_tasks(tasks, suite)
    asked: list[tuple[int, ...]] = []

    class Listening(HFLM):  # type: ignore[misc]
        def _loglikelihood_tokens(self, requests: Any, *args: Any, **kwargs: Any) -> Any:
            asked.extend((*before, *after) for _, before, after in requests)
            return super()._loglikelihood_tokens(requests, *args, **kwargs)

    found = simple_evaluate(
        Listening(str(folder), device="cpu", dtype="float32", batch_size=batch_size, **options),
        tasks=["suite"],
        task_manager=TaskManager(include_path=str(tasks), include_defaults=False),
        bootstrap_iters=0,
        log_samples=True,
    )
    samples = [sample for name in names for sample in ordered(found["samples"][name])]
    nats = [float(answer[0]) for sample in samples for answer in sample["filtered_resps"]]
    accuracies = {name: found["results"][name]["acc,none"] for name in names}
    accuracies["mean"] = found["groups"]["suite"]["acc,none"]
    return Found(asked, np.array(nats), [sample["acc"] for sample in samples], accuracies)


def ordered(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(samples, key=lambda sample: sample["doc_id"])


def assert_same(mine: Found, other: Found) -> None:
    assert mine.rows == other.rows
    assert len(mine.nats) == len(other.nats)
    # Float32 sums of a thousand nats differ in their own last bits.
    np.testing.assert_allclose(mine.nats, other.nats, rtol=2e-7, atol=1e-4)
    assert mine.decisions == other.decisions
    assert mine.accuracies == pytest.approx(other.accuracies, abs=1e-12)


@pytest.fixture(scope="module")
def harness(
    folders: dict[str, Path], suite: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Found]:
    """What lm-eval says of the suite, by kind of model."""
    return {kind: theirs(folders[kind], suite, tmp_path_factory.mktemp("tasks")) for kind in KINDS}


def test_the_version_is_the_one_whose_rules_were_read() -> None:
    assert importlib.metadata.version("lm-eval") == "0.4.13"


@pytest.mark.parametrize("kind", KINDS)
def test_every_sentence_pair_and_mean_is_as_in_lm_eval(
    folders: dict[str, Path], suite: Path, harness: dict[str, Found], kind: str
) -> None:
    mine, other = ours(folders[kind], suite), harness[kind]
    assert_same(mine, other)
    # The comparison is of something: scores differ by nats, and answers are right and wrong.
    assert np.ptp(mine.nats) > 10
    assert {*mine.decisions} == {0.0, 1.0}
    assert mine.accuracies["agreement"] != mine.accuracies["order"]
    [tie] = [at for at, pair in enumerate(AGREEMENT) if pair[0] == pair[1]]
    assert other.nats[2 * tie] == other.nats[2 * tie + 1]
    assert mine.decisions[tie] == other.decisions[tie] == 1.0


@pytest.mark.slow
@pytest.mark.skipif(not BLIMP.is_dir(), reason="wants BLiMP's files beside the checkout")
@pytest.mark.parametrize("kind", KINDS)
def test_pairs_of_blimp_are_as_in_lm_eval(
    folders: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    named = {paradigm.name: paradigm.pairs for paradigm in read_suite(BLIMP)}
    chosen = {name: [*named[name]][:100] for name in PARADIGMS}
    part = write_suite(tmp_path / "blimp", chosen)
    (tmp_path / "tasks").mkdir()
    mine = ours(folders[kind], part)
    assert len(mine.decisions) == 500
    assert_same(mine, theirs(folders[kind], part, tmp_path / "tasks", batch_size=64))


@pytest.mark.parametrize("add_bos_token", [True, False])
def test_what_the_tokenizer_is_told_to_add_changes_nothing_in_lm_eval(
    folders: dict[str, Path], suite: Path, tmp_path: Path, add_bos_token: bool
) -> None:
    """The prefix comes from the empty context; it is there once, whatever `add_bos_token` says."""
    told = theirs(folders["llama"], suite, tmp_path, add_bos_token=add_bos_token)
    assert_same(ours(folders["llama"], suite), told)


@pytest.mark.parametrize("kind", KINDS)
def test_lm_eval_begins_every_sentence_with_our_prefix_and_space(
    folders: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    one = write_suite(tmp_path / "one", {"p": [("The king", "King the")]})
    asked = theirs(folders[kind], one, tmp_path).rows
    tokenizer = load_tokenizer(folders[kind])
    expected = [(1, *tokenizer(f" {text}")["input_ids"]) for text in ("The king", "King the")]
    assert (tokenizer.bos_token, tokenizer.bos_token_id) == (HARNESS.prefix, 1)
    assert asked == expected


def test_without_s_lm_eval_takes_the_end_of_a_sequence_and_here_one_says_so(
    folders: dict[str, Path], suite: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(folders["llama"], bare)
    file = bare / "tokenizer_config.json"
    told = json.loads(file.read_text())
    file.write_text(json.dumps({key: told[key] for key in told if key != "bos_token"}))
    (tmp_path / "tasks").mkdir()
    with pytest.raises(BabyllamaError, match=r"the tokenizer has no <s>"):
        ours(bare, suite)
    assert_same(
        ours(bare, suite, convention("lm-eval", "</s>")), theirs(bare, suite, tmp_path / "tasks")
    )


def test_the_characters_of_a_special_token_are_text_here_and_the_token_in_lm_eval(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    one = write_suite(tmp_path / "one", {"p": [("The </s> king", "The king")]})
    mine, other = ours(folders["llama"], one), theirs(folders["llama"], one, tmp_path)
    assert (2 in mine.rows[0], 2 in other.rows[0]) == (False, True)
    assert mine.rows[1] == other.rows[1]


@pytest.mark.parametrize(
    "change",
    [
        {"prefix": "</s>"},
        {"prefix": "newline"},
        {"leading_space": False},
        {"normalise": "tokens"},
        {"ties": "half"},
        {"headline": "phenomena"},
    ],
)
def test_another_rule_would_show(
    folders: dict[str, Path], suite: Path, harness: dict[str, Found], change: dict[str, Any]
) -> None:
    other = ours(folders["llama"], suite, replace(HARNESS, **change))
    with pytest.raises(AssertionError):
        assert_same(other, harness["llama"])
