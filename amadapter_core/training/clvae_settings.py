"""What the training of clVAE can be told; a part of `config.Config`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ClVAE:
    """clVAE: its sizes, its discriminators', and the weights of its losses, as published.

    :param width: channels of the generator's last block and of the encoder's first layer (ngf).
    :param local: width of a class's code in each layer; None makes it the number of classes.
    :param shared: width of the picture's code.
    :param upsampling: "normal" begins with a grid of 1/32 of the picture, "more" of 1/64.
    :param scales: discriminators, each of half the size of the one before.
    :param depth: layers of each; their first has `discriminator_width` channels.
    :param features: weight of matching the discriminators' features of real and made pictures.
    :param perceptual: weight of VGG19's features of both, where `vgg` names its weights.
    :param kl: weight of the codes' divergence from the normal distribution, summed over the batch.
    :param vgg: file of VGG19's weights in torchvision's naming (vgg19-dcbb9e9d.pth); None leaves that loss off.
    """

    width: int = 64
    local: int | None = None
    shared: int = 256
    upsampling: Literal["normal", "more"] = "normal"
    discriminator_width: int = 64
    scales: int = 2
    depth: int = 4
    features: float = 10.0
    perceptual: float = 10.0
    kl: float = 0.05
    vgg: str | None = None
