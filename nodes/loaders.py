"""Nodes that load weights files."""

from __future__ import annotations

from comfy_api.v0_0_2 import io
from typing_extensions import override

from ..amadapter_core.hosts.comfy import folders, loading
from .errors import naming
from .sockets import MatcherType

CATEGORY = "AM-Adapter/loaders"


class AMAdapterLoadControlNeXt(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterLoadControlNeXt",
            display_name="Load ControlNeXt",
            category=CATEGORY,
            description="Loads the network that makes the picture follow a label map. Use it with the Apply ControlNet "
            "nodes.",
            search_aliases=["controlnext", "label map control", "segmentation controlnet", "AM-Adapter"],
            inputs=[
                io.Combo.Input(
                    "control_net_name",
                    options=folders.files("controlnet"),
                    tooltip="A ControlNeXt file from the controlnet folder (.safetensors or .pth). It is recognised by "
                    "its content; a ControlNet is a different network and is refused.",
                ),
            ],
            outputs=[
                io.ControlNet.Output(
                    "control_net",
                    tooltip="Connect to Apply ControlNet, whose image is the colours of the target's label map, and to "
                    "Encode Exemplar.",
                ),
            ],
        )

    @classmethod
    @override
    def fingerprint_inputs(cls, control_net_name: str) -> str:
        return folders.fingerprint("controlnet", control_net_name)

    @classmethod
    @override
    def execute(cls, control_net_name: str) -> io.NodeOutput:
        with naming(cls):
            return io.NodeOutput(loading.load_control(folders.find("controlnet", control_net_name)))


class AMAdapterLoadMatcher(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterLoadMatcher",
            display_name="Load AM-Adapter Matcher",
            category=CATEGORY,
            description="Loads the learned matcher: the network that decides which part of the exemplar each part of "
            "the picture looks at.",
            search_aliases=["AM-Adapter", "appearance matching", "matcher"],
            inputs=[
                io.Combo.Input(
                    "matcher_name",
                    options=folders.matchers(),
                    tooltip="A matcher file from the am_adapter folder (.safetensors or .pth). It is recognised by its "
                    "content, and says itself which behaviour it was trained with.",
                ),
            ],
            outputs=[
                MatcherType.Output("matcher", tooltip="Connect to Apply AM-Adapter and choose its mode 'learned'."),
            ],
        )

    @classmethod
    @override
    def fingerprint_inputs(cls, matcher_name: str) -> str:
        return folders.fingerprint(folders.FOLDER, matcher_name)

    @classmethod
    @override
    def execute(cls, matcher_name: str) -> io.NodeOutput:
        with naming(cls):
            return io.NodeOutput(loading.load_matcher(folders.find(folders.FOLDER, matcher_name)))


class AMAdapterLoadUNet(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterLoadUNet",
            display_name="Load AM-Adapter UNet",
            category=CATEGORY,
            description="Loads the SD1.5 UNet that was trained together with a ControlNeXt, in any naming, .pth files "
            "included, and refuses what is not one.",
            search_aliases=["AM-Adapter", "load diffusion model", "load unet", "unet"],
            inputs=[
                io.Combo.Input(
                    "unet_name",
                    options=folders.files("diffusion_models"),
                    tooltip="An SD1.5 type UNet from the diffusion_models folder, with diffusers or original names. Of "
                    "accelerate's pair this is model_1, the ControlNeXt is model.",
                ),
                io.Combo.Input(
                    "weight_dtype",
                    options=list(loading.WEIGHT_DTYPES),
                    default="default",
                    tooltip="How the weights are kept in memory. default lets ComfyUI choose; fp8 halves the memory of "
                    "fp16 and costs some quality.",
                ),
            ],
            outputs=[
                io.Model.Output(
                    "model", tooltip="The diffusion model. Text encoder and VAE come from an SD1.5 checkpoint."
                ),
            ],
        )

    @classmethod
    @override
    def fingerprint_inputs(cls, unet_name: str, weight_dtype: str) -> str:
        return f"{folders.fingerprint('diffusion_models', unet_name)}:{weight_dtype}"

    @classmethod
    @override
    def execute(cls, unet_name: str, weight_dtype: str) -> io.NodeOutput:
        with naming(cls):
            return io.NodeOutput(loading.load_unet(folders.find("diffusion_models", unet_name), weight_dtype))


NODES: tuple[type[io.ComfyNode], ...] = (AMAdapterLoadControlNeXt, AMAdapterLoadMatcher, AMAdapterLoadUNet)
