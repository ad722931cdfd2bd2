"""CIELAB, in which the distance of two colours is about as large as people see it.

sRGB as in IEC 61966-2-1, white D65. Distances are Euclidean (Delta E 1976): about 2 is just seen, 100 is black
against white.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Chromaticities (x, y) of sRGB's red, green and blue and of its white D65; the matrix below follows from them, so
# that white is exactly (100, 0, 0).
_PRIMARIES = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
_WHITE = (0.3127, 0.3290)

_LINEAR_BELOW = 0.04045
_CUBE_ROOT_ABOVE = (6 / 29) ** 3


def lab(images: Tensor) -> Tensor:
    """Convert sRGB to CIELAB.

    :param images: [..., 3, H, W] in 0..1.
    :return: [..., 3, H, W]: L in 0..100, a and b about -110..110; fp64 for fp64, else fp32.
    """
    if images.ndim < 3 or images.shape[-3] != 3 or not images.is_floating_point():
        raise ValueError(f"lab: expected float pictures [..., 3, H, W], got {list(images.shape)} of {images.dtype}")
    x = images if images.dtype == torch.float64 else images.float()
    x = x.clamp(0, 1)
    linear = torch.where(x <= _LINEAR_BELOW, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    xyz = torch.einsum("ij,...jhw->...ihw", _to_xyz().to(linear), linear)  # relative to white
    root = torch.where(xyz > _CUBE_ROOT_ABOVE, xyz.clamp_min(_CUBE_ROOT_ABOVE) ** (1 / 3), xyz * (841 / 108) + 4 / 29)
    X, Y, Z = root.unbind(-3)
    return torch.stack([116 * Y - 16, 500 * (X - Y), 200 * (Y - Z)], -3)


def _to_xyz() -> Tensor:
    """[3, 3] from linear sRGB to XYZ over the XYZ of white, fp64."""
    columns = torch.tensor([_xyz(*xy) for xy in _PRIMARIES], dtype=torch.float64).T
    white = torch.tensor(_xyz(*_WHITE), dtype=torch.float64)
    return columns * torch.linalg.solve(columns, white) / white[:, None]


def _xyz(x: float, y: float) -> tuple[float, float, float]:
    """A chromaticity at luminance 1."""
    return x / y, 1.0, (1 - x - y) / y
