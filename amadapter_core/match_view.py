"""Where the target's tokens look in one exemplar: what augmented attention does, made visible.

The probabilities are those of the attention itself, softmax([q k^T s, q k_ex^T s + bias]), a mean over heads, of
one exemplar's part of the keys. They are made for a chunk of queries at a time and reduced at once to what a person
can look at:

* heat: where in the exemplar some chosen target tokens look;
* share: how much of its attention each target token gives to the exemplar;
* warped: the exemplar's picture as each target token sees it, the mean of its colours under these probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .attention import bias_rows
from .label_resizing import resize_ids
from .matching import Bias, join
from .resampling import Grid

_CHUNK_BYTES = 8 << 20
"""Size of one chunk of logits, fp32; with what comes of it, about five times that is alive at once."""

Selection = Callable[[Grid], Tensor]
"""Which target tokens the heat map is of: weights [1 or B, h, w] >= 0 on a grid of tokens."""


def point(x: float, y: float) -> Selection:
    """Select the token under one point.

    :param x: 0..1 from left to right; y 0..1 from top to bottom.
    """

    def weights(grid: Grid) -> Tensor:
        h, w = grid
        chosen = torch.zeros(1, h, w)
        chosen[0, min(int(y * h), h - 1), min(int(x * w), w - 1)] = 1
        return chosen

    return weights


def pixels_of(ids: Tensor, wanted: int, ignore: int | None = None) -> Selection:
    """Select the tokens that count as a class, by majority of area as in the matching.

    :param ids: [1 or B, H, W] class ids of the target.
    :param ignore: an id without a vote, unless it is the one that is wanted.
    """
    ignore = None if ignore == wanted else ignore

    def weights(grid: Grid) -> Tensor:
        return (resize_ids(ids, grid, "majority", ignore=ignore) == wanted).float()

    return weights


def probabilities(
    q: Tensor,
    k: Tensor,
    keys: Sequence[Tensor],
    bias: Bias | None,
    scale: float,
    index: int,
    chunk_bytes: int = _CHUNK_BYTES,
) -> Iterator[tuple[slice, Tensor]]:
    """Go through what target tokens give to each token of one exemplar, a mean over heads.

    :param q: [B, H, Nq, D] target queries; k [B, H, N, D] own keys.
    :param keys: [1 or B, H, M, D] of every exemplar that is looked at.
    :param bias: of all their keys, one exemplar after the other.
    :param index: which of them is wanted.
    :return: pairs of a slice of target tokens and their probabilities [B, c, M] fp32.
    """
    B, H, Nq, _ = q.shape
    own = k.shape[2]
    first = own + sum(part.shape[2] for part in keys[:index])
    last = first + keys[index].shape[2]
    # In fp32: unscaled logits may overflow fp16.
    q, k, others = q.float(), k.float(), join(keys, 2).expand(B, -1, -1, -1).float()
    step = max(1, chunk_bytes // (4 * B * H * (own + others.shape[2])))
    for start in range(0, Nq, step):
        stop = min(start + step, Nq)
        part = q[:, :, start:stop] * scale
        logits = part.new_empty(B, H, stop - start, own + others.shape[2])
        torch.matmul(part, k.transpose(-1, -2), out=logits[..., :own])
        torch.matmul(part, others.transpose(-1, -2), out=logits[..., own:])
        if bias is not None:
            logits[..., own:] += bias_rows(q, others, bias, scale, start, stop)
        yield slice(start, stop), logits.softmax(-1)[..., first:last].mean(1)


class MatchView:
    """What one exemplar gave to a target, gathered over attention sites and noise levels.

    Every site has the same say; what it saw lands on the latents' grids as it is, each token as a rectangle, so that
    nothing runs over a border that attention kept. Fine layers bring the detail.

    :param picture: [He, We, 3] the exemplar's picture in 0..1.
    :param target: (h, w) of the target's latent; exemplar of the exemplar's.
    :param selection: whose heat map.
    """

    def __init__(self, picture: Tensor, target: Grid, exemplar: Grid, selection: Selection):
        self.target, self.exemplar = target, exemplar
        self.picture = picture.float()
        self._selection = selection
        self._colours: dict[Grid, Tensor] = {}
        self._weights: dict[Grid, Tensor] = {}
        self._seen = 0
        self._heat = self._share = self._coloured = torch.zeros(())

    @property
    def empty(self) -> bool:
        """Whether there was nothing to see yet."""
        return self._seen == 0

    @torch.no_grad()
    def add(
        self,
        q: Tensor,
        k: Tensor,
        keys: Sequence[Tensor],
        bias: Bias | None,
        scale: float,
        index: int,
        target: Grid,
        exemplar: Grid,
    ) -> None:
        """Look at one attention site, as in `probabilities`.

        :param target: (h, w) of the queries; exemplar of the keys at `index`.
        """
        colours = self._colours_on(exemplar, q.device)
        weights = self._weights_on(target, q.device).expand(len(q), -1)
        heat = q.new_zeros(len(q), colours.shape[0], dtype=torch.float32)
        share = q.new_zeros(*weights.shape, dtype=torch.float32)
        coloured = q.new_zeros(*weights.shape, 3, dtype=torch.float32)
        for tokens, p in probabilities(q, k, keys, bias, scale, index):
            heat += torch.einsum("bc,bcm->bm", weights[:, tokens], p)
            share[:, tokens] = p.sum(-1)
            coloured[:, tokens] = p @ colours
        # As a density: a token of a coarse layer covers more of the exemplar.
        self._heat = self._heat + _enlarge(heat[..., None] * len(colours), exemplar, self.exemplar)[..., 0]
        self._share = self._share + _enlarge(share[..., None], target, self.target)[..., 0]
        self._coloured = self._coloured + _enlarge(coloured, target, self.target)
        self._seen += 1

    @property
    def heat(self) -> Tensor:
        """[B, h_e, w_e] on the exemplar's latent grid, sums to 1; 0 where the selected tokens saw nothing of it."""
        total = self._heat.sum((1, 2), keepdim=True)
        return torch.where(total > 0, self._heat / total, 0.0).cpu()

    @property
    def share(self) -> Tensor:
        """[B, h, w] in 0..1, on the target's latent grid."""
        return (self._share / self._seen).clamp(max=1).cpu()

    @property
    def warped(self) -> Tensor:
        """[B, h, w, 3] colours in 0..1, on the target's latent grid; black where the share is 0."""
        share = self._share[..., None]
        return torch.where(share > 0, self._coloured / share, 0.0).clamp(0, 1).cpu()

    def _colours_on(self, grid: Grid, device: torch.device) -> Tensor:
        """[M, 3] mean colours under the exemplar's tokens."""
        if grid not in self._colours:
            self._colours[grid] = F.adaptive_avg_pool2d(self.picture.movedim(-1, 0), grid).flatten(1).T.to(device)
        return self._colours[grid].to(device)

    def _weights_on(self, grid: Grid, device: torch.device) -> Tensor:
        """[1 or B, Nq] weights of the target's tokens that sum to 1, or 0 where none is selected."""
        if grid not in self._weights:
            weights = self._selection(grid).flatten(1)
            self._weights[grid] = weights / weights.sum(1, keepdim=True).clamp_min(1e-6)
        return self._weights[grid].to(device)


def _enlarge(x: Tensor, grid: Grid, size: Grid) -> Tensor:
    """[B, h w, C] to [B, H, W, C], each cell as a rectangle."""
    x = x.unflatten(1, grid).movedim(-1, 1)
    return F.interpolate(x, size=size, mode="nearest-exact").movedim(1, -1)
