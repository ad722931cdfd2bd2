"""Nodes that make, keep and fetch exemplars."""

from __future__ import annotations

from typing import Any

from comfy_api.v0_0_2 import io, ui
from torch import Tensor
from typing_extensions import override

from ..amadapter_core.exemplar import Exemplar
from ..amadapter_core.hosts.comfy import folders
from ..amadapter_core.hosts.comfy.encoding import METHODS, RESIZE, encode_exemplar
from ..amadapter_core.hosts.comfy.exemplar import HostExemplar, control_of
from ..amadapter_core.label_maps import LabelMap
from .errors import naming
from .sockets import ExemplarType, LabelMapType

CATEGORY = "AM-Adapter/exemplar"
TARGETS_PROMPT, THIS_CONDITIONING = "target's prompt", "this conditioning"

_CONTROL_NET_TOOLTIP = (
    "The ControlNet of the exemplar's own pass, ControlNeXt or a segmentation ControlNet: connect the one that the "
    "target uses. It gets the colours of the exemplar's label map."
)
_CONTROL_STRENGTH_TOOLTIP = "Strength of that ControlNet in the exemplar's pass; use the strength the target has."


class AMAdapterEncodeExemplar(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterEncodeExemplar",
            display_name="Encode Exemplar",
            category=CATEGORY,
            description="Turns an image and its label map into an exemplar that Apply AM-Adapter can look at. Runs "
            "once; seeds and targets reuse it.",
            search_aliases=["DDIM inversion", "reference image", "appearance", "AM-Adapter", "style reference"],
            inputs=[
                io.Model.Input("model", tooltip="The model that will look at the exemplar, with its LoRAs."),
                io.Vae.Input("vae", tooltip="The VAE of that model."),
                io.Image.Input("image", tooltip="One image whose appearance is to be carried over."),
                LabelMapType.Input("labels", tooltip="The label map of this image, of the same aspect."),
                io.Conditioning.Input(
                    "conditioning",
                    tooltip="Prompt of the inversion. An empty prompt is the published choice; a description of the "
                    "image works as well. Forward noise does not read it unless prompt_of_pass says so.",
                ),
                io.Combo.Input(
                    "method",
                    options=list(METHODS),
                    tooltip="inversion follows the image's own path to noise (one model call per step, faithful); "
                    "forward noise adds random noise at every level (free, looser).",
                ),
                io.Int.Input(
                    "steps",
                    default=20,
                    min=1,
                    max=999,
                    tooltip="Levels of the inversion. The sampler may use any other number of steps.",
                ),
                io.Combo.Input(
                    "resize",
                    options=list(RESIZE),
                    tooltip="keep uses the image's own size, cut to multiples of 8; crop fills width x height and cuts "
                    "the rest off; stretch ignores the aspect. The label map goes along.",
                ),
                io.Int.Input("width", default=512, min=64, max=8192, step=8, tooltip="Pixels, for crop and stretch."),
                io.Int.Input("height", default=512, min=64, max=8192, step=8, tooltip="Pixels, for crop and stretch."),
                io.Combo.Input(
                    "prompt_of_pass",
                    options=[TARGETS_PROMPT, THIS_CONDITIONING],
                    tooltip="What the exemplar's pass beside the target is conditioned on: the target's positive "
                    "prompt (published), or the conditioning connected here.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFFFFFFFFFF,
                    control_after_generate=False,
                    tooltip="Of forward noise.",
                ),
                io.Float.Input(
                    "control_strength", default=1.0, min=0.0, max=10.0, step=0.01, tooltip=_CONTROL_STRENGTH_TOOLTIP
                ),
                io.Boolean.Input(
                    "control_in_inversion",
                    default=False,
                    advanced=True,
                    tooltip="Use the ControlNet during the inversion as well; the published code does not.",
                ),
                io.String.Input("name", default="exemplar", tooltip="For messages and saved files."),
                io.ControlNet.Input("control_net", optional=True, tooltip=_CONTROL_NET_TOOLTIP),
            ],
            outputs=[
                ExemplarType.Output("exemplar", tooltip="Connect to Apply AM-Adapter, or to Save Exemplar."),
            ],
        )

    @classmethod
    @override
    def execute(
        cls,
        model: Any,
        vae: Any,
        image: Tensor,
        labels: LabelMap,
        conditioning: list,
        method: str,
        steps: int,
        resize: str,
        width: int,
        height: int,
        prompt_of_pass: str,
        seed: int,
        control_strength: float,
        control_in_inversion: bool,
        name: str,
        control_net: Any = None,
    ) -> io.NodeOutput:
        with naming(cls):
            exemplar = encode_exemplar(
                model,
                vae,
                image,
                labels,
                conditioning,
                method=method,
                steps=steps,
                resize=resize,
                width=width,
                height=height,
                own_prompt=prompt_of_pass == THIS_CONDITIONING,
                seed=seed,
                control_net=control_net,
                control_strength=control_strength,
                control_in_inversion=control_in_inversion,
                name=name.strip() or "exemplar",
            )
        return io.NodeOutput(exemplar)


class AMAdapterSaveExemplar(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterSaveExemplar",
            display_name="Save Exemplar",
            category=CATEGORY,
            description="Writes an exemplar to the am_adapter model folder: trajectory, label map with its classes, "
            "conditioning. No file is ever overwritten.",
            search_aliases=["export exemplar", "AM-Adapter", "save reference"],
            inputs=[
                ExemplarType.Input("exemplar", tooltip="What Encode Exemplar made. Its ControlNet is not saved."),
                io.String.Input(
                    "filename_prefix",
                    default="exemplar",
                    tooltip="Name of the file, may begin with sub folders; a number is added.",
                ),
            ],
            outputs=[io.String.Output("file", tooltip="The name under which Load Exemplar lists it.")],
            is_output_node=True,
        )

    @classmethod
    @override
    def execute(cls, exemplar: HostExemplar, filename_prefix: str) -> io.NodeOutput:
        with naming(cls):
            path, name = folders.new_file(filename_prefix)
            exemplar.exemplar.save(path)
        return io.NodeOutput(name, ui=ui.PreviewText(f"saved as {name}"))


class AMAdapterLoadExemplar(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterLoadExemplar",
            display_name="Load Exemplar",
            category=CATEGORY,
            description="Reads an exemplar that Save Exemplar wrote: no inversion, no image needed. It belongs to the "
            "model family it was made with.",
            search_aliases=["import exemplar", "AM-Adapter", "load reference"],
            inputs=[
                io.Combo.Input(
                    "exemplar_name", options=folders.exemplars(), tooltip="A file of the am_adapter model folder."
                ),
                io.Float.Input(
                    "control_strength", default=1.0, min=0.0, max=10.0, step=0.01, tooltip=_CONTROL_STRENGTH_TOOLTIP
                ),
                io.ControlNet.Input("control_net", optional=True, tooltip=_CONTROL_NET_TOOLTIP),
            ],
            outputs=[ExemplarType.Output("exemplar", tooltip="Connect to Apply AM-Adapter.")],
        )

    @classmethod
    @override
    def fingerprint_inputs(cls, exemplar_name: str, control_strength: float, control_net: Any = None) -> str:
        return folders.fingerprint(folders.FOLDER, exemplar_name)

    @classmethod
    @override
    def execute(cls, exemplar_name: str, control_strength: float, control_net: Any = None) -> io.NodeOutput:
        with naming(cls):
            exemplar = Exemplar.load(folders.find(folders.FOLDER, exemplar_name))
            control = control_of(exemplar.labels, control_net, control_strength)
        return io.NodeOutput(HostExemplar(exemplar, control))


NODES: tuple[type[io.ComfyNode], ...] = (AMAdapterEncodeExemplar, AMAdapterSaveExemplar, AMAdapterLoadExemplar)
