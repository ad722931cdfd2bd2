"""The main node: a MODEL that looks at an exemplar."""

from __future__ import annotations

import math
from typing import Any

from comfy_api.v0_0_2 import io
from torch import Tensor
from typing_extensions import override

from ..amadapter_core.hosts.comfy.application import Application
from ..amadapter_core.hosts.comfy.exemplar import HostExemplar
from ..amadapter_core.hosts.comfy.patch import apply
from ..amadapter_core.label_maps import LabelMap
from ..amadapter_core.matching import Mode, Variant
from ..amadapter_core.routing_rules import RoutingRules
from .errors import naming
from .sockets import ExemplarType, LabelMapType, MatcherType, RoutingType

AUTO = "auto"


class AMAdapterApply(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterApply",
            display_name="Apply AM-Adapter",
            category="AM-Adapter",
            description="Lets the model look at an exemplar while it samples: every region of the target takes the "
            "appearance of the exemplar's regions of its class. Works with any sampler, LoRA and ControlNet; chain "
            "several for several exemplars.",
            search_aliases=[
                "exemplar",
                "reference attention",
                "appearance transfer",
                "semantic synthesis",
                "AM-Adapter",
            ],
            inputs=[
                io.Model.Input("model", tooltip="A model of the Stable Diffusion 1.x, 2.x or XL family."),
                ExemplarType.Input("exemplar", tooltip="From Encode Exemplar or Load Exemplar, any size."),
                LabelMapType.Input(
                    "target_labels",
                    tooltip="What is where in the picture to be made; of the picture's aspect. One, or one per image "
                    "of the batch.",
                ),
                io.Combo.Input(
                    "mode",
                    options=[Mode.CATEGORICAL.value, Mode.IMPLICIT.value, Mode.LEARNED.value],
                    default=Mode.CATEGORICAL.value,
                    tooltip="categorical: a pixel looks at the exemplar's pixels of its class (no trained weights "
                    "needed). implicit: at whatever the model finds similar. learned: the matcher decides (SD1.5).",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=4.0,
                    step=0.01,
                    tooltip="Weight of the exemplar against the picture's own pixels: 0 is exactly off, 1 the method.",
                ),
                io.Float.Input(
                    "start_percent",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.001,
                    tooltip="From which part of the sampling on the exemplar is looked at.",
                ),
                io.Float.Input(
                    "end_percent",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.001,
                    tooltip="Until which part of the sampling.",
                ),
                io.Boolean.Input(
                    "keep_mass",
                    default=False,
                    advanced=True,
                    tooltip="In mode categorical: give the pixels that may be looked at the weight that the whole "
                    "exemplar would have. Stronger appearance, somewhat slower.",
                ),
                io.Float.Input(
                    "penalty",
                    default=0.0,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    advanced=True,
                    tooltip="In mode categorical: what looking at another class costs, in logits. 0 forbids it; small "
                    "values such as 3 allow it where nothing fits.",
                ),
                *(
                    io.Float.Input(
                        f"{block}_weight",
                        default=1.0,
                        min=0.0,
                        max=4.0,
                        step=0.01,
                        advanced=True,
                        tooltip=f"Further strength in the {block} blocks of the UNet; 0 leaves them alone.",
                    )
                    for block in ("down", "mid", "up")
                ),
                io.Combo.Input(
                    "variant",
                    options=[AUTO, Variant.SPATIAL.value, Variant.PUBLISHED.value],
                    default=AUTO,
                    advanced=True,
                    tooltip="spatial compares classes in two dimensions; published repeats the authors' code number "
                    "for number (one exemplar, square pictures). auto takes what the matcher was trained with.",
                ),
                io.Int.Input(
                    "matcher_interval",
                    default=1,
                    min=1,
                    max=8,
                    advanced=True,
                    tooltip="In mode learned: how many steps share one result of the matcher. 2 is faster and somewhat "
                    "different, 1 is the method.",
                ),
                MatcherType.Input("matcher", optional=True, tooltip="For mode learned, from Load AM-Adapter Matcher."),
                io.Mask.Input(
                    "mask", optional=True, tooltip="Where in the picture the exemplar is looked at; none is everywhere."
                ),
                RoutingType.Input(
                    "routing",
                    optional=True,
                    tooltip="Which classes or regions look at which, from Class Routing and Region Pair.",
                ),
            ],
            outputs=[io.Model.Output("model", tooltip="The model with the exemplar; connect it to a sampler.")],
        )

    @classmethod
    @override
    def execute(
        cls,
        model: Any,
        exemplar: HostExemplar,
        target_labels: LabelMap,
        mode: str,
        strength: float,
        start_percent: float,
        end_percent: float,
        keep_mass: bool,
        penalty: float,
        down_weight: float,
        mid_weight: float,
        up_weight: float,
        variant: str,
        matcher_interval: int,
        matcher: Any = None,
        mask: Tensor | None = None,
        routing: RoutingRules | None = None,
    ) -> io.NodeOutput:
        mode = Mode(mode)
        if mode is not Mode.LEARNED:
            matcher = None
        if variant == AUTO:
            variant = getattr(matcher and matcher.model, "variant", None) or Variant.SPATIAL
        with naming(cls):
            application = Application(
                exemplar,
                target_labels,
                mode,
                strength,
                start_percent,
                end_percent,
                keep_mass,
                penalty or math.inf,
                (down_weight, mid_weight, up_weight),
                Variant(variant),
                matcher_interval,
                matcher,
                mask,
                routing,
            )
            return io.NodeOutput(apply(model, application))


NODES: tuple[type[io.ComfyNode], ...] = (AMAdapterApply,)
