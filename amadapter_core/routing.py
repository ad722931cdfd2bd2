"""Who may look at whom: per exemplar, a table of target region against exemplar region.

Per-class choice of exemplar, per-class strength, interpolation between exemplars and explicit region pairs are
one mechanism: a table of *agreement* (does this target class share a class with that exemplar class?) and a table
of *weight* (how much does the pair count; its logarithm is added to the logits). A region pair ("this car looks
like that car") gives the pixels under its masks a row and a column of their own, and so do the parts of a class.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from .label_maps import NO_PART
from .part_rows import PartRows, vote

Kind = int | tuple[int, int]
"""A class id, which stands for all of its parts, or (class id, part id); what is said of a part goes before."""

MASK_LEVELS = 8
"""A mask's values are told apart in steps of 1/8: each step is one more kind of target pixel."""


@dataclass(frozen=True)
class RegionPair:
    """Pixels of the target that look at given pixels of one exemplar.

    :param target: [H, W] mask of the target, true inside.
    :param exemplar: [He, We] mask of the exemplar, true inside.
    :param strength: factor on the pair's share, >= 0.
    :param exclusive: the target region looks nowhere else in this exemplar.
    """

    target: Tensor
    exemplar: Tensor
    strength: float = 1.0
    exclusive: bool = True


@dataclass(frozen=True)
class Route:
    """What one exemplar may do.

    :param strength: factor on the exemplar's share of the softmax; 0 is off, 1 the method.
    :param class_strength: further factors by target class or part; what is not named has 1.
    :param pairs: by target class or part, the exemplar's classes and parts it looks at instead of its own.
    :param other_parts: by target class id, what pixels of its class that show another part count, 0..1; a class not
        named has 0.
    :param regions: region pairs; where they overlap the later one holds.
    :param mask: [H, W] or [B, H, W] in 0..1 over the target, of its label map's size: a further factor of each
        target pixel, in steps of 1/8; None is 1 everywhere.
    """

    strength: float = 1.0
    class_strength: Mapping[Kind, float] = field(default_factory=dict)
    pairs: Mapping[Kind, Collection[Kind]] = field(default_factory=dict)
    regions: Sequence[RegionPair] = ()
    mask: Tensor | None = None
    other_parts: Mapping[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        named = {"strength": self.strength} | {f"class_strength[{c}]": s for c, s in self.class_strength.items()}
        named |= {f"regions[{i}].strength": r.strength for i, r in enumerate(self.regions)}
        for name, value in named.items():
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"Route: {name} is {value}, expected a finite number >= 0 (0 is off, 1 the method)")
        for name, value in self.other_parts.items():
            if not 0 <= value <= 1:
                raise ValueError(f"Route: other_parts[{name}] is {value}, expected 0 (not at all) to 1 (as its own)")

    def rows(self, classes: Tensor, parts: Tensor) -> Tensor:
        """Factor of each kind of target pixel: [R]."""
        named = self.class_strength
        kinds = zip(classes.tolist(), parts.tolist(), strict=True)
        factors = [self.strength * named.get((c, p), named.get(c, 1.0)) for c, p in kinds]
        return torch.tensor(factors, dtype=torch.float32)


@dataclass(frozen=True)
class Routing:
    """The routes of all exemplars, in their order.

    :param routes: one per exemplar; none stands for a plain route each.
    :param weights: shares between exemplars, normalised to sum to 1, so that two exemplars at (0.3, 0.7) together
        bring what one exemplar brings alone; none lets each bring its full share.
    """

    routes: Sequence[Route] = ()
    weights: Sequence[float] | None = None

    def __post_init__(self) -> None:
        if self.weights is not None:
            if any(not (math.isfinite(w) and w >= 0) for w in self.weights) or sum(self.weights) <= 0:
                raise ValueError(f"Routing: weights {tuple(self.weights)} must be >= 0 and not all 0")

    def route(self, index: int, exemplars: int) -> Route:
        """The route of one exemplar, with its share folded into the strength."""
        for name, given in (("routes", self.routes or None), ("weights", self.weights)):
            if given is not None and len(given) != exemplars:
                raise ValueError(f"Routing: {len(given)} {name} for {exemplars} exemplars; give one each, or none")
        route = self.routes[index] if self.routes else Route()
        if self.weights is None:
            return route
        return replace(route, strength=route.strength * self.weights[index] / sum(self.weights))


@dataclass(frozen=True)
class PairTable:
    """One exemplar's route against one target, as region maps and tables.

    :param target: [B, H, W] row of each target pixel.
    :param exemplar: [Be, He, We] column of each exemplar pixel.
    :param agreement: [R, C] in 0..1, 1 where row and column share a class, and what they show of it.
    :param weight: [R, C] >= 0, factor on the pair's share of the softmax.
    :param ignored: the row and the column of ignored pixels, where there are any.
    :param parts: which rows and columns differ in their part alone; None where neither side has parts.
    """

    target: Tensor
    exemplar: Tensor
    agreement: Tensor
    weight: Tensor
    ignored: tuple[int | None, int | None] = (None, None)
    parts: PartRows | None = None

    @classmethod
    def build(
        cls,
        target: Tensor,
        exemplar: Tensor,
        route: Route,
        ignore: int | None = None,
        parts: tuple[Tensor | None, Tensor | None] = (None, None),
    ) -> PairTable:
        """:param target: [B, H, W] class ids.
        :param exemplar: [Be, He, We] class ids in the same table of classes.
        :param ignore: an id that shares a class with nothing, itself included.
        :param parts: part ids of target and exemplar, NO_PART where a pixel shows none; None without parts.
        :raises ValueError: when a mask has another size than its label map, or a region's is empty.
        """
        levels = None if route.mask is None else _levels(route.mask, target)
        rows = _number(target, parts[0], [r.target for r in route.regions], "target", ignore, levels)
        columns = _number(exemplar, parts[1], [r.exemplar for r in route.regions], "exemplar", ignore)
        whole = rows.classes[:, None] == columns.classes[None, :]
        if ignore is not None:
            whole &= (rows.classes != ignore)[:, None]
        same = whole & (rows.parts[:, None] == columns.parts[None, :])
        others = torch.tensor([route.other_parts.get(c, 0.0) for c in rows.classes.tolist()])[:, None]
        # By class, and by class and part.
        agreements = [whole.float(), torch.where(same | (rows.parts == NO_PART)[:, None], 1.0, others) * whole]
        strength = route.rows(rows.classes, rows.parts)[:, None]
        weight = strength.repeat(1, len(columns.classes))
        for source in sorted(route.pairs, key=lambda kind: isinstance(kind, tuple)):
            mine, allowed = rows.of(source), columns.of(*route.pairs[source]).float()
            weight[mine] = strength[mine] * allowed
            for agreement in agreements:
                agreement[mine] = allowed
        for number, region in enumerate(route.regions):
            mine, theirs = rows.regions == number, columns.regions == number
            pair = mine[:, None] & theirs[None, :]
            for agreement in agreements:
                if region.exclusive:
                    agreement[mine] = 0
                agreement[pair] = 1
            if region.exclusive:
                weight[mine] *= theirs
            weight[pair] = route.strength * region.strength
        weight *= rows.levels[:, None] / MASK_LEVELS
        by_class, agreement = agreements
        finer = None
        if any(given is not None for given in parts):
            missed = (agreement != by_class).any(1)
            fallback = torch.arange(len(missed))
            fallback[missed] = len(missed) + torch.arange(int(missed.sum()))
            finer = PartRows(rows.first, columns.first, same, fallback)
            agreement, weight = torch.cat([agreement, by_class[missed]]), torch.cat([weight, weight[missed]])
        ignored = tuple(
            _first((side.classes == ignore) & (side.regions < 0)) if ignore is not None else None
            for side in (rows, columns)
        )
        return cls(rows.pixels, columns.pixels, agreement, weight, ignored, finer)

    def at(self, target: tuple[int, int], exemplar: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Rows [B, n] and columns [Be, m] on two grids, by majority of area; ignored pixels have no vote."""
        first = (None, None) if self.parts is None else (self.parts.target, self.parts.exemplar)
        rows, columns = (
            vote(*side).flatten(1)
            for side in zip((self.target, self.exemplar), first, (target, exemplar), self.ignored, strict=True)
        )
        return rows if self.parts is None else self.parts.settle(rows, columns), columns


def _first(where: Tensor) -> int | None:
    return int(where.nonzero()[0]) if bool(where.any()) else None


def _levels(mask: Tensor, target: Tensor) -> Tensor:
    """A mask as whole steps: [1 or B, H, W] int64."""
    mask = mask.cpu().reshape(-1, *mask.shape[-2:])
    if mask.shape[1:] != target.shape[1:]:
        raise ValueError(
            f"Route: the mask is {tuple(mask.shape[1:])}, the target's label map {tuple(target.shape[1:])}; "
            "resize the mask to the label map"
        )
    if 1 not in (len(mask), len(target)) and len(mask) != len(target):
        raise ValueError(f"Route: {len(mask)} masks cannot serve {len(target)} target label maps; give 1 or as many")
    return (mask.float() * MASK_LEVELS).round().long().clamp(0, MASK_LEVELS)


@dataclass(frozen=True)
class _Numbers:
    """The kinds of pixel of one side, numbered.

    :param pixels: [B, H, W] number of each pixel.
    :param first: [R] the first number that differs from each in its part alone.
    :param classes: [R] class of each number; its region, -1 for none; its mask level; its part, NO_PART for none.
    """

    pixels: Tensor
    first: Tensor
    classes: Tensor
    regions: Tensor
    levels: Tensor
    parts: Tensor

    def of(self, *kinds: Kind) -> Tensor:
        """[R] whether a number is of one of some classes or parts."""
        found = torch.zeros_like(self.classes, dtype=torch.bool)
        for kind in kinds:
            label, part = kind if isinstance(kind, tuple) else (kind, None)
            found |= (self.classes == label) & (True if part is None else self.parts == part)
        return found


def _number(
    ids: Tensor,
    parts: Tensor | None,
    masks: Sequence[Tensor],
    side: str,
    ignore: int | None,
    levels: Tensor | None = None,
) -> _Numbers:
    """Number the (class, region, mask level, part) combinations of a label map."""
    ids = ids.cpu().long()
    region = torch.full(ids.shape, -1, dtype=torch.long)
    for number, mask in enumerate(masks):
        if mask.shape != ids.shape[-2:]:
            raise ValueError(
                f"RegionPair {number}: {side} mask is {tuple(mask.shape)}, its label map {tuple(ids.shape[-2:])}; "
                "resize the mask to the label map"
            )
        if not bool((mask > 0.5).any()):
            raise ValueError(f"RegionPair {number}: {side} mask is empty; nothing could be matched with it")
        region[:, mask.cpu() > 0.5] = number
    if levels is None:
        levels = torch.tensor(MASK_LEVELS)
    part = torch.tensor(NO_PART) if parts is None else parts.cpu().long()
    if ignore is not None:
        part = torch.where(ids == ignore, NO_PART, part)
    sizes = (len(masks) + 1, MASK_LEVELS + 1, int(part.max()) + 2)
    # As one number each: sorting numbers is some forty times faster than sorting columns.
    combined = ids
    for more, size in zip((region + 1, levels, part + 1), sizes, strict=True):
        combined = combined * size + more
    unique, pixels = torch.unique(combined, return_inverse=True)
    rest, found = unique, []
    for size in reversed(sizes):
        found.append(rest % size)
        rest = rest.div(size, rounding_mode="floor")
    numbered, levels, regions = found
    whole = unique.div(sizes[-1], rounding_mode="floor")
    return _Numbers(pixels, torch.searchsorted(whole, whole), rest, regions - 1, levels, numbered - 1)
