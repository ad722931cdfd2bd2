"""The Structure branch: one call of the UNet in which the target's rows look at the exemplars."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from comfy.ldm.modules.attention import optimized_attention
from torch import Tensor

from ...attention import augmented_attention
from ...exemplar import Bank
from ...matching import Grid, join
from ...sites import Look, Site
from .application import Crop
from .recording import merge_heads, split_heads
from .sites import Key

if TYPE_CHECKING:
    from .run import Run


@dataclass(frozen=True)
class Chunk:
    """The rows of one conditioning in a call of the UNet.

    :param crop: the area it covers, None for the whole latent.
    """

    rows: slice
    positive: bool
    uuid: Any
    crop: Crop


class Reading:
    """One call of the UNet with the target's rows."""

    def __init__(
        self,
        run: Run,
        chunks: Sequence[Chunk],
        target: Grid,
        strengths: dict[str, tuple[float, ...]],
        banks: dict[int, Bank],
    ):
        self.run, self.chunks, self.target = run, chunks, target
        self.strengths, self.banks = strengths, banks

    def reader(self, key: Key, others: dict) -> Callable | None:
        """What replaces the self-attention of a site; None leaves it to what is there."""
        site = self.run.sites.by_key[key]
        if not any(self.strengths[site.block]):
            return None
        patch = next((others[k] for k in (key, key[:2]) if k in others), None)
        lasting = next((self.run.lasting_patches[k] for k in (key, key[:2]) if k in self.run.lasting_patches), None)
        if patch is not None and patch is not lasting:
            return None  # made for this call alone (perturbed attention guidance): it wants the site to itself
        attend = self._attend_published if self.run.published else self._attend

        def read(q: Tensor, k: Tensor, v: Tensor, extra: dict[str, Any]) -> Tensor:
            tokens = site.grid(self.target)
            if len(q) != len(k) or q.shape[1] != k.shape[1] or q.shape[1] != tokens[0] * tokens[1]:
                self.run.warn(
                    f"another patch cuts up the tokens of block {key[:2]} (HyperTile, ToMe, downscaling); "
                    "the exemplar has no part there"
                )
                return _plain(q, k, v, extra) if patch is None else patch(q, k, v, extra)
            return attend(key, q, k, v, extra, patch)

        return read

    def _attend(self, key: Key, q: Tensor, k: Tensor, v: Tensor, extra: dict[str, Any], patch: Any) -> Tensor:
        site, heads = self.run.sites.by_key[key], extra["n_heads"]
        if patch is not None:
            out = patch(q, k, v, extra).clone()
        else:
            out = torch.empty_like(q)
        for chunk in self.chunks:
            r = chunk.rows
            if not chunk.positive:
                if patch is None:
                    out[r] = _plain(q[r], k[r], v[r], extra)
                continue
            mine = [split_heads(x[r], heads) for x in (q, k, v)]
            out[r] = merge_heads(self._look(site, chunk, *mine, scale=extra["dim_head"] ** -0.5))
        return out

    def _look(self, site: Site, chunk: Chunk, q: Tensor, k: Tensor, v: Tensor, *, scale: float) -> Tensor:
        run = self.run
        matching = run.matching(self.strengths[site.block], chunk.crop, site)
        sizes = [run.applications[i].exemplar.exemplar.size for i in matching.active]
        look = Look(matching, [self.banks[i] for i in matching.active], self.target, sizes)
        if not look.banks:
            return augmented_attention(q, k, v, scale=scale)
        keys, values = look.keys_values(site, q)
        bias = run.bias(look, chunk, site, q, keys, scale)
        if run.observer is not None:
            run.observer(site, look, q, k, keys, bias, scale)
        return augmented_attention(q, k, v, join(keys, 2), join(values, 2), bias, scale=scale)

    def _attend_published(self, key: Key, q: Tensor, k: Tensor, v: Tensor, extra: dict[str, Any], patch: Any) -> Tensor:
        """All rows at once, since they share the matcher's maximum; the others are then computed by themselves."""
        run, site, heads = self.run, self.run.sites.by_key[key], extra["n_heads"]
        scale = extra["dim_head"] ** -0.5
        module, hidden = run.sites.modules[key], self.banks[0][key].to(q)
        ek, ev = (split_heads(project(hidden), heads) for project in (module.to_k, module.to_v))
        row_of = [len(hidden) - 1 if c.positive else 0 for c in self.chunks for _ in range(c.rows.stop - c.rows.start)]
        whole = [split_heads(x, heads) for x in (q, k, v)]
        grids = site.grid(self.target), [site.grid(run.applications[0].exemplar.exemplar.size)]
        matching = run.matching(self.strengths[site.block], None, site)
        bias = matching.bias(whole[0], [ek[row_of]], *grids, site.block, scale)
        out = torch.empty_like(q)
        for chunk in self.chunks:
            r = chunk.rows
            if chunk.positive:
                mine = [x[r] for x in (*whole, ek[row_of], ev[row_of])]
                share = None if bias is None else bias.item(r)
                out[r] = merge_heads(augmented_attention(*mine, share, scale=scale))
            else:
                out[r] = _plain(q[r], k[r], v[r], extra) if patch is None else patch(q, k, v, extra)[r]
        return out


def _plain(q: Tensor, k: Tensor, v: Tensor, extra: dict[str, Any]) -> Tensor:
    """What the site does without us."""
    return optimized_attention(
        q, k, v, extra["n_heads"], attn_precision=extra["attn_precision"], transformer_options=extra
    )
