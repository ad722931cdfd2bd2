"""From a data set's label ids to the channels of a semantic generator."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ..palettes import Palette
from .prepared import colour_table


class ClassChannels:
    """Ids keep their numbers; pixels of no class get the last channel where their id is no number among the others.

    So ADE20K's ids 0..150 make 151 channels (0 is unknown), Cityscapes' 19 classes with 255 make 20, as published.

    :param count: K.
    """

    def __init__(self, palette: Palette):
        self.ignore = palette.ignore
        self.count = max(palette.ids) + 1
        self.beyond = self.ignore is not None and not 0 <= self.ignore < self.count
        self.count += self.beyond

    def __call__(self, ids: np.ndarray) -> np.ndarray:
        """:param ids: [H, W] of the palette's ids.
        :return: [H, W] int64 in 0..K-1.
        """
        channels = ids.astype(np.int64)
        if self.beyond:
            channels[channels == self.ignore] = self.count - 1
        return channels


def channel_colours(palette: Palette) -> Tensor:
    """[K, 3] fp32 in 0..1: the colour of each channel."""
    channels, table = ClassChannels(palette), colour_table(palette)
    colours = table[: channels.count].clone()
    if channels.beyond:
        colours[-1] = table[channels.ignore]
    return colours
