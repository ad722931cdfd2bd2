"""Class ids out of colour pictures, id pictures and masks; what does not fit is counted and named, never guessed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .label_resizing import holds_integers
from .palettes import Palette
from .picture_files import open_picture

logger = logging.getLogger(__name__)

_COLOURS_AT_ONCE = 1 << 14


def ids_of_colours(
    image: Tensor | np.ndarray | Image.Image, palette: Palette, unknown: str, tolerance: float
) -> Tensor:
    """Read a colour picture as `LabelMap.from_colours` says: [B, H, W] int64 ids of the palette."""
    here = "LabelMap.from_colours"
    if unknown not in ("error", "nearest", "ignore"):
        raise ValueError(f'{here}: unknown must be "error", "nearest" or "ignore", got {unknown!r}')
    if tolerance < 0:
        raise ValueError(f"{here}: tolerance must be 0 or more, got {tolerance}")
    if unknown == "ignore" and palette.ignore is None:
        raise ValueError(f'{here}: unknown="ignore" needs a palette with an ignore id; {palette.name!r} has none')
    codes = _pack(_eight_bit(image, here))  # [B, H, W]
    table, table_ids = (t.to(codes.device) for t in palette.reading_table())
    ids, known = look_up(codes, _pack(table), table_ids)
    if not bool(known.all()):
        colours, counts = torch.unique(codes[~known], return_counts=True)
        row, distance = _nearest(_unpack(colours), table)
        read_as, far = table_ids[row], distance > tolerance
        if bool(far.any()):
            found = _unknown_colours(colours[far], counts[far], read_as[far], distance[far], codes.numel(), palette)
            if unknown == "error":
                raise ValueError(
                    f'{here}: {found}. Pass unknown="nearest" to take the nearest class or '
                    'unknown="ignore" to leave those pixels out, check that this is the right palette, '
                    "or mend the picture: label maps that are anti-aliased, resized smoothly or "
                    "JPEG-compressed get mixed colours; save them as PNG and resize them without "
                    "interpolation."
                )
            logger.warning("%s: %s; read as %s", here, found, unknown)
        if unknown == "ignore":
            read_as = torch.where(far, palette.ignore, read_as)
        ids[~known] = look_up(codes[~known], colours, read_as)[0]
    return ids


def ids_of_values(
    image: Tensor | np.ndarray | Image.Image | str | Path,
    palette: Palette,
    unknown: str,
    offset: int,
    void: int | Sequence[int],
) -> Tensor:
    """Read an id picture as `LabelMap.from_ids` says: [B, H, W] int64 ids of the palette."""
    here = "LabelMap.from_ids"
    if unknown not in ("error", "ignore"):
        raise ValueError(f'{here}: unknown must be "error" or "ignore", got {unknown!r}')
    voids = (void,) if isinstance(void, int) else tuple(void)
    if palette.ignore is None and (voids or unknown == "ignore"):
        raise ValueError(f"{here}: ignored pixels need a palette with an ignore id; {palette.name!r} has none")
    values = _id_values(image, here)
    ids = values + offset
    valid = palette.ids if palette.ignore is None else (*palette.ids, palette.ignore)
    known = torch.isin(ids, torch.tensor(valid, device=ids.device))
    if voids:
        empty = torch.isin(values, torch.tensor(voids, device=ids.device))
        ids, known = torch.where(empty, palette.ignore, ids), known | empty
    if not bool(known.all()):
        found, counts = torch.unique(values[~known], return_counts=True)
        order = counts.argsort(descending=True, stable=True)[:5]
        listed = ", ".join(f"{found[i]} ({counts[i]} pixels)" for i in order.tolist())
        text = (
            f"{int(counts.sum())} of {values.numel()} pixels hold {len(found)} ids that palette "
            f"{palette.name!r} does not have; most frequent: {listed}; the palette has "
            f"{ranges(palette.ids)}, ignored: {palette.ignore}"
        )
        if unknown == "error":
            raise ValueError(
                f'{here}: {text}. Pass unknown="ignore" to leave those pixels out, check that this is '
                "the right palette, or pass offset and void if the file numbers the classes differently; "
                "a colour picture is read with LabelMap.from_colours."
            )
        logger.warning("%s: %s; ignored", here, text)
        ids = torch.where(known, ids, palette.ignore)
    return ids


def ids_of_masks(
    masks: Tensor, names_or_ids: Sequence[str | int], palette: Palette, background: str | int | None, overlap: str
) -> Tensor:
    """Put masks [M, H, W] together as `LabelMap.from_masks` says: [1, H, W] int64 ids of the palette."""
    here = "LabelMap.from_masks"
    if overlap not in ("last", "first", "error"):
        raise ValueError(f'{here}: overlap must be "last", "first" or "error", got {overlap!r}')
    if not isinstance(masks, Tensor) or masks.ndim != 3 or 0 in masks.shape:
        raise ValueError(f"{here}: masks must be a tensor [M, H, W], got {form(masks)}")
    if len(names_or_ids) != masks.shape[0]:
        raise ValueError(f"{here}: {masks.shape[0]} masks but {len(names_or_ids)} classes; name one class per mask")
    bad = int((~((masks >= 0) & (masks <= 1))).sum())
    if bad:
        raise ValueError(f"{here}: mask values must be 0..1, {bad} of {masks.numel()} are not")
    mask_ids = torch.tensor([palette.id_of(n) for n in names_or_ids], device=masks.device)
    inside = masks >= 0.5
    claims = inside.sum(0)
    if overlap == "error" and int(claims.max()) > 1:
        raise ValueError(
            f"{here}: {int((claims > 1).sum())} of {claims.numel()} pixels lie in more than one mask, "
            f'first among them {_overlapping(inside, names_or_ids)}; pass overlap="last" or "first"'
        )
    bare = claims == 0
    rest = palette.ignore if background is None else palette.id_of(background)
    if rest is None and bool(bare.any()):
        raise ValueError(
            f"{here}: {int(bare.sum())} of {bare.numel()} pixels lie in no mask and palette "
            f"{palette.name!r} has no ignore id; name a background class"
        )
    # the index of the winning mask: the first True along M, seen from the end that wins
    if overlap == "last":
        winner = inside.shape[0] - 1 - inside.flip(0).byte().argmax(0)
    else:
        winner = inside.byte().argmax(0)
    ids = mask_ids[winner]
    return (ids if rest is None else torch.where(bare, rest, ids))[None]


def look_up(values: Tensor, keys: Tensor, results: Tensor) -> tuple[Tensor, Tensor]:
    """Return the result of the equal key for every value, and where there is one; elsewhere it is any.

    :param values: integers of any shape.
    :param keys: [N] integers, each once; `results` [N], one for each.
    :return: results and truth values in the shape of `values`.
    """
    keys, order = keys.sort()
    at = torch.searchsorted(keys, values.contiguous()).clamp_(max=len(keys) - 1)
    return results[order][at], keys[at] == values


def _pack(colours: Tensor) -> Tensor:
    """[..., 3] integers 0..255 to one integer red * 65536 + green * 256 + blue."""
    red, green, blue = colours.to(torch.int64).unbind(-1)
    return (red << 16) | (green << 8) | blue


def _unpack(codes: Tensor) -> Tensor:
    return torch.stack([codes >> 16, (codes >> 8) & 255, codes & 255], -1)


def _nearest(colours: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
    """Find for colours [N, 3] the nearest row of table [M, 3], the first of equals, and its distance."""
    table = table.double()
    rows, distances = [], []
    for part in colours.double().split(_COLOURS_AT_ONCE):  # a photograph may have a million colours
        # |u - c|^2 - |u|^2, [N, M]: exact: whole numbers in float64, which no device rounds as TF32
        squares = table.square().sum(-1) - 2 * part @ table.T
        nearest, row = squares.min(-1)
        rows.append(row)
        distances.append((nearest + part.square().sum(-1)).sqrt())
    return torch.cat(rows), torch.cat(distances)


def _unknown_colours(
    colours: Tensor, counts: Tensor, nearest: Tensor, distance: Tensor, pixels: int, palette: Palette
) -> str:
    order = counts.argsort(descending=True, stable=True)[:5]
    listed = "; ".join(
        f"({red}, {green}, {blue}) on {int(counts[i])} pixels, nearest is {palette.name_of(int(nearest[i]))} "
        f"at distance {float(distance[i]):.1f}"
        for i, (red, green, blue) in zip(order.tolist(), _unpack(colours[order]).tolist(), strict=True)
    )
    return (
        f"{int(counts.sum())} of {pixels} pixels have {len(colours)} colours that palette {palette.name!r} "
        f"does not have; most frequent: {listed}"
    )


def _eight_bit(image: Tensor | np.ndarray | Image.Image, here: str) -> Tensor:
    """Bring a colour picture to integers 0..255 [B, H, W, 3]."""
    if isinstance(image, Image.Image):
        if image.mode not in ("RGB", "RGBA", "P"):
            raise ValueError(
                f"{here}: expected a colour picture (RGB, RGBA or with a colour table), got a PIL image of "
                f"mode {image.mode!r}; a picture of ids is read with LabelMap.from_ids"
            )
        transparent = image.mode == "RGBA" or "transparency" in image.info
        image = np.array(image.convert("RGBA" if transparent else "RGB"))
    pixels = torch.from_numpy(image) if isinstance(image, np.ndarray) else image
    if (
        not isinstance(pixels, Tensor)
        or pixels.ndim not in (3, 4)
        or pixels.shape[-1] not in (3, 4)
        or 0 in pixels.shape
    ):
        raise ValueError(f"{here}: expected a picture [B, H, W, 3] or [H, W, 3], got {form(image)}")
    if pixels.ndim == 3:
        pixels = pixels[None]
    if pixels.is_floating_point():
        spoilt = int((~pixels.isfinite()).sum())
        if spoilt:
            raise ValueError(f"{here}: {spoilt} of {pixels.numel()} values are NaN or infinite; mend the picture first")
        pixels = (pixels.float() * 255).round()
    outside = (pixels < 0) | (pixels > 255)
    if bool(outside.any()):
        raise ValueError(
            f"{here}: {int(outside.sum())} of {pixels.numel()} values lie outside the range (0..1 for "
            "floats, 0..255 for integers); divide a float picture of 0..255 by 255 and clamp a picture that "
            "overshoots"
        )
    pixels = pixels.to(torch.int64)
    if pixels.shape[-1] == 4:
        clear = int((pixels[..., 3] < 255).sum())
        if clear:
            raise ValueError(
                f"{here}: {clear} of {pixels[..., 3].numel()} pixels are transparent, so their class is not "
                "certain; flatten the picture onto a colour of the palette"
            )
    return pixels[..., :3]


def _id_values(image: Tensor | np.ndarray | Image.Image | str | Path, here: str) -> Tensor:
    """Bring an id picture to int64 [B, H, W]."""
    if isinstance(image, (str, Path)):
        return _id_values(open_picture(image), f"{here}: {image}")
    if isinstance(image, Image.Image):
        if image.mode not in ("L", "P", "I") and not image.mode.startswith("I;16"):
            raise ValueError(
                f"{here}: expected a picture with one channel of integers (PIL mode L, P, I or I;16), got "
                f"mode {image.mode!r}; a colour picture is read with LabelMap.from_colours, and if one "
                "channel of it holds the ids pass image.getchannel(0)"
            )
        image = np.array(image)
    if isinstance(image, np.ndarray):
        if image.dtype.kind not in "iu":
            raise ValueError(f"{here}: expected integers, got an array of {image.dtype}")
        # torch has few operations on unsigned types wider than 8 bit, and byte order is numpy's affair
        image = torch.from_numpy(image.astype(np.int64))
    if not holds_integers(image):
        raise ValueError(f"{here}: expected integers, got {form(image)}; ids held as 0..1 floats are v * 255, rounded")
    if image.ndim not in (2, 3) or 0 in image.shape:
        raise ValueError(f"{here}: expected [B, H, W] or [H, W], got {form(image)}")
    return image.to(torch.int64).reshape(-1, *image.shape[-2:])


def _overlapping(inside: Tensor, names: Sequence[str | int]) -> str:
    """Name the masks that share the first pixel claimed more than once."""
    flat = inside.flatten(1)
    pixel = int((flat.sum(0) > 1).byte().argmax())
    masks = flat[:, pixel].nonzero().flatten().tolist()
    return " and ".join(f"{names[m]!r} (mask {m})" for m in masks)


def ranges(ids: Sequence[int]) -> str:
    """0, 1, 2, 5 as "0..2, 5"; at most eight ranges."""
    runs: list[list[int]] = []
    for i in sorted(ids):
        if runs and i == runs[-1][1] + 1:
            runs[-1][1] = i
        else:
            runs.append([i, i])
    text = ", ".join(str(a) if a == b else f"{a}..{b}" for a, b in runs[:8])
    return text + (", ..." if len(runs) > 8 else "")


def form(value: Any) -> str:
    """Name the shape and type of an array, or the type of anything else, for messages."""
    if isinstance(value, (Tensor, np.ndarray)):
        return f"{list(value.shape)} of {value.dtype}"
    return type(value).__name__
