"""SCA-DM's UNet: predicts noise, with the layout by SPADE in its middle and decoder and the style by class attention.

Published names are kept, so the blocks are numbered through: `input_blocks.N` and `output_blocks.N` are lists of a
residual block, a transformer where the level has one, and a change of size at a level's end.
"""

from __future__ import annotations

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ...network import Network
from ..spade import Spade
from .attention import SpatialTransformer
from .layout import Layout


class UNet(Network):
    """:param classes: K of the label maps.
    :param width: channels of the finest level.
    :param factors: channels of each level over `width`, finest first.
    :param blocks: residual blocks per level, one more in the decoder.
    :param transformers: levels with transformers, 0 the finest; the middle always has one.
    :param head_width: channels of an attention head, which the weights do not tell.
    :param context: channels of a style token.
    :param channels: of the latent.

    `checkpointing`: whether training keeps the inputs of blocks alone and computes the rest again.
    """

    def __init__(
        self,
        classes: int,
        width: int = 224,
        factors: tuple[int, ...] = (1, 2, 3, 4),
        blocks: int = 2,
        transformers: tuple[int, ...] = (1, 2, 3),
        head_width: int = 32,
        context: int = 1280,
        channels: int = 3,
    ):
        super().__init__()
        self.classes, self.width, self.context, self.channels = classes, width, context, channels
        self.levels, self.checkpointing = len(factors), False
        widths, embedding = [width * factor for factor in factors], 4 * width

        def transformer(wide: int) -> SpatialTransformer:
            return SpatialTransformer(wide, context, wide // head_width)

        self.time_embed = nn.Sequential(nn.Linear(width, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        self.label_emb = nn.Embedding(classes, embedding)  # in every checkpoint, used by none
        self.input_blocks = nn.ModuleList([nn.ModuleList([nn.Conv2d(channels, width, 3, padding=1)])])
        wide, skips = width, [width]
        for level, out in enumerate(widths):
            for _ in range(blocks):
                layers = [_ResBlock(wide, out, embedding)]
                layers += [transformer(out)] if level in transformers else []
                self.input_blocks.append(nn.ModuleList(layers))
                wide = out
                skips.append(wide)
            if level < self.levels - 1:
                self.input_blocks.append(nn.ModuleList([_Down(wide)]))
                skips.append(wide)
        self.middle_block = nn.ModuleList(
            [
                _LayoutBlock(wide, wide, embedding, classes),
                transformer(wide),
                _LayoutBlock(wide, wide, embedding, classes),
            ]
        )
        self.output_blocks = nn.ModuleList()
        for level, out in reversed(list(enumerate(widths))):
            for i in range(blocks + 1):
                layers = [_LayoutBlock(wide + skips.pop(), out, embedding, classes)]
                layers += [transformer(out)] if level in transformers else []
                layers += [_Up(out)] if level and i == blocks else []
                self.output_blocks.append(nn.ModuleList(layers))
                wide = out
        self.out = nn.Sequential(nn.GroupNorm(32, wide), nn.SiLU(), nn.Conv2d(wide, channels, 3, padding=1))

    def forward(self, x: Tensor, timesteps: Tensor, context: Tensor, layout: Layout) -> Tensor:
        """Predict the noise in latents.

        :param x: [B, C, h, w] noisy latents, sides divisible by 2 ** (levels - 1).
        :param timesteps: [B] in 0..999, fractions allowed.
        :param context: [B, K, S] style tokens.
        :param layout: label maps of the batch, h and w times a power of two in size.
        :return: [B, C, h, w].
        :raises ValueError: for sizes or numbers of classes that do not fit.
        """
        self._check(x, context, layout)
        embedding = self.time_embed(timestep_embedding(timesteps, self.width).to(x.dtype))

        def run(block: nn.ModuleList, x: Tensor) -> Tensor:
            for layer in block:
                x = _apply(layer, x, embedding, context, layout)
            return x

        if self.checkpointing and torch.is_grad_enabled():
            run = partial(checkpoint, run, use_reentrant=False)
        skips = []
        for block in self.input_blocks:
            x = run(block, x)
            skips.append(x)
        x = run(self.middle_block, x)
        for block in self.output_blocks:
            x = run(block, torch.cat([x, skips.pop()], 1))
        return self.out(x)

    def _check(self, x: Tensor, context: Tensor, layout: Layout) -> None:
        B, multiple = x.shape[0], 2 ** (self.levels - 1)
        if layout.classes != self.classes:
            raise ValueError(
                f"SCA-DM UNet: the label map has {layout.classes} classes, these weights {self.classes}; use the "
                "class table the checkpoint was trained with"
            )
        tokens, maps = [B, self.classes, self.context], len(layout.mask)
        if list(context.shape) != tokens or maps != B:
            raise ValueError(
                f"SCA-DM UNet: for {B} latents expected style tokens {tokens} and {B} label maps, got "
                f"{list(context.shape)} and {maps}"
            )
        if any(side % multiple for side in x.shape[-2:]):
            raise ValueError(
                f"SCA-DM UNet: the latent is {x.shape[-2]} x {x.shape[-1]} (height x width), expected sides "
                f"divisible by {multiple}"
            )


def timestep_embedding(timesteps: Tensor, width: int) -> Tensor:
    """Cosines, then sines, of timesteps [B] at falling frequencies: [B, width] fp32."""
    half = width // 2
    frequencies = torch.exp(-math.log(10_000) / half * torch.arange(half, device=timesteps.device))
    angles = timesteps.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], 1)


def _apply(layer: nn.Module, x: Tensor, embedding: Tensor, context: Tensor, layout: Layout) -> Tensor:
    if isinstance(layer, SpatialTransformer):
        return layer(x, context, layout)
    if isinstance(layer, _LayoutBlock):
        return layer(x, embedding, layout)
    if isinstance(layer, _ResBlock):
        return layer(x, embedding)
    return layer(x)


class _ResBlock(nn.Module):
    """The encoder's block, which knows nothing of the layout."""

    def __init__(self, channels: int, out_channels: int, embedding: int):
        super().__init__()
        self.in_layers = nn.Sequential(nn.GroupNorm(32, channels), nn.SiLU(), _conv(channels, out_channels))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding, out_channels))
        self.out_layers = nn.Sequential(
            nn.GroupNorm(32, out_channels), nn.SiLU(), nn.Identity(), _conv(out_channels, out_channels)
        )
        self.skip_connection = _skip(channels, out_channels)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.in_layers(x) + self.emb_layers(embedding)[..., None, None]
        return self.skip_connection(x) + self.out_layers(h)


class _LayoutBlock(nn.Module):
    """The same with both normalisations scaled and shifted by the label map."""

    def __init__(self, channels: int, out_channels: int, embedding: int, classes: int):
        super().__init__()
        self.in_norm, self.out_norm = _LayoutNorm(channels, classes), _LayoutNorm(out_channels, classes)
        self.in_layers = nn.Sequential(nn.SiLU(), _conv(channels, out_channels))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding, out_channels))
        self.out_layers = nn.Sequential(nn.SiLU(), nn.Identity(), _conv(out_channels, out_channels))
        self.skip_connection = _skip(channels, out_channels)

    def forward(self, x: Tensor, embedding: Tensor, layout: Layout) -> Tensor:
        h = self.in_layers(self.in_norm(x, layout)) + self.emb_layers(embedding)[..., None, None]
        return self.skip_connection(x) + self.out_layers(self.out_norm(h, layout))


class _LayoutNorm(Spade):
    """SPADE on group normalisation; scale and shift are the same at every step of a sampling run."""

    def __init__(self, channels: int, classes: int):
        super().__init__(nn.GroupNorm(32, channels, affine=False), channels, classes)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        grid = tuple(x.shape[-2:])
        scale, shift = layout.once(self, lambda: self.modulation(layout.at(grid), grid))
        return self.normalise(x) * scale + shift


class _Down(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.op(x)


class _Up(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.conv = _conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


def _conv(channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(channels, out_channels, 3, padding=1)


def _skip(channels: int, out_channels: int) -> nn.Module:
    return nn.Identity() if channels == out_channels else nn.Conv2d(channels, out_channels, 1)
