"""Pairs of a picture and its label map in files, and data sets of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..label_maps import LabelMap, Palette
from ..picture_files import read_rgb
from .reading import Reader


@dataclass(frozen=True)
class Pair:
    """Where a picture and its label map lie.

    :param name: the picture's place in its folder without the ending, "/" between folders.
    :param labels: file of the label map, or files where each holds a part of it.
    :param group: pictures of one group share their appearance; None belongs to no group.
    """

    name: str
    picture: Path
    labels: tuple[Path, ...]
    group: str | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """Everything that the pair is read from, the picture first."""
        return (self.picture, *self.labels)


@dataclass(frozen=True)
class PairedFiles:
    """A data set in files, in a fixed order.

    :param palette: class table of the label maps.
    :param alone: pictures without a label map.
    :param fit: label maps may be of a smaller size that the picture's is a multiple of.
    :param captions: prompts, by the picture's file name without its ending.
    """

    kind: str
    palette: Palette
    pairs: tuple[Pair, ...]
    reader: Reader
    alone: tuple[Path, ...] = ()
    fit: bool = False
    captions: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.pairs)

    def picture(self, index: int) -> np.ndarray:
        """[H, W, 3] uint8.

        :raises ValueError: no picture, or a damaged one.
        """
        try:
            return read_rgb(self.pairs[index].picture)
        except ValueError as error:
            raise ValueError(f"data set: {error}") from error

    def labels(self, index: int) -> LabelMap:
        """The label map, of batch 1, at the size of its file.

        :raises ValueError: a damaged file, or ids or colours that the palette does not have.
        """
        files = self.pairs[index].labels
        try:
            return self.reader(files, self.palette)
        except ValueError as error:
            told = "" if str(files[0]) in str(error) else f"{files[0]}: "
            raise ValueError(f"data set: {told}{error}") from error

    def read(self, index: int) -> tuple[np.ndarray, LabelMap]:
        """Picture and label map, of one size.

        :raises ValueError: sizes that differ, or what `picture` and `labels` raise.
        """
        picture, labels = self.picture(index), self.labels(index)
        (h, w), (lh, lw) = picture.shape[:2], labels.size
        if self.fit and (h, w) != (lh, lw) and h % lh == w % lw == 0 and h // lh == w // lw:
            labels = labels.resize(h, w)
        if labels.size != (h, w):
            pair = self.pairs[index]
            raise ValueError(
                f"data set: {pair.picture} is {h} x {w} and its label map {pair.labels[0]} {lh} x {lw} (height x "
                "width); make both one size, the map without interpolation"
            )
        return picture, labels

    def caption(self, index: int) -> str | None:
        """The prompt that belongs to a picture, if there is one."""
        return self.captions.get(self.pairs[index].picture.stem)
