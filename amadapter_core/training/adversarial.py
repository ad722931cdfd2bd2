"""Tasks with an adversary: a generator and a discriminator that learn by turns, each with its own optimiser.

A task inherits AdversarialTask and gives it
    discriminator       the module whose parameters learn in the second turn; all others that learn do in the first,
    generator_loss      of a batch: a dict with "loss", gradients into the generator's side alone,
    discriminator_loss  of the same batch: a dict with "loss", gradients into the discriminator alone.
The loop takes the generator's step first and calls `discriminator_loss` after it, so that what is made there is made
by the new generator, as published. `optimiser` and `discriminator` of the configuration set the two optimisers; the
moving average is of the generator's side. In the log the second turn's values are `discriminator_loss` and so on.

For runs that resume exactly, whatever is drawn at random (latents, masks, coins) has to come with the sample, drawn
by `randomness.draws` from its slot; buffers (running statistics, vectors of spectral norms) are saved with the parts.
The discriminator has to be among `parts`, or it would begin anew.

Batch statistics are of each process's part of a batch; where there are several GPUs they are of the whole batch.
Accumulated parts have statistics of their own, so `accumulate` is no substitute for a batch here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .task import Batch, Task, Turn

DISCRIMINATOR = "discriminator"


class AdversarialTask(Task):
    """See above; a subclass sets `discriminator` in its constructor."""

    discriminator: nn.Module

    @abstractmethod
    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Mean losses of the generator's side; "loss" is minimised. The discriminator gets no gradients here."""

    @abstractmethod
    def discriminator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Mean losses of the discriminator; "loss" is minimised. Make pictures under `torch.no_grad()`."""

    @property
    def turns(self) -> list[Turn]:
        theirs = [p for p in self.discriminator.parameters() if p.requires_grad]
        known = {id(p) for p in theirs}
        ours = [p for p in self.parameters() if p.requires_grad and id(p) not in known]
        return [Turn("", ours, self.config.optimiser), Turn(DISCRIMINATOR, theirs, self.config.discriminator)]

    def forward(self, batch: Batch, turn: str = "") -> dict[str, Tensor]:
        if turn == DISCRIMINATOR:
            return self.discriminator_loss(batch)
        with frozen(self.discriminator):
            return self.generator_loss(batch)


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Within the block no gradients are kept for the network's parameters; those that pass through it are."""
    learning = [p for p in network.parameters() if p.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


def synchronised(network: nn.Module, device: torch.device, ranks: int) -> nn.Module:
    """Let batch normalisation take its statistics over all GPUs of a run; names of tensors stay."""
    if device.type == "cuda" and ranks > 1:
        return nn.SyncBatchNorm.convert_sync_batchnorm(network)
    return network


def hinge_generator(made: Sequence[Tensor]) -> Tensor:
    """The generator's hinge loss.

    :param made: a discriminator's outputs for made pictures, one of each scale.
    """
    return -sum(output.float().mean() for output in made) / len(made)


def hinge_discriminator(real: Sequence[Tensor], made: Sequence[Tensor]) -> Tensor:
    """The discriminator's hinge loss, of outputs for real and for made pictures, one of each scale."""
    errors = [F.relu(1 - output.float()).mean() for output in real] + [F.relu(1 + o.float()).mean() for o in made]
    return sum(errors) / len(real)


def xavier(network: nn.Module, gain: float = 0.02) -> nn.Module:
    """Draw the weights of convolutions and linear layers as SPADE and OASIS do, biases zero."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.xavier_normal_(getattr(module, "weight_orig", module.weight), gain)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network
