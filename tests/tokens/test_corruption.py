"""What is taken out of a text: how much, how, and that it depends on its place alone."""

import numpy as np
import pytest
import torch

from babyllama.tokens.batches import IGNORED, Batch, ChunkOrder, counts, make_batch
from babyllama.tokens.corruption import (
    Corruption,
    Masking,
    SpanCorruption,
    masked_tokens,
    span_lengths,
)

V, T = 300, 64
MASKING = Masking(seed=1, vocabulary=V, special=(0, 1, 2), mask=V)
SPANS = SpanCorruption(seed=1, sentinel=V, end=2)
BOTH = pytest.mark.parametrize("corruption", [MASKING, SPANS])


def batch_of(chunks: int, length: int = T, split: str = "train") -> Batch:
    """Ids from 3 on, and `<s>` here and there."""
    ids = 3 + np.random.default_rng(5).integers(0, V - 3, chunks * length)
    ids[:: length // 4 + 3] = 1
    starts = np.arange(chunks) * length
    return make_batch(ids.astype(np.uint16), starts, length, split)  # type: ignore[arg-type]


def test_a_masked_model_predicts_15_percent_of_the_text_and_never_a_special_token() -> None:
    text = batch_of(50)
    found = MASKING(text, 0)
    assert found.input_ids.shape == found.labels.shape == (50, T + 2)
    assert torch.equal(found.input_ids[:, 0], torch.full((50,), 1))
    assert torch.equal(found.input_ids[:, -1], torch.full((50,), 2))
    predicted = found.labels != IGNORED
    maskable = (text.input_ids > 2).sum(1)
    assert predicted.sum(1).tolist() == [round(0.15 * int(n)) for n in maskable]
    whole = torch.nn.functional.pad(text.input_ids, (1, 1))
    assert torch.equal(found.labels[predicted], whole[predicted])
    assert (found.labels[predicted] > 2).all()
    untouched = ~predicted[:, 1:-1]
    assert torch.equal(found.input_ids[:, 1:-1][untouched], text.input_ids[untouched])


def test_of_these_80_percent_are_masked_10_replaced_and_10_left() -> None:
    found = MASKING(batch_of(2000), 0)
    predicted = found.labels != IGNORED
    read, labels = found.input_ids[predicted], found.labels[predicted]
    n = len(read)
    masked, left = (read == V).sum() / n, (read == labels).sum() / n
    # Three standard errors; one replacement in 297 is the token itself.
    assert abs(float(masked) - 0.8) < 3 * (0.8 * 0.2 / n) ** 0.5
    assert abs(float(left) - (0.1 + 0.1 / 297)) < 3 * (0.1 * 0.9 / n) ** 0.5
    others = read[(read != V) & (read != labels)]
    assert int(others.min()) >= 3
    assert int(others.max()) < V
    assert len(others.unique()) > 290


def test_every_place_of_a_text_is_masked_equally_often() -> None:
    text = torch.arange(3, 3 + T).repeat(4000, 1)
    batch = Batch(text, text, torch.arange(4000), "train")
    often = (MASKING(batch, 0).labels[:, 1:-1] != IGNORED).double().mean(0)
    assert often.mean() == pytest.approx(masked_tokens(T) / T)
    assert float((often - often.mean()).abs().max()) < 5 * (0.15 * 0.85 / 4000) ** 0.5


def test_a_text_of_special_tokens_alone_has_nothing_to_predict() -> None:
    text = torch.ones(1, 8, dtype=torch.long)
    assert counts(MASKING(Batch(text, text, torch.zeros(1), "train"), 0)).tokens == 0


def restored(read: list[int], written: list[int]) -> tuple[list[int], list[int]]:
    """The text with its spans back in their places, and the lengths of the spans."""
    assert read.pop() == written.pop() == 2
    spans: dict[int, list[int]] = {}
    for token in written:
        if token >= V:
            spans[token] = []
        else:
            spans[[*spans][-1]].append(token)
    assert [*spans] == [V + n for n in range(len(spans))]
    assert [token for token in read if token >= V] == [*spans]
    whole = [t for token in read for t in (spans[token] if token >= V else [token])]
    return whole, [len(span) for span in spans.values()]


@pytest.mark.parametrize("length", [2, 3, 16, 64, 128, 512])
def test_spans_put_back_give_the_text(length: int) -> None:
    text = (
        batch_of(20, length)
        if length > 8
        else make_batch(
            np.arange(3, 3 + 20 * length, dtype=np.uint16), np.arange(20) * length, length, "train"
        )
    )
    sizes, found = span_lengths(length), SPANS(text, 0)
    assert found.input_ids.shape == (20, sizes.read)
    assert found.labels.shape == (20, sizes.written)
    assert counts(found).tokens == 20 * sizes.written
    for row, (read, written) in zip(
        text.input_ids.tolist(),
        zip(found.input_ids.tolist(), found.labels.tolist(), strict=True),
        strict=True,
    ):
        whole, lengths = restored(read, written)
        assert whole == row
        assert (sum(lengths), len(lengths)) == (sizes.noise, sizes.spans)
        assert min(lengths) >= 1


def test_fifteen_percent_of_a_text_are_in_spans_of_three_on_average() -> None:
    """T5's 512 tokens of input come of 568 of text: 85 and 28 spans, 114 of target."""
    assert span_lengths(568) == (85, 28, 512, 114)
    for length in (64, 128, 512, 2000):
        sizes = span_lengths(length)
        assert sizes.noise / length == pytest.approx(0.15, abs=0.01)
        assert sizes.noise / sizes.spans == pytest.approx(3, abs=0.35)


def test_every_way_to_cut_spans_is_as_likely() -> None:
    """Ten tokens in three spans: the first one is of k tokens in C(9 - k, 1) of C(9, 2) ways."""
    length = 67
    assert span_lengths(length)[:2] == (10, 3)
    text = torch.arange(3, 3 + length).repeat(4000, 1)
    found = SPANS(Batch(text, text, torch.arange(4000), "train"), 0)
    first = [
        restored(r, w)[1][0]
        for r, w in zip(found.input_ids.tolist(), found.labels.tolist(), strict=True)
    ]
    for size in range(1, 9):
        expected = (9 - size) / 36
        error = (expected * (1 - expected) / 4000) ** 0.5
        assert abs(first.count(size) / 4000 - expected) < 4 * error


@BOTH
def test_a_sequence_is_corrupted_by_its_place_whatever_it_comes_with(
    corruption: Corruption,
) -> None:
    whole = corruption(batch_of(8), 3)
    for size in (1, 3):
        parts = [corruption(part, 3) for part in batch_of(8).micro_batches(size)]
        assert torch.equal(torch.cat([part.input_ids for part in parts]), whole.input_ids)
        assert torch.equal(torch.cat([part.labels for part in parts]), whole.labels)
    assert torch.equal(whole.starts, batch_of(8).starts)


@BOTH
def test_another_epoch_seed_place_or_split_is_corrupted_otherwise(
    corruption: Corruption,
) -> None:
    first = corruption(batch_of(4), 0).input_ids
    other_seed = type(corruption)(**{**vars(corruption), "seed": 2})
    assert torch.equal(corruption(batch_of(4), 0).input_ids, first)
    assert not torch.equal(corruption(batch_of(4), 1).input_ids, first)
    assert not torch.equal(other_seed(batch_of(4), 0).input_ids, first)
    assert not torch.equal(corruption(batch_of(4, split="dev"), 0).input_ids, first)
    same = batch_of(1)
    twice = Batch(same.input_ids.repeat(2, 1), same.labels.repeat(2, 1), torch.arange(2), "train")
    assert not torch.equal(*corruption(twice, 0).input_ids)


def test_a_chunk_is_masked_anew_in_every_epoch_of_an_order() -> None:
    ids = np.arange(3, 3 + 4 * T, dtype=np.uint16)
    order = ChunkOrder(ids, T, 4, seed=1)
    masks = []
    for epoch in range(2):
        batch = order.batch(epoch, 0)
        rows = batch.starts.argsort()
        masks.append((MASKING(batch, epoch).labels != IGNORED)[rows])
    assert not torch.equal(*masks)
