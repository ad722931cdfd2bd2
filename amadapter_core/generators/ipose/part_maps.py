"""Part maps: which part of its object each pixel shows, and the features behind that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...label_maps import LabelMap
from ...palettes import Palette
from ...part_labels import with_parts
from .crops import cut, paste
from .instances import InstanceMap
from .part_network import PARTS, Memory, PartNetwork
from .supports import Supports

AT_ONCE = 10
"""So many instances go through the part network together; each is normalised by itself, so it changes nothing."""

PALETTE = Palette(
    name="ipose_parts",
    source="iPOSE's part ids, which mean something else in each category",
    names=("no part", *(f"part {i}" for i in range(1, PARTS))),
    ids=tuple(range(PARTS)),
    colours=(
        (0, 0, 0),
        (230, 159, 0),
        (86, 180, 233),
        (0, 158, 115),
        (240, 228, 66),
        (0, 114, 178),
        (213, 94, 0),
        (204, 121, 167),
        (200, 200, 200),
    ),
    ignore=0,
)


@dataclass(frozen=True, eq=False)
class PartMaps:
    """What the part network made of the instances of a batch.

    :param logits: [B, 9, H, W], 0 outside of instances.
    :param features: [B, 288, H, W], 0 outside of instances; these guide the generator.
    :param instances: of each item.
    :param inside: [B, 1, H, W], 1 where features guide and 0 where noise does; None takes the parts above 0.
    """

    logits: Tensor
    features: Tensor
    instances: tuple[InstanceMap, ...]
    inside: Tensor | None = None

    def __post_init__(self) -> None:
        if self.inside is None:
            object.__setattr__(self, "inside", (self.ids > 0)[:, None].to(self.features))

    @property
    def ids(self) -> Tensor:
        """[B, H, W] int64 part ids 0..8, 0 outside of instances."""
        return self.logits.argmax(1)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return (self.logits.shape[2], self.logits.shape[3])

    def label_map(self) -> LabelMap:
        """The part ids with names and colours."""
        return LabelMap(self.ids, PALETTE)

    def picture(self) -> Tensor:
        """[B, H, W, 3] float32 0..1 in colours, black where there is no part."""
        return self.label_map().colours()

    def guided(self, inside: Tensor) -> PartMaps:
        """Choose where features guide and where noise does.

        :param inside: [B, H, W] float 0..1 or truth values; where there is no instance it makes no difference to the
            features, which are 0 there.
        """
        if inside.shape != self.ids.shape:
            raise ValueError(f"iPOSE: the mask is {list(inside.shape)}, the part maps {list(self.ids.shape)}")
        return replace(self, inside=inside[:, None].to(self.features))

    def finer(self, labels: LabelMap) -> LabelMap:
        """Tell the parts of classes apart in matching, so that a wheel is matched with a wheel.

        :param labels: what the parts were found in, at any size; the generator's own is stretched to it.
        """
        return with_parts(labels, self.label_map().resize(*labels.size))


def categories_of(instances: Sequence[InstanceMap]) -> set[int]:
    """The part categories that occur in instance maps, all of one size."""
    _size_of(instances)
    return {instance.category for item in instances for instance in item.instances}


@torch.no_grad()
def remember(network: PartNetwork, categories: Iterable[int], supports: Supports | None) -> dict[int, Memory]:
    """Look at the supports of some categories, once for all their instances.

    :param supports: examples of the categories; None does where there is none.
    :raises ValueError: when there are categories and no supports, or a category has none.
    """
    ordered = sorted(categories)
    if not ordered:
        return {}
    if supports is None:
        raise ValueError(
            f"iPOSE: {len(ordered)} part categories occur and there are no supports, which no checkpoint holds. "
            "Make a support pack of the part data set: python -m amadapter_core.generators.ipose pack "
            "Full_Parts supports.safetensors"
        )
    examples = supports.of(ordered)
    return {c: network.remember(e[None].to(network.device)) for c, e in zip(ordered, examples, strict=True)}


@torch.no_grad()
def predict(network: PartNetwork, instances: Sequence[InstanceMap], memories: Mapping[int, Memory]) -> PartMaps:
    """Find the parts of all instances of a batch.

    :param instances: of each item, all of one size.
    :param memories: of the categories that occur.
    """
    size = _size_of(instances)
    dtype, device = network.dtype, network.device
    logits = torch.zeros(len(instances), PARTS, *size, dtype=dtype, device=device)
    features = torch.zeros(len(instances), PARTS * network.features, *size, dtype=dtype, device=device)
    for place, item in enumerate(instances):
        for start in range(0, len(item.instances), AT_ONCE):
            chosen = item.instances[start : start + AT_ONCE]
            cuts = [cut(item, instance) for instance in chosen]
            made = _parts(network, torch.stack([shape for shape, _ in cuts]), [i.category for i in chosen], memories)
            for (shape, crop), logit, feature in zip(cuts, *made, strict=True):
                paste(features[place], feature, shape, crop, "bilinear")
                paste(logits[place], logit, shape, crop, "nearest")
    return PartMaps(logits, features, tuple(instances))


def _size_of(instances: Sequence[InstanceMap]) -> tuple[int, int]:
    sizes = {item.size for item in instances}
    if len(sizes) != 1:
        raise ValueError(f"iPOSE: expected instance maps of one size, got {sorted(sizes) or 'none'}")
    (size,) = sizes
    return size


def _parts(
    network: PartNetwork, shapes: Tensor, categories: list[int], memories: Mapping[int, Memory]
) -> tuple[Tensor, Tensor]:
    """Logits and features of shapes [B, 1, 64, 64], those of one category together."""
    B, side = len(shapes), shapes.shape[-2:]
    shapes = shapes.to(network.device)
    logits = torch.empty(B, PARTS, *side, dtype=network.dtype, device=network.device)
    features = torch.empty(B, PARTS * network.features, *side, dtype=network.dtype, device=network.device)
    for category in set(categories):
        places = [i for i, c in enumerate(categories) if c == category]
        logits[places], features[places] = network(shapes[places], memories[category])
    return logits, features
