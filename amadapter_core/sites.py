"""A self-attention site of the UNet, and what the Structure branch does there: the same in every host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from .attention import augmented_attention
from .exemplar import Bank
from .matching import Bias, Matching, join
from .resampling import Grid


@dataclass(frozen=True)
class Site:
    """One attn1 of the UNet.

    :param name: how the host calls it; keys and values are banked under this name.
    :param block: "down_blocks", "mid_block" or "up_blocks".
    :param level: how often the latent is halved there.
    """

    name: str
    block: str
    level: int

    def grid(self, latent: Grid) -> Grid:
        """(h, w) of the tokens for a latent of that size; the UNet's halving rounds up."""
        h, w = latent
        for _ in range(self.level):
            h, w = -(-h // 2), -(-w // 2)
        return h, w


@dataclass(frozen=True)
class Look:
    """A target looking at its exemplars: what holds for all sites of one pass.

    :param matching: who may look at whom.
    :param banks: of the active exemplars, in order.
    :param target: (h, w) of the target's latent.
    :param exemplars: (h, w) of the active exemplars' latents.
    """

    matching: Matching
    banks: Sequence[Bank]
    target: Grid
    exemplars: Sequence[Grid]

    def keys_values(self, site: Site, like: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """What each exemplar has at a site, [1, H, M, D] each, as `like` is."""
        recorded = [bank[site.name] for bank in self.banks]
        return [kv.k.to(like) for kv in recorded], [kv.v.to(like) for kv in recorded]

    def bias(self, site: Site, q: Tensor, keys: Sequence[Tensor], scale: float) -> Bias | None:
        """:param q: [B, H, Nq, D]."""
        grids = [site.grid(size) for size in self.exemplars]
        return self.matching.bias(q, keys, site.grid(self.target), grids, site.block, scale)

    def attend(
        self, site: Site, q: Tensor, k: Tensor, v: Tensor, scale: float, observer: Observer | None = None
    ) -> Tensor:
        """Augmented self-attention of the target: [B, H, Nq, D].

        :param q: [B, H, Nq, D]; k and v are its own, alike.
        """
        keys, values = self.keys_values(site, q)
        bias = self.bias(site, q, keys, scale)
        if observer is not None:
            observer(site, self, q, k, keys, bias, scale)
        return augmented_attention(q, k, v, join(keys, 2), join(values, 2), bias, scale=scale)


Observer = Callable[[Site, Look, Tensor, Tensor, Sequence[Tensor], Bias | None, float], None]
"""(site, look, q [B, H, Nq, D], own keys, keys of each exemplar, bias, scale) of every site a target passes."""
