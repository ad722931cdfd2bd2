"""Nodes that get label maps from networks, bring them to other tables, and cut and join them."""

from __future__ import annotations

from comfy_api.v0_0_2 import io
from torch import Tensor
from typing_extensions import override

from ..amadapter_core.class_names import class_id, names_in
from ..amadapter_core.hosts.comfy import mapping_files, segmentation
from ..amadapter_core.hosts.comfy.folders import load_palette, palettes
from ..amadapter_core.label_maps import LabelMap
from ..amadapter_core.label_regions import SURROUNDINGS, cut, merge, region_of
from ..amadapter_core.mappings import changes_in
from .errors import naming
from .label_map_inputs import CATEGORY, LABELS_TOOLTIP, palette_input, palette_state
from .sockets import LabelMapType

OWN_TABLE = "the model's own"
UNLABELLED, CLASS = "unlabelled", "class"


class AMAdapterLabelMapFromSegmentation(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterLabelMapFromSegmentation",
            display_name="Label Map from Segmentation Model",
            category=CATEGORY,
            description="Finds the class of every pixel of a photograph with a segmentation model: SegFormer, "
            "Mask2Former, OneFormer, UperNet.",
            search_aliases=[
                "semantic segmentation",
                "segment image",
                "segformer",
                "mask2former",
                "oneformer",
                "upernet",
                "AM-Adapter",
            ],
            inputs=[
                io.Image.Input("image", tooltip="One or more photographs, of any size."),
                io.Combo.Input(
                    "model_name",
                    options=segmentation.networks(),
                    tooltip="A folder in models/segmentation with a model that was saved by transformers: config.json, "
                    "preprocessor_config.json, model.safetensors. Nothing is downloaded.",
                ),
                io.Combo.Input(
                    "palette",
                    options=[OWN_TABLE, *palettes()],
                    default=OWN_TABLE,
                    tooltip="The table of the label map. The model's own has all its classes under its numbers; to "
                    "another one they are brought by their names, and those it does not have are unlabelled.",
                ),
            ],
            outputs=[
                LabelMapType.Output("labels", tooltip=LABELS_TOOLTIP),
                io.Image.Output("colours", tooltip="The label map in the colours of its table, at the picture's size."),
            ],
        )

    @classmethod
    @override
    def fingerprint_inputs(cls, model_name: str | None, palette: str | None, **others) -> str:
        own = palette in (None, OWN_TABLE)
        return segmentation.state(model_name or "") + ("" if own else palette_state(palette))

    @classmethod
    @override
    def execute(cls, image: Tensor, model_name: str, palette: str) -> io.NodeOutput:
        with naming(cls):
            table = None if palette == OWN_TABLE else load_palette(palette)
            labels = segmentation.load(model_name, table).label_map(image)
            return io.NodeOutput(labels, labels.colours())


class AMAdapterRemapClasses(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterRemapClasses",
            display_name="Remap Classes",
            category=CATEGORY,
            description="Brings a label map from one table of classes to another, such as from Cityscapes to ADE20K.",
            search_aliases=["convert palette", "translate classes", "class mapping", "relabel", "AM-Adapter"],
            inputs=[
                LabelMapType.Input("labels", tooltip="The label map, in any table of classes."),
                palette_input(),
                io.Combo.Input(
                    "table",
                    options=mapping_files.mappings(),
                    default=mapping_files.BUILT_IN,
                    tooltip="What becomes of each class. built-in: between Cityscapes, BDD100K, ADE20K and COCO-Stuff. "
                    "class names: classes of the same name, between any two tables. Own tables are JSON files in "
                    "models/am_adapter/mappings.",
                ),
                io.String.Input(
                    "changes",
                    multiline=True,
                    default="",
                    placeholder="house, tower -> building\nrider -> none\n* -> road",
                    tooltip="Changes to the table, one per line. house, tower -> building: these classes become that "
                    "one. rider -> none: it is left out. * -> road: all classes that would be left out. Names or ids; "
                    "the rest of a line after # is a comment.",
                ),
                io.Combo.Input(
                    "left_out",
                    options=["ignore", "error"],
                    default="ignore",
                    tooltip="What to do with classes in the label map that have no counterpart: ignore makes them "
                    "unlabelled; error stops and names them.",
                ),
            ],
            outputs=[
                LabelMapType.Output("labels", tooltip="The label map in the new table, its parts unchanged."),
                io.Mask.Output("unlabelled", tooltip="1 where the new label map has no class."),
            ],
        )

    @classmethod
    @override
    def fingerprint_inputs(cls, palette: str | None, table: str | None, **others) -> str:
        return palette_state(palette) + mapping_files.state(table)

    @classmethod
    @override
    def execute(cls, labels: LabelMap, palette: str, table: str, changes: str, left_out: str) -> io.NodeOutput:
        with naming(cls):
            mapping = mapping_files.load(table, labels.palette, load_palette(palette))
            mapping = mapping.changed(changes_in(changes, mapping))
            missing = mapping.names_lost(labels)
            if missing and left_out == "error":
                raise ValueError(
                    f"{len(missing)} classes of the label map have no counterpart in {palette!r}: "
                    f"{', '.join(missing)}; map them under changes, or set left_out to ignore"
                )
            return io.NodeOutput(mapping(labels), mapping.lost(labels).float())


class AMAdapterCutRegion(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterCutRegion",
            display_name="Cut Region",
            category=CATEGORY,
            description="Takes classes, or what is under a mask, out of a label map and fills the gap.",
            search_aliases=["remove object", "erase class", "extract region", "edit layout", "AM-Adapter"],
            inputs=[
                LabelMapType.Input("labels", tooltip="The label map to cut from."),
                io.String.Input(
                    "classes",
                    multiline=True,
                    default="",
                    tooltip="The classes to cut out: names or ids, one per line or separated by commas. Empty: every "
                    "class, which is for use with a mask.",
                ),
                io.Combo.Input(
                    "fill",
                    options=[SURROUNDINGS, UNLABELLED, CLASS],
                    default=SURROUNDINGS,
                    tooltip="What takes the region's place: surroundings gives each pixel the class of the nearest "
                    "pixel that stays, unlabelled none, class the one named below.",
                ),
                io.String.Input("fill_class", default="", tooltip="The class for fill = class, by name or id."),
                io.Mask.Input(
                    "mask", optional=True, tooltip="Limits the region, at the label map's size. Without it: everywhere."
                ),
            ],
            outputs=[
                LabelMapType.Output("rest", tooltip="The label map without the region."),
                LabelMapType.Output(
                    "region",
                    tooltip="The region alone, all around it unlabelled. Merge Region lays it over another map.",
                ),
                io.Mask.Output("mask", tooltip="1 in the region, 0 elsewhere."),
            ],
        )

    @classmethod
    @override
    def execute(
        cls, labels: LabelMap, classes: str, fill: str, fill_class: str, mask: Tensor | None = None
    ) -> io.NodeOutput:
        with naming(cls):
            if not names_in(classes) and mask is None:
                raise ValueError("nothing says what to cut out; name classes, or connect a mask")
            if fill == CLASS and not fill_class.strip():
                raise ValueError("fill is class, but fill_class is empty; name the class")
            fills = {SURROUNDINGS: SURROUNDINGS, UNLABELLED: None}
            new = class_id(fill_class.strip(), labels.palette) if fill == CLASS else fills[fill]
            inside = region_of(labels, names_in(classes), mask)
            region, rest = cut(labels, inside, new)
            return io.NodeOutput(rest, region, inside.float())


class AMAdapterMergeRegion(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterMergeRegion",
            display_name="Merge Region",
            category=CATEGORY,
            description="Lays what has a class in one label map over another one, moved and scaled if wanted.",
            search_aliases=["combine label maps", "paste region", "add object", "edit layout", "AM-Adapter"],
            inputs=[
                LabelMapType.Input("labels", tooltip="The label map underneath."),
                LabelMapType.Input(
                    "region",
                    tooltip="What is laid over it, in the same table of classes and of any size; its unlabelled pixels "
                    "cover nothing. From Cut Region, for instance.",
                ),
                io.Int.Input(
                    "x",
                    default=0,
                    min=-16384,
                    max=16384,
                    tooltip="Where the left edge of the region's map goes, in pixels of the map underneath.",
                ),
                io.Int.Input(
                    "y",
                    default=0,
                    min=-16384,
                    max=16384,
                    tooltip="Where the upper edge of the region's map goes, in pixels of the map underneath.",
                ),
                io.Float.Input(
                    "scale",
                    default=1.0,
                    min=0.01,
                    max=100.0,
                    step=0.01,
                    tooltip="How much the region's map is enlarged before it is laid down, without mixing classes.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Limits what is taken of the region, at the size of the region's map.",
                ),
            ],
            outputs=[LabelMapType.Output("labels", tooltip=LABELS_TOOLTIP)],
        )

    @classmethod
    @override
    def execute(
        cls, labels: LabelMap, region: LabelMap, x: int, y: int, scale: float, mask: Tensor | None = None
    ) -> io.NodeOutput:
        with naming(cls):
            return io.NodeOutput(merge(labels, region, mask=mask, top=y, left=x, scale=scale))


NODES: tuple[type[io.ComfyNode], ...] = (
    AMAdapterLabelMapFromSegmentation,
    AMAdapterRemapClasses,
    AMAdapterCutRegion,
    AMAdapterMergeRegion,
)
