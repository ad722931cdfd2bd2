"""A node that tells parts of objects apart in matching."""

from __future__ import annotations

from comfy_api.v0_0_2 import io
from torch import Tensor
from typing_extensions import override

from ..amadapter_core.class_names import names_in
from ..amadapter_core.generators.ipose import PartMaps
from ..amadapter_core.label_maps import LabelMap
from ..amadapter_core.part_labels import parts_of_masks, with_parts
from .errors import naming
from .sockets import LabelMapType, PartMapsType


class AMAdapterLabelMapParts(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterLabelMapParts",
            display_name="Label Map with Parts",
            category="AM-Adapter/label maps",
            description="Tells the parts of objects apart, so that a wheel takes after a wheel and not after the whole "
            "car. ControlNets, masks and pictures go on seeing the classes.",
            search_aliases=["part map", "part segmentation", "finer classes", "wheel", "iPOSE", "AM-Adapter"],
            inputs=[
                LabelMapType.Input("labels", tooltip="The label map of classes, of the target or of the exemplar."),
                io.MultiType.Input(
                    "parts",
                    types=[LabelMapType, PartMapsType, io.Mask],
                    tooltip="Which part each pixel shows: a label map in a table of parts, iPOSE's part maps, or a "
                    "batch of masks, one for each part. Of the same aspect, of any size.",
                ),
                io.String.Input(
                    "classes",
                    default="",
                    placeholder="car, truck",
                    tooltip="The classes that have these parts: names or ids, one per line or separated by commas. "
                    "Empty: every class.",
                ),
            ],
            outputs=[
                LabelMapType.Output("labels", tooltip="The label map with its parts, for Encode Exemplar and Apply."),
                io.Image.Output("picture", tooltip="The parts in colours, black where there is none."),
            ],
        )

    @classmethod
    @override
    def execute(cls, labels: LabelMap, parts: LabelMap | PartMaps | Tensor, classes: str) -> io.NodeOutput:
        with naming(cls):
            if isinstance(parts, Tensor):
                parts = parts_of_masks(parts)
            elif isinstance(parts, PartMaps):
                parts = parts.label_map().resize(*labels.size)  # stretched, as the labels were for them
            refined = with_parts(labels, parts, names_in(classes))
            return io.NodeOutput(refined, refined.parts.colours())


NODES: tuple[type[io.ComfyNode], ...] = (AMAdapterLabelMapParts,)
