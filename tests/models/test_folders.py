"""A model folder is one that plain transformers reads, and a bad one is refused by name."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from babyllama.errors import BabyllamaError, CorruptDataError, RecipeError
from babyllama.models.folders import (
    check_folders,
    check_same_tokenizer,
    check_tokenizer_stays,
    folder_digest,
    load_config,
    load_model,
    model_kind,
    save_model,
    saved_by_words,
    words_folder,
)
from babyllama.models.kinds import Kind
from babyllama.store import VERIFIED
from babyllama.tokens.tokenizer import load_tokenizer, save_tokenizer, train_tokenizer
from baselines import write_model

Build = Callable[..., PreTrainedModel]
IDS = torch.arange(3, 19).view(2, 8)


def logits_of(model: PreTrainedModel) -> torch.Tensor:
    with torch.no_grad():
        return torch.as_tensor(model(input_ids=IDS).logits)


@pytest.fixture
def folder(tmp_path: Path, build: Build, tokenizer_folder: Path) -> Path:
    """A saved llama."""
    save_model(build(), tokenizer_folder, tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gptj", "opt"])
def test_plain_transformers_gives_the_logits_of_the_model_that_was_saved(
    tmp_path: Path, build: Build, tokenizer_folder: Path, kind: str
) -> None:
    model = build(kind)
    save_model(model, tokenizer_folder, tmp_path)
    plain = AutoModelForCausalLM.from_pretrained(str(tmp_path))
    torch.testing.assert_close(logits_of(plain), logits_of(model), rtol=0, atol=1e-5)
    torch.testing.assert_close(logits_of(load_model(tmp_path)), logits_of(model), rtol=0, atol=1e-5)


def test_a_model_comes_with_its_tokenizer(folder: Path, tokenizer_folder: Path) -> None:
    text = "the heron waits, <s> and waits\n"
    ours, theirs = (AutoTokenizer.from_pretrained(str(f)) for f in (tokenizer_folder, folder))
    assert theirs(text)["input_ids"] == ours(text)["input_ids"]


def test_weights_are_saved_as_safetensors_alone(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    assert {Path(name).suffix for name in names} == {".json", ".safetensors"}


def test_a_loaded_model_is_float32_and_in_evaluation_mode(
    tmp_path: Path, build: Build, tokenizer_folder: Path
) -> None:
    save_model(build(dropout=0.5).bfloat16().train(), tokenizer_folder, tmp_path)
    model = load_model(tmp_path)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert not any(module.training for module in model.modules())


def test_a_configuration_is_read_without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    assert load_config(folder).hidden_size == 16


@pytest.mark.parametrize("read", [load_model, load_config, folder_digest])
def test_a_missing_folder_is_named(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    with pytest.raises(RecipeError, match=r"model folder .*gone does not exist: check the path"):
        read(tmp_path / "gone")


def _drop_a_weight(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _widen(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_size": 32}))


def _pickle(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "no causal model as safetensors"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"0" * 99), "safetensors"),
        (lambda folder: (folder / "config.json").unlink(), "no causal model as safetensors"),
        (lambda folder: (folder / "config.json").write_text("{}"), "no causal model"),
        (_pickle, "no causal model as safetensors"),
        (_widen, "no causal model"),
        (_drop_a_weight, r"lacks weights of the model .*model\.layers\.1\.mlp\.up_proj\.weight"),
    ],
    ids=["no weights", "damaged", "no config", "empty config", "pickle", "sizes", "weight gone"],
)
def test_a_folder_without_a_whole_model_is_corrupt_and_named(
    folder: Path, damage: Callable[[Path], Any], message: str
) -> None:
    damage(folder)
    with pytest.raises(CorruptDataError, match=rf"{re.escape(str(folder))}[^\n]*{message}[^\n]*$"):
        load_model(folder)


KINDS: dict[str, Kind] = {
    "roberta": "masked",
    "bert": "masked",
    "t5": "encoder-decoder",
    "opt": "causal",
}


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_a_folder_says_what_its_model_predicts(tmp_path: Path, name: str, kind: Kind) -> None:
    folder = write_model(tmp_path / name, name)
    assert model_kind(folder) == kind
    model = load_model(folder, kind)
    [built] = json.loads((folder / "config.json").read_text())["architectures"]
    assert type(model).__name__ == built
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize("type_", ["bert", "camembert"])
def test_a_causal_model_of_a_type_that_can_be_masked_is_causal(
    tmp_path: Path, build: Build, tokenizer_folder: Path, type_: str
) -> None:
    save_model(build(type_), tokenizer_folder, tmp_path)
    assert model_kind(tmp_path) == "causal"
    load_model(tmp_path)


@pytest.mark.parametrize(("name", "kind"), [item for item in KINDS.items() if item[0] != "opt"])
def test_a_model_of_another_kind_is_refused_by_name(tmp_path: Path, name: str, kind: Kind) -> None:
    folder = write_model(tmp_path / name, name)
    with pytest.raises(RecipeError, match=rf"{name} holds a model of the kind {kind}, which only"):
        load_model(folder)


def _drop(folder: Path, part: str) -> None:
    weights = load_file(folder / "model.safetensors")
    [name] = [name for name in weights if part in name]
    del weights[name]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("name", "part"), [("roberta", "lm_head.dense.weight"), ("t5", "decoder.final_layer_norm")]
)
def test_a_model_of_another_kind_is_refused_where_weights_are_gone_or_pickled(
    tmp_path: Path, name: str, part: str
) -> None:
    folder = write_model(tmp_path / name, name)
    _drop(folder, part)
    with pytest.raises(CorruptDataError, match=rf"{name} lacks weights .*{part}"):
        load_model(folder, KINDS[name])
    _pickle(folder)
    with pytest.raises(CorruptDataError, match=rf"holds no {KINDS[name]} model as safetensors"):
        load_model(folder, KINDS[name])


@pytest.mark.parametrize("kind", ["gpt2", "opt"])
def test_a_tied_head_is_no_missing_weight(
    tmp_path: Path, build: Build, tokenizer_folder: Path, kind: str
) -> None:
    save_model(build(kind), tokenizer_folder, tmp_path)
    assert not any("lm_head" in name for name in load_file(tmp_path / "model.safetensors"))
    model: Any = load_model(tmp_path)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_an_unreadable_configuration_is_corrupt(folder: Path) -> None:
    (folder / "config.json").write_text("{")
    with pytest.raises(CorruptDataError, match=r"holds no readable config\.json"):
        load_config(folder)


def test_a_checkpoint_with_the_tokenizer_of_the_run_is_taken(
    folder: Path, tokenizer_folder: Path
) -> None:
    check_same_tokenizer("heron", folder, load_tokenizer(tokenizer_folder))


def test_a_checkpoint_with_another_tokenizer_is_refused_by_name(
    folder: Path, tmp_path: Path
) -> None:
    save_tokenizer(train_tokenizer(["a kettle, a ladle, a saucepan\n" * 3], 275), tmp_path)
    with pytest.raises(BabyllamaError, match=r"model heron .*model\) has another .* model differ"):
        check_same_tokenizer("heron", folder, load_tokenizer(tmp_path))


def test_a_checkpoint_that_normalises_differently_is_refused(
    folder: Path, tokenizer_folder: Path
) -> None:
    path = folder / "tokenizer.json"
    path.write_text(path.read_text().replace('"NFKC"', '"NFC"'))
    with pytest.raises(BabyllamaError, match=r": normalizer differ;"):
        check_same_tokenizer("heron", folder, load_tokenizer(tokenizer_folder))


def test_a_checkpoint_without_a_tokenizer_is_corrupt(folder: Path, tokenizer_folder: Path) -> None:
    for path in folder.glob("*token*"):
        path.unlink()
    with pytest.raises(CorruptDataError, match="no usable tokenizer in"):
        check_same_tokenizer("heron", folder, load_tokenizer(tokenizer_folder))


@pytest.mark.parametrize("kind", ["llama", "gpt2", "opt", "qwen3"])
def test_the_tokenizer_beside_a_model_of_most_types_stays_what_it_is(
    build: Build, tokenizer_folder: Path, kind: str
) -> None:
    check_tokenizer_stays("heron", build(kind).config, tokenizer_folder)


def test_a_type_that_brings_a_tokenizer_of_its_own_is_refused_by_name(
    tmp_path: Path, build: Build, tokenizer_folder: Path
) -> None:
    model = build("qwen2")
    with pytest.raises(RecipeError, match=r"models\.heron\.architecture\.type: .* qwen2 model"):
        check_tokenizer_stays("heron", model.config, tokenizer_folder)
    save_model(model, tokenizer_folder, tmp_path)
    text = "the \ufb01ne reeds"
    ours, theirs = (load_tokenizer(place).tokenize(text) for place in (tokenizer_folder, tmp_path))
    assert ours != theirs


def _changed(file: Path, **settings: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))


@pytest.mark.parametrize("read", [load_config, load_model])
def test_code_beside_a_checkpoint_is_not_run_and_nobody_is_asked(
    folder: Path, capfd: pytest.CaptureFixture[str], read: Callable[[Path], Any]
) -> None:
    ran = folder / "ran"
    (folder / "own.py").write_text(f"open({str(ran)!r}, 'w').close()\nclass Own: pass\n")
    places = {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"}
    _changed(folder / "config.json", model_type="own", auto_map=places)
    with pytest.raises(CorruptDataError, match=r"it wants to run code of its own: take a model"):
        read(folder)
    assert not ran.exists()
    assert "[y/N]" not in "".join(capfd.readouterr())


def test_code_beside_a_tokenizer_is_not_run_and_nobody_is_asked(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ran = folder / "ran"
    (folder / "own.py").write_text(f"open({str(ran)!r}, 'w').close()\nclass Own: pass\n")
    places = {"AutoTokenizer": ["own.Own", "own.Own"]}
    _changed(folder / "tokenizer_config.json", tokenizer_class="Own", auto_map=places)
    with pytest.raises(CorruptDataError, match=r"it wants to run code of its own: take a model"):
        load_tokenizer(folder)
    assert not ran.exists()
    assert "[y/N]" not in "".join(capfd.readouterr())


def test_the_digest_of_a_folder_changes_with_its_weights_and_its_configuration(
    folder: Path, tmp_path: Path, build: Build, tokenizer_folder: Path
) -> None:
    digest = folder_digest(folder)
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "notes.txt").write_text("not part of the model")
    (tmp_path / "copy" / VERIFIED).write_text("when it was compared, which says nothing of it")
    assert folder_digest(tmp_path / "copy") == digest
    save_model(build(seed=2), tokenizer_folder, folder)
    assert folder_digest(folder) != digest
    _widen(tmp_path / "copy")
    assert folder_digest(tmp_path / "copy") != digest


def test_models_saved_by_words_are_found_by_number_and_nothing_else_is(tmp_path: Path) -> None:
    assert saved_by_words(tmp_path) == {}
    expected = {words: words_folder(tmp_path, words) for words in (9, 10, 200)}
    for folder in (*reversed(expected.values()), tmp_path / "by-words/words-9-notes"):
        folder.mkdir(parents=True)
    assert [*saved_by_words(tmp_path).items()] == [*expected.items()]


def test_a_list_names_each_model_once_and_only_those_that_are_there(folder: Path) -> None:
    check_folders([folder, folder.parent])
    with pytest.raises(RecipeError, match=r"model .* is named twice: name it once"):
        check_folders([folder, folder.parent, folder])
    with pytest.raises(RecipeError, match=r"model folder .*gone does not exist: check the path"):
        check_folders([folder, folder / "gone"])
