"""The learning rate as a function of the step, and the moving average of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .config import Optimiser


def rate_at(step: int, steps: int, settings: Optimiser) -> float:
    """The learning rate of a step: linear warm-up, then constant, or held and then a half cosine.

    :param step: 0 to below `steps`.
    """
    if step < settings.warmup:
        return settings.rate * (step + 1) / settings.warmup
    if settings.schedule == "constant":
        return settings.rate
    start = max(settings.warmup, settings.hold * steps)
    done = min(1.0, max(0.0, step - start) / max(1.0, steps - start))
    share = 0.5 * (1 + math.cos(math.pi * done))
    return settings.rate * (settings.floor + (1 - settings.floor) * share)


class Average:
    """Exponential moving average of the parameters that learn; young averages forget faster.

    :param decay: share of the old value that a step keeps, at most (1 + n) / (10 + n) after n steps.
    :param parameters: which of the network's; None takes all that learn.
    """

    def __init__(self, network: nn.Module, decay: float, parameters: Iterable[nn.Parameter] | None = None):
        self.decay = decay
        chosen = [p for p in network.parameters() if p.requires_grad] if parameters is None else parameters
        wanted = {id(p) for p in chosen}
        self.learning = {name: p for name, p in network.named_parameters() if id(p) in wanted}
        self.values = {name: p.detach().float().clone() for name, p in self.learning.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """:param step: how many steps have been taken before."""
        decay = min(self.decay, (1 + step) / (10 + step))
        values, parameters = list(self.values.values()), [p.detach().float() for p in self.learning.values()]
        torch._foreach_lerp_(values, parameters, 1 - decay)

    def state_dict(self) -> dict[str, Tensor]:
        """The averages by parameter, fp32."""
        return self.values

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over averages of the same parameters."""
        for name, value in self.values.items():
            value.copy_(state[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within the block the network has the average for weights."""
        with torch.no_grad():
            kept = {name: p.detach().clone() for name, p in self.learning.items()}
            for name, parameter in self.learning.items():
                parameter.copy_(self.values[name])
        try:
            yield
        finally:
            with torch.no_grad():
                for name, parameter in self.learning.items():
                    parameter.copy_(kept[name])
