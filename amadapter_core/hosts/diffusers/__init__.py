"""The method on diffusers' UNet2DConditionModel: processors, pipeline, the published loop."""

from __future__ import annotations

from ...sites import Site
from .augmentation import Augmentation, Source, invert_latent, record
from .control import LabelControl
from .noise import NoiseSchedule
from .sites import Sites

__all__ = ["Augmentation", "LabelControl", "NoiseSchedule", "Site", "Sites", "Source", "invert_latent", "record"]
