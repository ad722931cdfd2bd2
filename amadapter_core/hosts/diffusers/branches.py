"""The two branches of the method: Appearance records the exemplar, Structure reads it for the target."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention
from torch import Tensor

from ...attention import augmented_attention
from ...exemplar import Bank, KeysValues, rounded_as_published
from ...matching import Matching
from ...resampling import Grid
from ...sites import Look, Observer, Site
from .sites import split_heads


class Appearance:
    """Keeps keys and values of one exemplar's pass; the pass itself is untouched."""

    def __init__(self) -> None:
        self.bank: Bank = {}

    def attend(self, site: Site, attn: Attention, hidden: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        self.bank[site.name] = KeysValues(k, v)
        return F.scaled_dot_product_attention(q, k, v)


class Structure:
    """The target's pass: conditional rows look at the exemplars as well, the others at themselves alone.

    :param look: at which exemplars, and how.
    :param unconditional: how many leading rows of the batch are unconditional.
    :param observer: sees what the conditional rows attend with.
    """

    def __init__(self, look: Look, unconditional: int, observer: Observer | None = None):
        self.look = look
        self.unconditional = unconditional
        self.observer = observer

    def attend(self, site: Site, attn: Attention, hidden: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        u = self.unconditional
        out = self.look.attend(site, q[u:], k[u:], v[u:], attn.scale, self.observer)
        return torch.cat([F.scaled_dot_product_attention(q[:u], k[:u], v[:u]), out]) if u else out


class PublishedAppearance:
    """Keeps the normalised hidden states of both halves, rounded as the published code moves them."""

    def __init__(self) -> None:
        self.bank: dict[str, Tensor] = {}

    def attend(self, site: Site, attn: Attention, hidden: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        self.bank[site.name] = rounded_as_published(hidden)
        return F.scaled_dot_product_attention(q, k, v)


class PublishedStructure:
    """The published reading pass: a batch of [unconditional, conditional], the bias computed for both halves
    because they share its maximum, and applied to the conditional half alone."""

    def __init__(self, matching: Matching, bank: dict[str, Tensor], target: Grid, exemplar: Grid):
        self.matching, self.bank = matching, bank
        self.target, self.exemplar = target, exemplar

    def attend(self, site: Site, attn: Attention, hidden: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        exemplar = self.bank[site.name].to(hidden)
        ek, ev = (split_heads(f(exemplar), attn.heads) for f in (attn.to_k, attn.to_v))
        grids = site.grid(self.target), [site.grid(self.exemplar)]
        bias = self.matching.bias(q, [ek], *grids, site.block, attn.scale)
        half = len(q) // 2
        conditional = slice(half, None)
        out = augmented_attention(
            *(x[conditional] for x in (q, k, v, ek, ev)),
            None if bias is None else bias.item(conditional),
            scale=attn.scale,
        )
        return torch.cat([F.scaled_dot_product_attention(q[:half], k[:half], v[:half]), out])
