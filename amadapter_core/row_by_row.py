"""A matching for batches in which each row has an exemplar of its own, for variants that know single images only."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from .matching import Bias, LearnedBias, Matching
from .resampling import Grid


class RowByRow(Matching):
    """One learned matching for each row of a batch.

    :param rows: of one target and one exemplar each, all of one size.
    """

    def __init__(self, rows: Sequence[Matching]):
        super().__init__(1)
        self.rows = rows
        self.target_batch = len(rows)

    def _prepare(self, target: Grid, exemplars: Sequence[Grid]) -> None:
        return None

    def bias(
        self, q: Tensor, keys: Sequence[Tensor], target: Grid, exemplars: Sequence[Grid], block: str, scale: float
    ) -> Bias | None:
        parts = [
            matching.bias(q[i : i + 1], [k[i : i + 1] for k in keys], target, exemplars, block, scale)
            for i, matching in enumerate(self.rows)
        ]
        if any(part is None for part in parts):
            return None
        learned = [part.learned[0] for part in parts]
        refined, offset = ([x for bias in learned for x in getattr(bias, name)] for name in ("refined", "offset"))
        return Bias(None, [LearnedBias(refined, offset, learned[0].target, learned[0].exemplar)])
