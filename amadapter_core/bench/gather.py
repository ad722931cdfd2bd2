"""SCA-DM's masked cross-attention: the published formula, and the gather it amounts to, on the same tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..generators.scadm.attention import ClassAttention
from ..generators.scadm.layout import Form, Grid, Layout
from ..generators.semantic import one_hot
from .live import live_bytes
from .measure import Measurement, measure

BATCH = 8
CLASSES, TOKEN, HEAD = 19, 1280, 32
SITES = ((448, 2, 5), (672, 4, 5), (896, 8, 6))
"""Channels, by how much the grid is smaller than the latent's, and number of the layers in the published UNet."""


def bench(latent: Grid, device: torch.device, dtype: torch.dtype, repeats: int) -> Iterator[tuple[str, Measurement]]:
    """All sixteen layers of the published UNet one after the other, a batch of 8 as in its training.

    Peak memory is that of tensors alone.

    :param latent: (h, w), divisible by 8.
    """
    generator = torch.Generator().manual_seed(0)
    cells = torch.randint(CLASSES, (BATCH, 1, 16, 16), generator=generator).float()
    ids = F.interpolate(cells, size=[4 * side for side in latent], mode="nearest")[:, 0].long()
    mask = one_hot(ids, CLASSES, dtype).to(device)
    double = mask.clone()
    double[:, 0, ::5] = 1  # a line of pixels in five has a second class
    context = torch.randn(BATCH, CLASSES, TOKEN, generator=generator).to(device, dtype)
    layers = nn.ModuleList(ClassAttention(channels, TOKEN, channels // HEAD) for channels, _, _ in SITES)
    layers = layers.to(device, dtype).requires_grad_(False)
    grids = [(latent[0] // factor, latent[1] // factor) for _, factor, _ in SITES]
    pixels = [
        torch.randn(BATCH, h * w, channels, generator=generator).to(device, dtype)
        for (channels, _, _), (h, w) in zip(SITES, grids, strict=True)
    ]

    def through(mask: Tensor, form: Form) -> Callable[[], None]:
        layout = Layout(mask, form)

        def call() -> None:
            for layer, x, grid, (_, _, count) in zip(layers, pixels, grids, SITES, strict=True):
                for _ in range(count):
                    layer(x, context, layout, grid)

        return call

    for name, of, form in (
        ("literal formula", mask, Form.LITERAL),
        ("gather", mask, Form.GATHER),
        ("gather, 1 in 5 two classes", double, Form.GATHER),
    ):
        call = through(of, form)
        with torch.inference_mode():
            measured = measure(call, device, repeats)
            measured = replace(measured, peak_bytes=live_bytes(call))
        yield name, measured
