"""The generator of iPOSE: a SPADE generator that part features guide inside objects and noise outside of them.

Each block first normalises by two maps of one channel: inside objects they come from the features of the part
network, elsewhere from a pyramid of noise; then follows OASIS' block on class and style. Module names are the
published ones.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...network import Network
from ..semantic import resize_nearest
from ..spade import SLOPE, SpadeResBlock, batch_statistics
from ..spectral import normalised
from .part_network import PARTS, PartNetwork, widths_of

MULTIPLES = (16, 16, 16, 8, 4, 2, 1)
BLOCKS = len(MULTIPLES) - 1
STRIDE = 2 ** (BLOCKS - 1)
"""Pixels per cell of the grid that generation begins on."""
Z_CHANNELS = 64
GUIDES = 32
"""Channels of the maps that part features and noise are brought to."""
CLASS_LEVELS = 3
"""So many of the noise pyramid's levels are told the classes anew."""


class PartNorm(nn.Module):
    """Batch normalisation, scaled and shifted by part features inside objects and by noise elsewhere.

    Scale and shift are one number per place, the same for all channels.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.first_norm = batch_statistics(channels)
        self.mlp_shared = nn.Sequential(nn.Conv2d(GUIDES, GUIDES, 3, padding=1), nn.ReLU())
        self.mlp_gamma = nn.Conv2d(GUIDES, 1, 3, padding=1)
        self.mlp_beta = nn.Conv2d(GUIDES, 1, 3, padding=1)
        self.mlp_shared_nos = nn.Sequential(nn.Conv2d(GUIDES, GUIDES, 3, padding=1), nn.ReLU())
        self.mlp_gamma_nos = nn.Conv2d(GUIDES, 1, 3, padding=1)
        self.mlp_beta_nos = nn.Conv2d(GUIDES, 1, 3, padding=1)

    def forward(self, x: Tensor, parts: Tensor, noise: Tensor, inside: Tensor) -> Tensor:
        """:param x: [B, C, h, w].
        :param parts: [B, 32, H, W]; noise: [B, 32, h, w]; inside: [B, 1, H, W], 1 in objects.
        """
        size = x.shape[-2:]
        inside = resize_nearest(inside, size)
        part = self.mlp_shared(resize_nearest(parts, size))
        local = self.mlp_shared_nos(resize_nearest(noise, size))
        gamma = inside * self.mlp_gamma(part) + (1 - inside) * self.mlp_gamma_nos(local)
        beta = inside * self.mlp_beta(part) + (1 - inside) * self.mlp_beta_nos(local)
        return self.first_norm(x) * (1 + gamma) + beta


class PartBlock(SpadeResBlock):
    """A part-guided convolution, then OASIS' block."""

    def __init__(self, channels_in: int, channels_out: int, condition: int, *, spectral: bool):
        super().__init__(channels_in, channels_out, condition, norm_name="first_norm", spectral=spectral)
        conv = nn.Conv2d(channels_in, channels_in, 3, padding=1)
        self.conv_p = normalised(conv) if spectral else conv
        self.norm_p = PartNorm(channels_in)

    def forward(self, x: Tensor, condition: Tensor, parts: Tensor, noise: Tensor, inside: Tensor) -> Tensor:
        x = self.conv_p(F.leaky_relu(self.norm_p(x, parts, noise, inside), SLOPE))
        return super().forward(x, condition)


class PartPredictor(nn.Module):
    """Where a checkpoint of the generator has its part network: `partnet.model`."""

    def __init__(self, model: PartNetwork):
        super().__init__()
        self.model = model


class IPoseNetwork(Network):
    """Label map, part features and noise to a picture.

    :param classes: N.
    :param channels: width of the last block; the first ones have 16 times as many.
    :param z_channels: of the style noise.
    :param part_network: whose features guide it; None makes one of the published widths.
    :param spectral: whether convolutions carry spectral normalisation, as in training.
    """

    def __init__(
        self,
        classes: int,
        channels: int = 64,
        z_channels: int = Z_CHANNELS,
        part_network: PartNetwork | None = None,
        *,
        spectral: bool = False,
    ):
        super().__init__()
        self.classes, self.channels, self.z_channels = classes, channels, z_channels
        self.partnet = PartPredictor(part_network or PartNetwork())
        condition = z_channels + classes
        widths = [multiple * channels for multiple in MULTIPLES]
        self.fc = nn.Conv2d(condition, widths[0], 3, padding=1)
        self.body = nn.ModuleList(
            PartBlock(a, b, condition, spectral=spectral) for a, b in zip(widths, widths[1:], strict=False)
        )
        self.conv_part = _guide(nn.Conv2d(PARTS * self.partnet.model.features, GUIDES, 3, padding=1))
        self.mlp = _guide(nn.Conv2d(GUIDES, GUIDES, 3, padding=1))
        # The last one is in every checkpoint and used by none.
        self.conv_nos = nn.ModuleList(
            _guide(nn.ConvTranspose2d(GUIDES + (i < CLASS_LEVELS), GUIDES, 4, 2, 1)) for i in range(BLOCKS)
        )
        self.conv_img = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def noise_shape(self, size: tuple[int, int]) -> tuple[int, int, int]:
        """(channels, h, w) of the local noise of a picture of (H, W)."""
        return (GUIDES - 1, size[0] // STRIDE, size[1] // STRIDE)

    def forward(self, hot: Tensor, features: Tensor, inside: Tensor, z: Tensor, z_part: Tensor) -> Tensor:
        """
        :param hot: [B, N, H, W] label map, one channel per class; H and W multiples of 32.
        :param features: [B, 288, H, W] of the part network, 0 outside of objects.
        :param inside: [B, 1, H, W], 1 in the parts of objects.
        :param z: [B, z_channels], style noise.
        :param z_part: [B, 31, H/32, W/32], local noise.
        :return: [B, 3, H, W] in -1..1.
        """
        grid = z_part.shape[-2:]
        labels = hot.argmax(1, keepdim=True).to(hot)  # class ids as plain numbers, as it was trained
        parts = self.conv_part(features)
        noise = self.mlp(torch.cat([z_part, resize_nearest(labels, grid)], 1))
        condition = torch.cat([z[:, :, None, None].expand(-1, -1, *hot.shape[-2:]), hot], 1)
        x = self.fc(resize_nearest(condition, grid))
        for i, block in enumerate(self.body):
            x = block(x, condition, parts, noise, inside)
            if i == BLOCKS - 1:
                break
            if i < CLASS_LEVELS:
                noise = torch.cat([noise, resize_nearest(labels, noise.shape[-2:])], 1)
            noise = self.conv_nos[i](noise)
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        return self.conv_img(F.leaky_relu(x, SLOPE)).tanh()


def sizes_of(state_dict: Mapping[str, Tensor], z_channels: int = Z_CHANNELS) -> dict[str, object]:
    """The arguments of an IPoseNetwork with these weights.

    :raises KeyError: when a layer that tells a size is not there.
    :raises ValueError: when so many channels of style noise leave no class.
    """
    condition = state_dict["fc.weight"].shape[1]
    if condition <= z_channels:
        raise ValueError(
            f"iPOSE: the weights take {condition} channels of style noise and classes together, so there cannot be "
            f"{z_channels} of noise; give the number the model was trained with"
        )
    prefix = "partnet.model."
    part_network = {key.removeprefix(prefix): value for key, value in state_dict.items() if key.startswith(prefix)}
    return {
        "classes": condition - z_channels,
        "channels": state_dict["conv_img.weight"].shape[1],
        "z_channels": z_channels,
        "part_network": PartNetwork(**widths_of(part_network)),
    }


def _guide(conv: nn.Module) -> nn.Sequential:
    return nn.Sequential(conv, nn.InstanceNorm2d(GUIDES), nn.LeakyReLU(SLOPE))
