"""The node in which label maps are painted. Its frontend is web/js/semantic_painter.js."""

from __future__ import annotations

from comfy_api.v0_0_2 import io
from typing_extensions import override

from ..amadapter_core.hosts.comfy.folders import load_palette
from ..amadapter_core.label_maps import LabelMap
from ..amadapter_core.painting import MAX_SIDE, codes_of, painted, painted_over, read_painting, write_painting
from .errors import naming
from .label_map_inputs import CATEGORY, LABELS_TOOLTIP, palette_input, palette_state
from .sockets import LabelMapType

WIDGET = "AM_ADAPTER_PAINTING"


def side_input(name: str) -> io.Int.Input:
    return io.Int.Input(
        name,
        default=512,
        min=8,
        max=MAX_SIDE,
        step=8,
        tooltip=f"The {name} of the label map in pixels; what is painted is resized without mixing classes. A "
        "connected label map has its own size.",
    )


class AMAdapterSemanticPainter(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterSemanticPainter",
            display_name="Semantic Painter",
            category=CATEGORY,
            description="Paints classes into a label map, from nothing or over one. What is painted is kept in the "
            "workflow.",
            search_aliases=["draw segmentation", "paint classes", "brush", "edit label map", "GauGAN", "AM-Adapter"],
            inputs=[
                palette_input(),
                side_input("width"),
                side_input("height"),
                io.String.Input(
                    "painting",
                    default="",
                    socketless=True,
                    tooltip="What is painted, kept in the workflow. Keys: B brush, E eraser, F fill, I eyedropper, [ ] "
                    "size, Ctrl+Z undo, 0 show all. In an API workflow: a 16-bit grey PNG of ids as a data URL.",
                    extra_dict={"widgetType": WIDGET},
                ),
                LabelMapType.Input(
                    "labels",
                    optional=True,
                    tooltip="A label map to paint over: its size and its table of classes are used, and pixels that "
                    "are not painted keep their class. The node shows it once the workflow has run.",
                ),
            ],
            outputs=[
                LabelMapType.Output("labels", tooltip=LABELS_TOOLTIP),
                io.Image.Output(
                    "colours",
                    tooltip="The label map drawn in the palette's colours: the picture for Apply ControlNet.",
                ),
            ],
        )

    @classmethod
    @override
    def fingerprint_inputs(cls, palette: str | None, **others) -> str:
        return palette_state(palette)

    @classmethod
    @override
    def execute(
        cls, palette: str, width: int, height: int, painting: str, labels: LabelMap | None = None
    ) -> io.NodeOutput:
        with naming(cls):
            codes = read_painting(painting)
            if labels is None:
                result = painted(codes, load_palette(palette), (height, width))
            else:
                result = painted_over(labels, codes)
            return io.NodeOutput(result, result.colours(), ui=None if labels is None else start_for_frontend(labels))


def start_for_frontend(labels: LabelMap) -> dict[str, list]:
    """What the node shows under the painting."""
    return {"start": [write_painting(codes_of(labels))], "table": [labels.palette.to_dict()]}


NODES: tuple[type[io.ComfyNode], ...] = (AMAdapterSemanticPainter,)
