"""Taking one optimisation step: those that learn take their turns, over accumulated parts and all processes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from .config import Config
from .schedule import rate_at
from .task import Batch, Task, Turn


class NotFinite(ArithmeticError):
    """What became NaN or infinite, as a clause."""


class Stepper:
    """The task's networks and one optimiser for each of its turns.

    network: the task as accelerate wraps it. learning: all parameters that learn.

    :raises ValueError: when nothing learns.
    """

    def __init__(self, accelerator: Any, task: Task, config: Config):
        self.accelerator, self.config, self.turns = accelerator, config, task.turns
        if not all(turn.parameters for turn in self.turns):
            raise ValueError(f"training {config.task}: nothing learns with these settings")
        self.learning = [parameter for turn in self.turns for parameter in turn.parameters]
        self.network, *self._prepared = accelerator.prepare(task, *map(_optimiser, self.turns))

    @property
    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """The optimisers by the names of their turns."""
        return {turn.name: each.optimizer for turn, each in zip(self.turns, self._prepared, strict=True)}

    def step(self, parts: Sequence[Batch], step: int, stop: bool) -> tuple[dict[str, float], bool]:
        """Take a step.

        :param parts: the accumulated parts of this process's share of the batch.
        :param step: how many have been taken before.
        :param stop: whether this process was asked to stop.
        :return: the values of all turns, and whether any process was asked to stop.
        :raises NotFinite: when a loss or gradient is not finite any more.
        """
        self.network.train()
        values: dict[str, float] = {}
        for turn, optimiser in zip(self.turns, self._prepared, strict=True):
            of_turn, stop = self._turn(turn, optimiser, parts, step, stop)
            values |= {f"{turn.name}_{name}" if turn.name else name: value for name, value in of_turn.items()}
        return values, stop

    def _turn(
        self, turn: Turn, optimiser: Any, parts: Sequence[Batch], step: int, stop: bool
    ) -> tuple[dict[str, float], bool]:
        accelerator, device = self.accelerator, self.accelerator.device
        rate = rate_at(step, self.config.steps, turn.settings)
        for group in optimiser.param_groups:
            group["lr"] = rate
        told = (turn.name,) if turn.name else ()
        total: dict[str, Tensor] = {}
        for number, part in enumerate(parts, start=1):
            with nullcontext() if number == len(parts) else accelerator.no_sync(self.network):
                losses = self.network(placed(part, device), *told)
                accelerator.backward(losses["loss"] / len(parts))
            for name, value in losses.items():
                total[name] = total.get(name, 0) + value.detach().float() / len(parts)
        # One exchange for all that the processes have to tell each other.
        exchanged = torch.stack([*total.values(), torch.tensor(float(stop), device=device)])
        exchanged = accelerator.reduce(exchanged, "mean").tolist()
        values = dict(zip(total, exchanged, strict=False))
        whose = f"{turn.name}'s " if turn.name else ""
        if not math.isfinite(values["loss"]):
            raise NotFinite(f"the {whose}loss is {values['loss']}")
        norm = float(accelerator.clip_grad_norm_(turn.parameters, turn.settings.clip or math.inf))
        if not math.isfinite(norm) and accelerator.scaler is None:
            raise NotFinite(f"the norm of the {whose}gradients is {norm}")
        optimiser.step()
        for each in self._prepared:  # a turn may leave gradients with those who do not learn in it
            each.zero_grad(set_to_none=True)
        return values | {"gradient_norm": norm, "rate": rate}, exchanged[-1] > 0


def placed(batch: Batch, device: torch.device) -> Batch:
    """The batch with its tensors on a device."""
    return {
        name: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
        for name, value in batch.items()
    }


def _optimiser(turn: Turn) -> torch.optim.Optimizer:
    settings = turn.settings
    return torch.optim.AdamW(
        turn.parameters, settings.rate, settings.betas, settings.epsilon, settings.weight_decay, fused=True
    )
