"""The matching costs, and the bias they put on the exemplar half of the attention logits.

For every pair (target query i, exemplar key j) of an attention site (AM-Adapter, arXiv 2412.03150):

* the *implicit* cost is the logit itself, q_i . k_j / sqrt(D), per head;
* the *categorical* cost says whether pixel i and pixel j share a class;
* the *learned* bias is the matcher's refinement r >= 0 of the two, less a quarter of its maximum: what is not
  lifted above max/4 is pushed down against the target's own keys.

A `Matching` holds what is known before the first step (label maps, routing, mode) and prepares it once per grid;
at a site it makes a `Bias`, which attention asks for by rows of queries. Nothing of size Nq x Nk outlives a chunk
on a fine grid.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .matcher import Matcher
from .resampling import Flat, Grid, Identity, Resampling, spatial
from .routing import PairTable, RegionPair, Route, Routing

__all__ = [
    "Bias",
    "Grid",
    "Matching",
    "Mode",
    "Pairing",
    "PublishedMatching",
    "RegionPair",
    "Route",
    "Routing",
    "SpatialMatching",
    "StaticBias",
    "Variant",
]

NEVER = -4096.0
"""Stands for -inf in a bias. Finite, so that a row without any allowed key stays free of NaN, and representable in
fp16 after division by the attention scale; its exponential is exactly 0 next to any logit above -3900."""

PUBLISHED_CELLS = (32, 32)
_CPU_CHUNK_BYTES = 8 << 20
_ACCELERATOR_CHUNK_BYTES = 256 << 20


class Variant(str, Enum):
    """Which behaviour: the right one, or the authors' code number for number."""

    SPATIAL = "spatial"
    PUBLISHED = "published"


class Mode(str, Enum):
    """What biases the exemplar half: nothing, agreement of classes, or the matcher."""

    IMPLICIT = "implicit"
    CATEGORICAL = "categorical"
    LEARNED = "learned"


@dataclass(frozen=True)
class Group:
    """Target tokens of one kind and the exemplar keys that their rows leave open.

    :param tokens: [n] int64, target tokens.
    :param keys: [m] int64, exemplar keys.
    :param values: [m] fp32, bias of these keys; None where it is 0 throughout.
    """

    tokens: Tensor
    keys: Tensor
    values: Tensor | None


@dataclass(frozen=True)
class StaticBias:
    """The part of a bias that classes and routing decide: target tokens fall into few kinds with equal rows.

    :param kind: [B, Nq] int64, which row of `values` a target token has.
    :param values: [Bk, J, M] fp32, additive bias of each kind on each of the M exemplar keys.
    :param mask: [Bk, J, M] the class mask alone, where the exemplar's share of the softmax is to be kept.
    """

    kind: Tensor
    values: Tensor
    mask: Tensor | None = None

    def rows(self, values: Tensor, start: int, stop: int) -> Tensor:
        """Rows start..stop of `values` or `mask`: [B, 1, c, M]."""
        kind = self.kind[:, start:stop]
        if values.shape[0] == 1:
            return values[0][kind][:, None]
        return torch.stack([v[k] for v, k in zip(values, kind.expand(len(values), -1), strict=True)])[:, None]

    @cached_property
    def groups(self) -> Sequence[Group]:
        """The kinds one by one, each with its open keys; empty where batch items differ in them."""
        if len(self.kind) > 1 or len(self.values) > 1:
            return ()
        groups = []
        with torch.inference_mode(False):  # what is kept must serve training as well
            for number, row in enumerate(self.values[0]):
                keys = (row > NEVER / 2).nonzero()[:, 0]
                values = row[keys]
                tokens = (self.kind[0] == number).nonzero()[:, 0]
                groups.append(Group(tokens, keys, values if bool(values.any()) else None))
        return groups

    @cached_property
    def open_share(self) -> float:
        """How much of the (target token, exemplar key) pairs the rows leave open; 1 where batch items differ."""
        if not self.groups:
            return 1.0
        pairs = sum(len(group.tokens) * len(group.keys) for group in self.groups)
        return pairs / (self.kind.shape[1] * self.values.shape[2])

    def reachable(self, start: int, stop: int) -> Tensor:
        """Whether the mask leaves a target token any key: [B, 1, c]."""
        return self.rows((self.mask > NEVER / 2).any(-1, keepdim=True), start, stop)[..., 0]


@dataclass(frozen=True)
class LearnedBias:
    """The matcher's bias on one exemplar, kept on the coarse grid.

    :param refined: one [nq, H, nk] per batch item, the matcher's output.
    :param offset: one scalar per batch item, a quarter of the maximum.
    """

    refined: Sequence[Tensor]
    offset: Sequence[Tensor]
    target: Resampling
    exemplar: Resampling

    def rows(self, start: int, stop: int, dtype: torch.dtype) -> Tensor:
        """[B, H, c, Nk]."""
        coarse = torch.stack(
            [
                self.target.gather(r.flatten(1), start, stop).unflatten(1, r.shape[1:]).transpose(0, 1) - offset
                for r, offset in zip(self.refined, self.offset, strict=True)
            ]
        )
        return self.exemplar.expand(coarse.to(dtype))

    def item(self, index: slice) -> LearnedBias:
        return LearnedBias(self.refined[index], self.offset[index], self.target, self.exemplar)


@dataclass(frozen=True)
class Unlearned:
    """The place of an exemplar without a matcher beside one that has it.

    :param like: [B or 1, H, M, D] its keys.
    """

    like: Tensor

    def rows(self, start: int, stop: int, dtype: torch.dtype) -> Tensor:
        """Zeros [1, H, c, M]."""
        return self.like.new_zeros(1, self.like.shape[1], stop - start, self.like.shape[2], dtype=dtype)

    def item(self, index: slice) -> Unlearned:
        return self


@dataclass(frozen=True)
class Bias:
    """What is added to the logits of the exemplars' keys, M of them in all, at one attention site.

    :param static: the part by classes and routing, over all M keys.
    :param learned: one per exemplar, over its own keys, in order; empty where no exemplar has a matcher.
    """

    static: StaticBias | None
    learned: Sequence[LearnedBias | Unlearned] = ()

    @property
    def keeps_mass(self) -> bool:
        return self.static is not None and self.static.mask is not None

    def rows(self, start: int, stop: int, dtype: torch.dtype) -> Tensor:
        """The bias of target tokens start..stop: [B, H or 1, c, M]."""
        static = None if self.static is None else self.static.rows(self.static.values, start, stop).to(dtype)
        if not self.learned:
            return static
        parts = [part.rows(start, stop, dtype) for part in self.learned]
        learned = parts[0] if len(parts) == 1 else join(parts, dim=-1)
        return learned if static is None else learned + static

    def item(self, index: slice) -> Bias:
        """The bias of some batch items alone."""
        static = self.static
        if static is not None:
            values, mask = (t if t is None or len(t) == 1 else t[index] for t in (static.values, static.mask))
            static = StaticBias(static.kind if len(static.kind) == 1 else static.kind[index], values, mask)
        return Bias(static, [part.item(index) for part in self.learned])


@dataclass(frozen=True)
class _Cells:
    """One exemplar's matcher and flags at one pair of grids: flags[i, j] = agreement[rows[i], columns[j]]."""

    matcher: Matcher
    target: Resampling
    exemplar: Resampling
    rows: Tensor
    columns: Tensor
    agreement: Tensor

    def flags(self, item: int, start: int, stop: int) -> Tensor:
        """[c, nk] of one batch item, as they stand in `agreement`."""
        rows = self.rows[item if len(self.rows) > 1 else 0, start:stop]
        columns = self.columns[item if len(self.columns) > 1 else 0]
        return self.agreement[rows][:, columns]


@dataclass(frozen=True)
class _Site:
    """:param cells: one per active exemplar, None where it has no matcher."""

    static: StaticBias | None
    cells: Sequence[_Cells | None]


class Matching(ABC):
    """One target and its exemplars.

    :param exemplars: how many there are.
    """

    joint_maximum: bool = False
    target_batch: int = 1

    def __init__(self, exemplars: int):
        self.exemplars = exemplars
        self._sites: dict[tuple, _Site | None] = {}

    @property
    def active(self) -> tuple[int, ...]:
        """The exemplars that count at all; the others need not be run. None active: plain self-attention."""
        return tuple(range(self.exemplars))

    @abstractmethod
    def _prepare(self, target: Grid, exemplars: Sequence[Grid]) -> _Site | None:
        """What depends on the grids alone; None where nothing biases this pair of grids."""

    def _site(self, target: Grid, exemplars: Sequence[Grid], device: torch.device) -> _Site | None:
        key = (target, tuple(exemplars), device)
        if key not in self._sites:
            with torch.inference_mode(False):  # what is kept must serve training as well
                site = self._prepare(target, exemplars)
                self._sites[key] = site if site is None else _move(site, device)
        return self._sites[key]

    def bias(
        self, q: Tensor, keys: Sequence[Tensor], target: Grid, exemplars: Sequence[Grid], block: str, scale: float
    ) -> Bias | None:
        """The bias at one site.

        :param q: [B, H, Nq, D] target queries.
        :param keys: [B or 1, H, Nk, D] of each active exemplar.
        :param target: (h, w) of the queries.
        :param exemplars: (h, w) of each active exemplar's keys.
        :param block: "down_blocks", "mid_block" or "up_blocks".
        :param scale: factor on q . k, usually D ** -0.5.
        :return: None where nothing is added.
        :raises ValueError: when grids and token counts, batches or heads disagree.
        """
        _check_tokens(q, keys, target, exemplars)
        if self.target_batch not in (1, len(q)):
            raise ValueError(
                f"Matching: target label maps of batch {self.target_batch} cannot serve {len(q)} rows; "
                f"give 1 or {len(q)}"
            )
        site = self._site(target, exemplars, q.device)
        if site is None:
            return None
        learned: Sequence[LearnedBias | Unlearned] = ()
        if any(site.cells):
            learned = [
                self._learn(q, k, cells, block, scale) if cells else Unlearned(k)
                for k, cells in zip(keys, site.cells, strict=True)
            ]
        return Bias(site.static, learned) if learned or site.static is not None else None

    def _learn(self, q: Tensor, k: Tensor, cells: _Cells, block: str, scale: float) -> LearnedBias:
        matcher = cells.matcher
        if q.shape[1] != matcher.heads:
            raise ValueError(
                f"Matching: the matcher was made for {matcher.heads} attention heads, this UNet has "
                f"{q.shape[1]} in {block}; use mode 'categorical' or 'implicit'"
            )
        dtype = matcher.dtype
        q = cells.target.pool(q.to(dtype)) * scale
        k = cells.exemplar.pool(k.to(dtype)).transpose(-1, -2)
        encoder = matcher.encoder(block)
        widest = max(matcher.heads + 1, *matcher.widths)
        budget = _CPU_CHUNK_BYTES if q.device.type == "cpu" else _ACCELERATOR_CHUNK_BYTES
        step = max(1, budget // (widest * cells.exemplar.coarse * q.element_size()))

        def cost(item: int):
            for start in range(0, cells.target.coarse, step):
                stop = min(start + step, cells.target.coarse)
                logits = (q[item, :, start:stop] @ k[item if len(k) > 1 else 0]).transpose(0, 1)  # [c, H, nk]
                flags = cells.flags(item, start, stop)[:, None].to(dtype)
                yield torch.cat([logits, flags], dim=1).unflatten(-1, cells.exemplar.coarse_grid)

        refined = [torch.cat(encoder(cost(item))).flatten(-2) for item in range(len(q))]
        maxima = [r.amax() for r in refined]
        if self.joint_maximum:
            maxima = [torch.stack(maxima).amax()] * len(maxima)
        return LearnedBias(refined, [m / 4 for m in maxima], cells.target, cells.exemplar)


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
        return tuple(i for i, pairing in enumerate(self.pairings) if pairing.active)

    def _prepare(self, target: Grid, exemplars: Sequence[Grid]) -> _Site:
        pairings = [self.pairings[i] for i in self.active]
        at_site = [p.table.at(target, grid) for p, grid in zip(pairings, exemplars, strict=True)]
        cells = [
            _cells(p, spatial(target), spatial(grid)) if p.mode is Mode.LEARNED else None
            for p, grid in zip(pairings, exemplars, strict=True)
        ]
        return _Site(self._static(pairings, at_site), cells)

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


def _cells(pairing: Pairing, target: Resampling, exemplar: Resampling) -> _Cells:
    rows, columns = pairing.table.at(target.coarse_grid, exemplar.coarse_grid)
    return _Cells(pairing.matcher, target, exemplar, rows, columns, pairing.table.agreement)


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

    def _prepare(self, target: Grid, exemplars: Sequence[Grid]) -> _Site | None:
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
            return _Site(StaticBias(rows, values), ())
        return _Site(None, [_Cells(self.matcher, side, side, rows, columns, agreement)])


def _batch(at_site: Sequence[tuple[Tensor, Tensor]], side: int) -> int:
    return max(len(pair[side]) for pair in at_site)


def _move(site: _Site, device: torch.device) -> _Site:
    static = site.static
    if static is not None:
        mask = None if static.mask is None else static.mask.to(device)
        static = StaticBias(static.kind.to(device), static.values.to(device), mask)
    cells = [
        c and replace(c, rows=c.rows.to(device), columns=c.columns.to(device), agreement=c.agreement.to(device))
        for c in site.cells
    ]
    return _Site(static, cells)


def join(parts: Sequence[Tensor], dim: int) -> Tensor:
    """Concatenate what belongs to the exemplars, whose batches are 1 or the same."""
    batch = max(len(part) for part in parts)
    return torch.cat([part.expand(batch, *part.shape[1:]) for part in parts], dim)


def _check_tokens(q: Tensor, keys: Sequence[Tensor], target: Grid, exemplars: Sequence[Grid]) -> None:
    if q.shape[2] != target[0] * target[1]:
        raise ValueError(f"Matching: {q.shape[2]} target tokens do not fill the grid {target}")
    if len(keys) != len(exemplars):
        raise ValueError(f"Matching: keys of {len(keys)} exemplars with {len(exemplars)} grids")
    for k, grid in zip(keys, exemplars, strict=True):
        if k.shape[2] != grid[0] * grid[1]:
            raise ValueError(f"Matching: {k.shape[2]} exemplar tokens do not fill the grid {grid}")
        if k.shape[0] not in (1, q.shape[0]):
            raise ValueError(
                f"Matching: exemplar batch {k.shape[0]} cannot broadcast to batch {q.shape[0]}; use 1 or {q.shape[0]}"
            )
