"""Random numbers depend on (seed, stream, indices) and on nothing else."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from babyllama.seeds import derive, generator


@given(st.integers(), st.text(st.characters(exclude_categories=["Cs"])), st.integers())
def test_a_derived_seed_fits_a_signed_64_bit_integer(seed: int, stream: str, index: int) -> None:
    assert 0 <= derive(seed, stream, index) < 1 << 63


def test_derived_seeds_are_the_same_in_every_process_and_version() -> None:
    assert derive(1, "order", 3) == 7784300833223535792


def test_seed_stream_and_every_index_matter() -> None:
    indices = [(), (0,), (1,), (0, 1), (1, 0), (10,)]
    derived = {derive(1, "a", *given) for given in indices} | {derive(2, "a"), derive(1, "b")}
    assert len(derived) == len(indices) + 2


def test_a_generator_does_not_depend_on_what_was_drawn_before() -> None:
    expected = generator(1, "order", 2).integers(1000, size=5)
    np.random.default_rng(7).integers(1000, size=3)
    generator(1, "order", 1).integers(1000, size=3)
    assert generator(1, "order", 2).integers(1000, size=5).tolist() == expected.tolist()
