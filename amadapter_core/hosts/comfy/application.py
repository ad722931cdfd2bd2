"""One use of Apply AM-Adapter: an exemplar, the target's label map, and how the one looks at the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from ...label_maps import LabelMap, check_same_classes
from ...matcher import BLOCKS, Matcher
from ...matching import Grid, Matching, Mode, Pairing, PublishedMatching, SpatialMatching, Variant
from ...routing import PairTable, Route
from ...routing_rules import Layer, RoutingRules
from .exemplar import HostExemplar

Crop = tuple[tuple[int, int, int, int], Grid] | None
"""(height, width, top, left) of an area in cells of the latent, and the latent's (h, w); None is all of it."""


@dataclass(frozen=True, eq=False)
class Application:
    """What one Apply AM-Adapter node says; never changed after it was made.

    :param strength: factor on the exemplar's share of the softmax; 0 is off, 1 the method.
    :param start: from which share of the sampling on, 0..1; `end` until which.
    :param block_weights: further factors of down, middle and up blocks.
    :param interval: how many denoising steps share one bias of the matcher; 1 makes it anew in each.
    :param matcher: ModelPatcher of a Matcher, in mode learned.
    :param mask: [B, H, W] in 0..1, where on the target the exemplar acts; any size.
    :raises ValueError: when the parts do not belong together.
    """

    exemplar: HostExemplar
    target: LabelMap
    mode: Mode = Mode.CATEGORICAL
    strength: float = 1.0
    start: float = 0.0
    end: float = 1.0
    keep_mass: bool = False
    penalty: float = float("inf")
    block_weights: tuple[float, float, float] = (1.0, 1.0, 1.0)
    variant: Variant = Variant.SPATIAL
    interval: int = 1
    matcher: Any = None
    mask: Tensor | None = None
    rules: RoutingRules | None = None
    _tables: dict[Layer | None, PairTable] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.mode is Mode.LEARNED and self.matcher is None:
            raise ValueError(
                "mode 'learned' needs a matcher; connect Load AM-Adapter Matcher, or use mode 'categorical'"
            )
        if self.variant is Variant.PUBLISHED:
            plain = self.strength in (0, 1) and self.block_weights == (1, 1, 1) and not self.keep_mass
            if not plain or self.mask is not None or self.rules is not None or self.target.parts is not None:
                raise ValueError(
                    "variant 'published' takes strength 1 (or 0), block weights 1, no keep_mass, no mask, no routing "
                    "and no parts; use variant 'spatial'"
                )
        check_same_classes(self.target, self.labels, self.name)
        if self.mode is not Mode.IMPLICIT and not bool(self.table().agreement.any()):
            raise ValueError(
                f"the target ({_names(self.target)}) and {self.name} ({_names(self.labels)}) have no class in "
                "common; check that both label maps are right, pair classes with Class Routing, or use mode 'implicit'"
            )

    @property
    def labels(self) -> LabelMap:
        """The exemplar's label map."""
        return self.exemplar.exemplar.labels

    @property
    def name(self) -> str:
        """The exemplar's name, for messages."""
        return self.exemplar.exemplar.name

    @property
    def network(self) -> Matcher | None:
        """The matcher where it lies now; None without one."""
        return None if self.matcher is None else self.matcher.model

    def table(self, layer: Layer | None = None) -> PairTable:
        """Who may look at whom, at strength 1, over the whole target.

        :param layer: where in the UNet; None leaves out the rules that hold in some layers only.
        """
        layer = layer if self.by_layer else None
        if layer not in self._tables:
            self._tables[layer] = self._table(layer)
        return self._tables[layer]

    @property
    def by_layer(self) -> bool:
        """Whether its rules differ between layers of the UNet."""
        return self.rules is not None and self.rules.by_layer

    def _table(self, layer: Layer | None) -> PairTable:
        route = Route() if self.rules is None else self.rules.route(self.target, self.labels, layer=layer)
        if self.mask is not None:
            mask = F.interpolate(self.mask.reshape(-1, 1, *self.mask.shape[-2:]).float(), size=self.target.size)[:, 0]
            route = replace(route, mask=mask)
        parts = (self.target.part_ids, self.labels.part_ids)
        return PairTable.build(self.target.ids, self.labels.ids, route, self.target.ignore, parts)

    def weight(self, block: str) -> float:
        """Strength in a block of the UNet."""
        return self.strength * self.block_weights[BLOCKS.index(block)]

    def pairing(self, strength: float, crop: Crop, layer: Layer | None = None) -> Pairing:
        """How the target, or an area of it, looks at the exemplar."""
        table = self.table(layer)
        table = replace(table, target=_cut(table.target, crop), weight=table.weight * strength)
        return Pairing(table, self.mode, self.network, self.keep_mass, self.penalty)


def match(
    applications: Sequence[Application],
    strengths: Sequence[float],
    crop: Crop,
    latent: Grid,
    layer: Layer | None = None,
) -> Matching:
    """One matching of several applications.

    :param strengths: of each.
    :param latent: (h, w) of the whole target.
    :param layer: where in the UNet, for rules that ask.
    """
    first = applications[0]
    if first.variant is not Variant.PUBLISHED:
        return SpatialMatching.of([a.pairing(s, crop, layer) for a, s in zip(applications, strengths, strict=True)])
    size = tuple(8 * side for side in latent)
    return PublishedMatching.from_colours(
        first.target.picture(size), first.labels.picture(size), first.mode, matcher=first.network
    )


def _cut(rows: Tensor, crop: Crop) -> Tensor:
    if crop is None:
        return rows
    (h, w, top, left), (latent_h, latent_w) = crop
    H, W = rows.shape[1:]
    bottom, right = ((top + h) * H + latent_h - 1) // latent_h, ((left + w) * W + latent_w - 1) // latent_w
    return rows[:, top * H // latent_h : bottom, left * W // latent_w : right]


def _names(labels: LabelMap) -> str:
    names = labels.names_present()
    return ", ".join(names[:8]) + (" ..." if len(names) > 8 else "")
