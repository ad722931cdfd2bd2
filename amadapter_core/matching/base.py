"""What both variants share: the bias of a site out of what is known of the grids and what queries and keys say."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..matcher import Matcher
from ..resampling import Grid, Resampling
from .bias import Bias, LearnedBias, StaticBias, Unlearned

_CPU_CHUNK_BYTES = 8 << 20
_ACCELERATOR_CHUNK_BYTES = 256 << 20


@dataclass(frozen=True)
class Cells:
    """One exemplar's matcher and flags at one pair of grids: flags[i, j] = agreement[rows[i], columns[j]]."""

    matcher: Matcher
    target: Resampling
    exemplar: Resampling
    rows: Tensor
    columns: Tensor
    agreement: Tensor

    def flags(self, item: int, start: int, stop: int) -> Tensor:
        """[c, nk] of one batch item, as they stand in `agreement`."""
        rows = self.rows[item if len(self.rows) > 1 else 0, start:stop]
        columns = self.columns[item if len(self.columns) > 1 else 0]
        return self.agreement[rows][:, columns]

    def to(self, device: torch.device) -> Cells:
        """The same on a device; the matcher stays where its host keeps it."""
        rows, columns, agreement = (t.to(device) for t in (self.rows, self.columns, self.agreement))
        return replace(self, rows=rows, columns=columns, agreement=agreement)


@dataclass(frozen=True)
class Site:
    """What is known of a site before any queries and keys.

    :param static: the part by classes and routing; None where it adds nothing.
    :param cells: one per active exemplar, None where it has no matcher.
    """

    static: StaticBias | None
    cells: Sequence[Cells | None]

    def to(self, device: torch.device) -> Site:
        """The same on a device."""
        static = self.static and self.static.to(device)
        return Site(static, [cells and cells.to(device) for cells in self.cells])


class Matching(ABC):
    """One target and its exemplars.

    :param exemplars: how many there are.
    """

    joint_maximum: bool = False
    target_batch: int = 1

    def __init__(self, exemplars: int):
        self.exemplars = exemplars
        self._sites: dict[tuple, Site | None] = {}

    @property
    def active(self) -> tuple[int, ...]:
        """The exemplars that count at all; the others need not be run. None active: plain self-attention."""
        return tuple(range(self.exemplars))

    @abstractmethod
    def _prepare(self, target: Grid, exemplars: Sequence[Grid]) -> Site | None:
        """What depends on the grids alone; None where nothing biases this pair of grids."""

    def _site(self, target: Grid, exemplars: Sequence[Grid], device: torch.device) -> Site | None:
        key = (target, tuple(exemplars), device)
        if key not in self._sites:
            with torch.inference_mode(False):  # what is kept must serve training as well
                site = self._prepare(target, exemplars)
                self._sites[key] = site and site.to(device)
        return self._sites[key]

    def bias(
        self, q: Tensor, keys: Sequence[Tensor], target: Grid, exemplars: Sequence[Grid], block: str, scale: float
    ) -> Bias | None:
        """The bias at one site.

        :param q: [B, H, Nq, D] target queries.
        :param keys: [B or 1, H, Nk, D] of each active exemplar.
        :param target: (h, w) of the queries.
        :param exemplars: (h, w) of each active exemplar's keys.
        :param block: "down_blocks", "mid_block" or "up_blocks".
        :param scale: factor on q . k, usually D ** -0.5.
        :return: None where nothing is added.
        :raises ValueError: when grids and token counts, batches or heads disagree.
        """
        _check_tokens(q, keys, target, exemplars)
        if self.target_batch not in (1, len(q)):
            raise ValueError(
                f"Matching: target label maps of batch {self.target_batch} cannot serve {len(q)} rows; "
                f"give 1 or {len(q)}"
            )
        site = self._site(target, exemplars, q.device)
        if site is None:
            return None
        learned: Sequence[LearnedBias | Unlearned] = ()
        if any(site.cells):
            learned = [
                self._learn(q, k, cells, block, scale) if cells else Unlearned(k)
                for k, cells in zip(keys, site.cells, strict=True)
            ]
        return Bias(site.static, learned) if learned or site.static is not None else None

    def _learn(self, q: Tensor, k: Tensor, cells: Cells, block: str, scale: float) -> LearnedBias:
        matcher = cells.matcher
        if q.shape[1] != matcher.heads:
            raise ValueError(
                f"Matching: the matcher was made for {matcher.heads} attention heads, this UNet has "
                f"{q.shape[1]} in {block}; use mode 'categorical' or 'implicit'"
            )
        dtype = matcher.dtype
        q = cells.target.pool(q.to(dtype)) * scale
        k = cells.exemplar.pool(k.to(dtype)).transpose(-1, -2)
        encoder = matcher.encoder(block)
        widest = max(matcher.heads + 1, *matcher.widths)
        budget = _CPU_CHUNK_BYTES if q.device.type == "cpu" else _ACCELERATOR_CHUNK_BYTES
        step = max(1, budget // (widest * cells.exemplar.coarse * q.element_size()))

        def cost(item: int):
            for start in range(0, cells.target.coarse, step):
                stop = min(start + step, cells.target.coarse)
                logits = (q[item, :, start:stop] @ k[item if len(k) > 1 else 0]).transpose(0, 1)  # [c, H, nk]
                flags = cells.flags(item, start, stop)[:, None].to(dtype)
                yield torch.cat([logits, flags], dim=1).unflatten(-1, cells.exemplar.coarse_grid)

        refined = [torch.cat(encoder(cost(item))).flatten(-2) for item in range(len(q))]
        maxima = [r.amax() for r in refined]
        if self.joint_maximum:
            maxima = [torch.stack(maxima).amax()] * len(maxima)
        return LearnedBias(refined, [m / 4 for m in maxima], cells.target, cells.exemplar)


def _check_tokens(q: Tensor, keys: Sequence[Tensor], target: Grid, exemplars: Sequence[Grid]) -> None:
    if q.shape[2] != target[0] * target[1]:
        raise ValueError(f"Matching: {q.shape[2]} target tokens do not fill the grid {target}")
    if len(keys) != len(exemplars):
        raise ValueError(f"Matching: keys of {len(keys)} exemplars with {len(exemplars)} grids")
    for k, grid in zip(keys, exemplars, strict=True):
        if k.shape[2] != grid[0] * grid[1]:
            raise ValueError(f"Matching: {k.shape[2]} exemplar tokens do not fill the grid {grid}")
        if k.shape[0] not in (1, q.shape[0]):
            raise ValueError(
                f"Matching: exemplar batch {k.shape[0]} cannot broadcast to batch {q.shape[0]}; use 1 or {q.shape[0]}"
            )
