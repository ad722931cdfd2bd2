"""OASIS: a discriminator that names the class of every pixel, or calls it made; and its losses.

https://arxiv.org/abs/2012.04781. iPOSE adds a second verdict of the encoder on places of 1/16.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..generators.spade import SLOPE
from ..generators.spectral import normalised

MADE = 0
"""The channel of what is made; class k has channel k + 1."""
UNKNOWN = 0
"""The class of pixels that nothing is known of; it counts for nothing."""
GLOBAL_LEVEL = 4
STRIDE = 64


class _Block(nn.Module):
    """Two normalised convolutions beside a shortcut, before or after a change of size.

    :param change: "down", "up", or "first" for a block that halves and begins with the picture itself.
    """

    def __init__(self, channels_in: int, channels_out: int, change: str):
        super().__init__()
        self.change = change
        self.conv1 = normalised(nn.Conv2d(channels_in, channels_out, 3, padding=1))
        self.conv2 = normalised(nn.Conv2d(channels_out, channels_out, 3, padding=1))
        self.shortcut = None
        if channels_in != channels_out or change == "up":
            self.shortcut = normalised(nn.Conv2d(channels_in, channels_out, 1))

    def forward(self, x: Tensor) -> Tensor:
        beside = x if self.change != "up" else _doubled(x)
        beside = beside if self.shortcut is None else self.shortcut(beside)
        if self.change != "first":
            x = F.leaky_relu(x, SLOPE)
        x = self.conv1(_doubled(x) if self.change == "up" else x)
        x = self.conv2(F.leaky_relu(x, SLOPE))
        if self.change == "up":
            return beside + x
        return F.avg_pool2d(beside, 2) + F.avg_pool2d(x, 2)


class Discriminator(nn.Module):
    """A U-Net with spectral normalisation.

    :param classes: N.
    :param width: of the first two levels; the next two have twice, the last two four times as many.
    :param judges: whether it has the verdict of the encoder's fourth level, too.
    """

    def __init__(self, classes: int, width: int = 128, judges: bool = True):
        super().__init__()
        widths = [width, width, 2 * width, 2 * width, 4 * width, 4 * width]
        inputs = [3, *widths[:-1]]
        self.down = nn.ModuleList(
            _Block(a, b, "down" if i else "first") for i, (a, b) in enumerate(zip(inputs, widths, strict=True))
        )
        ups = [*reversed(widths[:-1]), max(width // 2, 1)]
        skipped = [0, *reversed(widths[:-1])]
        self.up = nn.ModuleList(
            _Block(a + skip, b, "up") for a, skip, b in zip([widths[-1], *ups[:-1]], skipped, ups, strict=True)
        )
        self.last = nn.Conv2d(ups[-1], classes + 1, 1)
        self.judge = nn.Conv2d(widths[GLOBAL_LEVEL - 1], 1, 3, padding=1) if judges else None

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor | None]:
        """:param pictures: [B, 3, H, W] in -1..1, H and W multiples of 64.
        :return: logits [B, N + 1, H, W], and the verdict [B, 1, H/16, W/16] where there is one.
        """
        x, levels = pictures, []
        for block in self.down:
            x = block(x)
            levels.append(x)
        verdict = None if self.judge is None else self.judge(levels[GLOBAL_LEVEL - 1])
        levels.pop()
        for i, block in enumerate(self.up):
            x = block(x if i == 0 else torch.cat([x, levels.pop()], 1))
        return self.last(x), verdict


def class_weights(ids: Tensor, classes: int) -> Tensor:
    """What a pixel of each class counts, so that in a batch all classes that occur count the same.

    :param ids: [B, H, W].
    :return: [N], 0 for the unknown class and those that do not occur.
    """
    counts = torch.bincount(ids.flatten(), minlength=classes).float()
    occur = (counts > 0).sum()
    weights = torch.where(counts > 0, ids.numel() / (counts.clamp_min(1) * occur), 0)
    weights[UNKNOWN] = 0
    return weights


def real_loss(logits: Tensor, ids: Tensor) -> Tensor:
    """Cross entropy of pixels against their classes, balanced between classes.

    :param logits: [B, N + 1, H, W].
    :param ids: [B, H, W].
    """
    weights = class_weights(ids, logits.shape[1] - 1)[ids]
    return (F.cross_entropy(logits.float(), ids + 1, reduction="none") * weights).mean()


def made_loss(logits: Tensor) -> Tensor:
    """Cross entropy of pixels, logits [B, 1 + K, H, W], against the made class."""
    target = torch.full_like(logits[:, 0], MADE, dtype=torch.int64)
    return F.cross_entropy(logits.float(), target)


def mix_mask(ids: Tensor, coins: Tensor) -> Tensor:
    """LabelMix: pixels of each class come all from the real picture or all from the made one.

    :param ids: [B, H, W].
    :param coins: [B, N] truth values, whether a class is real.
    :return: [B, 1, H, W] fp32.
    """
    return coins.gather(1, ids.flatten(1)).view_as(ids)[:, None].float()


def mix_loss(mixed: Tensor, real: Tensor, made: Tensor, mask: Tensor) -> Tensor:
    """Squared difference between the logits of a mixed picture and the mixture of the logits.

    :param mixed: [B, 1 + K, H, W]; `real` and `made` likewise.
    :param mask: [B, 1, H, W], 1 where the picture is real.
    """
    return F.mse_loss(mixed.float(), mask * real.float() + (1 - mask) * made.float())


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")
