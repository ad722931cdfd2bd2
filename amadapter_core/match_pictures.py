"""Pictures of matches: a heat map over the exemplar, and the exemplar as the target sees it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .resampling import Grid

# Perceptually even from dark to light, so that brightness alone tells the value.
_COLOUR_MAP = (
    (0, 0, 4),
    (31, 12, 72),
    (85, 15, 109),
    (136, 34, 106),
    (186, 54, 85),
    (227, 89, 51),
    (249, 140, 10),
    (249, 201, 50),
    (252, 255, 164),
)
_PICTURE_UNDER_HEAT = 0.45
_GREY = 0.5
HALF_SHARE = 0.02
"""Share at which a warped colour is half grey; a small part of the exemplar never gets a large share."""


def heat_colours(values: Tensor) -> Tensor:
    """[...] in 0..1 to colours [..., 3] in 0..1, from black over violet and orange to pale yellow."""
    table = torch.tensor(_COLOUR_MAP, device=values.device) / 255
    place = values.clamp(0, 1) * (len(table) - 1)
    low = place.long().clamp(max=len(table) - 2)
    return torch.lerp(table[low], table[low + 1], (place - low)[..., None])


def heat_picture(picture: Tensor, heat: Tensor) -> Tensor:
    """Lay heat maps over a picture that is dimmed to grey.

    :param picture: [H, W, 3] in 0..1.
    :param heat: [B, h, w] >= 0; each map's own maximum is the brightest.
    :return: [B, H, W, 3] in 0..1.
    """
    heat = enlarge(heat, tuple(picture.shape[:2]))
    heat = heat / heat.amax((1, 2), keepdim=True).clamp_min(1e-12)
    luminance = (picture.float() @ picture.new_tensor([0.299, 0.587, 0.114]).float())[None, ..., None]
    return (_PICTURE_UNDER_HEAT * luminance * (1 - heat[..., None]) + heat_colours(heat)).clamp(0, 1)


def warped_picture(warped: Tensor, share: Tensor, size: Grid) -> Tensor:
    """Draw the exemplar as the target sees it, the greyer the less it looks there.

    :param warped: [B, h, w, 3] in 0..1.
    :param share: [B, h, w] in 0..1.
    :param size: (H, W) of the picture.
    :return: [B, H, W, 3] in 0..1.
    """
    coverage = enlarge(share, size)[..., None]
    # What is seen more counts more between two cells, and a cell that sees nothing has no colour to give.
    colours = enlarge(warped * share[..., None], size) / coverage.clamp_min(1e-12)
    return torch.lerp(torch.full_like(colours, _GREY), colours, coverage / (coverage + HALF_SHARE)).clamp(0, 1)


def enlarge(x: Tensor, size: Grid, mode: str = "bilinear") -> Tensor:
    """[B, h, w] or [B, h, w, C] to another size.

    :param mode: as in `torch.nn.functional.interpolate`.
    """
    channels = x[:, None] if x.ndim == 3 else x.movedim(-1, 1)
    channels = F.interpolate(channels, size=size, mode=mode)
    return channels[:, 0] if x.ndim == 3 else channels.movedim(1, -1)
