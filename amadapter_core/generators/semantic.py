"""Label maps and pictures as these generators take them: one channel and one code per class, resized as published.

Ids here are plain numbers 0..K-1, the channels of the published networks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..label_resizing import holds_integers


def check_ids(ids: Tensor, classes: int, where: str) -> Tensor:
    """
    :param ids: [B, H, W] integers.
    :param classes: K.
    :param where: who asks, for messages.
    :return: the ids as int64.
    :raises ValueError: for another form, or values outside 0..K-1: how many pixels, which values.
    """
    if not holds_integers(ids) or ids.ndim != 3 or 0 in ids.shape:
        raise ValueError(f"{where}: expected label ids [B, H, W] of integers, got {list(ids.shape)} of {ids.dtype}")
    ids = ids.long()
    outside = (ids < 0) | (ids >= classes)
    if bool(outside.any()):
        values, counts = torch.unique(ids[outside], return_counts=True)
        told = ", ".join(f"{v} ({c} pixels)" for v, c in zip(values.tolist()[:5], counts.tolist()[:5], strict=True))
        raise ValueError(
            f"{where}: {int(outside.sum())} of {ids.numel()} pixels have label values that this model has no class "
            f"for: {told}{', ...' if len(values) > 5 else ''}. It knows 0 to {classes - 1}; use a label map of its "
            "data set, or give unknown pixels (often 255) one of its classes first"
        )
    return ids


def one_hot(ids: Tensor, classes: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Label ids [B, H, W] in 0..K-1 to [B, K, H, W] of zeros and ones; K is `classes`."""
    hot = torch.zeros(ids.shape[0], classes, *ids.shape[1:], dtype=dtype, device=ids.device)
    return hot.scatter_(1, ids.long()[:, None], 1)


def resize_nearest(x: Tensor, size: Sequence[int]) -> Tensor:
    """Resize as the published code does, by the pixel at floor(i * H / h); not the one under a cell's centre.

    :param x: [B, C, H, W] of floats, or ids [B, H, W] of integers.
    :param size: (h, w).
    """
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    if x.is_floating_point():
        return F.interpolate(x, size=tuple(size), mode="nearest")
    return F.interpolate(x[:, None].float(), size=tuple(size), mode="nearest")[:, 0].to(x.dtype)


def fitted_pictures(images: Tensor, ids: Tensor, size: Sequence[int], device: torch.device, title: str) -> Tensor:
    """Pictures whose styles are asked for, brought to the size of the model.

    :param images: [B, 3, H, W] in 0..1.
    :param ids: [B, ...] the label maps that belong to them.
    :param size: (h, w).
    :param title: who asks, for messages.
    :return: [B, 3, h, w] fp32 in 0..1, on the device.
    :raises ValueError: for another form, or another number than there are label maps.
    """
    if images.ndim != 4 or images.shape[1] != 3 or images.shape[0] != ids.shape[0]:
        raise ValueError(
            f"{title}: expected as many pictures [B, 3, H, W] as label maps [B, H, W], got {list(images.shape)} and "
            f"{list(ids.shape)}"
        )
    images = images.to(device, torch.float32)
    if images.shape[-2:] == tuple(size):
        return images
    return F.interpolate(images, tuple(size), mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)


def gather_codes(codes: Tensor, ids: Tensor) -> Tensor:
    """Give every pixel the code of its class.

    :param codes: [B, K, D] or, one table for all items, [K, D].
    :param ids: [B, h, w] in 0..K-1.
    :return: [B, D, h, w].
    """
    table = codes.expand(ids.shape[0], -1, -1) if codes.ndim == 2 else codes
    flat = ids.long().flatten(1)[..., None].expand(-1, -1, table.shape[-1])  # [B, h*w, D]
    return table.gather(1, flat).transpose(1, 2).unflatten(2, ids.shape[1:])
