"""What our networks have in common."""

from __future__ import annotations

import torch
from torch import nn


class Network(nn.Module):
    """A module that says where it is and in what precision, as hosts ask of their components."""

    @property
    def dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device
