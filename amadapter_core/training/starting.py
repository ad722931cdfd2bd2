"""How a matcher begins that has learned nothing yet."""

from __future__ import annotations

import torch
from torch import nn

from ..matcher import Matcher

SPREAD = 0.01
LIFT = 0.02
"""About a third of SPREAD times the largest of a layer's normalised values, so that the bias is 0 on average."""


@torch.no_grad()
def neutral(matcher: Matcher) -> Matcher:
    """Make a matcher begin next to no bias at all: as implicit matching does, with all of it able to learn.

    The bias is r - max(r) / 4 with r = ReLU(w * n + b) of normalised values n. A bias of exactly zero needs r = 0,
    where ReLU has no gradient, or w = 0, where nothing before the last layer has one. So both are small instead: r
    stays on the open side of ReLU nearly everywhere, the bias stays within a few hundredths, and gradients reach
    every parameter from the first step on.
    """
    for encoder in matcher.encoders:
        norm: nn.GroupNorm = encoder.conv4d[-1][1]
        norm.weight.fill_(SPREAD)
        norm.bias.fill_(LIFT)
    return matcher
