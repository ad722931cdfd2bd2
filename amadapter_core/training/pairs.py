"""Pairs of a picture and its label map, and data sets of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..palettes import Palette


@dataclass(frozen=True)
class Example:
    """One picture with its label map.

    :param image: [H, W, 3] uint8.
    :param ids: [H, W] class ids, uint8 where they fit.
    :param name: file or seeds, for messages.
    :param caption: prompt.
    :param materials: [H, W] int16, on scenes: pixels of two scenes of one appearance correspond where these agree.
    """

    image: np.ndarray
    ids: np.ndarray
    name: str
    caption: str = ""
    materials: np.ndarray | None = None


class Pairs(ABC):
    """A data set of examples in a fixed order.

    palette: class table of the label maps.
    """

    palette: Palette

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Example: ...

    @abstractmethod
    def partners(self, index: int) -> Sequence[int]:
        """Other examples of the same appearance."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """What the examples depend on, as JSON values: the same description, the same examples."""
