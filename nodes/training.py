"""Nodes that train on the user's own pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from comfy_api.v0_0_2 import io, ui
from PIL import Image
from torch import Tensor
from typing_extensions import override

from ..amadapter_core.hosts.comfy.folders import palettes
from ..amadapter_core.hosts.comfy.training import (
    EXEMPLARS,
    TRAINED,
    VARIANTS,
    Order,
    Trained,
    train_matcher,
    train_structure,
)
from ..amadapter_core.hosts.comfy.training_pairs import READINGS, PairSource, folder_state
from ..amadapter_core.label_maps import LabelMap
from .errors import naming
from .sockets import LabelMapType, LossMapType, MatcherType

CATEGORY = "AM-Adapter/training"
_FILES = "Everything else of the run lies in output/am_adapter."


def _models() -> list[io.Input]:
    return [
        io.Model.Input("model", tooltip="A model of the Stable Diffusion 1.x family, LoRAs included."),
        io.Clip.Input("clip", tooltip="The CLIP of that model; prompts are encoded once."),
        io.Vae.Input("vae", tooltip="The VAE of that model."),
    ]


def _data() -> list[io.Input]:
    return [
        io.String.Input(
            "folder",
            default="",
            tooltip="Instead of connected pictures: a folder in ComfyUI's input folder, or a full path, with images/ "
            "and labels/ of the same names. Pictures of one sub-folder share their appearance.",
        ),
        io.Combo.Input(
            "palette",
            options=palettes(),
            default="cityscapes19",
            tooltip="Of the label maps in the folder: the table of class names, ids and colours.",
        ),
        io.Combo.Input(
            "reading", options=list(READINGS), tooltip="Whether label maps in the folder hold class ids or colours."
        ),
        io.String.Input(
            "prompt",
            default="",
            tooltip="Of all pictures that captions.json in the folder has no prompt for.",
        ),
        *(
            io.Int.Input(
                side, default=512, min=64, max=2048, step=64, tooltip="Of the training pictures, in pixels; cut out."
            )
            for side in ("width", "height")
        ),
    ]


def _course(rate: float) -> list[io.Input]:
    return [
        io.Int.Input(
            "steps",
            default=1000,
            min=1,
            max=1_000_000,
            tooltip="Of the whole run. The same name again with more steps goes on where the run stopped.",
        ),
        io.Float.Input(
            "learning_rate", default=rate, min=1e-7, max=1.0, step=1e-7, tooltip="Step width of the optimiser (AdamW)."
        ),
        io.Int.Input("batch_size", default=4, min=1, max=1024, tooltip="Pictures per step."),
        io.Int.Input(
            "seed",
            default=0,
            min=0,
            max=2**32 - 1,
            control_after_generate=False,
            tooltip="Of order, crops and noise. A run with another seed is another run: give it another name.",
        ),
    ]


def _technicalities() -> list[io.Input]:
    return [
        io.Boolean.Input(
            "augment",
            default=True,
            advanced=True,
            tooltip="Random crops and, for the matcher, changes of colours, the same for exemplar and target. Off: "
            "each picture is encoded once, cut at its centre, and steps are faster.",
        ),
        io.Boolean.Input(
            "one_at_a_time",
            default=True,
            advanced=True,
            tooltip="Compute the pictures of a batch one after the other: the same result in least memory.",
        ),
        io.Boolean.Input(
            "checkpointing",
            default=True,
            advanced=True,
            tooltip="Gradient checkpointing: much less memory, about a third more time.",
        ),
        io.Int.Input(
            "samples_every",
            default=250,
            min=0,
            max=1_000_000,
            advanced=True,
            tooltip="Steps between two sample pictures in the preview; 0 makes none.",
        ),
    ]


def _pairs() -> list[io.Input]:
    return [
        io.Image.Input(
            "images",
            optional=True,
            tooltip="Your pictures: a batch, or a list of any sizes. All of them count as one appearance.",
        ),
        LabelMapType.Input(
            "labels", optional=True, tooltip="Their label maps, one for each picture in the same order."
        ),
    ]


def _loss_output() -> io.Output:
    return LossMapType.Output(
        "loss_map", tooltip="The loss from the run's first step on; connect to core's Plot Loss Graph."
    )


def _order(images: Sequence[Tensor] | None, labels: Sequence[LabelMap] | None, given: dict[str, list]) -> Order:
    """What the inputs, each of them a list, say."""
    one = {name: values[0] for name, values in given.items()}
    pairs = PairSource(images or (), labels or (), one["folder"], one["palette"], one["reading"])
    return Order(
        one["name"],
        one["model"],
        one["clip"],
        one["vae"],
        pairs,
        one["prompt"],
        (one["height"], one["width"]),
        one["steps"],
        one["learning_rate"],
        one["batch_size"],
        one["seed"],
        one["augment"],
        one["one_at_a_time"],
        one["checkpointing"],
        one["samples_every"],
    )


def _loss_map(trained: Trained) -> dict[str, list[float]]:
    """As core's Train LoRA has it."""
    return {"loss": trained.losses}


def _image(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(picture)).float()[None] / 255


class AMAdapterTrainMatcher(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterTrainMatcher",
            display_name="Train Matcher",
            category=CATEGORY,
            description="Trains the matcher on your own pairs of picture and label map; everything else stays as it "
            "is. Cancel keeps what was learned, and the same name goes on from there.",
            search_aliases=["training", "finetune", "fine-tune", "stage 2", "adapter", "AM-Adapter"],
            is_input_list=True,
            is_output_node=True,
            inputs=[
                *_models(),
                io.ControlNet.Input("control_net", tooltip="The ControlNeXt that the model is used with."),
                io.String.Input(
                    "name",
                    default="my_matcher",
                    tooltip=f"Of the run, and of the file in models/am_adapter. {_FILES}",
                ),
                *_data(),
                *_course(1e-3),
                io.Combo.Input(
                    "variant",
                    options=list(VARIANTS),
                    tooltip="spatial compares classes in two dimensions (recommended); published trains as the "
                    "authors' code does, on square pictures.",
                ),
                io.Combo.Input(
                    "exemplar",
                    options=list(EXEMPLARS),
                    tooltip="view: another crop of the target's picture, any pictures will do. scene: another picture "
                    "of the same appearance.",
                ),
                *_technicalities(),
                *_pairs(),
                MatcherType.Input(
                    "matcher", optional=True, tooltip="A matcher to begin with, to adapt it to your pairs."
                ),
            ],
            outputs=[
                MatcherType.Output("matcher", tooltip="Connect to Apply AM-Adapter and choose its mode 'learned'."),
                _loss_output(),
                io.String.Output("file", tooltip="Full path of the trained matcher; its loader lists it."),
            ],
        )

    @classmethod
    @override
    def fingerprint_inputs(cls, folder: list[str] | None = None, **_: Any) -> str:
        return folder_state(folder[0]) if folder else ""

    @classmethod
    @override
    def execute(
        cls,
        images: list[Tensor] | None = None,
        labels: list[LabelMap] | None = None,
        matcher: list | None = None,
        **given: list,
    ) -> io.NodeOutput:
        with naming(cls):
            start = matcher[0] if matcher else None
            settings = (given[name][0] for name in ("control_net", "variant", "exemplar"))
            made, trained = train_matcher(_order(images, labels, given), *settings, start)
        preview = ui.PreviewImage(_image(trained.picture), cls=cls)
        return io.NodeOutput(made, _loss_map(trained), str(trained.files["matcher"]), ui=preview)


class AMAdapterTrainStructure(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterTrainStructure",
            display_name="Train Structure",
            category=CATEGORY,
            description="Trains ControlNeXt, with a LoRA on the model if wanted, on your own pairs of picture and "
            "label map, so that pictures follow label maps. Cancel keeps what was learned.",
            search_aliases=["training", "finetune", "LoRA", "controlnext", "stage 1", "AM-Adapter"],
            is_input_list=True,
            is_output_node=True,
            inputs=[
                *_models(),
                io.String.Input(
                    "name",
                    default="my_structure",
                    tooltip=f"Of the run, and of the files in models/controlnet and models/loras. {_FILES}",
                ),
                *_data(),
                *_course(1e-4),
                io.Combo.Input(
                    "train",
                    options=list(TRAINED),
                    tooltip="lora: ControlNeXt and a LoRA on the model's attention. controlnext: that alone, the model "
                    "stays as it is.",
                ),
                io.Int.Input("rank", default=16, min=1, max=256, tooltip="Of the LoRA: how much it can hold."),
                *_technicalities(),
                *_pairs(),
                io.ControlNet.Input(
                    "control_net", optional=True, tooltip="A ControlNeXt to begin with; none begins with a new one."
                ),
            ],
            outputs=[
                io.Model.Output("model", tooltip="The model with the trained LoRA; without one, as it came."),
                io.ControlNet.Output(
                    "control_net", tooltip="The trained ControlNeXt: for Apply ControlNet and Train Matcher."
                ),
                _loss_output(),
                io.String.Output("files", tooltip="Full paths of the trained files, one per line."),
            ],
        )

    @classmethod
    @override
    def fingerprint_inputs(cls, folder: list[str] | None = None, **_: Any) -> str:
        return folder_state(folder[0]) if folder else ""

    @classmethod
    @override
    def execute(
        cls,
        images: list[Tensor] | None = None,
        labels: list[LabelMap] | None = None,
        control_net: list | None = None,
        **given: list,
    ) -> io.NodeOutput:
        with naming(cls):
            start = control_net[0] if control_net else None
            settings = (given[name][0] for name in ("train", "rank"))
            model, control, trained = train_structure(_order(images, labels, given), start, *settings)
        files = "\n".join(map(str, trained.files.values()))
        preview = ui.PreviewImage(_image(trained.picture), cls=cls)
        return io.NodeOutput(model, control, _loss_map(trained), files, ui=preview)


NODES: tuple[type[io.ComfyNode], ...] = (AMAdapterTrainMatcher, AMAdapterTrainStructure)
