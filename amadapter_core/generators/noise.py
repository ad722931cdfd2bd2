"""Noise as a function of seeds and place: the same on every device, and no draw moves another one.

Normal numbers come from a CPU generator. A class or a layer can have a seed of its own, so that it alone is drawn
anew while all others keep what they had.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor


def normal(shape: Sequence[int], *place: int) -> Tensor:
    """Standard normal fp32 noise on the CPU.

    :param place: seeds and indices; each tuple of whole numbers has noise of its own.
    :return: of the given shape.
    """
    digest = hashlib.sha256(repr(tuple(int(number) for number in place)).encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    return torch.randn(tuple(shape), generator=generator)


@dataclass(frozen=True)
class Seeds:
    """One seed for all, and others for single classes and layers.

    :param seed: of what is not named.
    :param classes: seeds by class id.
    :param layers: seeds by layer, from 0.
    """

    seed: int = 0
    classes: Mapping[int, int] = field(default_factory=dict)
    layers: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, seed: int | Seeds) -> Seeds:
        """Seeds of one number, or those that are given."""
        return cls(seed) if isinstance(seed, int) else seed

    def code(self, label: int, layers: int, width: int) -> Tensor:
        """The normal code [L, D] of a class, each layer a draw of its own; L is `layers`, D `width`."""
        seed = self.classes.get(label, self.seed)
        return torch.stack(
            [normal((width,), seed, self.layers.get(layer, self.seed), label, layer) for layer in range(layers)]
        )


def noise_by_class(ids: Tensor, channels: int, seeds: Seeds) -> Tensor:
    """Normal noise in which every class has a draw of its own: a new seed of one class changes its pixels alone.

    :param ids: [B, h, w].
    :return: [B, channels, h, w] on the ids' device.
    """
    noise = torch.empty(ids.shape[0], channels, *ids.shape[1:])
    maps = ids.cpu()
    for item, labels in enumerate(maps):
        for label in labels.unique().tolist():
            drawn = normal(noise.shape[1:], seeds.classes.get(label, seeds.seed), label, item)
            noise[item] = torch.where(labels == label, drawn, noise[item])
    return noise.to(ids.device)
