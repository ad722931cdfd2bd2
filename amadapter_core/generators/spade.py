"""Spatially-adaptive normalisation: a norm without parameters, scaled and shifted by what a map says of each place.

https://arxiv.org/abs/1903.07291 - section 3. All three generators have it, with different norms and key names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from .semantic import resize_nearest
from .spectral import normalised

HIDDEN = 128
SLOPE = 0.2
"""Of the leaky ReLU throughout these systems."""

MakeNorm = Callable[[int], nn.Module]


def batch_statistics(channels: int) -> nn.BatchNorm2d:
    """Batch normalisation without parameters: what the published synchronised one is but for its training on many
    GPUs."""
    return nn.BatchNorm2d(channels, affine=False)


class Spade(nn.Module):
    """norm(x) * (1 + gamma(map)) + beta(map).

    :param norm: of C channels, without parameters.
    :param channels: C.
    :param condition: channels of the map.
    :param norm_name: the norm's name among the keys; published are `param_free_norm` (SPADE, clVAE) and `first_norm`
        (OASIS, iPOSE).
    """

    def __init__(
        self,
        norm: nn.Module,
        channels: int,
        condition: int,
        *,
        hidden: int = HIDDEN,
        norm_name: str = "param_free_norm",
    ):
        super().__init__()
        self.norm_name = norm_name
        self.add_module(norm_name, norm)
        self.mlp_shared = nn.Sequential(nn.Conv2d(condition, hidden, 3, padding=1), nn.ReLU())
        self.mlp_gamma = nn.Conv2d(hidden, channels, 3, padding=1)
        self.mlp_beta = nn.Conv2d(hidden, channels, 3, padding=1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """:param x: [B, C, h, w].
        :param condition: [B, condition, H, W] of any size; the nearest place is taken.
        """
        scale, shift = self.modulation(condition, x.shape[-2:])
        return self.normalise(x) * scale + shift

    def modulation(self, condition: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Scale and shift, [B, C, h, w] each: what the map alone decides.

        :param size: (h, w).
        """
        hidden = self.mlp_shared(resize_nearest(condition, size))
        return 1 + self.mlp_gamma(hidden), self.mlp_beta(hidden)

    def normalise(self, x: Tensor) -> Tensor:
        """x [B, C, h, w] by the norm alone."""
        return self.get_submodule(self.norm_name)(x)


class SpadeResBlock(nn.Module):
    """Two normalised convolutions beside a shortcut, which is learned where the width changes.

    :param condition: channels of the map.
    :param make_norm: a norm without parameters for so many channels.
    :param spectral: whether the convolutions carry spectral normalisation, as in training; inference bakes it, see
        `spectral`.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        condition: int,
        *,
        make_norm: MakeNorm = batch_statistics,
        norm_name: str = "param_free_norm",
        spectral: bool = False,
    ):
        super().__init__()
        middle = min(channels_in, channels_out)
        self.learned_shortcut = channels_in != channels_out
        wrap = normalised if spectral else _as_it_is

        def spade(channels: int) -> Spade:
            return Spade(make_norm(channels), channels, condition, norm_name=norm_name)

        self.conv_0 = wrap(nn.Conv2d(channels_in, middle, 3, padding=1))
        self.conv_1 = wrap(nn.Conv2d(middle, channels_out, 3, padding=1))
        self.norm_0, self.norm_1 = spade(channels_in), spade(middle)
        if self.learned_shortcut:
            self.conv_s = wrap(nn.Conv2d(channels_in, channels_out, 1, bias=False))
            self.norm_s = spade(channels_in)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """:param x: [B, channels_in, h, w].
        :param condition: [B, condition, H, W].
        :return: [B, channels_out, h, w].
        """
        shortcut = self.conv_s(self.norm_s(x, condition)) if self.learned_shortcut else x
        h = self.conv_0(F.leaky_relu(self.norm_0(x, condition), SLOPE))
        return shortcut + self.conv_1(F.leaky_relu(self.norm_1(h, condition), SLOPE))


def _as_it_is(module: nn.Module) -> nn.Module:
    return module
