"""
Label maps: which class every pixel belongs to.

A `LabelMap` holds integer ids [B, H, W] and the `Palette` that names and colours them. It is read from a
colour picture, from an id picture or from masks, and drawn as a colour map, an overlay or a legend. Nothing
is guessed: colours, ids and sizes that do not fit are reported with counts. `resize_ids` works on bare ids
without a palette.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFont
from torch import Tensor

from .label_decoding import form, ids_of_colours, ids_of_masks, ids_of_values, look_up, ranges
from .label_legend import draw_legend
from .label_resizing import holds_integers, resize_ids, resize_within
from .palettes import IGNORED, Palette

__all__ = ["NO_PART", "LabelMap", "Palette", "check_same_aspect", "check_same_classes", "resize_ids"]

ASPECT_TOLERANCE = 0.02

NO_PART = -1
"""Stands for the part of a pixel that shows none."""


@dataclass(frozen=True, eq=False)
class LabelMap:
    """
    Class ids of a batch of pictures.

    :param ids: [B, H, W] integer tensor (kept as int64); every value is an id of `palette` or `ignore`.
    :param palette: names and colours of the ids.
    :param ignore: id of pixels that belong to no class; default `palette.ignore`.
    :param parts: which part of its object each pixel shows, a label map of the same batch and size with ids from 0 on;
        its ignored pixels show none. Matching alone looks at parts: names, colours and masks are those of the classes.
    """

    ids: Tensor
    palette: Palette
    ignore: int | None = None
    parts: LabelMap | None = None

    def __post_init__(self) -> None:
        ids = self.ids
        if not holds_integers(ids):
            raise ValueError(f"LabelMap: ids must be an integer tensor, got {form(ids)}")
        if ids.ndim != 3 or 0 in ids.shape:
            raise ValueError(f"LabelMap: ids must be [B, H, W] and not empty, got {list(ids.shape)}")
        object.__setattr__(self, "ids", ids.to(torch.int64))
        if self.ignore is None:
            object.__setattr__(self, "ignore", self.palette.ignore)
        parts = self.parts
        if parts is not None and (parts.ids.shape != ids.shape or parts.parts is not None or int(parts.ids.min()) < 0):
            raise ValueError(
                f"LabelMap: the parts are {list(parts.ids.shape)} with ids from {int(parts.ids.min())} on, the classes "
                f"{list(ids.shape)}; expected the same batch and size, ids from 0 on, and no parts of parts"
            )

    @property
    def batch(self) -> int:
        """B, the number of pictures."""
        return self.ids.shape[0]

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return (self.ids.shape[1], self.ids.shape[2])

    @property
    def part_ids(self) -> Tensor | None:
        """[B, H, W] int64 part of each pixel, NO_PART where it shows none; None without parts."""
        if self.parts is None or self.parts.ignore is None:
            return None if self.parts is None else self.parts.ids
        return self.parts.ids.masked_fill(self.parts.ids == self.parts.ignore, NO_PART)

    @staticmethod
    def from_colours(
        image: Tensor | np.ndarray | Image.Image,
        palette: Palette,
        *,
        unknown: str = "error",
        tolerance: float = 0,
    ) -> LabelMap:
        """
        Read a colour picture.

        Floats are rounded to 8 bit first; a colour then has to be one of the palette's exactly. A colour
        shared by several classes is read as `Palette.ambiguous` says.

        :param image: [B, H, W, 3] or [H, W, 3], float 0..1 or integer 0..255, as a tensor (ComfyUI IMAGE) or
            array, or a PIL image (RGB, RGBA or with a colour table). A fourth channel must be fully opaque.
        :param unknown: what becomes of other colours: "error", "nearest" (the class with the nearest colour
            by Euclidean RGB distance, ties to the first in the table) or "ignore".
        :param tolerance: Euclidean RGB distance (0..441, in 8-bit steps) up to which the nearest colour is
            taken without it counting as unknown.
        :raises ValueError: unknown colours (how many pixels, which, the nearest class, what to do), or a
            picture of the wrong form or range.
        """
        return LabelMap(ids_of_colours(image, palette, unknown, tolerance), palette)

    @staticmethod
    def from_ids(
        image: Tensor | np.ndarray | Image.Image | str | Path,
        palette: Palette,
        *,
        unknown: str = "error",
        offset: int = 0,
        void: int | Sequence[int] = (),
    ) -> LabelMap:
        """
        Read an id picture: pixel values are label ids. In a PNG with a colour table they are the indices.

        :param image: integer [B, H, W] or [H, W] tensor or array, a one-channel PIL image (8 bit, 16 bit, 32
            bit or with a colour table), or the path of a picture file.
        :param unknown: what becomes of ids that the palette does not have: "error" or "ignore".
        :param offset: added to the values, for files that are numbered differently (COCO-Stuff and ADE20K
            maps that start at 0: offset=1, void=255).
        :param void: values, before `offset`, that mean ignored pixels.
        :raises ValueError: unknown ids (how many pixels, which), or a picture of the wrong form.
        """
        return LabelMap(ids_of_values(image, palette, unknown, offset, void), palette)

    @staticmethod
    def from_masks(
        masks: Tensor,
        names_or_ids: Sequence[str | int],
        palette: Palette,
        background: str | int | None = None,
        overlap: str = "last",
    ) -> LabelMap:
        """
        Put one mask per class together into one label map.

        :param masks: [M, H, W] float 0..1 or bool; a pixel belongs to a mask where it is 0.5 or more.
        :param names_or_ids: M classes by name or id; a class may come more than once.
        :param background: class of pixels in no mask; default: they are ignored.
        :param overlap: which mask wins where several claim a pixel: "last", "first" or "error".
        :return: a label map of batch 1.
        :raises ValueError: numbers that differ, unknown classes, overlaps under "error", or uncovered pixels
            without a background.
        """
        return LabelMap(ids_of_masks(masks, names_or_ids, palette, background, overlap), palette)

    def colours(self) -> Tensor:
        """Draw the colour map, [B, H, W, 3] float32 0..1; ignored pixels in the ignore colour, or black."""
        table = torch.tensor([*self.palette.colours, self._ignored_colour()], dtype=torch.float32) / 255
        return table.to(self.ids.device)[self._rows("colours")]

    def picture(self, size: tuple[int, int]) -> Tensor:
        """Draw the first colour map as the published code reads one: resampled smoothly, colours blended at borders.

        :param size: (H, W).
        :return: [1, 3, H, W] float32 0..1.
        """
        picture = Image.fromarray((self.colours()[0] * 255).round().byte().cpu().numpy())
        if picture.size != (size[1], size[0]):
            picture = picture.resize((size[1], size[0]), Image.Resampling.LANCZOS)
        return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255

    def overlay(self, image: Tensor, opacity: float = 0.5) -> Tensor:
        """
        Lay the colour map over a picture; ignored pixels keep the picture.

        :param image: [B, H, W, 3] float 0..1 of the label map's size; either batch may be 1.
        :param opacity: 0 (only the picture) .. 1 (only the colours).
        :return: [B, H, W, 3] float.
        """
        if not 0 <= opacity <= 1:
            raise ValueError(f"LabelMap.overlay: opacity must be 0..1, got {opacity}")
        if image.ndim != 4 or image.shape[3] != 3 or not image.is_floating_point():
            raise ValueError(f"LabelMap.overlay: image must be float [B, H, W, 3], got {form(image)}")
        if tuple(image.shape[1:3]) != self.size:
            raise ValueError(
                f"LabelMap.overlay: the image is {image.shape[1]}x{image.shape[2]} and the label map "
                f"{self.size[0]}x{self.size[1]} (height x width); resize one of them"
            )
        labels = self if image.shape[0] == 1 else self.expand(image.shape[0])
        colours = labels.colours().to(image)
        share = torch.where(labels._ignored(), 0.0, opacity).to(image)[..., None]
        return image + share * (colours - image)

    def legend(
        self,
        *,
        font_size: int = 16,
        columns: int = 1,
        font: ImageFont.FreeTypeFont | None = None,
    ) -> Image.Image:
        """
        Draw the classes present in the batch, largest first: a swatch, the name and its share of all pixels.

        :param font_size: height of the letters in pixels.
        :param columns: how many columns the classes are spread over.
        :param font: for names outside the Latin alphabet, which the default font does not have.
        :return: an RGB picture.
        """
        if columns < 1 or font_size < 1:
            raise ValueError(f"LabelMap.legend: columns and font_size must be 1 or more, got {columns} and {font_size}")
        counts = self._counts("legend").sum(0).tolist()
        colours = [*self.palette.colours, self._ignored_colour()]
        names = [*self.palette.names, IGNORED]
        order = sorted((row for row in range(len(counts) - 1) if counts[row]), key=lambda row: (-counts[row], row))
        if counts[-1]:
            order.append(len(counts) - 1)  # what belongs to no class comes last whatever its size
            if self.ignore in self.palette.ids:
                void = self.palette.ids.index(self.ignore)
                names[-1], colours[-1] = f"{names[void]} {IGNORED}", colours[void]
        entries = [(colours[row], names[row], counts[row] / sum(counts)) for row in order]
        return draw_legend(entries, font_size, columns, font)

    def resize(self, h: int, w: int, method: str = "nearest") -> LabelMap:
        """Resize to (h, w) by "nearest" or "majority", see `resize_ids`; ignored pixels vote last."""
        ids = resize_ids(self.ids, (h, w), method, ignore=self.ignore)
        if self.parts is None:
            return replace(self, ids=ids)
        if method == "majority":
            part_ids = resize_within(self.parts.ids, self.ids, ids)
        else:
            part_ids = resize_ids(self.parts.ids, (h, w), method)
        return replace(self, ids=ids, parts=replace(self.parts, ids=part_ids))

    def crop(self, top: int, left: int, h: int, w: int) -> LabelMap:
        """Cut out h rows from `top` on and w columns from `left` on, all inside the map."""
        if h < 1 or w < 1 or top < 0 or left < 0 or top + h > self.size[0] or left + w > self.size[1]:
            raise ValueError(
                f"LabelMap.crop: rows {top}..{top + h} and columns {left}..{left + w} do not lie in a map of "
                f"{self.size[0]}x{self.size[1]} (height x width)"
            )
        return self.changed(lambda ids: ids[:, top : top + h, left : left + w])

    def histogram(self) -> Tensor:
        """
        Return the share of every class among the pixels that are not ignored.

        :return: [B, K] float32 in the palette's order, rows sum to 1, or to 0 where every pixel is ignored.
            The column of an ignored class is 0.
        """
        counts = self._counts("histogram")[:, :-1].double()
        return (counts / counts.sum(1, keepdim=True).clamp(min=1)).float()

    def names_present(self) -> list[str]:
        """Name the classes that occur in the batch, in the palette's order, the ignored one left out."""
        present = self._counts("names_present")[:, :-1].sum(0).tolist()
        return [name for name, count in zip(self.palette.names, present, strict=True) if count]

    def expand(self, batch: int) -> LabelMap:
        """Return the map with `batch` pictures: itself, or its only picture repeated without a copy."""
        if self.batch == batch:
            return self
        if self.batch != 1:
            raise ValueError(
                f"LabelMap.expand: label map batch {self.batch} cannot broadcast to batch {batch}; use 1 or {batch}"
            )
        return self.changed(lambda ids: ids.expand(batch, -1, -1))

    def changed(self, change: Callable[[Tensor], Tensor]) -> LabelMap:
        """Return the map after a change to its ids that moves pixels about; parts go along."""
        parts = None if self.parts is None else self.parts.changed(change)
        return replace(self, ids=change(self.ids), parts=parts)

    def to(self, device: torch.device | str) -> LabelMap:
        """Return the map on a device."""
        return self.changed(lambda ids: ids.to(device))

    def _ignored(self) -> Tensor:
        if self.ignore is None:
            return torch.zeros_like(self.ids, dtype=torch.bool)
        return self.ids == self.ignore

    def _ignored_colour(self) -> tuple[int, int, int]:
        return self.palette.ignore_colour or (0, 0, 0)

    def _rows(self, method: str) -> Tensor:
        """Return [B, H, W] rows of the palette, K for an ignore id that is no class."""
        table = torch.tensor(self.palette.ids, device=self.ids.device)
        rows, known = look_up(self.ids, table, torch.arange(len(table), device=table.device))
        if not bool(known.all()):
            foreign = ~known & ~self._ignored()
            if bool(foreign.any()):
                found = torch.unique(self.ids[foreign]).tolist()
                raise ValueError(
                    f"LabelMap.{method}: {int(foreign.sum())} of {foreign.numel()} pixels hold ids that "
                    f"palette {self.palette.name!r} does not have: {ranges(found)}; build the map with "
                    "LabelMap.from_ids"
                )
            rows = torch.where(known, rows, len(table))
        return rows

    def _counts(self, method: str) -> Tensor:
        """Count pixels per class, [B, K + 1] int64; the ignored ones last, even if they are a class."""
        k = len(self.palette)
        rows = torch.where(self._ignored(), k, self._rows(method)).flatten(1)
        counts = torch.zeros(self.batch, k + 1, dtype=torch.int64, device=rows.device)
        return counts.scatter_add_(1, rows, torch.ones_like(rows))


def check_same_classes(target: LabelMap, exemplar: LabelMap, name: str = "exemplar") -> None:
    """Check that two label maps speak of the same classes, as far as they meet; parts likewise.

    :param name: of the exemplar, for the message.
    :raises ValueError: when an id that occurs in both maps means different classes there.
    """
    shared = set(target.ids.unique().tolist()) & set(exemplar.ids.unique().tolist())
    ignored = {target.ignore, exemplar.ignore}
    wrong = [i for i in sorted(shared - ignored) if target.palette.name_of(i) != exemplar.palette.name_of(i)]
    if wrong:
        told = ", ".join(f"{i} is {target.palette.name_of(i)!r} / {exemplar.palette.name_of(i)!r}" for i in wrong[:5])
        raise ValueError(
            f"AM-Adapter: the target's classes ({target.palette.name}) and those of {name} ({exemplar.palette.name}) "
            f"disagree on {len(wrong)} ids: {told}; bring both label maps to one table of classes"
        )
    if target.parts is not None and exemplar.parts is not None:
        check_same_classes(target.parts, exemplar.parts, f"the parts of {name}")


def check_same_aspect(what: str, size: Sequence[int], labels: LabelMap, rounding: int) -> None:
    """Check that a label map has the proportions of what it should cover.

    :param what: what it should cover, for the message.
    :param size: (H, W) of that.
    :param rounding: pixels by which a side may differ because it was rounded.
    :raises ValueError: when the two are of different aspect.
    """
    (h, w), (lh, lw) = size, labels.size
    if abs(h * lw / lh - w) > max(ASPECT_TOLERANCE * w, rounding):
        raise ValueError(
            f"{what} is {h} x {w}, its label map {lh} x {lw} (height x width), of another aspect; crop both alike"
        )
