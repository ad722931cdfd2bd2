"""What is added to the logits of exemplar keys at one attention site, asked for by rows of target queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..resampling import Resampling

NEVER = -4096.0
"""Stands for -inf in a bias. Finite, so that a row without any allowed key stays free of NaN, and representable in
fp16 after division by the attention scale; its exponential is exactly 0 next to any logit above -3900."""


@dataclass(frozen=True)
class Group:
    """Target tokens of one kind and the exemplar keys that their rows leave open.

    :param tokens: [n] int64, target tokens.
    :param keys: [m] int64, exemplar keys.
    :param values: [m] fp32, bias of these keys; None where it is 0 throughout.
    """

    tokens: Tensor
    keys: Tensor
    values: Tensor | None


@dataclass(frozen=True)
class StaticBias:
    """The part of a bias that classes and routing decide: target tokens fall into few kinds with equal rows.

    :param kind: [B, Nq] int64, which row of `values` a target token has.
    :param values: [Bk, J, M] fp32, additive bias of each kind on each of the M exemplar keys.
    :param mask: [Bk, J, M] the class mask alone, where the exemplar's share of the softmax is to be kept.
    """

    kind: Tensor
    values: Tensor
    mask: Tensor | None = None

    def rows(self, values: Tensor, start: int, stop: int) -> Tensor:
        """Rows start..stop of `values` or `mask`: [B, 1, c, M]."""
        kind = self.kind[:, start:stop]
        if values.shape[0] == 1:
            return values[0][kind][:, None]
        return torch.stack([v[k] for v, k in zip(values, kind.expand(len(values), -1), strict=True)])[:, None]

    @cached_property
    def groups(self) -> Sequence[Group]:
        """The kinds one by one, each with its open keys; empty where batch items differ in them."""
        if len(self.kind) > 1 or len(self.values) > 1:
            return ()
        groups = []
        with torch.inference_mode(False):  # what is kept must serve training as well
            for number, row in enumerate(self.values[0]):
                keys = (row > NEVER / 2).nonzero()[:, 0]
                values = row[keys]
                tokens = (self.kind[0] == number).nonzero()[:, 0]
                groups.append(Group(tokens, keys, values if bool(values.any()) else None))
        return groups

    @cached_property
    def open_share(self) -> float:
        """How much of the (target token, exemplar key) pairs the rows leave open; 1 where batch items differ."""
        if not self.groups:
            return 1.0
        pairs = sum(len(group.tokens) * len(group.keys) for group in self.groups)
        return pairs / (self.kind.shape[1] * self.values.shape[2])

    def reachable(self, start: int, stop: int) -> Tensor:
        """Whether the mask leaves a target token any key: [B, 1, c]."""
        return self.rows((self.mask > NEVER / 2).any(-1, keepdim=True), start, stop)[..., 0]

    def to(self, device: torch.device) -> StaticBias:
        """The same on a device."""
        mask = None if self.mask is None else self.mask.to(device)
        return StaticBias(self.kind.to(device), self.values.to(device), mask)


@dataclass(frozen=True)
class LearnedBias:
    """The matcher's bias on one exemplar, kept on the coarse grid.

    :param refined: one [nq, H, nk] per batch item, the matcher's output.
    :param offset: one scalar per batch item, a quarter of the maximum.
    :param target: between the target's grid and the coarse one; likewise `exemplar`.
    """

    refined: Sequence[Tensor]
    offset: Sequence[Tensor]
    target: Resampling
    exemplar: Resampling

    def rows(self, start: int, stop: int, dtype: torch.dtype) -> Tensor:
        """[B, H, c, Nk]."""
        coarse = torch.stack(
            [
                self.target.gather(r.flatten(1), start, stop).unflatten(1, r.shape[1:]).transpose(0, 1) - offset
                for r, offset in zip(self.refined, self.offset, strict=True)
            ]
        )
        return self.exemplar.expand(coarse.to(dtype))

    def item(self, index: slice) -> LearnedBias:
        """The bias of some batch items alone."""
        return LearnedBias(self.refined[index], self.offset[index], self.target, self.exemplar)


@dataclass(frozen=True)
class Unlearned:
    """The place of an exemplar without a matcher beside one that has it.

    :param like: [B or 1, H, M, D] its keys.
    """

    like: Tensor

    def rows(self, start: int, stop: int, dtype: torch.dtype) -> Tensor:
        """Zeros [1, H, c, M]."""
        return self.like.new_zeros(1, self.like.shape[1], stop - start, self.like.shape[2], dtype=dtype)

    def item(self, index: slice) -> Unlearned:
        """Itself: it is the same for every batch item."""
        return self


@dataclass(frozen=True)
class Bias:
    """What is added to the logits of the exemplars' keys, M of them in all, at one attention site.

    :param static: the part by classes and routing, over all M keys.
    :param learned: one per exemplar, over its own keys, in order; empty where no exemplar has a matcher.
    """

    static: StaticBias | None
    learned: Sequence[LearnedBias | Unlearned] = ()

    @property
    def keeps_mass(self) -> bool:
        """Whether the exemplars' allowed keys get the share of the softmax that all their keys would have had."""
        return self.static is not None and self.static.mask is not None

    def rows(self, start: int, stop: int, dtype: torch.dtype) -> Tensor:
        """The bias of target tokens start..stop: [B, H or 1, c, M]."""
        static = None if self.static is None else self.static.rows(self.static.values, start, stop).to(dtype)
        if not self.learned:
            return static
        parts = [part.rows(start, stop, dtype) for part in self.learned]
        learned = parts[0] if len(parts) == 1 else join(parts, dim=-1)
        return learned if static is None else learned + static

    def item(self, index: slice) -> Bias:
        """The bias of some batch items alone."""
        static = self.static
        if static is not None:
            values, mask = (t if t is None or len(t) == 1 else t[index] for t in (static.values, static.mask))
            static = StaticBias(static.kind if len(static.kind) == 1 else static.kind[index], values, mask)
        return Bias(static, [part.item(index) for part in self.learned])


def join(parts: Sequence[Tensor], dim: int) -> Tensor:
    """Concatenate what belongs to the exemplars, [1 or B, ...] each, along `dim`; the batch becomes the largest."""
    batch = max(len(part) for part in parts)
    return torch.cat([part.expand(batch, *part.shape[1:]) for part in parts], dim)
