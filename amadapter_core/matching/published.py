"""The authors' code number for number, with its quirks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..matcher import Matcher
from ..resampling import Flat, Grid, Identity
from .base import Cells, Matching, Site
from .bias import NEVER, StaticBias
from .modes import Mode

PUBLISHED_CELLS = (32, 32)


class PublishedMatching(Matching):
    """The authors' code number for number (Variant.PUBLISHED): one exemplar, square grids.

    Flags are transposed (rows read the exemplar's cell, columns the target's), resized on the flat token index,
    and the maximum is taken over all batch items given, so both halves of classifier-free guidance have to be.

    :param target: [32, 32, c] colours, or ids with c = 1, of the target's cells.
    :param exemplar: the same of the exemplar.
    """

    joint_maximum = True

    def __init__(self, target: Tensor, exemplar: Tensor, mode: Mode | str, *, matcher: Matcher | None = None):
        super().__init__(1)
        self.mode, self.matcher = Mode(mode), matcher
        if self.mode is Mode.LEARNED and matcher is None:
            raise ValueError("Matching: mode 'learned' needs a matcher; load one, or use 'categorical' or 'implicit'")
        cells = torch.stack([exemplar, target]).flatten(1, 2).cpu()  # rows first: the published transposition
        _, ids = torch.unique(cells.flatten(0, 1), dim=0, return_inverse=True)
        self.rows, self.columns = ids.view(2, 1, -1)

    @classmethod
    def from_colours(
        cls, target: Tensor, exemplar: Tensor, mode: Mode | str, *, matcher: Matcher | None = None
    ) -> PublishedMatching:
        """:param target: [1, 3, H, W] colour map in 0..1; cells at borders become blends that match nothing."""
        cells = [
            F.interpolate(x.float(), size=PUBLISHED_CELLS, mode="bilinear", align_corners=False)[0].permute(1, 2, 0)
            for x in (target, exemplar)
        ]
        return cls(*cells, mode, matcher=matcher)

    def _prepare(self, target: Grid, exemplars: Sequence[Grid]) -> Site | None:
        tokens, native = target[0] * target[1], self.rows.shape[-1]
        if exemplars[0] != target or self.mode is Mode.IMPLICIT:
            return None  # the published test is "keys == 2 x queries"; else no bias at all
        side = Flat(tokens, PUBLISHED_CELLS) if tokens == 4 * native else Identity(target)
        count = tokens if self.mode is Mode.CATEGORICAL else side.coarse
        nearest = F.interpolate(torch.arange(float(native))[None, None], size=count, mode="nearest")[0, 0].long()
        rows, columns = self.rows[:, nearest], self.columns[:, nearest]
        agreement = torch.eye(int(max(self.rows.max(), self.columns.max())) + 1)
        if self.mode is Mode.CATEGORICAL:
            values = agreement.log().clamp_min(NEVER)[:, columns[0]][None]
            return Site(StaticBias(rows, values), ())
        return Site(None, [Cells(self.matcher, side, side, rows, columns, agreement)])
