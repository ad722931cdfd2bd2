"""The right method: classes compared in two dimensions, exemplars that may differ in mode, a maximum of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..matcher import Matcher
from ..resampling import Grid, Resampling, spatial
from ..routing import PairTable, Routing
from .base import Cells, Matching, Site
from .bias import NEVER, StaticBias
from .modes import Mode


@dataclass(frozen=True)
class Pairing:
    """How one target looks at one exemplar.

    :param table: who may look at whom.
    :param matcher: the trained network, in mode learned.
    :param keep_mass: in mode categorical, give the exemplar's allowed keys the share of the softmax that all of
        its keys would have had; a mask alone shrinks it. A token whose class no exemplar has keeps its own keys.
    :param penalty: in mode categorical, what a pair that does not agree costs; infinity excludes it.
    """

    table: PairTable
    mode: Mode = Mode.IMPLICIT
    matcher: Matcher | None = None
    keep_mass: bool = False
    penalty: float = float("inf")

    def __post_init__(self) -> None:
        if self.mode is Mode.LEARNED and self.matcher is None:
            raise ValueError("Matching: mode 'learned' needs a matcher; load one, or use 'categorical' or 'implicit'")
        if not self.penalty >= 0:
            raise ValueError(f"Matching: penalty is {self.penalty}, expected a number >= 0 (infinity excludes)")

    @property
    def active(self) -> bool:
        """Whether the exemplar counts anywhere."""
        return bool((self.table.weight > 0).any())

    @property
    def mask(self) -> Tensor:
        """[R, C] the class mask as a bias."""
        return self.table.agreement.log().clamp_min(max(-self.penalty, NEVER))

    @property
    def bias(self) -> Tensor:
        """[R, C] weight and, in mode categorical, class mask as a bias."""
        weight = self.table.weight.log().clamp_min(NEVER)
        return (weight + self.mask).clamp_min(NEVER) if self.mode is Mode.CATEGORICAL else weight

    @property
    def kept(self) -> Tensor:
        """[R, C] the mask whose loss is made good; 0 where nothing is to be kept."""
        keeps = self.keep_mass and self.mode is Mode.CATEGORICAL
        return self.mask if keeps else torch.zeros_like(self.table.agreement)


class SpatialMatching(Matching):
    """The right method: classes compared in 2D at the matcher's grid, a maximum of one's own (Variant.SPATIAL).

    :param target: [B, H, W] class ids of the target; B is 1 or the batch of queries.
    :param exemplars: [1 or B, He, We] class ids of each exemplar, any size.
    :param routing: strengths, class pairs, region pairs, weights.
    :param ignore: a class id that agrees with nothing.
    :param parts: part ids of the target, and of each exemplar, as `PairTable.build` takes them.
    :param options: `matcher`, `keep_mass` and `penalty` of `Pairing`, the same for all exemplars.
    """

    def __init__(
        self,
        target: Tensor,
        exemplars: Sequence[Tensor],
        mode: Mode | str = Mode.IMPLICIT,
        *,
        routing: Routing | None = None,
        ignore: int | None = None,
        parts: tuple[Tensor | None, Sequence[Tensor | None]] | None = None,
        **options: Any,
    ):
        routing = routing or Routing()
        routes = [routing.route(i, len(exemplars)) for i in range(len(exemplars))]
        own, theirs = parts or (None, [None] * len(exemplars))
        tables = [
            PairTable.build(target, ids, route, ignore, (own, other))
            for ids, route, other in zip(exemplars, routes, theirs, strict=True)
        ]
        self._pair([Pairing(table, Mode(mode), **options) for table in tables])

    @classmethod
    def of(cls, pairings: Sequence[Pairing]) -> SpatialMatching:
        """One matching of exemplars that differ in mode, matcher or target label map."""
        matching = cls.__new__(cls)
        matching._pair(pairings)
        return matching

    def _pair(self, pairings: Sequence[Pairing]) -> None:
        super().__init__(len(pairings))
        self.pairings = tuple(pairings)
        self.target_batch = max((len(p.table.target) for p in pairings), default=1)

    @property
    def active(self) -> tuple[int, ...]:
        """The exemplars of weight above 0 anywhere."""
        return tuple(i for i, pairing in enumerate(self.pairings) if pairing.active)

    def _prepare(self, target: Grid, exemplars: Sequence[Grid]) -> Site:
        pairings = [self.pairings[i] for i in self.active]
        at_site = [p.table.at(target, grid) for p, grid in zip(pairings, exemplars, strict=True)]
        cells = [
            _cells(p, spatial(target), spatial(grid)) if p.mode is Mode.LEARNED else None
            for p, grid in zip(pairings, exemplars, strict=True)
        ]
        return Site(self._static(pairings, at_site), cells)

    def _static(self, pairings: Sequence[Pairing], at_site: Sequence[tuple[Tensor, Tensor]]) -> StaticBias | None:
        """Join the exemplars' tables into one over all keys, with one kind for all equal rows."""
        joint, kind = torch.unique(
            torch.stack([rows.expand(_batch(at_site, 0), -1) for rows, _ in at_site]).flatten(1),
            dim=1,
            return_inverse=True,
        )

        def over_keys(tables: Sequence[Tensor]) -> Tensor:
            """[Bk, J, M] from [R, C] of each exemplar."""
            parts = [
                table[row][:, columns.expand(_batch(at_site, 1), -1)].transpose(0, 1)
                for table, row, (_, columns) in zip(tables, joint, at_site, strict=True)
            ]
            return torch.cat(parts, -1)

        parts = over_keys([p.bias for p in pairings])[None]
        kept = [p.kept for p in pairings]
        keeps = any(bool(mask.any()) for mask in kept)
        if keeps:
            parts = torch.cat([parts, over_keys(kept)[None]])
        parts, merged = torch.unique(parts, dim=2, return_inverse=True)
        if not parts.any():
            return None
        kind = merged[kind].reshape(_batch(at_site, 0), -1)
        return StaticBias(kind, parts[0], parts[1] if keeps else None)


def _cells(pairing: Pairing, target: Resampling, exemplar: Resampling) -> Cells:
    rows, columns = pairing.table.at(target.coarse_grid, exemplar.coarse_grid)
    return Cells(pairing.matcher, target, exemplar, rows, columns, pairing.table.agreement)


def _batch(at_site: Sequence[tuple[Tensor, Tensor]], side: int) -> int:
    return max(len(pair[side]) for pair in at_site)
