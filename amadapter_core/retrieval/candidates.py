"""Vector indexes: which of many layouts have the largest products with a target's vector."""

from __future__ import annotations

import importlib.util
import logging
from typing import Protocol

import torch
from torch import Tensor

from .layouts import Layouts
from .vectors import dense_vectors, sparse_vectors

logger = logging.getLogger(__name__)

ENGINES = ("auto", "matrix", "faiss")
MANY = 100_000
"""Up to so many layouts a matrix product is fast enough."""

_DIRECTIONS = 128
_SAMPLE = 8192


class Candidates(Protocol):
    """A vector index."""

    def search(self, vector: Tensor, count: int, allowed: Tensor | None = None) -> Tensor:
        """
        :param vector: [D] float32, see `vectors.target_vector`.
        :param count: how many rows are wanted.
        :param allowed: [N] bool, rows that may be returned; None is all.
        :return: rows [at most count] int64, the best first.
        """


def candidates(layouts: Layouts, engine: str = "auto") -> Candidates:
    """
    Make a vector index.

    :param engine: "matrix" (exact, needs nothing), "faiss" (approximate), or "auto": faiss from MANY layouts on, if it
        is installed.
    :raises ImportError: faiss was asked for and is not installed.
    """
    if engine not in ENGINES:
        raise ValueError(f"retrieval: engine must be one of {', '.join(ENGINES)}, got {engine!r}")
    if engine == "auto":
        large = len(layouts) > MANY
        engine = "faiss" if large and importlib.util.find_spec("faiss") is not None else "matrix"
        if large and engine == "matrix":
            logger.info("retrieval: %d layouts are many for a matrix product; faiss-cpu makes it faster", len(layouts))
    return Faiss(layouts) if engine == "faiss" else Matrix(layouts)


class Matrix:
    """All products, by one sparse matrix."""

    def __init__(self, layouts: Layouts):
        self.vectors = sparse_vectors(layouts)

    def search(self, vector: Tensor, count: int, allowed: Tensor | None = None) -> Tensor:
        products = self.vectors @ vector
        if allowed is not None:
            products = products.masked_fill(~allowed, -torch.inf)
            count = min(count, int(allowed.sum()))
        return products.topk(min(count, len(products))).indices


class Faiss:
    """Vectors turned and cut to the directions that matter for their products, in a byte per number."""

    def __init__(self, layouts: Layouts):
        try:
            import faiss
        except ImportError as error:
            raise ImportError("retrieval: engine 'faiss' needs the package: pip install faiss-cpu") from error
        self.faiss = faiss
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            sample = torch.cat(list(dense_vectors(layouts[torch.randperm(len(layouts))[:_SAMPLE]])))
            # Not centred, as principal components would be: that changes products, not only distances.
            self.directions = torch.svd_lowrank(sample, min(_DIRECTIONS, *sample.shape))[2]
        dimensions = self.directions.shape[1]
        self.index = faiss.IndexScalarQuantizer(dimensions, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
        self.index.train((sample @ self.directions).numpy())
        for part in dense_vectors(layouts):
            self.index.add((part @ self.directions).numpy())

    def search(self, vector: Tensor, count: int, allowed: Tensor | None = None) -> Tensor:
        options = None
        if allowed is not None:
            rows = allowed.nonzero().flatten()
            options = self.faiss.SearchParameters(sel=self.faiss.IDSelectorBatch(rows.numpy()))
            count = min(count, len(rows))
        query = (vector @ self.directions)[None].numpy()
        _, found = self.index.search(query, min(count, self.index.ntotal), params=options)
        return torch.from_numpy(found[0])
