"""Couples of exemplar and target, as stage 2 learns from them."""

from __future__ import annotations

from typing import Any

import torch

from .config import Config
from .prepared import Prepared, tokens
from .randomness import AUGMENT, NOISE, VALIDATION, diffusion_noise, draws, index_of, normal
from .task import Batch


class Couples:
    """Training couples by slot.

    :param shape: (C, h, w) of the latents.
    """

    def __init__(self, config: Config, prepared: Prepared, tokenizer: Any, shape: tuple[int, int, int]):
        self.config, self.prepared, self.tokenizer, self.shape = config, prepared, tokenizer, shape
        self.materials = config.matcher.matching > 0

    def __getitem__(self, slot: int) -> Batch:
        config, rng = self.config, draws(self.config.seed, AUGMENT, slot)
        index = self.index(slot)
        partner = partner_of(self.prepared, index, config.matcher.exemplar, rng)
        change = self.prepared.change(rng)
        target, exemplar = self.prepared(index, rng, change), self.prepared(partner, rng, change)
        noise_rng = draws(config.seed, NOISE, slot)
        drawn = diffusion_noise(noise_rng, self.shape, config.matcher.timesteps)
        batch = couple(target, exemplar, self.materials) | drawn
        return batch | {
            "exemplar_noise": normal(noise_rng, self.shape),
            "tokens": tokens(self.tokenizer, target[0].caption),
        }

    def index(self, slot: int) -> int:
        """Which pair is the target of a slot of the shuffled data set."""
        return index_of(slot, len(self.prepared.pairs), self.config.seed)

    def name_of(self, slot: int) -> str:
        """The name of that pair, for messages."""
        return self.prepared.pairs[self.index(slot)].name


class HeldOutCouples:
    """Validation couples by index, each with noise of its own.

    :param shape: (C, h, w) of the latents.
    """

    def __init__(self, config: Config, prepared: Prepared, tokenizer: Any, shape: tuple[int, int, int]):
        self.prepared, self.tokenizer, self.shape = prepared, tokenizer, shape
        self.exemplar, self.items = config.matcher.exemplar, config.validation.items
        self.materials = prepared.data.kind == "scenes"

    def __getitem__(self, index: int) -> Batch:
        # Evenly over the data set, so that few items still have many appearances.
        place = index * max(1, len(self.prepared.pairs) // self.items) % len(self.prepared.pairs)
        rng = draws(0, VALIDATION, index)
        partner = partner_of(self.prepared, place, self.exemplar, rng)
        if self.exemplar == "view":
            target, exemplar = self.prepared(place, rng), self.prepared(partner, rng)
        else:
            target, exemplar = self.prepared.plain(place), self.prepared.plain(partner)
        return couple(target, exemplar, self.materials) | {
            "noise": normal(rng, self.shape),
            "exemplar_noise": normal(rng, self.shape),
            "tokens": tokens(self.tokenizer, target[0].caption),
        }


def couple(target: tuple[Any, Batch], exemplar: tuple[Any, Batch], materials: bool) -> Batch:
    """One batch entry of two prepared examples; the exemplar's names are prefixed."""
    batch = target[1] | {f"exemplar_{name}": value for name, value in exemplar[1].items()}
    if materials:
        for name, (example, _) in (("materials", target), ("exemplar_materials", exemplar)):
            batch[name] = torch.from_numpy(example.materials.copy())
    return batch


def partner_of(prepared: Prepared, index: int, exemplar: str, rng: Any) -> int:
    """Which example is the exemplar of a target.

    :raises ValueError: when there is none of the same appearance.
    """
    if exemplar == "view":
        return index
    partners = prepared.pairs.partners(index)
    if not partners:
        raise ValueError(
            f"training matcher: {prepared.pairs[index].name} has no other picture of its appearance; put pictures of "
            "one appearance into one sub-folder, give scenes 2 or more layouts, or set matcher.exemplar=view"
        )
    return int(partners[rng.integers(len(partners))])
