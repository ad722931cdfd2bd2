"""
Layouts as vectors, whose product with a target's vector comes near to the fit.

For each class a vector has its shares of the blocks of a coarse grid, of length 1, and whether it is shown. The
target's vector has the same, each class times its weight.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import torch
from torch import Tensor

from .layouts import GRID, Layouts
from .overlap import class_weights

BLOCKS = 8
"""Rows and columns of the coarse grid."""

_VALUES_AT_ONCE = 1 << 22


def dense_vectors(layouts: Layouts) -> Iterator[Tensor]:
    """The vectors, part by part: [n, K * (BLOCKS * BLOCKS + 1)] float32 each."""
    k, blocks = layouts.classes, BLOCKS * BLOCKS
    place = torch.arange(GRID) * BLOCKS // GRID
    block = (place[:, None] * BLOCKS + place).flatten()
    step = max(1, _VALUES_AT_ONCE // (k * blocks))
    for start in range(0, len(layouts), step):
        part = layouts[slice(start, start + step)]
        n = len(part)
        # The row behind the last class takes what belongs to none.
        rows = torch.arange(n)[:, None] * (k + 1) + part.grids.flatten(1)
        counts = torch.bincount((rows * blocks + block).flatten(), minlength=n * (k + 1) * blocks)
        shares = counts.view(n, k + 1, blocks)[:, :k].float()
        shares /= shares.norm(dim=2, keepdim=True).clamp(min=1)
        yield torch.cat([shares.flatten(1), part.present().float()], 1)


def sparse_vectors(layouts: Layouts) -> Tensor:
    """All vectors as one sparse matrix [N, K * (BLOCKS * BLOCKS + 1)]: of its values one in ten is not zero."""
    ends, columns, values = [torch.zeros(1, dtype=torch.int32)], [], []
    for dense in dense_vectors(layouts):
        filled = dense != 0
        ends.append(filled.sum(1).cumsum(0, dtype=torch.int32) + ends[-1][-1])
        columns.append(filled.nonzero()[:, 1].int())
        values.append(dense[filled])
    size = (len(layouts), layouts.classes * (BLOCKS * BLOCKS + 1))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse ", category=UserWarning)
        parts = (torch.cat(ends), torch.cat(columns), torch.cat(values))
        return torch.sparse_csr_tensor(*parts, size, check_invariants=False)


def target_vector(target: Layouts, penalty: float) -> Tensor:
    """
    The vector that finds exemplars for a target.

    :param target: one layout.
    :param penalty: as `overlap.fit` takes it.
    :return: [K * (BLOCKS * BLOCKS + 1)] float32.
    """
    classes, weights = class_weights(target)
    of_class = torch.zeros(target.classes).index_put_((classes,), weights)
    (vector,) = next(dense_vectors(target))
    shares, shown = vector.split([target.classes * BLOCKS * BLOCKS, target.classes])
    return torch.cat([(shares.view(target.classes, -1) * of_class[:, None]).flatten(), penalty * shown * of_class])
