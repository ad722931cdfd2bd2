"""Who may look at whom: per exemplar, a table of target region against exemplar region.

Per-class choice of exemplar, per-class strength, interpolation between exemplars and explicit region pairs are
one mechanism: a table of *agreement* (does this target class share a class with that exemplar class?) and a table
of *weight* (how much does the pair count; its logarithm is added to the logits). A region pair ("this car looks
like that car") gives the pixels under its masks a row and a column of their own.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from .label_resizing import resize_ids

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
    :param class_strength: further factors by target class id; a class not named has 1.
    :param pairs: by target class id, the exemplar class ids it looks at instead of its own class.
    :param regions: region pairs; where they overlap the later one holds.
    :param mask: [H, W] or [B, H, W] in 0..1 over the target, of its label map's size: a further factor of each
        target pixel, in steps of 1/8; None is 1 everywhere.
    """

    strength: float = 1.0
    class_strength: Mapping[int, float] = field(default_factory=dict)
    pairs: Mapping[int, Collection[int]] = field(default_factory=dict)
    regions: Sequence[RegionPair] = ()
    mask: Tensor | None = None

    def __post_init__(self) -> None:
        named = {"strength": self.strength} | {f"class_strength[{c}]": s for c, s in self.class_strength.items()}
        named |= {f"regions[{i}].strength": r.strength for i, r in enumerate(self.regions)}
        for name, value in named.items():
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"Route: {name} is {value}, expected a finite number >= 0 (0 is off, 1 the method)")

    def rows(self, classes: Tensor) -> Tensor:
        """Factor of each target class: [K]."""
        factors = [self.strength * self.class_strength.get(int(c), 1.0) for c in classes]
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
    :param agreement: [R, C] in 0..1, 1 where row and column share a class.
    :param weight: [R, C] >= 0, factor on the pair's share of the softmax.
    :param ignored: the row and the column of ignored pixels, where there are any.
    """

    target: Tensor
    exemplar: Tensor
    agreement: Tensor
    weight: Tensor
    ignored: tuple[int | None, int | None] = (None, None)

    @classmethod
    def build(cls, target: Tensor, exemplar: Tensor, route: Route, ignore: int | None = None) -> PairTable:
        """:param target: [B, H, W] class ids.
        :param exemplar: [Be, He, We] class ids in the same table of classes.
        :param ignore: an id that shares a class with nothing, itself included.
        :raises ValueError: when a mask has another size than its label map, or a region's is empty.
        """
        levels = None if route.mask is None else _levels(route.mask, target)
        rows, row_class, row_region, row_level = _regions(target, [r.target for r in route.regions], "target", levels)
        columns, column_class, column_region, _ = _regions(exemplar, [r.exemplar for r in route.regions], "exemplar")
        agreement = row_class[:, None] == column_class[None, :]
        if ignore is not None:
            agreement &= (row_class != ignore)[:, None]
        weight = route.rows(row_class)[:, None].repeat(1, len(column_class))
        for source, looks_at in route.pairs.items():
            mine = row_class == source
            allowed = torch.isin(column_class, torch.tensor(sorted(looks_at), dtype=column_class.dtype))
            agreement[mine] = allowed
            weight[mine] *= allowed
        for number, region in enumerate(route.regions):
            mine, theirs = row_region == number, column_region == number
            if region.exclusive:
                agreement[mine] = False
                weight[mine] *= theirs
            pair = mine[:, None] & theirs[None, :]
            agreement |= pair
            weight[pair] = route.strength * region.strength
        weight *= row_level[:, None] / MASK_LEVELS
        ignored = tuple(
            _first((classes == ignore) & (regions < 0)) if ignore is not None else None
            for classes, regions in ((row_class, row_region), (column_class, column_region))
        )
        return cls(rows, columns, agreement.float(), weight, ignored)

    def at(self, target: tuple[int, int], exemplar: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Rows [B, n] and columns [Be, m] on two grids, by majority of area; ignored pixels have no vote."""
        return tuple(
            resize_ids(numbers, grid, "majority", ignore=ignored).flatten(1)
            for numbers, grid, ignored in zip(
                (self.target, self.exemplar), (target, exemplar), self.ignored, strict=True
            )
        )


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


def _regions(
    ids: Tensor, masks: Sequence[Tensor], side: str, levels: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Number the (class, region, mask level) combinations of a label map.

    :return: map [B, H, W] of numbers, and the class, the region (-1 for none) and the level of each number.
    """
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
    # As one number each: sorting numbers is some forty times faster than sorting columns.
    combined = (ids * (len(masks) + 1) + region + 1) * (MASK_LEVELS + 1) + levels
    unique, inverse = torch.unique(combined, return_inverse=True)
    unique, level = unique.div(MASK_LEVELS + 1, rounding_mode="floor"), unique % (MASK_LEVELS + 1)
    return inverse, unique.div(len(masks) + 1, rounding_mode="floor"), unique % (len(masks) + 1) - 1, level
