"""Nodes that say what may match what."""

from __future__ import annotations

from comfy_api.v0_0_2 import io
from torch import Tensor
from typing_extensions import override

from ..amadapter_core.exemplar_mix import mixed
from ..amadapter_core.routing_rules import RoutingRules
from .errors import naming
from .sockets import RoutingType

CATEGORY = "AM-Adapter/routing"


def earlier_input() -> io.Input:
    return RoutingType.Input(
        "routing",
        optional=True,
        tooltip="Earlier rules to add to. Where the two disagree the rules of this node hold.",
    )


def routing_output() -> io.Output:
    return RoutingType.Output(
        "routing", tooltip="The rules so far. Connect to Apply AM-Adapter or to another routing node."
    )


class AMAdapterClassRouting(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterClassRouting",
            display_name="Class Routing",
            category=CATEGORY,
            description="Says class by class how strongly an exemplar serves the target and which of its classes each "
            "class looks at.",
            search_aliases=["class strength", "class pairs", "match classes", "per-class weight", "AM-Adapter"],
            inputs=[
                io.String.Input(
                    "rules",
                    multiline=True,
                    default="",
                    placeholder="car = 0.5\ntree -> vegetation, terrain\nsky -> none\n* = 1\ncar @up = 2",
                    tooltip="One rule per line. car = 0.5: strength for this class of the target. * = 0: strength for "
                    "all classes not named. tree -> vegetation, terrain: this class of the target looks at these "
                    "classes of the exemplar. sky -> none: it looks at nothing. car @up = 2: in the up blocks only. "
                    "car:wheel = 2: a part of it. Names or ids; the rest of a line after # is a comment.",
                ),
                earlier_input(),
            ],
            outputs=[routing_output()],
        )

    @classmethod
    @override
    def execute(cls, rules: str, routing: RoutingRules | None = None) -> io.NodeOutput:
        with naming(cls):
            return io.NodeOutput((routing or RoutingRules()).joined(RoutingRules.parse(rules)))


class AMAdapterRegionPair(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterRegionPair",
            display_name="Region Pair",
            category=CATEGORY,
            description="Lets one region of the target take its appearance from one region of the exemplar: this car "
            "looks like that car.",
            search_aliases=["region", "correspondence", "match regions", "this looks like that", "AM-Adapter"],
            inputs=[
                io.Mask.Input(
                    "target_mask",
                    tooltip="The region in the target: one mask over the target's label map, of any size.",
                ),
                io.Mask.Input(
                    "exemplar_mask",
                    tooltip="The region in the exemplar that it shall look like: one mask over the exemplar's label "
                    "map, of any size.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=4.0,
                    step=0.05,
                    tooltip="How much the exemplar's region counts for the target's: 1 is the method, 0 is off.",
                ),
                io.Boolean.Input(
                    "exclusive",
                    default=True,
                    tooltip="On: the target's region looks nowhere else in this exemplar. Off: it also looks where its "
                    "class would.",
                ),
                earlier_input(),
            ],
            outputs=[routing_output()],
        )

    @classmethod
    @override
    def execute(
        cls,
        target_mask: Tensor,
        exemplar_mask: Tensor,
        strength: float,
        exclusive: bool,
        routing: RoutingRules | None = None,
    ) -> io.NodeOutput:
        with naming(cls):
            pair = RoutingRules.pair(target_mask, exemplar_mask, strength, exclusive)
            return io.NodeOutput((routing or RoutingRules()).joined(pair))


class AMAdapterMixExemplars(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterMixExemplars",
            display_name="Mix Exemplars",
            category=CATEGORY,
            description="Shares two exemplars out class by class: cars from one, the sky from the other, roads in "
            "between, trees from neither.",
            search_aliases=["interpolate", "blend", "swap", "style mix", "per-class exemplar", "AM-Adapter"],
            inputs=[
                io.String.Input(
                    "rules",
                    multiline=True,
                    default="",
                    placeholder="car = A\nsky = B\nroad = 0.3\ntree = none",
                    tooltip="One rule per line. car = A: the first exemplar alone. sky = B: the second alone. road = "
                    "0.3: this much of the second, the rest of the first. tree = none: neither, the seed decides. "
                    "Names or ids; the rest of a line after # is a comment.",
                ),
                io.Float.Input(
                    "share",
                    default=0.5,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="How much of the second exemplar there is in classes that no rule names: 0 is the first "
                    "alone, 1 the second alone.",
                ),
            ],
            outputs=[
                RoutingType.Output("routing_a", tooltip="For the Apply AM-Adapter of the first exemplar."),
                RoutingType.Output("routing_b", tooltip="For the Apply AM-Adapter of the second, chained to it."),
            ],
        )

    @classmethod
    @override
    def execute(cls, rules: str, share: float) -> io.NodeOutput:
        with naming(cls):
            return io.NodeOutput(*mixed(rules, share))


NODES: tuple[type[io.ComfyNode], ...] = (AMAdapterClassRouting, AMAdapterRegionPair, AMAdapterMixExemplars)
