"""A node that hands SCA-DM over to ComfyUI's own samplers."""

from __future__ import annotations

from comfy_api.v0_0_2 import io
from typing_extensions import override

from ..amadapter_core.class_names import names_in
from ..amadapter_core.generators.scadm import Unconditional
from ..amadapter_core.generators.style_rules import classes_in
from ..amadapter_core.hosts.comfy.generators import HostGenerator, HostStyles, sampling_parts
from ..amadapter_core.label_maps import LabelMap
from .errors import naming
from .generators import CATEGORY, LABELS_TOOLTIP, RANDOM_CLASSES_TOOLTIP, unconditional_input
from .sockets import GeneratorType, LabelMapType, StyleCodesType


class AMAdapterSCADMForSampler(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterSCADMForSampler",
            display_name="SCA-DM for KSampler",
            category=CATEGORY,
            description="Gives an SCA-DM in the form that ComfyUI's own samplers take: model, conditioning, VAE and an "
            "empty latent.",
            search_aliases=["SCA-DM", "ksampler", "sampler", "diffusion model", "AM-Adapter"],
            inputs=[
                GeneratorType.Input("generator", tooltip="An SCA-DM from Load Semantic Generator."),
                LabelMapType.Input("labels", tooltip=LABELS_TOOLTIP),
                StyleCodesType.Input(
                    "style",
                    optional=True,
                    tooltip="How each class looks; classes it lacks are left to chance. One for all label maps or one "
                    "for each.",
                ),
                io.String.Input(
                    "random_classes", multiline=True, default="", optional=True, tooltip=RANDOM_CLASSES_TOOLTIP
                ),
                unconditional_input(),
            ],
            outputs=[
                io.Model.Output("model", tooltip="For KSampler. The published way is ddim with ddim_uniform at cfg 1."),
                io.Conditioning.Output("positive", tooltip="Style and label map."),
                io.Conditioning.Output("negative", tooltip="What a cfg above 1 leads away from."),
                io.Vae.Output("vae", tooltip="For VAE Decode and VAE Encode."),
                io.Latent.Output("latent", tooltip="An empty latent of the right size, one for each label map."),
            ],
        )

    @classmethod
    @override
    def execute(
        cls,
        generator: HostGenerator,
        labels: LabelMap,
        style: HostStyles | None = None,
        random_classes: str = "",
        unconditional: str = Unconditional.EMPTY_STYLE.value,
    ) -> io.NodeOutput:
        with naming(cls):
            left_out = classes_in(names_in(random_classes), labels.palette)
            return io.NodeOutput(*sampling_parts(generator, labels, style, left_out, Unconditional(unconditional)))


NODES: tuple[type[io.ComfyNode], ...] = (AMAdapterSCADMForSampler,)
