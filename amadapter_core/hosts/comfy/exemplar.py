"""AM_EXEMPLAR: an exemplar, and the ControlNet of its pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from comfy.controlnet import ControlBase

from ...exemplar import Exemplar
from ...label_maps import LabelMap
from .control import control_for


@dataclass(frozen=True, eq=False)
class HostExemplar:
    """What the socket AM_EXEMPLAR carries; never changed after it was made.

    :param exemplar: trajectory, label map, text conditioning.
    :param control: the ControlNet of its pass, its hint set to the exemplar's colour map; None runs without.
    """

    exemplar: Exemplar
    control: ControlBase | None = None


def control_of(
    labels: LabelMap, control_net: ControlBase | None, strength: float, vae: Any = None
) -> ControlBase | None:
    """A ControlNet that takes a label map's colours; None without one or at strength 0."""
    if control_net is None or strength == 0:
        return None
    return control_for(control_net, labels.colours(), strength, vae)
