"""Chance from a seed, the same on every machine and in every process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TypeVar

import numpy as np

T = TypeVar("T")


class Dice:
    """A stream of random draws.

    Only uniform doubles are taken from NumPy: how it makes other distributions of them may change between releases.

    :param tag: which stream, so that a layout and an appearance of the same seed have nothing in common.
    :param seed: any integer from 0.
    """

    def __init__(self, tag: int, seed: int) -> None:
        self.unit = np.random.Generator(np.random.PCG64([tag, seed])).random

    def between(self, low: float, high: float) -> float:
        """A number from `low` to `high`, evenly."""
        return low + (high - low) * self.unit()

    def below(self, n: int) -> int:
        """An integer 0..n-1."""
        return int(n * self.unit())

    def chance(self, share: float) -> bool:
        """True in this share of all draws."""
        return self.unit() < share

    def pick(self, values: Sequence[T]) -> T:
        """One of some values, evenly."""
        return values[self.below(len(values))]

    def weighted(self, weights: Mapping[T, float]) -> T:
        """One of the keys, as often as its weight says."""
        mark = self.unit() * sum(weights.values())
        for value, reached in zip(weights, accumulate(weights.values()), strict=True):
            if mark < reached:
                return value
        return value
