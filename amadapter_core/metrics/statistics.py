"""What figures over a set of pictures are worth: intervals by bootstrap, paired comparison, tables.

An item is one picture (or triple); resampling is over items. Percentile bootstrap: Efron and Tibshirani, An
Introduction to the Bootstrap, 1993, chapter 13. The p value is that of a sign-flip permutation test: if two methods
were alike, each item's difference could as well have had the other sign.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

RESAMPLES = 10_000
EXACT_UP_TO = 13
"""Up to so many items that differ, all 2^n sign patterns are gone through instead of drawn."""

_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class Interval:
    """A mean over items and where it may lie.

    :param low: end of the interval; high alike. Both are the mean where there is one item alone.
    :param n: how many items counted.
    """

    mean: float
    low: float
    high: float
    n: int
    level: float = 0.95

    def text(self, digits: int = 2) -> str:
        """As in a table: 24.31 [23.10, 25.52]; one item has no interval."""
        if self.n == 0:
            return "-"
        if self.n == 1:
            return f"{self.mean:.{digits}f}"
        return f"{self.mean:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"


@dataclass(frozen=True)
class Paired:
    """One set of items against another, item by item.

    :param difference: mean of (first - second).
    :param p: two-sided, of the hypothesis that the two are alike.
    :param wins: items in which the first is better; losses in which it is worse.
    """

    difference: Interval
    p: float
    wins: int
    ties: int
    losses: int

    def text(self, digits: int = 2) -> str:
        """As in a table: -1.32 [-1.80, -0.84], p < 0.001, 32 of 32."""
        if self.difference.n == 0:
            return "-"
        p = "p < 0.001" if self.p < 0.001 else f"p = {self.p:.3f}"
        return f"{self.difference.text(digits)}, {p}, {self.wins} of {self.difference.n}"


def bootstrap(
    values: Iterable[float | None], *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Mean and percentile interval.

    :param values: one per item; None and nan are left out.
    :param level: 0..1, how often the interval should hold the true mean.
    :return: nan throughout where there is no item.
    """
    if not 0 < level < 1:
        raise ValueError(f"bootstrap: level is {level}, expected a share between 0 and 1, such as 0.95")
    x = _numbers(values)
    x = x[~np.isnan(x)]
    if not len(x):
        return Interval(math.nan, math.nan, math.nan, 0, level)
    rng = np.random.default_rng(seed)
    step = max(1, _AT_ONCE // len(x))
    means = np.concatenate([x[rng.integers(len(x), size=(count, len(x)))].mean(1) for count in _parts(resamples, step)])
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(x.mean()), float(low), float(high), len(x), level)


def paired(
    values: Iterable[float | None],
    others: Iterable[float | None],
    *,
    higher: bool = False,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Paired:
    """Compare two methods on the same items.

    :param values: one per item; others alike, in the same order. Items that lack either are left out.
    :param higher: whether higher is better; it decides what a win is, nothing else.
    :raises ValueError: when the numbers of items differ.
    """
    x, y = _numbers(values), _numbers(others)
    if len(x) != len(y):
        raise ValueError(f"paired: {len(x)} items against {len(y)}; both must be of the same items in the same order")
    difference = x - y
    difference = difference[~np.isnan(difference)]
    better = difference > 0 if higher else difference < 0
    ties = int((difference == 0).sum())
    return Paired(
        bootstrap(difference, level=level, resamples=resamples, seed=seed),
        sign_flip(difference, resamples=resamples, seed=seed),
        wins=int(better.sum()),
        ties=ties,
        losses=len(difference) - int(better.sum()) - ties,
    )


def sign_flip(differences: Sequence[float] | np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0) -> float:
    """Two-sided p value of a mean difference under random signs.

    :param differences: one per item, no nan.
    :return: 1 where nothing differs; never below 1 / (resamples + 1) where patterns are drawn.
    """
    x = np.asarray(differences, dtype=np.float64)
    x = x[x != 0]
    if not len(x):
        return 1.0
    # What is equal in exact numbers must not differ by rounding.
    reached = abs(x.sum()) * (1 - 1e-12)
    if len(x) <= EXACT_UP_TO:
        signs = 1 - 2 * ((np.arange(2 ** len(x))[:, None] >> np.arange(len(x))) & 1)
        return float((np.abs(signs @ x) >= reached).mean())
    rng = np.random.default_rng(seed)
    step = max(1, _AT_ONCE // len(x))
    extreme = sum(
        int((np.abs((1 - 2 * rng.integers(2, size=(count, len(x)))) @ x) >= reached).sum())
        for count in _parts(resamples, step)
    )
    # The pattern that was seen is one of them.
    return (extreme + 1) / (resamples + 1)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Draw a table whose columns also line up as plain text; the first is left-aligned, the others right.

    :param header: name of each column.
    :param rows: cells; floats are shown with four significant digits.
    """
    cells = [list(header), *([_cell(value) for value in row] for row in rows)]
    odd = next((row for row in cells if len(row) != len(header)), None)
    if odd is not None:
        raise ValueError(f"markdown_table: a row of {len(odd)} cells under {len(header)} columns: {odd}")
    widths = [max(3, *(len(row[i]) for row in cells)) for i in range(len(header))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [
        [
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in [cells[0], rule, *cells[1:]]
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def as_json(value: object) -> object:
    """Plain values for JSON: dataclasses as objects, nan as null, numpy's numbers as Python's."""
    if hasattr(value, "__dataclass_fields__"):
        return as_json(asdict(value))
    if isinstance(value, dict):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _numbers(values: Iterable[float | None]) -> np.ndarray:
    return np.array([math.nan if value is None else float(value) for value in values], dtype=np.float64)


def _parts(total: int, step: int) -> list[int]:
    return [min(step, total - start) for start in range(0, total, step)]


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.4g}"
    return value.text() if isinstance(value, (Interval, Paired)) else str(value)
