"""clVAE's two networks under their published names: the generator and the class- and layer-wise encoder."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..semantic import gather_codes, one_hot, resize_nearest
from ..spade import SLOPE, SpadeResBlock
from ..spectral import normalised
from .configuration import LAYERS, Configuration

ENCODED = 256
"""Side of the square picture that the encoder looks at."""


class Generator(nn.Module):
    """Label ids and latent codes to a picture.

    :param spectral: whether the convolutions carry spectral normalisation, as in training; see `spectral`.
    """

    def __init__(self, config: Configuration, *, spectral: bool = False):
        super().__init__()
        self.config, width = config, config.width

        def block(wide: int, narrow: int, condition: int = config.local) -> SpadeResBlock:
            return SpadeResBlock(wide * width, narrow * width, condition, spectral=spectral)

        self.embedding = nn.Embedding(config.classes, config.local)
        self.fc = nn.Linear(config.shared, 16 * width * config.grid[0] * config.grid[1])
        self.head_0 = block(16, 16)
        self.G_middle_0, self.G_middle_1 = block(16, 16), block(16, 16)
        self.up_0, self.up_1, self.up_2 = block(16, 8), block(8, 4), block(4, 2)
        self.up_3 = block(2, 1, config.classes)
        self.conv_img = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, ids: Tensor, codes: Tensor, shared: Tensor) -> Tensor:
        """
        :param ids: [B, H, W] in 0..K-1, of the configuration's size.
        :param codes: [B, K, 5, D]; of classes that the map lacks they do not matter.
        :param shared: [B, S].
        :return: [B, 3, H, W] in -1..1.
        """
        size = ids.shape[-2:]
        # The embedding of a class and its code in a layer are looked up as one. [B, K, 5, D]
        tables = self.embedding.weight[:, None] + codes

        def condition(layer: int) -> Tensor:
            """What the layer at 1/2^layer of the picture sees."""
            return gather_codes(tables[:, :, layer - 1], resize_nearest(ids, [side >> layer for side in size]))

        x = self.fc(shared).unflatten(1, (-1, *self.config.grid))
        x = self.head_0(x, condition(5))
        x = self.G_middle_0(_double(x), condition(4))
        if self.config.doublings == 6:
            x = _double(x)
        x = self.G_middle_1(x, condition(4))
        x = self.up_0(_double(x), condition(3))
        x = self.up_1(_double(x), condition(2))
        x = self.up_2(_double(x), condition(1))
        x = self.up_3(_double(x), one_hot(ids, self.config.classes, x.dtype))
        return torch.tanh(self.conv_img(F.leaky_relu(x, SLOPE)))


@dataclass(frozen=True)
class Posterior:
    """What the encoder believes of the codes of a batch: normal distributions.

    :param mean: [B, K, 5, D], 0 where a class is absent from a layer.
    :param log_variance: alike.
    :param present: [B, K, 5], whether a class has a pixel at 1/2 to 1/32 of the encoder's picture.
    :param visible: [B, K], whether it has one in that picture.
    :param shared_mean: [B, S].
    :param shared_log_variance: alike.
    """

    mean: Tensor
    log_variance: Tensor
    present: Tensor
    visible: Tensor
    shared_mean: Tensor
    shared_log_variance: Tensor


class Encoder(nn.Module):
    """A picture and its label ids to the distribution of its codes.

    :param classes: K.
    :param width: channels of the first layer.
    :param local: D; shared: S.
    :param spectral: as for `Generator`.
    """

    def __init__(self, classes: int, width: int, local: int, shared: int, *, spectral: bool = False):
        super().__init__()
        self.classes, self.local, self.shared = classes, local, shared
        widths = [3, *(width * factor for factor in (1, 2, 4, 8, 8, 8))]
        for number in range(1, LAYERS + 2):
            conv = nn.Conv2d(widths[number - 1], widths[number], 3, stride=2, padding=1, bias=False)
            layer = nn.Sequential(normalised(conv) if spectral else conv, nn.InstanceNorm2d(widths[number]))
            self.add_module(f"layer{number}", layer)
        side = ENCODED >> (LAYERS + 1)
        self.fc_mu = nn.Linear(widths[-1] * side * side, shared)
        self.fc_var = nn.Linear(widths[-1] * side * side, shared)
        for number in range(1, LAYERS + 1):
            self.add_module(f"fc_mu{number}", nn.Linear(widths[number], local))
            self.add_module(f"fc_var{number}", nn.Linear(widths[number], local))

    def forward(self, images: Tensor, ids: Tensor) -> Posterior:
        """
        :param images: [B, 3, H, W] in -1..1, of any size.
        :param ids: [B, H, W] in 0..K-1.
        """
        square = (ENCODED, ENCODED)
        if images.shape[-2:] != square:
            images = F.interpolate(images, square, mode="bilinear", align_corners=False)
        ids = resize_nearest(ids, square)
        means, log_variances, present = [], [], []
        x = self.layer1(images)
        for number in range(1, LAYERS + 1):
            small = resize_nearest(ids, x.shape[-2:])
            here = _visible(small, self.classes)[..., None]  # [B, K, 1]
            features = F.leaky_relu(_class_maximum(x, small, self.classes), SLOPE)  # [B, K, C]
            means.append(self.get_submodule(f"fc_mu{number}")(features) * here)
            log_variances.append(self.get_submodule(f"fc_var{number}")(features) * here)
            present.append(here[..., 0])
            x = self.get_submodule(f"layer{number + 1}")(F.leaky_relu(x, SLOPE))
        whole = F.leaky_relu(x, SLOPE).flatten(1)
        return Posterior(
            torch.stack(means, 2),
            torch.stack(log_variances, 2),
            torch.stack(present, 2),
            _visible(ids, self.classes),
            self.fc_mu(whole),
            self.fc_var(whole),
        )


def _visible(ids: Tensor, classes: int) -> Tensor:
    """[B, h, w] to [B, K]: whether a class has a pixel."""
    flat = ids.flatten(1)
    return torch.zeros(ids.shape[0], classes, dtype=torch.bool, device=ids.device).scatter_(1, flat, True)


def _class_maximum(x: Tensor, ids: Tensor, classes: int) -> Tensor:
    """The largest value of each channel among the pixels of each class, 0 for classes without any.

    :param x: [B, C, h, w].
    :param ids: [B, h, w].
    :return: [B, K, C].
    """
    index = ids.flatten(1)[:, None].expand(-1, x.shape[1], -1)
    empty = x.new_zeros(*x.shape[:2], classes)
    return empty.scatter_reduce(2, index, x.flatten(2), "amax", include_self=False).transpose(1, 2)


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")
