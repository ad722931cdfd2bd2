"""What happens to a pair before it is learned from: resize, random crop, flip, change of colours.

The change of colours is drawn apart from its application, so that exemplar and target get the very same one: what
is to be carried from one to the other must not be changed in between.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image

from ..label_resizing import resize_ids
from .pairs import Example

LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def resize(example: Example, short_side: int, size: tuple[int, int]) -> Example:
    """Resize so that the short side has `short_side` pixels, or more where a crop of `size` needs it.

    :param size: (H, W) that has to fit in.
    """
    h, w = example.ids.shape
    scale = max(short_side / min(h, w), size[0] / h, size[1] / w)
    new = (max(round(h * scale), size[0]), max(round(w * scale), size[1]))
    if new == (h, w):
        return example
    image = Image.fromarray(example.image).resize(new[::-1], Image.Resampling.LANCZOS)
    materials = None if example.materials is None else _nearest(example.materials, new)
    return replace(example, image=np.array(image), ids=_nearest(example.ids, new), materials=materials)


def crop(example: Example, size: tuple[int, int], rng: np.random.Generator) -> Example:
    """Cut out a random part of `size` (H, W)."""
    (h, w), (height, width) = example.ids.shape, size
    top, left = (int(rng.integers(0, whole - part + 1)) for whole, part in ((h, height), (w, width)))
    return _each(example, lambda x: x[top : top + height, left : left + width])


def central(example: Example, size: tuple[int, int]) -> Example:
    """Cut out the middle part of `size` (H, W)."""
    top, left = ((whole - part) // 2 for whole, part in zip(example.ids.shape, size, strict=True))
    return _each(example, lambda x: x[top : top + size[0], left : left + size[1]])


def flip(example: Example) -> Example:
    """Mirror left and right."""
    return _each(example, lambda x: x[:, ::-1])


@dataclass(frozen=True)
class ColourChange:
    """One change of colours, for any number of pictures.

    :param matrix: [3, 3] of RGB to RGB: saturation, hue and tint.
    :param brightness: factor; contrast: factor around the middle grey; gamma: exponent.
    """

    matrix: np.ndarray
    brightness: float
    contrast: float
    gamma: float

    @classmethod
    def draw(cls, rng: np.random.Generator, strength: float) -> ColourChange:
        """:param strength: 0 changes nothing; 1 up to half the saturation, a third of the brightness, 30 degrees of
        hue, a tint of 15 %.
        """
        spread = rng.uniform(-1, 1, 8) * strength
        angle, saturation = spread[0] * np.pi / 6, 1 + 0.5 * spread[1]
        # Hue turns the colours about the grey axis (Rodrigues' formula).
        axis = np.full(3, 3**-0.5)
        cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
        turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
        grey = np.outer(np.ones(3), LUMA)
        matrix = np.diag(1 + 0.15 * spread[2:5]) @ (grey + saturation * (np.eye(3) - grey)) @ turn
        return cls(matrix.astype(np.float32), 1 + 0.3 * spread[5], 1 + 0.2 * spread[6], float(np.exp(0.2 * spread[7])))

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """:param image: [H, W, 3] uint8."""
        x = image.astype(np.float32) / 255 @ self.matrix.T * self.brightness
        x = ((x - 0.5) * self.contrast + 0.5).clip(0, 1) ** self.gamma
        return (x * 255).round().astype(np.uint8)


def _nearest(ids: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    resized = resize_ids(torch.from_numpy(np.ascontiguousarray(ids))[None], size)
    return resized[0].numpy()


def _each(example: Example, change) -> Example:
    materials = None if example.materials is None else change(example.materials)
    return replace(example, image=change(example.image), ids=change(example.ids), materials=materials)
