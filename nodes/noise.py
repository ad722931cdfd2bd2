"""Nodes that draw the noise of some classes anew."""

from __future__ import annotations

from typing import Any

from comfy_api.v0_0_2 import io
from typing_extensions import override

from ..amadapter_core.class_names import names_in
from ..amadapter_core.hosts.comfy.class_noise import ClassNoise, with_class_noise
from ..amadapter_core.label_maps import LabelMap
from .errors import naming
from .sockets import LabelMapType

CATEGORY = "AM-Adapter/noise"


def class_inputs() -> list[io.Input]:
    return [
        LabelMapType.Input(
            "labels", tooltip="The label map of the picture to be made: one, or one for each image of the batch."
        ),
        io.String.Input(
            "classes",
            default="",
            placeholder="car, person",
            tooltip="The classes that are drawn anew: names or ids, one per line or separated by commas.",
        ),
        io.Int.Input(
            "seed",
            default=0,
            min=0,
            max=0xFFFFFFFFFFFFFFFF,
            control_after_generate=True,
            tooltip="Of these classes. Another seed gives them other noise; the noise of all others stays as it is.",
        ),
    ]


class AMAdapterClassNoise(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterClassNoise",
            display_name="Class Noise",
            category=CATEGORY,
            description="Draws the initial noise of some classes anew, for SamplerCustomAdvanced: another car in the "
            "same street. Chain several for classes with seeds of their own.",
            search_aliases=["random noise", "seed per class", "re-roll", "variation", "regional seed", "AM-Adapter"],
            inputs=[
                io.Noise.Input("noise", tooltip="What all other classes keep: RandomNoise, or another Class Noise."),
                *class_inputs(),
            ],
            outputs=[io.Noise.Output("noise", tooltip="Connect to SamplerCustomAdvanced or to core's Add Noise.")],
        )

    @classmethod
    @override
    def execute(cls, noise: Any, labels: LabelMap, classes: str, seed: int) -> io.NodeOutput:
        with naming(cls):
            return io.NodeOutput(ClassNoise(noise, labels, names_in(classes), seed))


class AMAdapterClassNoiseModel(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterClassNoiseModel",
            display_name="Class Noise for KSampler",
            category=CATEGORY,
            description="Draws the initial noise of some classes anew in samplers that make their noise themselves, "
            "such as KSampler: another car in the same street.",
            search_aliases=["seed per class", "re-roll", "variation", "regional seed", "AM-Adapter"],
            inputs=[
                io.Model.Input("model", tooltip="A model of pictures, before or after Apply AM-Adapter."),
                *class_inputs(),
            ],
            outputs=[
                io.Model.Output("model", tooltip="The model for the sampler; leave the sampler's seed as it was.")
            ],
        )

    @classmethod
    @override
    def execute(cls, model: Any, labels: LabelMap, classes: str, seed: int) -> io.NodeOutput:
        with naming(cls):
            return io.NodeOutput(with_class_noise(model, labels, names_in(classes), seed))


NODES: tuple[type[io.ComfyNode], ...] = (AMAdapterClassNoise, AMAdapterClassNoiseModel)
