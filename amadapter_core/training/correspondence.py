"""The true correspondence of scenes, and how much of the attention follows it.

On scenes it is known which exemplar pixels a target pixel should look at: those of its material. The share of the
exemplar's attention mass that lands there measures a matcher, and its logarithm can be a loss beside the diffusion
loss.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..label_resizing import resize_ids
from ..matching import Bias
from ..resampling import Grid
from ..sites import Look, Site

LARGEST = 1024
"""Sites with more tokens are left out: every pair of tokens has a place in memory."""


class Correspondence:
    """Observes a pass and sums up, site by site, the share of exemplar attention on the right material.

    :param target: [B, H, W] materials of the target.
    :param exemplar: [B, He, We] materials of the exemplar.
    """

    def __init__(self, target: Tensor, exemplar: Tensor):
        self.target, self.exemplar = target.cpu().long(), exemplar.cpu().long()
        self._agreement: dict[tuple[Grid, Grid], Tensor] = {}
        self.shares: list[Tensor] = []
        self.losses: list[Tensor] = []

    def __call__(
        self, site: Site, look: Look, q: Tensor, k: Tensor, keys: Sequence[Tensor], bias: Bias | None, scale: float
    ) -> None:
        grids = site.grid(look.target), site.grid(look.exemplars[0])
        if max(h * w for h, w in grids) > LARGEST:
            return
        agreement = self._at(grids, q.device)
        logits = (q @ keys[0].transpose(-1, -2)).float() * scale
        if bias is not None:
            logits = logits + bias.rows(0, q.shape[2], torch.float32)
        right = (logits.softmax(-1) * agreement[:, None]).sum(-1)  # [B, H, Nq]
        known = agreement.any(-1).float()  # [B, Nq]: queries whose material the exemplar has
        weight = known / known.sum(-1, keepdim=True).clamp_min(1)
        self.shares.append((right.detach().mean(1) * weight).sum(-1))
        self.losses.append((-(right + 1e-4).log().mean(1) * weight).sum(-1))

    def share(self) -> Tensor:
        """[B] in 0..1, mean over the sites."""
        return torch.stack(self.shares).mean(0)

    def loss(self) -> Tensor:
        """[B] >= 0, mean over the sites."""
        return torch.stack(self.losses).mean(0)

    def _at(self, grids: tuple[Grid, Grid], device: torch.device) -> Tensor:
        """[B, Nq, Nk] bool, whether two tokens are mostly of one material."""
        if grids not in self._agreement:
            rows, columns = (
                resize_ids(ids, grid, "majority").flatten(1)
                for ids, grid in zip((self.target, self.exemplar), grids, strict=True)
            )
            self._agreement[grids] = (rows[:, :, None] == columns[:, None, :]).to(device)
        return self._agreement[grids]
