"""CLIP's tokens as a measure of likeness, whatever their order; its weights are the user's to supply.

The relaxed earth mover's distance: each token of one picture goes to the nearest one of the other, and the direction
that costs more counts. https://arxiv.org/abs/1904.12785 - section 2.2
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BLOCK = 8
MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)


class TokenDistance(nn.Module):
    """Distance between the tokens that CLIP's picture encoder has behind its eighth block.

    :param encoder: a `transformers.CLIPVisionModel`.
    """

    def __init__(self, encoder: nn.Module):
        super().__init__()
        self.encoder = encoder.eval().requires_grad_(False)
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION)[:, None, None], persistent=False)

    @classmethod
    def load(cls, folder: str | Path) -> TokenDistance:
        """Read CLIP's encoder from a folder as transformers saves it.

        :raises FileNotFoundError: when there is no such folder.
        """
        if not (Path(folder) / "config.json").is_file():
            raise FileNotFoundError(
                f"training: no CLIP in {Path(folder).absolute()}; expected a folder with config.json and weights, such "
                "as that of openai/clip-vit-base-patch32"
            )
        from transformers import CLIPVisionModel

        encoder = CLIPVisionModel.from_pretrained(folder)
        if encoder.config.num_hidden_layers < BLOCK:
            raise ValueError(
                f"training: CLIP in {folder} has {encoder.config.num_hidden_layers} blocks, expected {BLOCK} or more; "
                "use ViT-B/32"
            )
        return cls(encoder)

    def train(self, mode: bool = True) -> TokenDistance:
        """Stay as it is: it does not learn."""
        return super().train(False)

    def forward(self, made: Tensor, real: Tensor) -> Tensor:
        """:param made: [B, 3, H, W] in -1..1; gradients go here alone.
        :param real: alike.
        """
        with torch.no_grad():
            wanted = self._tokens(real)
        return relaxed_distance(self._tokens(made), wanted).mean()

    def _tokens(self, pictures: Tensor) -> Tensor:
        """[B, T, C], without the token of the class."""
        side = self.encoder.config.image_size
        x = F.interpolate((pictures + 1) / 2, (side, side), mode="bicubic", align_corners=False)
        x = (x - self.mean) / self.deviation
        return self.encoder(pixel_values=x, output_hidden_states=True).hidden_states[BLOCK][:, 1:].float()


def relaxed_distance(a: Tensor, b: Tensor) -> Tensor:
    """The relaxed earth mover's distance of sets of tokens by cosine.

    :param a: [B, Ta, C]; b: [B, Tb, C].
    :return: [B] in 0..2.
    """
    cost = 1 - F.normalize(a, dim=-1) @ F.normalize(b, dim=-1).transpose(1, 2)
    return torch.maximum(cost.amin(2).mean(1), cost.amin(1).mean(1))
