"""What our networks have in common."""

from __future__ import annotations

import torch
from torch import nn


class Network(nn.Module):
    """A module that says where it is and in what precision, as hosts ask of their components."""

    @property
    def dtype(self) -> torch.dtype:
        """Of the first parameter; all have it."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @device.setter
    def device(self, _: torch.device) -> None:
        """ComfyUI notes here where it puts a model; ours is where its parameters are."""
