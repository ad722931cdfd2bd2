"""The style encoder: a picture and its label map to one token per class.

Every class has a group of channels of its own throughout, and is pooled over its own pixels at five scales, so that a
token holds five codes, coarse to fine. The decoder's skip connections put all groups of one tensor before all groups
of the other, as published: the grouped convolution after them then mixes classes, and the codes of a class are its
own alone at the coarsest scale only.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...network import Network


class StyleEncoder(Network):
    """:param classes: K, groups of every convolution.
    :param features: channels per class of the first layer.
    :param downs: layers of the encoder, each halves the picture.
    :param scales: L, layers of the decoder, each gives one code per class.
    :param width: D of a code.
    """

    def __init__(self, classes: int, features: int = 4, downs: int = 6, scales: int = 5, width: int = 256):
        super().__init__()
        self.classes, self.features, self.downs, self.scales, self.width = classes, features, downs, scales, width
        channels = [classes * features * 2**i for i in range(downs + 1)]
        self.Encoder = nn.ModuleDict({"first_layer": _layer(nn.Conv2d(3, channels[0], 3, padding=1), classes)})
        for i in range(downs):
            conv = nn.Conv2d(channels[i], channels[i + 1], 3, stride=2, padding=1, groups=classes)
            self.Encoder[f"enc_layer_{i}"] = _layer(conv, classes)
        self.Decoder, self.out = nn.ModuleDict(), nn.ModuleDict()
        for j in range(scales):
            level = downs - 1 - j
            # From the second layer on the encoder's feature stands beside the decoder's, equally wide.
            conv = nn.Conv2d(channels[level + 1] * (2 if j else 1), channels[level], 3, padding=1, groups=classes)
            up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
            self.Decoder[f"dec_layer_{j}"] = nn.Sequential(up, *_layer(conv, classes))
            pooled = nn.Conv1d(channels[level], classes * width, 1, groups=classes)
            self.out[f"out_{j}"] = nn.Sequential(pooled, nn.Tanh())

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Encode pictures.

        :param image: [B, 3, H, W] in -1..1, sides divisible by 2 ** downs; all zeros is the style of no picture.
        :param mask: [B, K, h, w], one channel per class, of any size.
        :return: tokens [B, K, L * D] in -1..1; a class without pixels has the same token whatever the picture.
        :raises ValueError: when sizes or the number of classes do not fit.
        """
        self._check(image, mask)
        x, features = self.Encoder["first_layer"](image), []
        for i in range(self.downs):
            x = self.Encoder[f"enc_layer_{i}"](x)
            features.append(x)
        codes = []
        for j in range(self.scales):
            if j:
                x = torch.cat([x, features[self.downs - 1 - j]], 1)
            x = self.Decoder[f"dec_layer_{j}"](x)
            code = self.out[f"out_{j}"](_pooled(x, mask))  # [B, K * D, 1]
            codes.append(code.unflatten(1, (self.classes, self.width))[..., 0])
        return torch.cat(codes, 2)

    def _check(self, image: Tensor, mask: Tensor) -> None:
        if mask.shape[1] != self.classes:
            raise ValueError(
                f"SCA-DM style encoder: the label map has {mask.shape[1]} classes, these weights {self.classes}; "
                "use the class table the checkpoint was trained with"
            )
        multiple = 2**self.downs
        if any(side % multiple for side in image.shape[-2:]):
            raise ValueError(
                f"SCA-DM style encoder: the picture is {image.shape[-2]} x {image.shape[-1]} (height x width), "
                f"expected sides divisible by {multiple}; resize it, e.g. to 256 x 256"
            )


def _layer(conv: nn.Conv2d, groups: int) -> nn.Sequential:
    return nn.Sequential(conv, nn.GroupNorm(groups, conv.out_channels), nn.ReLU())


def _pooled(x: Tensor, mask: Tensor) -> Tensor:
    """Mean of each class's channels over its pixels: [B, K * C, h, w] and [B, K, h', w'] to [B, K * C, 1]."""
    mask = F.interpolate(mask, size=x.shape[-2:], mode="nearest").to(x.dtype)
    by_class = x.unflatten(1, (mask.shape[1], -1)).flatten(3)  # [B, K, C, N]
    sums = by_class @ mask.flatten(2).unsqueeze(-1)  # [B, K, C, 1]
    return (sums / (mask.sum((2, 3))[..., None, None] + 1e-5)).flatten(1, 2)
