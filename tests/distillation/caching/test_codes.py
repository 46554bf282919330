"""Feature vectors as bytes, and back."""

import pytest
import torch
from torch import Tensor

from babyllama.distillation.caching.codes import Codec
from babyllama.errors import BabyllamaError

CPU = torch.device("cpu")
WIDTHS = (6, 3)


def vectors() -> list[Tensor]:
    torch.manual_seed(1)
    return [torch.randn(8, width) * torch.logspace(-3, 3, 8)[:, None] for width in WIDTHS]


def there_and_back(codec: Codec, given: list[Tensor]) -> list[Tensor]:
    return codec.decode(codec.encode(given), torch.float32, CPU)


def test_half_precision_is_the_nearest_half() -> None:
    for found, given in zip(
        there_and_back(Codec(4, WIDTHS, False), vectors()), vectors(), strict=True
    ):
        assert torch.equal(found, given.half().float())


def test_eight_bits_are_off_by_half_a_step_of_each_vectors_own_scale() -> None:
    for found, given in zip(
        there_and_back(Codec(4, WIDTHS, True), vectors()), vectors(), strict=True
    ):
        step = given.abs().amax(dim=1, keepdim=True) / 127
        assert ((found - given).abs() <= 0.5001 * step).all()
        assert (found - given).abs().max() > 0


def test_the_largest_of_a_vector_comes_back_as_it_was() -> None:
    given = [torch.tensor([[1.0, -3.0], [0.25, 0.0]])]
    (found,) = there_and_back(Codec(2, (2,), True), given)
    assert found[0, 1] == pytest.approx(-3.0)
    assert found[1].tolist() == pytest.approx([0.25, 0.0])


def test_a_vector_of_zeros_comes_back_as_zeros() -> None:
    (found,) = there_and_back(Codec(1, (3,), True), [torch.zeros(1, 3)])
    assert torch.equal(found, torch.zeros(1, 3))


def test_bytes_a_token() -> None:
    assert Codec(4, WIDTHS, False).dtype.itemsize == 4 * 2 * 9
    assert Codec(4, WIDTHS, True).dtype.itemsize == 4 * (4 * 2 + 9)


@pytest.mark.parametrize("eight_bits", [False, True])
def test_what_is_not_finite_is_refused(eight_bits: bool) -> None:
    for value in (float("nan"), float("inf")):
        given = [torch.tensor([[1.0, value]])]
        with pytest.raises(BabyllamaError, match="not finite"):
            Codec(1, (2,), eight_bits).encode(given)


def test_what_is_too_large_for_half_precision_is_refused_there_alone() -> None:
    given = [torch.tensor([[7e4, 1.0]])]
    with pytest.raises(BabyllamaError, match="too large for half precision: set"):
        Codec(1, (2,), False).encode(given)
    assert there_and_back(Codec(1, (2,), True), given)[0][0, 0] == pytest.approx(7e4)
