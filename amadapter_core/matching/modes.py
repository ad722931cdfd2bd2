"""The two choices by name: which behaviour, and what steers the exemplar half of the attention."""

from __future__ import annotations

from enum import Enum


class Variant(str, Enum):
    """Which behaviour: the right one, or the authors' code number for number."""

    SPATIAL = "spatial"
    PUBLISHED = "published"


class Mode(str, Enum):
    """What biases the exemplar half: nothing, agreement of classes, or the matcher."""

    IMPLICIT = "implicit"
    CATEGORICAL = "categorical"
    LEARNED = "learned"
