"""The part network of iPOSE (CVPR 2023): which part of its object each pixel of a shape belongs to.

Few-shot: the shape attends to stored examples of its category, shapes whose parts are known. Every part is a query
of its own, the same network for all of them, so that the number of parts is nowhere in the weights. Module names are
the published ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...network import Network

PARTS = 9
"""Part ids 0..8; 0 is the background of the shape."""
SIDE = 64
"""Rows and columns of a shape as the network sees it."""
BLOCKS = 3


def _down(channels: int, width: int, kernel: int, stride: int, padding: int) -> nn.Sequential:
    conv = nn.Conv2d(channels, width, kernel, stride, padding)
    return nn.Sequential(conv, nn.InstanceNorm2d(width), nn.LeakyReLU(0.2))


def _up(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.ConvTranspose2d(channels, width, 4, 2, 1), nn.InstanceNorm2d(width), nn.ReLU())


class ShapeEncoder(nn.Module):
    """A picture of a shape to one token per 8 x 8 pixels, which sees 16 x 16 and 32 x 32 as well.

    :param widths: of the four levels.
    """

    def __init__(self, channels: int, widths: tuple[int, int, int, int]):
        super().__init__()
        a, b, c, d = widths
        self.enc0 = _down(channels, a, 7, 1, 3)
        self.enc1 = _down(a, b, 4, 2, 1)
        self.enc2 = _down(b, c, 4, 2, 1)
        self.enc3 = _down(c, d, 4, 2, 1)
        self.ms_enc0 = _down(d, d, 4, 2, 1)
        self.ms_enc1 = _down(d, d, 4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """:param x: [B, C, H, W].
        :return: tokens [B, H/8 * W/8, 3 d], row by row.
        """
        fine = self.enc3(self.enc2(self.enc1(self.enc0(x))))
        middle = self.ms_enc0(fine)
        coarse = self.ms_enc1(middle)
        wider = (F.interpolate(y, fine.shape[-2:], mode="bilinear") for y in (middle, coarse))
        return torch.cat([fine, *wider], dim=1).flatten(2).transpose(1, 2)


class QuickGELU(nn.Module):
    """x sigmoid(1.702 x), as CLIP has it."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, elementwise."""
        return x * torch.sigmoid(1.702 * x)


class CrossAttention(nn.Module):
    """One head of attention from the tokens of a shape to those of its supports, and a feed-forward layer."""

    def __init__(self, width: int):
        super().__init__()
        self.query_conv = nn.Sequential(nn.Conv2d(width, width, 1))
        self.key_conv = nn.Sequential(nn.Conv2d(width, width, 1))
        self.value_conv = nn.Sequential(nn.Conv2d(width, width, 1))
        self.multihead_attn = nn.MultiheadAttention(width, 1)
        self.ln1 = nn.LayerNorm(width)
        self.ln2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), QuickGELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """:param x: [B, P, N, C]; P may be 1 where it is the same for all parts.
        :param keys: [B, 1, S, C]; values: [B, P, S, C].
        :return: [B, P, N, C].
        """
        weights, biases = (p.chunk(3) for p in (self.multihead_attn.in_proj_weight, self.multihead_attn.in_proj_bias))
        convs = (self.query_conv[0], self.key_conv[0], self.value_conv[0])
        q, k, v = (
            F.linear(_pointwise(conv, tokens), weight, bias)
            for conv, tokens, weight, bias in zip(convs, (x, keys, values), weights, biases, strict=True)
        )
        parts = v.shape[1]
        attended = F.scaled_dot_product_attention(q.expand(-1, parts, -1, -1), k.expand(-1, parts, -1, -1), v)
        x = x + self.ln1(self.multihead_attn.out_proj(attended))
        return x + self.mlp(self.ln2(x))


def _pointwise(conv: nn.Conv2d, tokens: Tensor) -> Tensor:
    """A 1x1 convolution of tokens [..., C]."""
    return F.linear(tokens, conv.weight[:, :, 0, 0], conv.bias)


class PartDecoder(nn.Module):
    """Tokens on an 8 x 8 grid to features on 64 x 64."""

    def __init__(self, channels: int, widths: tuple[int, int, int]):
        super().__init__()
        self.dec1 = _up(channels, widths[0])
        self.dec2 = _up(widths[0], widths[1])
        self.dec3 = _up(widths[1], widths[2])

    def forward(self, x: Tensor) -> Tensor:
        """:param x: [B, C, h, w].
        :return: [B, widths[2], 8 h, 8 w].
        """
        return self.dec3(self.dec2(self.dec1(x)))


class Memory(NamedTuple):
    """What the network remembers of the supports of some categories, B of them.

    :param keys: [B, 1, S, C] of the shapes, S tokens of all supports together.
    :param values: [B, P, S, C] of the parts.
    """

    keys: Tensor
    values: Tensor


class PartNetwork(Network):
    """5.1 M parameters at the published widths.

    :param encoder: widths of the four levels of both encoders; tokens are three times as wide as the last.
    :param decoder: widths of the three levels; the last is the number of features of each part.
    """

    def __init__(
        self,
        encoder: tuple[int, int, int, int] = (32, 64, 64, 96),
        decoder: tuple[int, int, int] = (64, 64, 32),
    ):
        super().__init__()
        tokens = 3 * encoder[-1]
        self.features = decoder[-1]
        self.shape_encoder = ShapeEncoder(5, encoder)
        self.mask_encoder = ShapeEncoder(1, encoder)
        for i in range(BLOCKS):
            self.add_module(f"catt{i}", CrossAttention(tokens))
        self.decoder = PartDecoder(tokens, decoder)
        self.conv_img = nn.Conv2d(decoder[-1], 1, 5, padding=2)

    def remember(self, labels: Tensor, order: Tensor | None = None) -> Memory:
        """Look at the supports of some categories.

        :param labels: [B, M, 64, 64] integer part ids 0..8 of M supports each; above 0 is the shape.
        :param order: [B, P] which part each channel stands for; None takes 0..8. Training shuffles them.
        """
        B, M = labels.shape[:2]
        order = torch.arange(PARTS, device=labels.device).expand(B, -1) if order is None else order
        shapes = self._encode_shapes((labels > 0).flatten(0, 1)[:, None])
        parts = (labels[:, :, None] == order[:, None, :, None, None]).to(self.dtype)  # [B, M, P, H, W]
        masks = self.mask_encoder(parts.flatten(0, 2)[:, None]).unflatten(0, (B, M, -1))
        keys = shapes.unflatten(0, (B, M)).flatten(1, 2)[:, None]
        return Memory(keys, masks.transpose(1, 2).flatten(2, 3))

    def forward(self, shapes: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Part shapes after their supports.

        :param shapes: [B, 1, 64, 64], truth values or 0 and 1.
        :param memory: of B categories, or of 1 for all.
        :return: logits [B, P, 64, 64] and features [B, P * 32, 64, 64], those of part 0 first.
        """
        B, side = len(shapes), shapes.shape[-1] // 8
        keys, values = (x.expand(B, -1, -1, -1) for x in memory)
        x = self._encode_shapes(shapes)[:, None]
        for i in range(BLOCKS):
            x = self.get_submodule(f"catt{i}")(x, keys, values)
        x = x.transpose(2, 3).flatten(0, 1).unflatten(2, (-1, side))  # [B P, C, H/8, W/8]
        features = self.decoder(x)
        logits = self.conv_img(features)
        return logits.unflatten(0, (B, -1)).flatten(1, 2), features.unflatten(0, (B, -1)).flatten(1, 2)

    def _encode_shapes(self, shapes: Tensor) -> Tensor:
        """Tokens of shapes [B, 1, H, W], which know where they are."""
        B, _, H, W = shapes.shape
        shapes = shapes.to(self.dtype)
        y, x = (torch.linspace(-1, 1, n, device=shapes.device, dtype=shapes.dtype) for n in (H, W))
        places = torch.stack([x.expand(H, W), y[:, None].expand(H, W)]).expand(B, -1, -1, -1)
        return self.shape_encoder(torch.cat([places, shapes.expand(-1, 3, -1, -1)], dim=1))


def widths_of(state_dict: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """The arguments of a PartNetwork with these weights.

    :raises KeyError: when a layer is not there.
    """
    return {
        "encoder": tuple(state_dict[f"shape_encoder.enc{i}.0.weight"].shape[0] for i in range(4)),
        "decoder": tuple(state_dict[f"decoder.dec{i}.0.weight"].shape[1] for i in range(1, 4)),
    }
