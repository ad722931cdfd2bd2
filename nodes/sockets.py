"""The pack's own socket types."""

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
