"""Finding exemplars for a target: candidates from the vector index, then their exact fit, then the user's wishes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..label_maps import LabelMap
from .candidates import candidates
from .index import Index
from .layouts import Layouts, in_table
from .overlap import PENALTY, agreement, fit
from .vectors import target_vector

NEAR_DUPLICATE = 0.97
"""Share of equal cells from which on an exemplar's layout counts as the target's own."""

_CANDIDATES = 1024
_WIDER = 8


@dataclass(frozen=True)
class Wishes:
    """
    What is wanted of exemplars.

    :param count: how many.
    :param must_have: names of classes that each must show.
    :param penalty: see `overlap.fit`.
    :param near_duplicate: exemplars with this share of cells equal to the target's, or more, are left out; above 1
        none are.
    :param diversity: 0 takes the best; towards 1 it matters more and more that they are unlike each other, in their
        pictures if the index has embeddings, else in their layouts.
    :param variation: 0 takes the best; above, others are drawn by chance, which on average lie about so much in score
        below.
    :param seed: of that chance.
    :param exclude: names that are not wanted.
    :param appearance: [E] what pictures should look like: a vector of the index's embedder.
    :param appearance_share: which share of the index, the most alike, is looked through then.
    """

    count: int = 4
    must_have: tuple[str, ...] = ()
    penalty: float = PENALTY
    near_duplicate: float = NEAR_DUPLICATE
    diversity: float = 0.0
    variation: float = 0.0
    seed: int = 0
    exclude: frozenset[str] = frozenset()
    appearance: Tensor | None = None
    appearance_share: float = 0.25

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"retrieval: count must be 1 or more, got {self.count}")
        for name, low, high in (("penalty", 0, 100), ("diversity", 0, 1), ("variation", 0, 100)):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"retrieval: {name} must be {low}..{high}, got {getattr(self, name)}")
        if not 0 < self.appearance_share <= 1:
            raise ValueError(f"retrieval: appearance_share must be above 0, at most 1, got {self.appearance_share}")


@dataclass(frozen=True)
class Found:
    """
    An exemplar that was found.

    :param row: its place in the index.
    :param score: its fit, -penalty..1.
    :param lacking: classes of the target that it does not show.
    """

    name: str
    row: int
    score: float
    lacking: tuple[str, ...]


class Finder:
    """
    An index that answers.

    :param engine: see `candidates`.
    """

    def __init__(self, index: Index, engine: str = "auto"):
        self.index = index
        self.candidates = candidates(index.layouts, engine)
        self._rows = {name: row for row, name in enumerate(index.names)}

    def find(self, target: LabelMap, wishes: Wishes | None = None) -> list[Found]:
        """
        Find exemplars, the first chosen first; fewer than were wanted where no more meet the wishes.

        :param target: label map of batch 1.
        :raises ValueError: classes that the index does not know, or nothing that meets the wishes.
        """
        wishes = wishes or Wishes()
        layout = self._layout(target)
        allowed, told = self._allowed(wishes)
        rows, scores, duplicates = self._ranked(layout, allowed, wishes)
        if not len(rows):
            left_out = f"; {duplicates} with the target's own layout were left out" if duplicates else ""
            raise ValueError(f"retrieval: no exemplar is left of {', '.join(told)}{left_out}; ask for less")
        return [self._found(layout, row, score) for row, score in self._chosen(rows, scores, wishes)]

    def score(self, target: LabelMap, names: Sequence[str], penalty: float = PENALTY) -> list[Found]:
        """
        The fit of exemplars that were chosen elsewhere, in their order.

        :raises ValueError: a name that the index does not have.
        """
        layout, rows = self._layout(target), torch.tensor([self.row_of(name) for name in names], dtype=torch.long)
        scores = fit(layout, self.index.layouts[rows], penalty)
        return [self._found(layout, row, score) for row, score in zip(rows.tolist(), scores.tolist(), strict=True)]

    def row_of(self, name: str) -> int:
        """
        The row of a name, or of its last part where that belongs to one entry alone.

        :raises ValueError: no such name.
        """
        if name in self._rows:
            return self._rows[name]
        ending = [row for full, row in self._rows.items() if full.endswith(f"/{name}")]
        if len(ending) == 1:
            return ending[0]
        told = f"{len(ending)} entries end like it" if ending else "nothing is called so"
        raise ValueError(
            f"retrieval: {name!r} is not in the index ({told}); of its {len(self.index)} names "
            f"{self.index.names[0]!r} is one"
        )

    def _layout(self, target: LabelMap) -> Layouts:
        if target.batch != 1:
            raise ValueError(f"retrieval: one target at a time, got a label map of batch {target.batch}")
        return in_table(Layouts.of(target), target.palette, self.index.palette)

    def _allowed(self, wishes: Wishes) -> tuple[Tensor | None, list[str]]:
        """Which rows may be returned [N] bool, None for all of them; and how many every wish left."""
        index, allowed = self.index, torch.ones(len(self.index), dtype=torch.bool)
        told = [f"{len(index)} in the index"]

        def restrict(rows: Tensor, wish: str) -> None:
            allowed.logical_and_(rows)
            told.append(f"{int(allowed.sum())} {wish}")

        if wishes.exclude:
            gone = [self._rows[name] for name in wishes.exclude if name in self._rows]
            restrict(
                torch.ones_like(allowed).index_fill_(0, torch.tensor(gone, dtype=torch.long), False), "not excluded"
            )
        if wishes.must_have:
            rows = [index.palette.ids.index(index.palette.id_of(name)) for name in wishes.must_have]
            shown = index.layouts.present()[:, rows].all(1)
            restrict(shown, f"with {' and '.join(wishes.must_have)}")
        if wishes.appearance is not None:
            share = max(1, round(wishes.appearance_share * int(allowed.sum())))
            alike = self._alike(wishes.appearance).masked_fill(~allowed, -torch.inf).topk(share).indices
            restrict(torch.zeros_like(allowed).index_fill_(0, alike, True), "that look most like what was asked for")
        return (None if len(told) == 1 else allowed), told

    def _alike(self, appearance: Tensor) -> Tensor:
        """How much the pictures look like it, [N] -1..1."""
        embeddings = self.index.embeddings
        if embeddings is None:
            raise ValueError("retrieval: the index knows nothing of appearance; build it with a CLIP vision model")
        vector = appearance.float().flatten()
        if len(vector) != embeddings.shape[1]:
            raise ValueError(
                f"retrieval: the appearance is a vector of {len(vector)}, those of the index have "
                f"{embeddings.shape[1]} ({self.index.embedder}); use the model that it was built with"
            )
        parts = [part.float() @ vector for part in embeddings.split(1 << 14)]
        return torch.cat(parts) / vector.norm().clamp(min=1e-12)

    def _ranked(self, target: Layouts, allowed: Tensor | None, wishes: Wishes) -> tuple[Tensor, Tensor, int]:
        """Rows and scores of the best candidates, without near duplicates of the target, and how many those were."""
        total = len(self.index) if allowed is None else int(allowed.sum())
        vector, count = target_vector(target, wishes.penalty), max(_CANDIDATES, _WIDER * wishes.count)
        while True:
            rows = self.candidates.search(vector, min(count, total), allowed).sort().values
            layouts = self.index.layouts[rows]
            other = agreement(target, layouts) < wishes.near_duplicate
            kept = int(other.sum())
            if kept >= min(wishes.count, total) or count >= total:
                break
            count *= _WIDER
        rows = rows[other]
        scores = fit(target, self.index.layouts[rows], wishes.penalty)
        order = scores.sort(descending=True, stable=True).indices  # of equals the first in the index
        return rows[order], scores[order], len(other) - kept

    def _chosen(self, rows: Tensor, scores: Tensor, wishes: Wishes) -> list[tuple[int, float]]:
        """One after the other, each the best that is left in view of those before it."""
        values = scores
        if wishes.variation:
            chance = torch.rand(len(rows), generator=torch.Generator().manual_seed(wishes.seed), dtype=torch.float64)
            values = scores - wishes.variation * (-chance.clamp(min=1e-12).log()).log().float()  # Gumbel
        alike, taken = torch.zeros(len(rows)), torch.zeros(len(rows), dtype=torch.bool)
        chosen = []
        for _ in range(min(wishes.count, len(rows))):
            worth = (1 - wishes.diversity) * values - wishes.diversity * alike
            best = int(worth.masked_fill(taken, -torch.inf).argmax())
            chosen.append((int(rows[best]), float(scores[best])))
            taken[best] = True
            if wishes.diversity:
                alike = alike.maximum(self._similarity(int(rows[best]), rows))
        return chosen

    def _similarity(self, row: int, rows: Tensor) -> Tensor:
        """How much exemplars are like one of them, [n] about 0..1."""
        if self.index.embeddings is not None:
            return self.index.embeddings[rows].float() @ self.index.embeddings[row].float()
        layouts = self.index.layouts
        return agreement(layouts[slice(row, row + 1)], layouts[rows])

    def _found(self, target: Layouts, row: int, score: float) -> Found:
        lacks = target.present()[0] & ~self.index.layouts[slice(row, row + 1)].present()[0]
        names = [self.index.palette.names[k] for k in lacks.nonzero().flatten().tolist()]
        return Found(self.index.files.pairs[row].name, row, score, tuple(names))
