"""Attention of SCA-DM's UNet: among pixels, and from pixels to the style tokens of their classes.

Masked cross-attention, as published: the score of a pixel and a class is multiplied by the label map, scores that are
0 become the lowest number, and a softmax over the classes decides. Since a pixel of one class then has one score
left, its softmax is 1 there, whatever query and key say: it receives to_out(to_v(token of its class)), and a pixel of
no class the mean over all classes. So each class's answer is made once and gathered by the pixels (`Form.GATHER`);
queries, keys and a softmax remain for pixels of several classes. `Form.LITERAL` is the published formula, for
comparison; `Form.PLAIN` leaves the label map out.

The two differ in one case that does not occur: where a pixel's own raw score is exactly 0, the literal formula takes
the mean over all classes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layout import Form, Grid, Layout


class Attention(nn.Module):
    """The layers that both kinds have, under the published names.

    :param channels: C of the pixels.
    :param context: channels of what is attended to.
    :param heads: of width C / heads.
    """

    def __init__(self, channels: int, context: int, heads: int):
        super().__init__()
        self.heads, self.scale = heads, (channels // heads) ** -0.5
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k, self.to_v = (nn.Linear(context, channels, bias=False) for _ in range(2))
        self.to_out = nn.Sequential(nn.Linear(channels, channels))

    def split(self, x: Tensor) -> Tensor:
        """[B, N, C] to [B, H, N, D]."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def join(self, x: Tensor) -> Tensor:
        """[B, H, N, D] to [B, N, C], through the output layer."""
        return self.to_out(x.transpose(1, 2).flatten(2))


class SelfAttention(Attention):
    """Attention of pixels to all pixels."""

    def __init__(self, channels: int, heads: int):
        super().__init__(channels, channels, heads)

    def forward(self, x: Tensor) -> Tensor:
        """:param x: [B, N, C]."""
        q, k, v = (self.split(layer(x)) for layer in (self.to_q, self.to_k, self.to_v))
        return self.join(F.scaled_dot_product_attention(q, k, v))


class ClassAttention(Attention):
    """Cross-attention from pixels to one token per class."""

    def forward(self, x: Tensor, context: Tensor, layout: Layout, grid: Grid) -> Tensor:
        """
        :param x: [B, N, C] pixels of a grid (h, w).
        :param context: [B, K, S] style tokens.
        :return: [B, N, C].
        """
        if layout.scores is not None:
            layout.scores.append((grid, self.mean_scores(x, context)))
        if layout.form is Form.GATHER:
            return self._gathered(x, context, layout, grid)
        if layout.form is Form.LITERAL:
            return self._literal(x, context, layout.at(grid))
        q, k, v = (self.split(y) for y in (self.to_q(x), self.to_k(context), self.to_v(context)))
        return self.join(F.scaled_dot_product_attention(q, k, v))

    def scores(self, x: Tensor, context: Tensor) -> Tensor:
        """Raw scores before the mask, [B, H, N, K]."""
        return self.split(self.to_q(x)) @ self.split(self.to_k(context)).transpose(-1, -2) * self.scale

    def mean_scores(self, x: Tensor, context: Tensor) -> Tensor:
        """Their mean over the heads, [B, N, K]: one product over all channels."""
        return self.to_q(x) @ self.to_k(context).transpose(-1, -2) * (self.scale / self.heads)

    def _literal(self, x: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        masked = self.scores(x, context) * mask.flatten(2).transpose(1, 2)[:, None]
        masked = masked.masked_fill(masked == 0, -torch.finfo(masked.dtype).max)
        return self.join(masked.softmax(-1) @ self.split(self.to_v(context)))

    def _gathered(self, x: Tensor, context: Tensor, layout: Layout, grid: Grid) -> Tensor:
        answers, pixels = self.to_out(self.to_v(context)), layout.pixels(grid)  # [B, K, C]
        # to_out is affine, so the answer to a mean of values is the mean of the answers.
        table = torch.cat([answers, answers.mean(1, keepdim=True)], 1)
        out = table.flatten(0, 1).index_select(0, pixels.rows).view_as(x)
        for item, those in pixels.several.items():
            out[item, those] = self._several(x[item, those], context[item], layout.at(grid)[item].flatten(1)[:, those])
        return out

    def _several(self, x: Tensor, context: Tensor, weight: Tensor) -> Tensor:
        """The softmax itself, for those pixels of one item that have several classes.

        :param x: [M, C]; context [K, S]; weight [K, M], the label map there.
        """
        masked = self.scores(x[None], context[None]) * weight.T  # [1, H, M, K]
        masked = masked.masked_fill(weight.T == 0, -torch.finfo(masked.dtype).max)
        return self.join(masked.softmax(-1) @ self.split(self.to_v(context)[None]))[0]


class TransformerBlock(nn.Module):
    """Self-attention, class attention and a gated feed-forward, each on a normalised input and added to it."""

    def __init__(self, channels: int, context: int, heads: int):
        super().__init__()
        self.attn1 = SelfAttention(channels, heads)
        self.ff = _FeedForward(channels)
        self.attn2 = ClassAttention(channels, context, heads)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(channels) for _ in range(3))

    def forward(self, x: Tensor, context: Tensor, layout: Layout, grid: Grid) -> Tensor:
        """See `ClassAttention.forward`."""
        x = x + self.attn1(self.norm1(x))
        x = x + self.attn2(self.norm2(x), context, layout, grid)
        return x + self.ff(self.norm3(x))


class SpatialTransformer(nn.Module):
    """A transformer block on a feature's pixels.

    :param context: channels of a style token.
    """

    def __init__(self, channels: int, context: int, heads: int):
        super().__init__()
        self.norm = nn.GroupNorm(32, channels, eps=1e-6)
        self.proj_in, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in range(2))
        self.transformer_blocks = nn.ModuleList([TransformerBlock(channels, context, heads)])

    def forward(self, x: Tensor, context: Tensor, layout: Layout) -> Tensor:
        """:param x: [B, C, h, w]."""
        grid = tuple(x.shape[-2:])
        h = self.proj_in(self.norm(x)).flatten(2).transpose(1, 2)  # [B, N, C]
        for block in self.transformer_blocks:
            h = block(h, context, layout, grid)
        return x + self.proj_out(h.transpose(1, 2).unflatten(2, grid))


class _FeedForward(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.net = nn.Sequential(_Gated(channels, 4 * channels), nn.Identity(), nn.Linear(4 * channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class _Gated(nn.Module):
    def __init__(self, channels: int, out_channels: int):
        super().__init__()
        self.proj = nn.Linear(channels, 2 * out_channels)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, -1)
        return value * F.gelu(gate)
