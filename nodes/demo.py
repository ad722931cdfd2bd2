"""A node that loads the demonstration family, which comes along."""

from __future__ import annotations

from comfy_api.v0_0_2 import io
from typing_extensions import override

from ..amadapter_core.demo.files import MATCHERS, Files, shipped
from ..amadapter_core.hosts.comfy import demo
from .errors import naming
from .sockets import MatcherType


class AMAdapterLoadDemo(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterLoadDemo",
            display_name="Load AM-Adapter Demo",
            category="AM-Adapter/loaders",
            description="Loads the small model that comes along: everything the method needs, trained on drawn street "
            "scenes, for small pictures in seconds, without a download.",
            search_aliases=["AM-Adapter", "demonstration", "example model", "tiny model", "load checkpoint"],
            inputs=[
                io.Combo.Input(
                    "matcher_variant",
                    options=list(MATCHERS),
                    tooltip="Which matcher: spatial compares classes in two dimensions (recommended), published was "
                    "trained as the authors' code does it.",
                ),
            ],
            outputs=[
                io.Model.Output("model", tooltip="The diffusion model; it knows street scenes and nothing else."),
                io.Clip.Output("clip", tooltip="A text encoder that knows some words of time of day and weather."),
                io.Vae.Output("vae", tooltip="The VAE of this model, with latents of its own kind."),
                io.ControlNet.Output(
                    "control_net",
                    tooltip="ControlNeXt for label maps in Cityscapes' colours: connect to Apply ControlNet and to "
                    "Encode Exemplar.",
                ),
                MatcherType.Output("matcher", tooltip="Connect to Apply AM-Adapter and choose its mode 'learned'."),
            ],
            is_dev_only=not shipped(),
        )

    @classmethod
    @override
    def fingerprint_inputs(cls, matcher_variant: str) -> str:
        try:
            return Files().state()
        except FileNotFoundError:  # said when the node runs
            return ""

    @classmethod
    @override
    def execute(cls, matcher_variant: str) -> io.NodeOutput:
        with naming(cls):
            return io.NodeOutput(
                demo.load_model(),
                demo.load_clip(),
                demo.load_vae(),
                demo.load_demo_control(),
                demo.load_demo_matcher(matcher_variant),
            )


NODES: tuple[type[io.ComfyNode], ...] = (AMAdapterLoadDemo,)
