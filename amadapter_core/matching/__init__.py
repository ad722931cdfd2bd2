"""The matching costs, and the bias they put on the exemplar half of the attention logits.

For every pair (target query i, exemplar key j) of an attention site (AM-Adapter, arXiv 2412.03150):

* the *implicit* cost is the logit itself, q_i . k_j / sqrt(D), per head;
* the *categorical* cost says whether pixel i and pixel j share a class;
* the *learned* bias is the matcher's refinement r >= 0 of the two, less a quarter of its maximum: what is not
  lifted above max/4 is pushed down against the target's own keys.

A `Matching` holds what is known before the first step (label maps, routing, mode) and prepares it once per grid;
at a site it makes a `Bias`, which attention asks for by rows of queries. Nothing of size Nq x Nk outlives a chunk
on a fine grid.
"""

from __future__ import annotations

from ..resampling import Grid
from ..routing import RegionPair, Route, Routing
from .base import Matching
from .bias import NEVER, Bias, LearnedBias, StaticBias, join
from .modes import Mode, Variant
from .published import PublishedMatching
from .spatial import Pairing, SpatialMatching

__all__ = [
    "NEVER",
    "Bias",
    "Grid",
    "LearnedBias",
    "Matching",
    "Mode",
    "Pairing",
    "PublishedMatching",
    "RegionPair",
    "Route",
    "Routing",
    "SpatialMatching",
    "StaticBias",
    "Variant",
    "join",
]
