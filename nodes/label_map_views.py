"""Nodes that show label maps and turn them into what other nodes take."""

from __future__ import annotations

import numpy as np
import torch
from comfy_api.v0_0_2 import io, ui
from torch import Tensor
from typing_extensions import override

from ..amadapter_core.class_masks import class_mask
from ..amadapter_core.class_names import names_in
from ..amadapter_core.label_maps import LabelMap
from .errors import naming
from .label_map_inputs import CATEGORY
from .sockets import LabelMapType

LEGEND_LINES = 16


class AMAdapterLabelMapPreview(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterLabelMapPreview",
            display_name="Preview Label Map",
            category=CATEGORY,
            description="Shows a label map in its colours, or over a picture, with a legend of the classes in it.",
            search_aliases=["show segmentation", "legend", "overlay", "view label map", "AM-Adapter"],
            is_output_node=True,
            inputs=[
                LabelMapType.Input("labels", tooltip="The label map to look at."),
                io.Float.Input(
                    "opacity",
                    default=0.5,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="How much the colours cover the picture: 0 shows the picture alone, 1 the colours alone.",
                ),
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="The picture that the label map belongs to. For the overlay the label map is brought to "
                    "its size.",
                ),
            ],
            outputs=[
                io.Image.Output("colours", tooltip="The label map drawn in the palette's colours."),
                io.Image.Output("overlay", tooltip="The colours over the picture; the colours alone without one."),
                io.Image.Output(
                    "legend", tooltip="The classes present, largest first, with their share of all pixels."
                ),
            ],
        )

    @classmethod
    @override
    def execute(cls, labels: LabelMap, opacity: float, image: Tensor | None = None) -> io.NodeOutput:
        with naming(cls):
            colours = labels.colours()
            overlay = colours if image is None else labels.resize(*image.shape[1:3]).overlay(image, opacity)
            columns = -(-max(1, len(labels.names_present())) // LEGEND_LINES)
            legend = torch.from_numpy(np.array(labels.legend(font_size=20, columns=columns)))[None].float() / 255
        return io.NodeOutput(colours, overlay, legend, ui=ui.PreviewImage([*overlay, *legend], cls=cls))


class AMAdapterLabelMapToImage(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterLabelMapToImage",
            display_name="Label Map to Image",
            category=CATEGORY,
            description="Draws a label map in its palette's colours: the hint picture for Apply ControlNet.",
            search_aliases=["segmentation to image", "colour map", "color map", "controlnet hint", "AM-Adapter"],
            inputs=[LabelMapType.Input("labels", tooltip="The label map to draw.")],
            outputs=[
                io.Image.Output(
                    "colours",
                    tooltip="The label map in the palette's colours, at its size: the picture for Apply ControlNet.",
                )
            ],
        )

    @classmethod
    @override
    def execute(cls, labels: LabelMap) -> io.NodeOutput:
        with naming(cls):
            return io.NodeOutput(labels.colours())


class AMAdapterLabelMapToMask(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterLabelMapToMask",
            display_name="Label Map to Mask",
            category=CATEGORY,
            description="Makes a mask of some classes, or of what differs between two label maps.",
            search_aliases=["segmentation to mask", "class mask", "edited region", "difference mask", "AM-Adapter"],
            inputs=[
                LabelMapType.Input("labels", tooltip="The label map to take the mask from."),
                io.String.Input(
                    "classes",
                    multiline=True,
                    default="",
                    tooltip="The classes in the mask: names or ids, one per line or separated by commas. Empty: every "
                    "class; only unlabelled pixels stay out.",
                ),
                LabelMapType.Input(
                    "changed_from",
                    optional=True,
                    tooltip="An earlier version of the label map. The mask then holds only pixels whose class differs "
                    "from it, and of those the ones that belong to the classes before or after.",
                ),
            ],
            outputs=[io.Mask.Output("mask", tooltip="1 inside, 0 outside, at the label map's size.")],
        )

    @classmethod
    @override
    def execute(cls, labels: LabelMap, classes: str, changed_from: LabelMap | None = None) -> io.NodeOutput:
        with naming(cls):
            return io.NodeOutput(class_mask(labels, names_in(classes), changed_from))


NODES: tuple[type[io.ComfyNode], ...] = (
    AMAdapterLabelMapPreview,
    AMAdapterLabelMapToImage,
    AMAdapterLabelMapToMask,
)
