"""Triples of an exemplar, a target's label map, and the ground truth: two layouts in one appearance.

Every triple has seeds of its own, for its scenes and for its noise, so that a result does not depend on which others
it was made with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..label_maps import LabelMap
from ..palettes import Palette


@dataclass(frozen=True)
class Triples:
    """A batch of B triples.

    :param numbers: which triple of its range of seeds each is.
    :param exemplar: [B, 3, H, W] pictures in 0..1; `truth` the target's layout in the same appearance.
    :param exemplar_labels: batch B; `target_labels` alike.
    :param exemplar_materials: [B, H, W] ids of the true correspondence; `target_materials` alike.
    :param captions: of the appearances.
    :param noise: [B, 3, C, h, w] standard normal: of sampling, of the target's and of the exemplar's held-out loss.
    """

    numbers: tuple[int, ...]
    exemplar: Tensor
    truth: Tensor
    exemplar_labels: LabelMap
    target_labels: LabelMap
    exemplar_materials: Tensor
    target_materials: Tensor
    captions: list[str]
    noise: Tensor

    def __len__(self) -> int:
        return len(self.numbers)


def draw(seeds: range, numbers: Sequence[int], size: tuple[int, int], channels: int) -> Triples:
    """Draw some triples of a range of seeds.

    :param seeds: one of `seeds.TRAINING`, `VALIDATION` and `HELD_OUT`.
    :param numbers: from 0, at most half the range.
    :param size: (H, W) of the pictures, multiples of 8.
    :param channels: of the latent.
    """
    from ..scenes import scene

    exemplars = [scene(seeds[2 * i], seeds[i], size) for i in numbers]
    targets = [scene(seeds[2 * i + 1], seeds[i], size) for i in numbers]
    palette = Palette.load("cityscapes19")
    return Triples(
        tuple(numbers),
        pictures([x.image for x in exemplars]),
        pictures([x.image for x in targets]),
        LabelMap(stack([x.ids for x in exemplars]), palette),
        LabelMap(stack([x.ids for x in targets]), palette),
        stack([x.materials for x in exemplars]),
        stack([x.materials for x in targets]),
        [x.caption for x in targets],
        torch.stack([_noise(seeds[i], (3, channels, size[0] // 8, size[1] // 8)) for i in numbers]),
    )


def pictures(images: Sequence[np.ndarray]) -> Tensor:
    """[B, 3, H, W] in 0..1 of B pictures [H, W, 3] in 0..255."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255


def stack(ids: Sequence[np.ndarray]) -> Tensor:
    """[B, H, W] int64 of B maps [H, W]."""
    return torch.from_numpy(np.stack(ids).astype(np.int64))


def _noise(seed: int, shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
