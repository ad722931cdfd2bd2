"""One attention call: plain, each matching mode, and the literal formula, on the same tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..attention import augmented_attention
from ..label_resizing import resize_ids
from ..matcher import Matcher
from ..matching import Grid, Mode, SpatialMatching
from ..resampling import spatial
from .literal import learned_attention
from .measure import Measurement, measure

HEADS, WIDTH = 8, 40
CLASSES = 12
LITERAL_LIMIT = 64


def bench(
    grid: Grid, device: torch.device, dtype: torch.dtype, repeats: int, only: Sequence[str] = ()
) -> Iterator[tuple[str, Measurement]]:
    """SD1.5's widest site (8 heads of 40) at a grid, batch 1, target and exemplar of that size.

    :param only: names of the cases to run; empty runs all.

    The literal formula is run up to 64 x 64: its maps are 1 GiB each there, and 5.4 GiB at 96 x 96.
    """
    generator = torch.Generator().manual_seed(0)
    tokens = grid[0] * grid[1]
    q, k, v, ek, ev = (torch.randn(1, HEADS, tokens, WIDTH, generator=generator).to(device, dtype) for _ in range(5))
    ids = [blocky_ids(generator) for _ in range(2)]
    matcher = Matcher(HEADS).to(device, dtype)

    def attend(mode: Mode, **options: object) -> Callable[[], Tensor]:
        matching = SpatialMatching(ids[0], [ids[1]], mode, matcher=matcher, **options)

        def call() -> Tensor:
            bias = matching.bias(q, [ek], grid, [grid], "down_blocks", WIDTH**-0.5)
            return augmented_attention(q, k, v, ek, ev, bias)

        return call

    cases: dict[str, Callable[[], Tensor]] = {
        "plain": lambda: F.scaled_dot_product_attention(q, k, v),
        "implicit": attend(Mode.IMPLICIT),
        "categorical": attend(Mode.CATEGORICAL),
        "categorical, mass kept": attend(Mode.CATEGORICAL, keep_mass=True),
        "learned": attend(Mode.LEARNED),
    }
    if max(grid) <= LITERAL_LIMIT:
        coarse = spatial(grid).coarse_grid
        cells = [resize_ids(x, coarse, "majority")[0].to(device) for x in ids]
        cases["learned, literal formula"] = lambda: learned_attention(q, k, v, ek, ev, grid, grid, *cells, matcher)
    for name, call in cases.items():
        if only and name not in only:
            continue
        with torch.inference_mode():
            measured = measure(call, device, repeats)
        yield name, measured


def blocky_ids(generator: torch.Generator, size: tuple[int, int] = (512, 512), cells: int = 8) -> Tensor:
    """A label map of rectangles: [1, H, W] int64."""
    ids = torch.randint(CLASSES, (1, 1, cells, cells), generator=generator).float()
    return F.interpolate(ids, size=size, mode="nearest")[:, 0].long()
