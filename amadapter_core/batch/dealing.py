"""Which worker makes which row, so that what a worker has computed of an exemplar is used again."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from .plan import Row


class Dealer:
    """Deals rows exemplar by exemplar: a worker stays with one as long as it has rows.

    A worker without an exemplar takes one that nobody has begun, and when there is none it helps where most is left.
    """

    def __init__(self, rows: Sequence[Row]):
        groups: dict[object, dict[object, list[Row]]] = {}
        for row in rows:
            groups.setdefault(row.same_exemplar, {}).setdefault(row.same_banks, []).append(row)
        self._groups = {
            exemplar: deque(row for alike in by_banks.values() for row in alike)
            for exemplar, by_banks in groups.items()
        }
        self._of: dict[int, object] = {}

    def __len__(self) -> int:
        """How many rows are left."""
        return sum(map(len, self._groups.values()))

    def deal(self, worker: int) -> Row | None:
        """The next row of a worker; None when all are dealt."""
        if not self._groups.get(self._of.get(worker)):
            waiting = [exemplar for exemplar, group in self._groups.items() if group]
            if not waiting:
                return None
            begun = {exemplar for other, exemplar in self._of.items() if other != worker}
            fresh = next((exemplar for exemplar in waiting if exemplar not in begun), None)
            most = max(waiting, key=lambda exemplar: len(self._groups[exemplar]))
            self._of[worker] = most if fresh is None else fresh
        return self._groups[self._of[worker]].popleft()

    def back(self, row: Row) -> None:
        """Take back a row that is to be tried again."""
        self._groups[row.same_exemplar].append(row)
