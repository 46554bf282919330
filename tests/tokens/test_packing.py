"""A split as one vector of ids: nothing added but `<s>`, nothing lost, wherever it is cut."""

import json
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from babyllama.corpus.pieces import Piece, read_pieces, write_rows
from babyllama.errors import CorruptDataError
from babyllama.tokens import packing
from babyllama.tokens.packing import Packed, pack, read_packed
from babyllama.tokens.tokenizer import plain_encoder

START = 1
DOCUMENTS = [
    ("farm", "The goose came.\nNobody saw it.\n"),
    ("farm", "Rain\n"),
    ("mill", "<s> is no start.</s>\n\nThe miller: 27 loaves\n"),
]
PIECES = [
    Piece("farm", "The goose came.\n", True),
    Piece("farm", "Nobody saw it.\n", False),
    Piece("farm", "Rain\n", True),
    Piece("mill", DOCUMENTS[2][1], True),
]
# Clean lines: no space at either end, but characters that fold to one, or join what is before.
LINE = st.text(st.sampled_from("aé's .\u00a8\u0301\x1c\u2028猫"), max_size=12).map(
    lambda text: f"a{' '.join(text.split())}"
)


def packed(
    folder: Path,
    tokenizer: Any,
    pieces: Iterable[Piece] = PIECES,
    *,
    separators: bool = True,
) -> Packed:
    """A split written and read again."""
    sources = pack(pieces, tokenizer, folder, "train", separators=separators)
    summary = {"vocabulary": len(tokenizer), "train_sources": sources}
    (folder / "tokens.json").write_text(json.dumps(summary))
    return read_packed(folder, "train")


def whole(tokenizer: Any, text: str) -> list[int]:
    return list(plain_encoder(tokenizer).encode(text, add_special_tokens=False).ids)


def huge_tokenizer() -> Any:
    """A vocabulary in which every id of text lies above 65,535."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    fillers = [f"filler {i}" for i in range(1 << 16)]
    tokens = ["<pad>", "<s>", "</s>", *fillers, *alphabet]
    backend = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast: Any = PreTrainedTokenizerFast
    return fast(tokenizer_object=backend, bos_token="<s>")  # noqa: S106


def test_documents_lie_behind_one_another_between_their_offsets(
    tmp_path: Path, tokenizer: Any
) -> None:
    split = packed(tmp_path, tokenizer)
    bounds = zip(split.offsets[:-1], split.offsets[1:], strict=True)
    found = [split.ids[begin:end].tolist() for begin, end in bounds]
    assert found == [[START, *whole(tokenizer, text)] for _, text in DOCUMENTS]
    assert split.offsets[-1] == len(split.ids)


def test_a_separator_starts_every_document_and_stands_nowhere_else(
    tmp_path: Path, tokenizer: Any
) -> None:
    split = packed(tmp_path, tokenizer)
    assert np.flatnonzero(split.ids == START).tolist() == split.offsets[:-1].tolist()


def test_without_separators_the_ids_are_those_of_the_text_alone(
    tmp_path: Path, tokenizer: Any
) -> None:
    split = packed(tmp_path, tokenizer, separators=False)
    assert split.ids.tolist() == [i for _, text in DOCUMENTS for i in whole(tokenizer, text)]
    assert START not in split.ids


@settings(max_examples=25)
@given(
    sources=st.dictionaries(
        st.from_regex(r"[aA][aA_.é1-]{0,3}", fullmatch=True), st.lists(LINE, min_size=1), min_size=1
    ),
    separators=st.booleans(),
)
def test_a_split_knows_where_each_source_lies(
    sources: dict[str, list[str]], separators: bool, tokenizer: Any
) -> None:
    """Whatever the sources are called, by way of the files of a corpus."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        for source, lines in sources.items():
            rows = [(f"{line}\n", number % 2 == 0) for number, line in enumerate(lines)]
            write_rows(folder / "train" / f"{source}.jsonl", rows)
        split = packed(folder, tokenizer, read_pieces(folder, "train"), separators=separators)
        ids = split.ids.tolist()
    assert [i for at in split.sources.values() for i in ids[at.start : at.stop]] == ids
    start = [START] if separators else []
    for source, lines in sources.items():
        at = split.sources[source]
        rows = [whole(tokenizer, f"{line}\n") for line in lines]
        starts = [[] if number % 2 else start for number in range(len(rows))]
        expected = [i for first, row in zip(starts, rows, strict=True) for i in first + row]
        assert ids[at.start : at.stop] == expected


def test_decoding_a_split_gives_back_its_text(tmp_path: Path, tokenizer: Any) -> None:
    split = packed(tmp_path, tokenizer, separators=False)
    assert tokenizer.decode(split.ids.tolist()) == "".join(text for _, text in DOCUMENTS)


def test_a_newline_token_ends_every_line(tmp_path: Path, tokenizer: Any) -> None:
    [newline] = whole(tokenizer, "\n")
    lines = ["The goose came.", "Nobody saw it.", "27"]
    split = packed(
        tmp_path, tokenizer, [Piece("farm", "".join(f"{line}\n" for line in lines), True)]
    )
    expected = [i for line in lines for i in [*whole(tokenizer, line), newline]]
    assert split.ids.tolist() == [START, *expected]


def test_ids_take_two_bytes_while_they_fit(tmp_path: Path, tokenizer: Any) -> None:
    split = packed(tmp_path, tokenizer)
    assert split.ids.dtype == np.uint16
    assert (tmp_path / "train.bin").stat().st_size == 2 * len(split.ids)


def test_ids_past_65536_take_four_bytes_and_survive(tmp_path: Path) -> None:
    tokenizer = huge_tokenizer()
    split = packed(tmp_path, tokenizer)
    assert split.ids.dtype == np.uint32
    assert (tmp_path / "train.bin").stat().st_size == 4 * len(split.ids)
    assert split.ids[1:4].tolist() == whole(tokenizer, "The")
    assert split.ids[1:4].min() >= 1 << 16


def test_the_ids_stay_on_disk(tmp_path: Path, tokenizer: Any) -> None:
    ids = packed(tmp_path, tokenizer).ids
    assert isinstance(ids, np.memmap)
    assert not ids.flags.writeable


@given(lines=st.lists(LINE, min_size=1, max_size=8), data=st.data())
def test_cutting_a_document_into_pieces_does_not_change_its_ids(
    tokenizer: Any, lines: list[str], data: st.DataObject
) -> None:
    text = "".join(line + "\n" for line in lines)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(lines) - 1 or 1), max_size=3)))
    bounds = pairwise([0, *(cut for cut in cuts if cut < len(lines)), len(lines)])
    pieces = [
        Piece("farm", "".join(line + "\n" for line in lines[begin:end]), begin == 0)
        for begin, end in bounds
    ]
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "GROUP_CHARACTERS", 10)
        ids = packed(Path(folder), tokenizer, pieces).ids.tolist()
    assert ids == [START, *whole(tokenizer, text)]


def test_words_and_tokens_are_counted_per_source(tmp_path: Path, tokenizer: Any) -> None:
    counted = pack(PIECES, tokenizer, tmp_path, "train", separators=True)
    assert [*counted] == ["farm", "mill"]
    assert {source: row["words"] for source, row in counted.items()} == {"farm": 7, "mill": 8}
    for source, row in counted.items():
        texts = [text for name, text in DOCUMENTS if name == source]
        assert row["tokens"] == sum(1 + len(whole(tokenizer, text)) for text in texts)


def test_a_split_knows_its_words(tmp_path: Path, tokenizer: Any) -> None:
    assert packed(tmp_path, tokenizer).words == 15


def test_splits_lie_side_by_side(tmp_path: Path, tokenizer: Any) -> None:
    dev = pack([Piece("mill", "Nobody\n", True)], tokenizer, tmp_path, "dev", separators=True)
    packed(tmp_path, tokenizer)
    summary = json.loads((tmp_path / "tokens.json").read_text())
    (tmp_path / "tokens.json").write_text(json.dumps({**summary, "dev_sources": dev}))
    assert read_packed(tmp_path, "dev").ids.tolist() == [START, *whole(tokenizer, "Nobody\n")]


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def change_offsets(folder: Path, change: Callable[[Any], Any]) -> None:
    path = folder / "train.offsets.npy"
    np.save(path, change(np.load(path)))


def change_ids(folder: Path, change: Callable[[Any], Any]) -> None:
    path = folder / "train.bin"
    np.asarray(change(np.fromfile(path, np.uint16)), np.uint16).tofile(path)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "ids are missing": lambda folder: (folder / "train.bin").unlink(),
    "ids are empty": lambda folder: cut(folder / "train.bin", 0),
    "ids are cut": lambda folder: cut(folder / "train.bin", 20),
    "ids are cut within one": lambda folder: cut(folder / "train.bin", 21),
    "offsets are missing": lambda folder: (folder / "train.offsets.npy").unlink(),
    "offsets have no header": lambda folder: cut(folder / "train.offsets.npy", 0),
    "offsets are cut": lambda folder: cut(folder / "train.offsets.npy", 140),
    "offsets are none": lambda folder: change_offsets(folder, lambda offsets: offsets[:0]),
    "offsets start late": lambda folder: change_offsets(folder, lambda offsets: offsets[1:]),
    "offsets end late": lambda folder: change_offsets(folder, lambda o: [*o[:-1], o[-1] + 1]),
    "offsets fall": lambda folder: change_offsets(folder, lambda o: o[[0, 2, 1, 3]]),
    "offsets are no numbers": lambda folder: change_offsets(folder, lambda o: o.astype(float)),
    "an id is none of the vocabulary": lambda folder: change_ids(
        folder, lambda ids: [*ids[:-1], 60_000]
    ),
    "an id more, and the offsets tell of it": lambda folder: (
        change_ids(folder, lambda ids: [*ids, 5]),
        change_offsets(folder, lambda o: [*o[:-1], o[-1] + 1]),
    ),
    "summary is deep": lambda folder: (folder / "tokens.json").write_text("[" * 100_000),
    "summary is cut": lambda folder: cut(folder / "tokens.json", 1),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_split_is_corrupt_and_named(
    tmp_path: Path, tokenizer: Any, damage: Callable[[Path], object]
) -> None:
    packed(tmp_path, tokenizer)
    damage(tmp_path)
    with pytest.raises(CorruptDataError, match=r"train\.bin[^\n]+$"):
        read_packed(tmp_path, "train")
