"""The sizes of a clVAE, read from the shapes of its weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

LAYERS = 5
"""Layers that have a latent code for each class: at 1/2 to 1/32 of the picture, fine first."""
_DOUBLINGS = {5: "normal", 6: "more"}
"""How often the grid is doubled, and the published names of that."""
_USUAL = ((256, 256), (256, 512))


@dataclass(frozen=True)
class Configuration:
    """
    :param classes: K, the unknown class among them where the data set has one.
    :param width: channels of the last block, `ngf`; the first has 16 times as many.
    :param local: D, width of a class's code in each layer, `z_dim_local`.
    :param shared: S, width of the picture's code, `z_dim`.
    :param size: (H, W) of the pictures.
    :param doublings: 5 ("normal") or 6 ("more") between the grid and the picture.
    """

    classes: int
    width: int
    local: int
    shared: int
    size: tuple[int, int]
    doublings: int = 5

    def __post_init__(self) -> None:
        if self.doublings not in _DOUBLINGS:
            raise ValueError(f"clVAE: doublings is {self.doublings}, expected 5 (normal) or 6 (more)")
        step = 2**self.doublings
        if any(side < step or side % step for side in self.size):
            raise ValueError(f"clVAE: pictures of {_size(self.size)} cannot be made of a grid; use multiples of {step}")

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w) that the picture's code is turned into."""
        height, width = self.size
        return height >> self.doublings, width >> self.doublings

    @property
    def upsampling(self) -> str:
        """What the published code calls the number of doublings."""
        return _DOUBLINGS[self.doublings]

    @classmethod
    def of(cls, weights: Mapping[str, Tensor], size: tuple[int, int] | None = None) -> Configuration:
        """Read it from a generator's weights.

        :param size: (H, W) of the pictures. The weights tell the number of the grid's cells alone; None takes 256 x 256
            or 256 x 512, as all published models have them, whichever these cells make.
        :raises ValueError: when no grid of the right number of cells makes that size; names what would do.
        :raises KeyError: when the weights lack what tells.
        """
        width = weights["conv_img.weight"].shape[1]
        cells, shared = weights["fc.weight"].shape
        classes, local = weights["embedding.weight"].shape
        cells //= 16 * width
        possible = _sizes(cells)
        if size is None:
            size = next((s for s in _USUAL if s in possible), None)
        if size is None or tuple(size) not in possible:
            asked = f"cannot make pictures of {_size(size)}" if size else "has no usual size"
            raise ValueError(
                f"a grid of {cells} cells {asked} (height x width); pass size as one of "
                f"{', '.join(_size(s) for s in possible)}"
            )
        height, across = size
        doublings = round(math.log(height * across / cells, 4))
        return cls(classes, width, local, shared, (height, across), doublings)


def _sizes(cells: int) -> list[tuple[int, int]]:
    """Picture sizes that so many cells can be doubled to, square ones first."""
    grids = [(h, cells // h) for h in range(1, cells + 1) if cells % h == 0]
    grids.sort(key=lambda grid: (max(grid) / min(grid), grid))
    return [(h << n, w << n) for h, w in grids for n in _DOUBLINGS if max(h, w) <= 4 * min(h, w)]


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
