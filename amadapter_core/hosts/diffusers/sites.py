"""The self-attention sites of a diffusers UNet, and one processor that lets a branch decide what happens there.

A *branch* is the pass being run: none (the stock computation, bit for bit), one that records the exemplar, or one
that reads what was recorded. The processors stay the same for a whole run; `Sites.branch` is switched between
passes and never left behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention, AttnProcessor, AttnProcessor2_0
from torch import Tensor

from ...sites import Site

_STOCK = (AttnProcessor, AttnProcessor2_0)


class Branch(Protocol):
    """What happens at a site during one pass."""

    def attend(self, site: Site, attn: Attention, hidden: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """:param hidden: [B, N, C] normalised input of the site, before the projections.
        :param q: [B, H, N, D]; k and v alike.
        :return: [B, H, N, D], before the output projection.
        """


class SiteProcessor:
    """Self-attention whose middle part is handed to the current branch."""

    def __init__(self, site: Site, sites: Sites):
        self.site, self.sites = site, sites

    def __call__(self, attn: Attention, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        q, k, v = (split_heads(f(hidden_states), attn.heads) for f in (attn.to_q, attn.to_k, attn.to_v))
        branch = self.sites.branch
        if branch is None:
            out = F.scaled_dot_product_attention(q, k, v)
        else:
            out = branch.attend(self.site, attn, hidden_states, q, k, v)
        out = out.transpose(1, 2).flatten(2).to(hidden_states.dtype)  # [B, N, C]
        out = attn.to_out[1](attn.to_out[0](out))
        return out / attn.rescale_output_factor


def split_heads(x: Tensor, heads: int) -> Tensor:
    """[B, N, C] to [B, H, N, D]."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


class Sites:
    """All attn1 sites of one UNet, with the processors put in for the time of `installed()`."""

    def __init__(self, unet: UNet2DConditionModel):
        if not isinstance(unet, UNet2DConditionModel):
            raise ValueError(
                f"AM-Adapter: a {type(unet).__name__} has no self-attention sites of the kind this method reads; "
                "it needs a UNet2DConditionModel (SD1.5, SD2, SDXL)"
            )
        self.unet = unet
        self.branch: Branch | None = None
        self.sites = [_site(name, unet) for name, _ in unet.named_modules() if name.endswith(".attn1")]
        if not self.sites:
            raise ValueError("AM-Adapter: this UNet has no self-attention (no module named attn1)")

    def __iter__(self) -> Iterator[Site]:
        return iter(self.sites)

    @contextmanager
    def installed(self) -> Iterator[Sites]:
        """Put the processors in, and on leaving, however that happens, the former ones back."""
        modules = {site: self.unet.get_submodule(site.name) for site in self.sites}
        former = {site: module.processor for site, module in modules.items()}
        for site, processor in former.items():
            if type(processor) not in _STOCK and not isinstance(processor, SiteProcessor):
                raise ValueError(
                    f"AM-Adapter: {site.name} has a {type(processor).__name__}; it would be replaced. Disable what "
                    "put it there (PAG, xformers, attention slicing, fused projections) and try again"
                )
        try:
            for site, module in modules.items():
                module.processor = SiteProcessor(site, self)
            yield self
        finally:
            self.branch = None
            for site, module in modules.items():
                module.processor = former[site]

    @contextmanager
    def during(self, branch: Branch | None) -> Iterator[None]:
        """Run one pass with a branch."""
        former, self.branch = self.branch, branch
        try:
            yield
        finally:
            self.branch = former


def _site(name: str, unet: UNet2DConditionModel) -> Site:
    block, _, rest = name.partition(".")
    last = len(unet.config.block_out_channels) - 1
    if block == "mid_block":
        level = last
    else:
        number = int(rest.split(".")[0])
        level = number if block == "down_blocks" else last - number
    return Site(name, block, level)
