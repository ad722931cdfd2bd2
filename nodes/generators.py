"""Nodes that load clVAE, iPOSE and SCA-DM and make pictures with them."""

from __future__ import annotations

from typing import Any

from comfy_api.v0_0_2 import io, ui
from typing_extensions import override

from ..amadapter_core.class_names import names_in
from ..amadapter_core.generators.scadm import Unconditional
from ..amadapter_core.generators.style_rules import classes_in, seeds_by_class
from ..amadapter_core.hosts.comfy import folders
from ..amadapter_core.hosts.comfy.generators import Drawing, HostGenerator, HostStyles, load, pictures
from ..amadapter_core.label_maps import LabelMap
from .errors import naming
from .sockets import GeneratorType, LabelMapType, PartMapsType, StyleCodesType, SupportsType

CATEGORY = "AM-Adapter/generators"
AUTO = "auto"
MOST_SEED = 0xFFFFFFFFFFFFFFFF

GENERATOR_TOOLTIP = "What Load Semantic Generator gives."
LABELS_TOOLTIP = (
    "What is where, in the class table of the data set that the generator was trained on. It is brought to the "
    "generator's size without interpolation."
)
UNCONDITIONAL_TOOLTIP = (
    "What guidance leads away from. empty_style: the style of no picture, the layout kept, as training shows it. "
    "published: zeros for style and layout, as the authors' code has it. SCA-DM only."
)
RANDOM_CLASSES_TOOLTIP = (
    "Classes that take nothing from the style and are left to chance: names or ids, one per line or separated by "
    "commas. Reference with random parts, for clVAE and SCA-DM."
)


def class_seeds_input(what: str) -> io.String.Input:
    return io.String.Input(
        "class_seeds",
        multiline=True,
        default="",
        placeholder="car = 7\nsky = 3",
        optional=True,
        advanced=True,
        tooltip=f"Seeds of single classes, one per line: car = 7. {what} All others follow the seed.",
    )


def seed_input(tooltip: str) -> io.Int.Input:
    return io.Int.Input("seed", default=0, min=0, max=MOST_SEED, control_after_generate=True, tooltip=tooltip)


def unconditional_input() -> io.Combo.Input:
    return io.Combo.Input(
        "unconditional",
        options=[kind.value for kind in Unconditional],
        default=Unconditional.EMPTY_STYLE.value,
        optional=True,
        advanced=True,
        tooltip=UNCONDITIONAL_TOOLTIP,
    )


class AMAdapterLoadGenerator(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterLoadGenerator",
            display_name="Load Semantic Generator",
            category=CATEGORY,
            description="Loads a clVAE, iPOSE or SCA-DM that makes pictures of label maps; which one it is the file's "
            "content tells.",
            search_aliases=["clVAE", "iPOSE", "SCA-DM", "SPADE", "OASIS", "semantic image synthesis", "AM-Adapter"],
            inputs=[
                io.Combo.Input(
                    "generator_name",
                    options=folders.generators(),
                    tooltip="A file of the semantic_generators folder: clVAE's latest_net_G.pth (with latest_net_E.pth "
                    "beside it), iPOSE's best_EMA.pth, SCA-DM's last.ckpt, or one that was converted here.",
                ),
                io.Combo.Input(
                    "weights",
                    options=[AUTO, "ema", "raw"],
                    tooltip="Which weights: ema is their moving average, raw are those of the last step. auto: iPOSE's "
                    "file as it is, SCA-DM's average where the file has one. clVAE has no average.",
                ),
                io.Int.Input(
                    "width",
                    default=0,
                    min=0,
                    max=4096,
                    step=32,
                    advanced=True,
                    tooltip="Width of the pictures, where the weights cannot tell (clVAE, SCA-DM). 0 for both sides: "
                    "what the file says, else the published size.",
                ),
                io.Int.Input(
                    "height",
                    default=0,
                    min=0,
                    max=4096,
                    step=32,
                    advanced=True,
                    tooltip="Height of the pictures; goes with the width.",
                ),
                io.Combo.Input(
                    "encoder_name",
                    options=[AUTO, *folders.generators()],
                    default=AUTO,
                    optional=True,
                    advanced=True,
                    tooltip="clVAE's encoder, which styles of pictures need. auto: the file of the same name with _E "
                    "for _G beside the generator's.",
                ),
                SupportsType.Input(
                    "supports",
                    optional=True,
                    tooltip="iPOSE's examples of parts, which no checkpoint holds: from Load or Pack Part Supports.",
                ),
            ],
            outputs=[
                GeneratorType.Output("generator", tooltip="Connect to Generate from Label Map and the style nodes."),
                io.String.Output("about", tooltip="Which system it is, its classes and the size of its pictures."),
            ],
        )

    @classmethod
    @override
    def fingerprint_inputs(cls, generator_name: str, encoder_name: str = AUTO, **_: Any) -> str:
        states = (folders.fingerprint(folders.GENERATORS, name) for name in (generator_name, encoder_name))
        return ":".join(states)

    @classmethod
    @override
    def execute(
        cls,
        generator_name: str,
        weights: str,
        width: int,
        height: int,
        encoder_name: str = AUTO,
        supports: Any = None,
    ) -> io.NodeOutput:
        with naming(cls):
            if bool(width) != bool(height):
                raise ValueError(
                    f"width is {width} and height {height}; give both, or 0 for both to leave it to the file"
                )
            generator = load(
                folders.find(folders.GENERATORS, generator_name),
                weights=None if weights == AUTO else weights,
                size=(height, width) if width else None,
                encoder=None if encoder_name == AUTO else folders.find(folders.GENERATORS, encoder_name),
                supports=supports,
            )
        return io.NodeOutput(generator, generator.about, ui=ui.PreviewText(generator.about))


class AMAdapterGenerate(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterGenerate",
            display_name="Generate from Label Map",
            category=CATEGORY,
            description="Makes pictures of label maps with clVAE, iPOSE or SCA-DM. Without a style everything is drawn "
            "at random; with one each class looks as it says.",
            search_aliases=[
                "semantic image synthesis",
                "segmentation to image",
                "clVAE",
                "iPOSE",
                "SCA-DM",
                "AM-Adapter",
            ],
            inputs=[
                GeneratorType.Input("generator", tooltip=GENERATOR_TOOLTIP),
                LabelMapType.Input("labels", tooltip=LABELS_TOOLTIP),
                seed_input("Of all that is drawn at random. The second picture takes a seed one higher, and so on."),
                io.Int.Input(
                    "variants",
                    default=1,
                    min=1,
                    max=64,
                    tooltip="Pictures for each label map. They differ in what the style leaves to chance.",
                ),
                io.Int.Input(
                    "steps", default=50, min=1, max=500, tooltip="Steps of SCA-DM's sampling. The others need none."
                ),
                io.Float.Input(
                    "guidance",
                    default=1.0,
                    min=0.0,
                    max=20.0,
                    step=0.1,
                    tooltip="How strongly SCA-DM's style shows: 1 is the published way and twice as fast as others.",
                ),
                StyleCodesType.Input(
                    "style",
                    optional=True,
                    tooltip="How each class looks (clVAE, SCA-DM); classes it lacks are drawn at random. One for all "
                    "label maps or one for each.",
                ),
                io.String.Input(
                    "random_classes", multiline=True, default="", optional=True, tooltip=RANDOM_CLASSES_TOOLTIP
                ),
                PartMapsType.Input(
                    "parts",
                    optional=True,
                    tooltip="iPOSE's part maps of these label maps. Without them connected pieces of a class are taken "
                    "for its objects.",
                ),
                class_seeds_input("clVAE: the class's code; iPOSE and SCA-DM: the noise where the class is."),
                io.Int.Input(
                    "background_seed",
                    default=-1,
                    min=-1,
                    max=MOST_SEED,
                    control_after_generate=False,
                    optional=True,
                    advanced=True,
                    tooltip="iPOSE: seed of the noise outside of objects, while seed draws that of the whole picture. "
                    "-1 takes seed for both.",
                ),
                unconditional_input(),
                io.Float.Input(
                    "eta",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    optional=True,
                    advanced=True,
                    tooltip="Noise that SCA-DM's sampling adds on its way: 0 is DDIM, 1 is like ancestral sampling.",
                ),
            ],
            outputs=[io.Image.Output("image", tooltip="The pictures; variants of a label map beside each other.")],
        )

    @classmethod
    @override
    def execute(
        cls,
        generator: HostGenerator,
        labels: LabelMap,
        seed: int,
        variants: int,
        steps: int,
        guidance: float,
        style: HostStyles | None = None,
        random_classes: str = "",
        parts: Any = None,
        class_seeds: str = "",
        background_seed: int = -1,
        unconditional: str = Unconditional.EMPTY_STYLE.value,
        eta: float = 0.0,
    ) -> io.NodeOutput:
        with naming(cls):
            drawing = Drawing(
                variants=variants,
                classes=seeds_by_class(class_seeds, labels.palette),
                random_classes=tuple(classes_in(names_in(random_classes), labels.palette)),
                background=None if background_seed < 0 else background_seed,
                steps=steps,
                guidance=guidance,
                eta=eta,
                unconditional=Unconditional(unconditional),
            )
            return io.NodeOutput(pictures(generator, labels, seed, drawing, style, parts))


NODES: tuple[type[io.ComfyNode], ...] = (AMAdapterLoadGenerator, AMAdapterGenerate)
