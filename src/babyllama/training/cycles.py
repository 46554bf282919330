"""Cycles of a learning rate that starts again, each of which ends with a model: a snapshot.

The rate is the cosine with restarts of Loshchilov & Hutter 2017 (arXiv 1608.03983, equation 5) with
cycles of one length, as Huang et al. 2017 (arXiv 1704.00109, equation 2) take them for the models
of an ensemble. Their optimiser keeps its state at a restart, and so does this one.
"""

from bisect import bisect

from babyllama.errors import RecipeError
from babyllama.recipe_training import Training


def cycle_ends(total_steps: int, cycles: int) -> list[int]:
    """The steps of a training after which each cycle is over; some are a step longer than others.

    >>> cycle_ends(10, 3)
    [3, 6, 10]
    """
    return [total_steps * number // cycles for number in range(1, cycles + 1)]


def falling_part(step: int, total_steps: int, settings: Training) -> tuple[int, int]:
    """First step of the cosine that a step, counted from 0, lies in, and the one after its last.

    The first cosine begins behind the warm-up, which is that of the whole training.
    """
    cycles = settings.cycles if settings.schedule == "cyclic" else 1
    ends = cycle_ends(total_steps, cycles)
    at = min(bisect(ends, step), cycles - 1)
    return max(ends[at - 1] if at else 0, settings.warmup_steps), ends[at]


def ended_cycle(step: int, total_steps: int, settings: Training) -> int | None:
    """The number, from 1, of the cycle that is over after so many steps, if one is."""
    if settings.schedule != "cyclic":
        return None
    ends = cycle_ends(total_steps, settings.cycles)
    return ends.index(step) + 1 if step in ends else None


def check_cycles(total_steps: int, settings: Training) -> None:
    """Refuse cycles of less than a step, and a first one that is all warm-up.

    Raises:
        RecipeError: one of the two.
    """
    if settings.schedule != "cyclic":
        return
    first = cycle_ends(total_steps, settings.cycles)[0]
    if first < 1:
        raise RecipeError(
            f"training.cycles: {settings.cycles} in a training of {total_steps} steps: lower it,"
            " or train longer"
        )
    if settings.warmup_steps >= first and settings.cycles > 1:
        raise RecipeError(
            f"training.warmup_steps: {settings.warmup_steps} fill the first of {settings.cycles}"
            f" cycles, which has {first} steps: lower them, or train longer"
        )
