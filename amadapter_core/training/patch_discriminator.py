"""SPADE's discriminators: patches of a picture, real or made, at several sizes. https://arxiv.org/abs/1903.07291

Parameter names are those of the published files.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..generators.spade import SLOPE
from ..generators.spectral import normalised

_WIDEST = 512


class PatchDiscriminator(nn.Module):
    """Convolutions of stride 2, the last two of stride 1; spectral and instance normalisation but for the ends.

    :param channels: of a picture with its label map.
    :param width: of the first layer; depth: layers before the last.
    """

    def __init__(self, channels: int, width: int = 64, depth: int = 4):
        super().__init__()
        taps = {"kernel_size": 4, "padding": 2}
        self.depth = depth
        self.model0 = nn.Sequential(nn.Conv2d(channels, width, stride=2, **taps), nn.LeakyReLU(SLOPE))
        for number in range(1, depth):
            wider = min(width * 2, _WIDEST)
            conv = nn.Conv2d(width, wider, stride=1 if number == depth - 1 else 2, bias=False, **taps)
            normed = nn.Sequential(normalised(conv), nn.InstanceNorm2d(wider))
            self.add_module(f"model{number}", nn.Sequential(normed, nn.LeakyReLU(SLOPE)))
            width = wider
        self.add_module(f"model{depth}", nn.Sequential(nn.Conv2d(width, 1, stride=1, **taps)))

    def forward(self, x: Tensor) -> list[Tensor]:
        """The output of each layer; the last [B, 1, h, w] is the verdict on each patch."""
        outputs = []
        for number in range(self.depth + 1):
            x = self.get_submodule(f"model{number}")(x)
            outputs.append(x)
        return outputs


class MultiscaleDiscriminator(nn.Module):
    """Patch discriminators that see the picture at its size, at half of it, and so on.

    :param classes: channels of the label map.
    """

    def __init__(self, classes: int, width: int = 64, depth: int = 4, scales: int = 2):
        super().__init__()
        for number in range(scales):
            self.add_module(f"discriminator_{number}", PatchDiscriminator(classes + 3, width, depth))

    def forward(self, semantic: Tensor, pictures: Tensor) -> list[list[Tensor]]:
        """:param semantic: [B, K, H, W], one channel per class.
        :param pictures: [B, 3, H, W] in -1..1.
        :return: the outputs of each layer at each scale.
        """
        x, results = torch.cat([semantic, pictures], 1), []
        for discriminator in self.children():
            results.append(discriminator(x))
            x = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
        return results

    def judge(self, semantic: Tensor, real: Tensor, made: Tensor) -> tuple[list[list[Tensor]], list[list[Tensor]]]:
        """The outputs for real and for made pictures of the same label maps, from one pass.

        :param semantic: [B, K, H, W] one-hot label maps.
        :param real: [B, 3, H, W] in -1..1; `made` likewise.
        """
        both = self(torch.cat([semantic, semantic]), torch.cat([real, made]))
        halves = [[output.chunk(2) for output in outputs] for outputs in both]
        return tuple([[output[i] for output in outputs] for outputs in halves] for i in (0, 1))
