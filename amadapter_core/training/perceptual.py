"""VGG19's features as a measure of likeness; its weights are the user's to supply."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..checkpoints import CheckpointError
from ..checkpoints.errors import AnyPath
from ..checkpoints.formats import open_file
from ..checkpoints.reading import locate

_CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28)
"""Places of the convolutions among VGG19's `features` up to conv5_1; a place that is left out before one is a ReLU,
or a ReLU and a pooling."""
_COMPARED = (0, 5, 10, 19, 28)
_WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)


class PerceptualLoss(nn.Module):
    """L1 between VGG19's features of two pictures behind conv1_1, 2_1, 3_1, 4_1 and 5_1, the deeper the heavier.

    Pictures go in as they are, in -1..1, as SPADE does it.

    :param state: torchvision's names, `features.0.weight` and so on; others are left out.
    """

    def __init__(self, state: Mapping[str, Tensor]):
        super().__init__()
        for place in _CONVOLUTIONS:
            weight, bias = (state[f"features.{place}.{name}"].float() for name in ("weight", "bias"))
            conv = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1)
            conv.load_state_dict({"weight": weight, "bias": bias})
            self.add_module(str(place), conv)
        self.requires_grad_(False)

    @classmethod
    def load(cls, path: AnyPath) -> PerceptualLoss:
        """Read a file of VGG19's weights, such as torchvision's vgg19-dcbb9e9d.pth.

        :raises FileNotFoundError: when there is none.
        :raises CheckpointError: when it holds something else.
        """
        source = open_file(locate(path))
        wanted = [f"features.{place}.{name}" for place in _CONVOLUTIONS for name in ("weight", "bias")]
        missing = [name for name in wanted if name not in source.tensors]
        if missing:
            held = [name for name in source.tensors if re.match(r"features\.\d+\.weight", name)]
            raise CheckpointError(
                f"training: {source.path} is no VGG19 in torchvision's naming: {missing[0]} is missing, it has "
                f"{len(held)} layers under features. Use torchvision's vgg19-dcbb9e9d.pth"
            )
        return cls(source.fetch(wanted))

    def forward(self, made: Tensor, real: Tensor) -> Tensor:
        """:param made: [B, 3, H, W] in -1..1; gradients go here alone.
        :param real: alike.
        """
        with torch.no_grad():
            wanted = self._features(real)
        pairs = zip(_WEIGHTS, self._features(made), wanted, strict=True)
        return sum(weight * F.l1_loss(x.float(), y.float()) for weight, x, y in pairs)

    def _features(self, x: Tensor) -> list[Tensor]:
        found, before = [], 0
        for place in _CONVOLUTIONS:
            if place - before == 3:  # a pooling stands between two stages
                x = F.max_pool2d(x, 2)
            x, before = F.relu(self.get_submodule(str(place))(x)), place
            if place in _COMPARED:
                found.append(x)
        return found
