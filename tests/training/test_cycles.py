"""A cosine that starts again: where its cycles end, and what is refused."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babyllama.errors import RecipeError
from babyllama.recipe_training import Training
from babyllama.training.cycles import check_cycles, cycle_ends, ended_cycle
from babyllama.training.optimizers import learning_rate


def cyclic(cycles: int, warmup: int = 0, floor: float = 0.0) -> Training:
    return Training(
        schedule="cyclic",
        cycles=cycles,
        warmup_steps=warmup,
        learning_rate=1.0,
        final_learning_rate=floor,
    )


def test_a_cycle_is_a_whole_cosine_and_the_warm_up_comes_once() -> None:
    rates = [learning_rate(step, 12, cyclic(3, warmup=2, floor=0.1)) for step in range(12)]

    def falling(steps: int) -> list[float]:
        cosines = (0.5 * (1 + math.cos(math.pi * step / steps)) for step in range(steps))
        return [0.1 + 0.9 * cosine for cosine in cosines]

    assert rates == pytest.approx([0.0, 0.5, *falling(2), *falling(4), *falling(4)])


def test_one_cycle_is_the_cosine() -> None:
    plain = cyclic(1, warmup=3).model_copy(update={"schedule": "cosine"})
    for step in range(20):
        assert learning_rate(step, 20, cyclic(1, warmup=3)) == learning_rate(step, 20, plain)


@given(st.integers(1, 400), st.integers(1, 20))
def test_cycles_have_one_length_but_for_a_step_and_fill_the_training(steps: int, n: int) -> None:
    if n > steps:
        return
    ends = cycle_ends(steps, n)
    lengths = [end - begin for begin, end in zip([0, *ends], ends, strict=False)]
    assert sum(lengths) == steps
    assert {steps // n, -(-steps // n)} >= {*lengths}
    assert [ended_cycle(end, steps, cyclic(n)) for end in ends] == [*range(1, n + 1)]
    assert len([s for s in range(1, steps + 1) if ended_cycle(s, steps, cyclic(n))]) == n


def test_other_schedules_have_no_cycles() -> None:
    assert ended_cycle(10, 10, Training(schedule="cosine")) is None


def test_cycles_that_no_model_would_come_of_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"training\.cycles: 5 in a training of 4 steps"):
        check_cycles(4, cyclic(5))
    with pytest.raises(RecipeError, match=r"warmup_steps: 5 fill the first of 2 cycles, which has"):
        check_cycles(10, cyclic(2, warmup=5))
    check_cycles(10, cyclic(2, warmup=4))
    check_cycles(4, cyclic(4))
    check_cycles(4, Training(cycles=5, schedule="constant"))
