"""Nodes for style codes: what each class looks like, apart from any layout."""

from __future__ import annotations

from comfy_api.v0_0_2 import io, ui
from torch import Tensor
from typing_extensions import override

from ..amadapter_core.class_names import names_in
from ..amadapter_core.generators.noise import Seeds
from ..amadapter_core.generators.style_rules import classes_in, layers_in, seeds_by_class, seeds_by_layer
from ..amadapter_core.hosts.comfy import folders
from ..amadapter_core.hosts.comfy.generators import HostGenerator, HostStyles, random_styles, styles_of
from ..amadapter_core.hosts.comfy.styles import load_styles, mixed_styles, save_styles
from ..amadapter_core.label_maps import LabelMap
from .errors import naming
from .generators import GENERATOR_TOOLTIP, class_seeds_input, seed_input
from .sockets import GeneratorType, LabelMapType, StyleCodesType

CATEGORY = "AM-Adapter/generators"
LAYERS_TOOLTIP = "clVAE: 0 is the finest, 4 the coarsest. SCA-DM: 0 is the coarsest, 4 the finest."


def style_output(what: str) -> io.Output:
    return StyleCodesType.Output("style", tooltip=f"{what} Connect to Generate from Label Map or Mix Styles.")


class AMAdapterStyleFromImage(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterStyleFromImage",
            display_name="Style from Image",
            category=CATEGORY,
            description="Reads from a picture how each class in it looks, as style codes of clVAE or SCA-DM.",
            search_aliases=["style codes", "reference", "encode style", "clVAE", "SCA-DM", "AM-Adapter"],
            inputs=[
                GeneratorType.Input("generator", tooltip=GENERATOR_TOOLTIP),
                io.Image.Input(
                    "image", tooltip="The picture, brought to the generator's size; several give as many styles."
                ),
                LabelMapType.Input("labels", tooltip="The label map of this picture, in the generator's classes."),
            ],
            outputs=[style_output("One code for each class of the picture.")],
        )

    @classmethod
    @override
    def execute(cls, generator: HostGenerator, image: Tensor, labels: LabelMap) -> io.NodeOutput:
        with naming(cls):
            return io.NodeOutput(styles_of(generator, image, labels))


class AMAdapterRandomStyle(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterRandomStyle",
            display_name="Random Style",
            category=CATEGORY,
            description="Draws style codes at random, or draws single classes and layers of a style anew. With SCA-DM "
            "these are the codes of no picture: the noise decides.",
            search_aliases=["random style", "reroll", "multimodal", "latent code", "clVAE", "AM-Adapter"],
            inputs=[
                GeneratorType.Input("generator", tooltip=GENERATOR_TOOLTIP),
                LabelMapType.Input("labels", tooltip="The label map whose classes get codes."),
                seed_input("Of the codes. The second label map takes a seed one higher, and so on."),
                io.String.Input(
                    "classes",
                    default="",
                    tooltip="Which classes are drawn: names or ids, separated by commas. Empty: all of the label map.",
                ),
                io.String.Input(
                    "layers",
                    default="",
                    tooltip=f"Which layers are drawn, separated by commas; the others stay as in style. Empty: all. "
                    f"{LAYERS_TOOLTIP}",
                ),
                StyleCodesType.Input(
                    "style", optional=True, tooltip="What the other classes and layers are taken from."
                ),
                class_seeds_input("Drawing one class anew leaves the others as they are."),
                io.String.Input(
                    "layer_seeds",
                    multiline=True,
                    default="",
                    placeholder="4 = 7",
                    optional=True,
                    advanced=True,
                    tooltip=f"Seeds of single layers, one per line: 4 = 7. {LAYERS_TOOLTIP}",
                ),
            ],
            outputs=[style_output("Random codes.")],
        )

    @classmethod
    @override
    def execute(
        cls,
        generator: HostGenerator,
        labels: LabelMap,
        seed: int,
        classes: str,
        layers: str,
        style: HostStyles | None = None,
        class_seeds: str = "",
        layer_seeds: str = "",
    ) -> io.NodeOutput:
        with naming(cls):
            count = getattr(generator.core, "layers", 0)
            seeds = Seeds(seed, seeds_by_class(class_seeds, labels.palette), seeds_by_layer(layer_seeds, count))
            chosen = classes_in(names_in(classes), labels.palette)
            return io.NodeOutput(random_styles(generator, labels, seeds, chosen, layers_in(layers), style))


class AMAdapterMixStyles(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterMixStyles",
            display_name="Mix Styles",
            category=CATEGORY,
            description="Puts styles together class by class and layer by layer: from A, from B, something in between, "
            "or left to chance.",
            search_aliases=["interpolate styles", "swap styles", "style mixing", "clVAE", "SCA-DM", "AM-Adapter"],
            inputs=[
                StyleCodesType.Input("style_a", tooltip="The style that everything starts from."),
                io.Float.Input(
                    "weight",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="How far everything that no rule names goes from A (0) to B (1).",
                ),
                io.String.Input(
                    "rules",
                    multiline=True,
                    default="",
                    placeholder="car = B\nsky = 0.5\nbuilding @0, 1 = B\nroad = random",
                    tooltip="One rule per line. car = B: this class as in B. sky = 0.5: halfway. building @0, 1 = B: "
                    "these layers of it. road = random: left to chance. * = 0.3: all classes that no rule names. "
                    f"shared = B: clVAE's code of the whole picture. Names or ids. Layers of {LAYERS_TOOLTIP}",
                ),
                StyleCodesType.Input("style_b", optional=True, tooltip="The other style, of the same generator."),
            ],
            outputs=[style_output("The styles put together.")],
        )

    @classmethod
    @override
    def execute(
        cls, style_a: HostStyles, weight: float, rules: str, style_b: HostStyles | None = None
    ) -> io.NodeOutput:
        with naming(cls):
            return io.NodeOutput(mixed_styles(style_a, style_b, weight, rules))


class AMAdapterSaveStyle(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterSaveStyle",
            display_name="Save Style Codes",
            category=CATEGORY,
            description="Writes style codes, with the names of their classes, to the semantic_generators folder. No "
            "file is ever overwritten.",
            search_aliases=["export style", "save style", "AM-Adapter"],
            inputs=[
                StyleCodesType.Input("style", tooltip="The style to keep; several are written to a file each."),
                io.String.Input(
                    "filename_prefix",
                    default="styles/style",
                    tooltip="Name of the file, may begin with sub folders; a number is added.",
                ),
            ],
            outputs=[io.String.Output("file", tooltip="The names for Load Style Codes, one per line.")],
            is_output_node=True,
        )

    @classmethod
    @override
    def execute(cls, style: HostStyles, filename_prefix: str) -> io.NodeOutput:
        with naming(cls):
            names = "\n".join(save_styles(style, filename_prefix))
        return io.NodeOutput(names, ui=ui.PreviewText(f"saved as {names}"))


class AMAdapterLoadStyle(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterLoadStyle",
            display_name="Load Style Codes",
            category=CATEGORY,
            description="Reads style codes that Save Style Codes wrote. They fit the generator they were made with.",
            search_aliases=["import style", "load style", "AM-Adapter"],
            inputs=[
                io.Combo.Input(
                    "style_name", options=folders.styles(), tooltip="A file of the semantic_generators folder."
                ),
            ],
            outputs=[style_output("The style as it was saved.")],
        )

    @classmethod
    @override
    def fingerprint_inputs(cls, style_name: str) -> str:
        return folders.fingerprint(folders.GENERATORS, style_name)

    @classmethod
    @override
    def execute(cls, style_name: str) -> io.NodeOutput:
        with naming(cls):
            return io.NodeOutput(load_styles(folders.find(folders.GENERATORS, style_name)))


NODES: tuple[type[io.ComfyNode], ...] = (
    AMAdapterStyleFromImage,
    AMAdapterRandomStyle,
    AMAdapterMixStyles,
    AMAdapterSaveStyle,
    AMAdapterLoadStyle,
)
