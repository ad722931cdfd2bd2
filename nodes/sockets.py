"""Socket types: the pack's own, and those of core that its API has no name for."""

from __future__ import annotations

from comfy_api.v0_0_2 import io

LabelMapType = io.Custom("AM_LABEL_MAP")
"""A `LabelMap` of the core: class ids with their palette."""

ExemplarType = io.Custom("AM_EXEMPLAR")
"""A `HostExemplar`: an exemplar with what controls its pass through the UNet."""

MatcherType = io.Custom("AM_MATCHER")
"""A ModelPatcher whose `.model` is the core's `Matcher`."""

RoutingType = io.Custom("AM_ROUTING")
"""`RoutingRules`: what may match what, and how strongly."""

LossMapType = io.Custom("LOSS_MAP")
"""Core's: {"loss": values}, as Train LoRA gives and Plot Loss Graph takes it."""
