"""One example as the diffusion stages take it: augmented, encoded or to be encoded, with its prompt in tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..palettes import Palette
from .augment import ColourChange, crop, flip, resize
from .config import Data
from .latents import Latents, pixels, whole
from .pairs import Example, Pairs
from .task import Batch


class Prepared:
    """Examples made ready for learning.

    :param latents: their latents, if they were encoded before; else pixels are handed on.
    """

    def __init__(self, data: Data, pairs: Pairs, latents: Latents | None):
        self.data, self.pairs, self.latents = data, pairs, latents

    def __call__(
        self, index: int, rng: np.random.Generator, change: ColourChange | None = None
    ) -> tuple[Example, Batch]:
        """One example, at random cropped and flipped.

        :param change: of colours, the same for all examples that belong together.
        :return: the example, and its "latents" [C, h, w] or "pixels" [3, H, W], and "ids" [H, W].
        """
        data, example = self.data, self.pairs[index]
        if self.latents is None:
            example = crop(resize(example, data.short_side or min(data.size), data.size), data.size, rng)
        else:
            example = whole(example, data)
        flipped = bool(rng.random() < data.flip)
        example = flip(example) if flipped else example
        return example, self._tensors(example, index, flipped, change)

    def plain(self, index: int) -> tuple[Example, Batch]:
        """One example as it is, for validation."""
        example = whole(self.pairs[index], self.data)
        return example, self._tensors(example, index, False, None)

    def change(self, rng: np.random.Generator) -> ColourChange | None:
        """A change of colours, if there is to be any."""
        return ColourChange.draw(rng, self.data.colour) if self.data.colour else None

    def _tensors(self, example: Example, index: int, flipped: bool, change: ColourChange | None) -> Batch:
        ids = torch.from_numpy(np.ascontiguousarray(example.ids))
        if self.latents is not None:
            return {"latents": self.latents(index, flipped), "ids": ids}
        return {"pixels": pixels(change(example.image) if change else example.image), "ids": ids}


def tokens(tokenizer: Any, text: str) -> Tensor:
    """[T] token ids, padded to the encoder's length."""
    length = tokenizer.model_max_length
    return tokenizer(text, padding="max_length", max_length=length, truncation=True, return_tensors="pt").input_ids[0]


def colour_table(palette: Palette) -> Tensor:
    """[M, 3] fp32 in 0..1: the colour of every id; what is no class is drawn as ignored pixels are."""
    size = max([*palette.ids, palette.ignore or 0, 255]) + 1
    table = torch.tensor(palette.ignore_colour or (0, 0, 0)).repeat(size, 1)
    table[list(palette.ids)] = torch.tensor(palette.colours)
    if palette.ignore is not None and palette.ignore_colour is not None:
        table[palette.ignore] = torch.tensor(palette.ignore_colour)
    return table.float() / 255
