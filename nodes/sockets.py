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

GeneratorType = io.Custom("AM_GENERATOR")
"""A `HostGenerator`: clVAE, iPOSE or SCA-DM."""

StyleCodesType = io.Custom("AM_STYLE_CODES")
"""`HostStyles`: the style codes of some pictures, with the names of their classes."""

InstancesType = io.Custom("AM_INSTANCES")
"""`HostInstances`: which pixels are one object."""

SupportsType = io.Custom("AM_SUPPORTS")
"""The core's `Supports`: examples of parts by category."""

PartMapsType = io.Custom("AM_PART_MAPS")
"""The core's `PartMaps`, on the CPU."""

ExemplarIndexType = io.Custom("AM_EXEMPLAR_INDEX")
"""The core's `Finder`: an index of exemplars that answers."""

BatchRowType = io.Custom("AM_BATCH_ROW")
"""A `BatchRow`: one exemplar with one target, and where the result goes."""
