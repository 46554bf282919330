"""A masked model's tokenizer and an encoder-decoder's: the run's own, and a few tokens more."""

from pathlib import Path

import pytest

from babyllama.tokens.added import MASKED, SPANS, Added, write_extended
from babyllama.tokens.tokenizer import (
    load_tokenizer,
    save_tokenizer,
    tokenizer_rules,
    train_tokenizer,
)

TEXT = "The heron waits in the reeds until the water is still\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(train_tokenizer([TEXT * 3], 270), place)
    return place


@pytest.mark.parametrize("added", [MASKED, SPANS])
def test_it_gives_the_ids_of_the_run_within_its_special_tokens(
    folder: Path, tmp_path: Path, added: Added
) -> None:
    write_extended(folder, added, tmp_path)
    plain, found = load_tokenizer(folder), load_tokenizer(tmp_path)
    ids = plain(TEXT).input_ids
    start = [1] if added == MASKED else []
    assert found(TEXT).input_ids == [*start, *ids, 2]
    assert found(TEXT, add_special_tokens=False).input_ids == ids
    assert tokenizer_rules(found) == tokenizer_rules(plain)
    two = [*start, *ids, 2, *([2] if added == MASKED else []), *ids, 2]
    assert found(TEXT, TEXT).input_ids == two
    assert found.decode(found(TEXT).input_ids, skip_special_tokens=True) == TEXT


def test_what_is_added_comes_behind_the_vocabulary(folder: Path, tmp_path: Path) -> None:
    for added, count in ((MASKED, 1), (SPANS, 100)):
        write_extended(folder, added, tmp_path / str(count))
        found = load_tokenizer(tmp_path / str(count))
        assert len(found) == 270 + count
        assert found.convert_tokens_to_ids([*added.names]) == [*range(270, 270 + count)]
        assert {*range(270, 270 + count)} <= {*found.all_special_ids}
    assert load_tokenizer(tmp_path / "1").mask_token_id == 270
    assert SPANS.names[:2] == ("<extra_id_0>", "<extra_id_1>")


@pytest.mark.parametrize("added", [MASKED, SPANS])
def test_it_is_written_alike_whenever_it_is(folder: Path, tmp_path: Path, added: Added) -> None:
    found = []
    for name in ("a", "b"):
        write_extended(folder, added, tmp_path / name)
        found.append({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()})
    assert found[0] == found[1]
    assert len(load_tokenizer(folder)) == 270
