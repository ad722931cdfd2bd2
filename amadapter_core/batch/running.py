"""Filling a folder with the rows of a plan, whoever computes them."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..result_folder import RESULT, ResultFolder
from .dealing import Dealer
from .plan import Row


@dataclass(frozen=True)
class Outcome:
    """What came of one attempt at a row.

    :param pictures: PNG files by kind; none when it failed.
    :param message: why it failed.
    :param again: whether another attempt may succeed: broken input stays broken, a lost machine does not.
    :param told: what the record is to say besides.
    """

    pictures: Mapping[str, bytes] = field(default_factory=dict)
    seconds: float = 0.0
    message: str | None = None
    again: bool = False
    told: Mapping[str, Any] = field(default_factory=dict)


class Pool(Protocol):
    """Those who make pictures, each one at a time."""

    def free(self) -> list[int]:
        """Workers that can take a row now."""

    def start(self, worker: int, row: Row) -> None:
        """Give a free worker a row."""

    def wait(self) -> list[tuple[Row, Outcome]]:
        """Wait until something has changed: rows that are through, or none when a worker became free without one.

        :raises RuntimeError: when no worker can be had.
        """

    @property
    def busy(self) -> int:
        """How many workers have a row."""


@dataclass
class Summary:
    """Of one go.

    :param skipped: rows that were finished before.
    :param seconds: on the clock, from when the first row was dealt.
    :param seconds_each: of the median row.
    """

    done: int = 0
    failed: int = 0
    skipped: int = 0
    left: int = 0
    retried: int = 0
    seconds: float = 0.0
    seconds_each: float = 0.0

    @property
    def per_minute(self) -> float:
        """Pictures made in a minute."""
        return 60 * self.done / self.seconds if self.seconds else 0.0


def fill(
    results: ResultFolder,
    rows: Sequence[Row],
    pool: Pool,
    keys: Mapping[str, str],
    *,
    kinds: Collection[str] = (RESULT,),
    retries: int = 2,
    told: Callable[[Row, Outcome, int], None] = lambda row, outcome, left: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Summary:
    """Make every row of a plan that is not finished, once.

    :param keys: see `Plan.keys`.
    :param kinds: of pictures that each is to have.
    :param retries: how often a row is tried again that failed for no fault of its own.
    :param told: called after each row that is through, with how many are left.
    :param stopped: asked before a row is dealt; those that are being made are waited for.
    """
    wanted = [row for row in rows if not results.is_finished(row.name, keys[row.name], kinds)]
    dealer, attempts, seconds = Dealer(wanted), Counter(), []
    summary, start = Summary(skipped=len(rows) - len(wanted)), None
    while True:
        for worker in pool.free():
            if stopped() or (row := dealer.deal(worker)) is None:
                break
            attempts[row.name] += 1
            start = start or time.perf_counter()
            pool.start(worker, row)
        if not pool.busy and (stopped() or not len(dealer)):
            break
        for row, outcome in pool.wait():
            known = {"attempts": attempts[row.name], "seconds": round(outcome.seconds, 3), **outcome.told}
            if outcome.message is None:
                results.keep(row.name, keys[row.name], outcome.pictures, **known)
                seconds.append(outcome.seconds)
                summary.done += 1
            elif outcome.again and attempts[row.name] <= retries:
                summary.retried += 1
                dealer.back(row)
                continue
            else:
                results.fail(row.name, keys[row.name], outcome.message, **known)
                summary.failed += 1
            told(row, outcome, len(wanted) - summary.done - summary.failed)
    summary.left = len(wanted) - summary.done - summary.failed
    summary.seconds = 0.0 if start is None else time.perf_counter() - start
    summary.seconds_each = statistics.median(seconds) if seconds else 0.0
    return summary
