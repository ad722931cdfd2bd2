"""What a picture is made of: its style and its layout, with a counterpart for guidance; and the UNet bound to them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from .layout import Form, Layout
from .unet import UNet


class Unconditional(str, Enum):
    """What guidance leads away from.

    EMPTY_STYLE: the style of no picture, the layout kept: what training shows half of the time. PUBLISHED: zeros for
    style and label map, as the published code has it, which training never shows.
    """

    EMPTY_STYLE = "empty_style"
    PUBLISHED = "published"


@dataclass(frozen=True, eq=False)
class Conditioning:
    """
    :param context: [B, K, S] style tokens.
    :param mask: [B, K, H, W] label maps, one channel per class.
    """

    context: Tensor
    mask: Tensor

    def zeros(self) -> Conditioning:
        """The published counterpart for guidance."""
        return Conditioning(torch.zeros_like(self.context), torch.zeros_like(self.mask))


class NoisePredictor:
    """The noise that the UNet finds in latents of one conditioning, guided: what a sampler calls at every step.

    With `diffusion.betas` and a prediction of the noise (epsilon) it drives `diffusion.ddim` or a host's samplers.
    What the label maps alone decide is made in the first call and kept; make a new one for other conditions.

    :param unconditional: what guidance leads away from; not looked at without guidance.
    :param guidance: 1 is none; above, away from `unconditional`.
    """

    def __init__(
        self,
        unet: UNet,
        conditional: Conditioning,
        unconditional: Conditioning | None = None,
        guidance: float = 1.0,
        form: Form = Form.GATHER,
    ):
        if guidance != 1 and unconditional is None:
            raise ValueError(f"SCA-DM: guidance is {guidance} without anything to lead away from; pass unconditional")
        self.unet, self.guidance = unet, guidance
        both = [conditional] if guidance == 1 else [unconditional, conditional]
        self.context = torch.cat([each.context for each in both])
        self.layout = Layout(torch.cat([each.mask for each in both]), form, keep=True)

    @torch.no_grad()
    def __call__(self, x: Tensor, timesteps: Tensor) -> Tensor:
        """
        :param x: [B, C, h, w], a latent for each item of the conditioning.
        :param timesteps: [B] in 0..999, fractions allowed.
        """
        if self.guidance == 1:
            return self.unet(x, timesteps, self.context, self.layout)
        both = self.unet(torch.cat([x, x]), torch.cat([timesteps, timesteps]), self.context, self.layout)
        without, with_style = both.chunk(2)
        return without + self.guidance * (with_style - without)
