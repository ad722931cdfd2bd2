"""Nodes that draw pictures for people."""

from __future__ import annotations

from comfy_api.v0_0_2 import io
from torch import Tensor
from typing_extensions import override

from ..amadapter_core.label_maps import LabelMap
from ..amadapter_core.pictures import triplet
from .errors import naming
from .sockets import LabelMapType


class AMAdapterTriplet(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterTriplet",
            display_name="Triplet",
            category="AM-Adapter/view",
            description="Draws exemplar, target label map and result side by side.",
            search_aliases=["comparison", "side by side", "grid", "figure", "compare", "AM-Adapter"],
            inputs=[
                io.Image.Input("exemplar", tooltip="The exemplar's picture: one, or as many as there are results."),
                LabelMapType.Input(
                    "target_labels", tooltip="The target's label map: one, or as many as there are results."
                ),
                io.Image.Input("result", tooltip="The generated pictures; each gets a row of its own."),
                io.Boolean.Input("captions", default=True, tooltip="Write above each panel what it shows."),
                io.Int.Input(
                    "height",
                    default=512,
                    min=64,
                    max=2048,
                    step=8,
                    tooltip="Height of the panels in pixels; their widths follow from their aspect.",
                ),
                LabelMapType.Input(
                    "exemplar_labels",
                    optional=True,
                    tooltip="The exemplar's label map: adds a fourth panel after the exemplar.",
                ),
            ],
            outputs=[io.Image.Output("triplet", tooltip="One picture per result: exemplar, target labels, result.")],
        )

    @classmethod
    @override
    def execute(
        cls,
        exemplar: Tensor,
        target_labels: LabelMap,
        result: Tensor,
        captions: bool,
        height: int,
        exemplar_labels: LabelMap | None = None,
    ) -> io.NodeOutput:
        with naming(cls):
            return io.NodeOutput(
                triplet(
                    exemplar,
                    target_labels,
                    result,
                    exemplar_labels=exemplar_labels,
                    captions=captions,
                    height=height,
                )
            )


NODES: tuple[type[io.ComfyNode], ...] = (AMAdapterTriplet,)
