"""The first stage: a vector-quantised autoencoder of pictures, four times smaller in each direction (VQ-f4)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...network import Network

PIXELS_AT_ONCE = 2048
"""Latent pixels compared with the whole codebook at a time: 64 MiB in fp32 for 8192 entries."""


class FirstStage(Network):
    """:param width: channels of the finest level.
    :param factors: channels of each level over `width`, finest first; each but the last halves the picture.
    :param blocks: residual blocks per level of the encoder, one more in the decoder.
    :param latent: channels of the latent.
    :param entries: size of the codebook.
    """

    def __init__(
        self,
        width: int = 128,
        factors: tuple[int, ...] = (1, 2, 4),
        blocks: int = 2,
        latent: int = 3,
        entries: int = 8192,
    ):
        super().__init__()
        widths = [width * factor for factor in factors]
        self.factor = 2 ** (len(factors) - 1)
        self.encoder = _Encoder(widths, blocks, latent)
        self.decoder = _Decoder(widths, blocks + 1, latent)
        self.quantize = _Codebook(entries, latent)
        self.quant_conv = nn.Conv2d(latent, latent, 1)
        self.post_quant_conv = nn.Conv2d(latent, latent, 1)

    def encode(self, image: Tensor) -> Tensor:
        """Latents [B, C, H / f, W / f], not quantised, of pictures [B, 3, H, W] in -1..1.

        :raises ValueError: when the sides are not divisible by f.
        """
        if any(side % self.factor for side in image.shape[-2:]):
            raise ValueError(
                f"SCA-DM first stage: the picture is {image.shape[-2]} x {image.shape[-1]} (height x width), "
                f"expected sides divisible by {self.factor}; resize it"
            )
        return self.quant_conv(self.encoder(image))

    def decode(self, latent: Tensor, quantise: bool = True) -> Tensor:
        """Pictures [B, 3, f h, f w] in about -1..1 of latents [B, C, h, w].

        :param quantise: whether each latent pixel is replaced by the nearest entry of the codebook first, as published.
        """
        return self.decoder(self.post_quant_conv(self.quantize(latent) if quantise else latent))


class _Codebook(nn.Module):
    def __init__(self, entries: int, latent: int):
        super().__init__()
        self.embedding = nn.Embedding(entries, latent)

    def indices(self, latent: Tensor) -> Tensor:
        """Index of the nearest entry, [B, h, w]."""
        pixels, entries = latent.movedim(1, -1), self.embedding.weight
        squares = entries.square().sum(1)
        # ||z - e||^2 with its terms in the published order, which decides between entries equally near.
        nearest = [
            (z.square().sum(1, keepdim=True) + squares - 2 * z @ entries.T).argmin(1)
            for z in pixels.flatten(0, 2).split(PIXELS_AT_ONCE)
        ]
        return torch.cat(nearest).view(pixels.shape[:3])

    def forward(self, latent: Tensor) -> Tensor:
        return self.embedding(self.indices(latent)).movedim(-1, 1)


class _ResBlock(nn.Module):
    def __init__(self, channels: int, out_channels: int):
        super().__init__()
        self.norm1, self.conv1 = _norm(channels), nn.Conv2d(channels, out_channels, 3, padding=1)
        self.norm2, self.conv2 = _norm(out_channels), nn.Conv2d(out_channels, out_channels, 3, padding=1)
        if channels != out_channels:
            self.nin_shortcut = nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))
        return h + (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


class _Attention(nn.Module):
    """Self-attention with a single head as wide as the feature."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = _norm(channels)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        q, k, v = (conv(h).flatten(2).transpose(1, 2)[:, None] for conv in (self.q, self.k, self.v))  # [B, 1, N, C]
        out = F.scaled_dot_product_attention(q, k, v)[:, 0].transpose(1, 2)
        return x + self.proj_out(out.view_as(x))


class _Middle(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.block_1, self.attn_1, self.block_2 = (
            _ResBlock(channels, channels),
            _Attention(channels),
            _ResBlock(channels, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(x)))


class _Down(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class _Up(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


class _Level(nn.Module):
    """The residual blocks of one level, and its change of size."""

    def __init__(self, channels: int, out_channels: int, blocks: int):
        super().__init__()
        self.block = nn.ModuleList(_ResBlock(out_channels if i else channels, out_channels) for i in range(blocks))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.block:
            x = block(x)
        for name in ("downsample", "upsample"):
            x = getattr(self, name)(x) if hasattr(self, name) else x
        return x


class _Encoder(nn.Module):
    def __init__(self, widths: list[int], blocks: int, latent: int):
        super().__init__()
        self.conv_in = nn.Conv2d(3, widths[0], 3, padding=1)
        self.down = nn.ModuleList(_Level(widths[max(i - 1, 0)], w, blocks) for i, w in enumerate(widths))
        for level in self.down[:-1]:
            level.downsample = _Down(level.block[-1].conv2.out_channels)
        self.mid = _Middle(widths[-1])
        self.norm_out, self.conv_out = _norm(widths[-1]), nn.Conv2d(widths[-1], latent, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for level in self.down:
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(self.mid(x))))


class _Decoder(nn.Module):
    def __init__(self, widths: list[int], blocks: int, latent: int):
        super().__init__()
        self.conv_in = nn.Conv2d(latent, widths[-1], 3, padding=1)
        self.mid = _Middle(widths[-1])
        self.up = nn.ModuleList(_Level(widths[min(i + 1, len(widths) - 1)], w, blocks) for i, w in enumerate(widths))
        for level in self.up[1:]:
            level.upsample = _Up(level.block[-1].conv2.out_channels)
        self.norm_out, self.conv_out = _norm(widths[0]), nn.Conv2d(widths[0], 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mid(self.conv_in(x))
        for level in reversed(self.up):  # coarse to fine; published names count from the finest
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(x)))


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(32, channels, eps=1e-6)
