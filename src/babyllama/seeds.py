"""Randomness as a function of (seed, stream, indices), never of history.

A run that is interrupted and resumed therefore draws the same numbers as one that is not.
"""

import hashlib

import numpy as np


def derive(seed: int, stream: str, *indices: int) -> int:
    """A 63-bit seed for one stream of random numbers.

    >>> derive(1, "order", 3) == derive(1, "order", 3) != derive(1, "order", 4)
    True
    """
    text = ":".join([str(seed), stream, *map(str, indices)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, stream: str, *indices: int) -> np.random.Generator:
    """A NumPy generator for one stream of random numbers."""
    return np.random.Generator(np.random.Philox(derive(seed, stream, *indices)))
