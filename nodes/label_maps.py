"""Nodes that make label maps of pictures and masks."""

from __future__ import annotations

from comfy_api.v0_0_2 import io
from torch import Tensor
from typing_extensions import override

from ..amadapter_core.class_names import class_id, names_in
from ..amadapter_core.hosts.comfy.folders import load_palette
from ..amadapter_core.hosts.comfy.pictures import input_pictures, picture_fingerprint, picture_path
from ..amadapter_core.label_maps import LabelMap
from ..amadapter_core.label_pictures import READINGS, read_label_picture
from ..amadapter_core.label_regions import paint
from .errors import naming
from .label_map_inputs import (
    CATEGORY,
    LABELS_TOOLTIP,
    numbers_in,
    offset_input,
    palette_input,
    palette_state,
    tolerance_input,
    unknown_input,
    void_input,
)
from .sockets import LabelMapType


def grey_ids(image: Tensor) -> Tensor:
    """Read grey values as ids.

    :param image: [B, H, W, 3] float 0..1.
    :return: [B, H, W] int64.
    :raises ValueError: a coloured picture, or values between the grey levels.
    """
    grey = image[..., 0].double()
    coloured = int((image[..., :3] != image[..., :1]).any(-1).sum())
    if coloured:
        raise ValueError(
            f"{coloured} of {grey.numel()} pixels are coloured, and ids are grey values; read a picture of colours "
            "with Label Map from Colour Image"
        )
    # A level v is v / 255, but ComfyUI's Load Image makes it v * 256 / 65535 when the file has one grey channel.
    scaled = min((grey * 255, grey * 65535 / 256), key=lambda levels: float((levels - levels.round()).abs().max()))
    between = int(((scaled - scaled.round()).abs() > 0.1).sum())
    if between:
        raise ValueError(
            f"{between} of {grey.numel()} pixels lie between two grey levels, so their id is not certain; the picture "
            "was resized smoothly or compressed. Read the file with Load Label Map, or resize by nearest-exact"
        )
    return scaled.round().long()


class AMAdapterLoadLabelMap(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterLoadLabelMap",
            display_name="Load Label Map",
            category=CATEGORY,
            description="Loads a segmentation picture as a label map. Reads colours or ids and reports everything that "
            "does not fit the palette.",
            search_aliases=["segmentation", "semantic map", "load segmentation", "class map", "seg map", "AM-Adapter"],
            inputs=[
                io.Combo.Input(
                    "image",
                    options=input_pictures(),
                    upload=io.UploadType.image,
                    tooltip="A picture in the input folder. Use PNG: JPEG mixes the colours.",
                ),
                palette_input(),
                io.Combo.Input(
                    "reading",
                    options=list(READINGS),
                    default="auto",
                    tooltip="Whether pixel values are colours of the palette or class ids. auto: grey pictures hold "
                    "ids, colour pictures colours; for PNG files with a colour table it looks at both.",
                ),
                unknown_input("colours or ids", ["error", "nearest", "ignore"]),
                tolerance_input(),
                offset_input(),
                void_input(),
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
    def fingerprint_inputs(cls, image: str | None, palette: str | None, **others) -> str:
        return picture_fingerprint(image) + palette_state(palette)

    @classmethod
    @override
    def execute(
        cls,
        image: str,
        palette: str,
        reading: str,
        unknown: str,
        tolerance: float,
        offset: int = 0,
        void: str = "",
    ) -> io.NodeOutput:
        with naming(cls):
            labels = read_label_picture(
                picture_path(image),
                load_palette(palette),
                reading=reading,
                unknown=unknown,
                tolerance=tolerance,
                offset=offset,
                void=numbers_in(void),
            )
            return io.NodeOutput(labels, labels.colours())


class AMAdapterLabelMapFromColours(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterLabelMapFromColours",
            display_name="Label Map from Colour Image",
            category=CATEGORY,
            description="Reads a picture in a palette's colours, such as the output of a segmentation node, as a label "
            "map.",
            search_aliases=["segmentation", "colour map", "color map", "semantic map", "AM-Adapter"],
            inputs=[
                io.Image.Input("image", tooltip="One or more pictures in the palette's colours."),
                palette_input(),
                unknown_input("colours", ["error", "nearest", "ignore"]),
                tolerance_input(),
            ],
            outputs=[LabelMapType.Output("labels", tooltip=LABELS_TOOLTIP)],
        )

    @classmethod
    @override
    def fingerprint_inputs(cls, palette: str | None, **others) -> str:
        return palette_state(palette)

    @classmethod
    @override
    def execute(cls, image: Tensor, palette: str, unknown: str, tolerance: float) -> io.NodeOutput:
        with naming(cls):
            return io.NodeOutput(
                LabelMap.from_colours(image, load_palette(palette), unknown=unknown, tolerance=tolerance)
            )


class AMAdapterLabelMapFromIds(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterLabelMapFromIds",
            display_name="Label Map from Id Image",
            category=CATEGORY,
            description="Reads a grey picture whose values 0 to 255 are class ids as a label map.",
            search_aliases=["segmentation", "index map", "train ids", "label ids", "AM-Adapter"],
            inputs=[
                io.Image.Input("image", tooltip="One or more grey pictures: a pixel's value from 0 to 255 is its id."),
                palette_input(),
                unknown_input("ids", ["error", "ignore"]),
                offset_input(),
                void_input(),
            ],
            outputs=[LabelMapType.Output("labels", tooltip=LABELS_TOOLTIP)],
        )

    @classmethod
    @override
    def fingerprint_inputs(cls, palette: str | None, **others) -> str:
        return palette_state(palette)

    @classmethod
    @override
    def execute(cls, image: Tensor, palette: str, unknown: str, offset: int = 0, void: str = "") -> io.NodeOutput:
        with naming(cls):
            return io.NodeOutput(
                LabelMap.from_ids(
                    grey_ids(image), load_palette(palette), unknown=unknown, offset=offset, void=numbers_in(void)
                )
            )


class AMAdapterLabelMapFromMasks(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterLabelMapFromMasks",
            display_name="Label Map from Masks",
            category=CATEGORY,
            description="Puts the masks of classes together into a label map, or paints them over one.",
            search_aliases=["masks to segmentation", "combine masks", "paint classes", "SAM", "AM-Adapter"],
            inputs=[
                io.Mask.Input("masks", tooltip="A batch of masks of one size, such as a SAM node gives."),
                io.String.Input(
                    "classes",
                    multiline=True,
                    default="",
                    tooltip="The class of each mask, in their order: names or ids, one per line or separated by "
                    "commas. A class may come more than once. A single one is the class of all masks.",
                ),
                palette_input(),
                io.String.Input(
                    "background",
                    default="",
                    tooltip="The class of pixels in no mask, by name or id. Empty: they are unlabelled.",
                ),
                io.Combo.Input(
                    "overlap",
                    options=["last", "first", "error"],
                    default="last",
                    tooltip="Which mask wins where several claim a pixel: last lays later masks over earlier ones; "
                    "error stops and names the masks.",
                ),
                LabelMapType.Input(
                    "over",
                    optional=True,
                    tooltip="A label map to paint over, in its own table of classes: pixels in no mask keep their "
                    "class. A chain of these nodes takes one class after another.",
                ),
                io.Boolean.Input(
                    "per_picture",
                    default=False,
                    optional=True,
                    advanced=True,
                    tooltip="The masks belong to a batch of pictures: one class, and one mask for each picture.",
                ),
            ],
            outputs=[LabelMapType.Output("labels", tooltip=LABELS_TOOLTIP)],
        )

    @classmethod
    @override
    def fingerprint_inputs(cls, palette: str | None, **others) -> str:
        return palette_state(palette)

    @classmethod
    @override
    def execute(
        cls,
        masks: Tensor,
        classes: str,
        palette: str,
        background: str,
        overlap: str,
        over: LabelMap | None = None,
        per_picture: bool = False,
    ) -> io.NodeOutput:
        with naming(cls):
            table = load_palette(palette) if over is None else over.palette
            ids = [class_id(name, table) for name in names_in(classes)]
            rest = class_id(background.strip(), table) if background.strip() else None
            return io.NodeOutput(
                paint(masks, ids, table, background=rest, overlap=overlap, over=over, per_picture=per_picture)
            )


NODES: tuple[type[io.ComfyNode], ...] = (
    AMAdapterLoadLabelMap,
    AMAdapterLabelMapFromColours,
    AMAdapterLabelMapFromIds,
    AMAdapterLabelMapFromMasks,
)
