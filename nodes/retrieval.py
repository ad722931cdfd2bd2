"""Nodes that find exemplars in a folder by the target's label map."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from comfy_api.v0_0_2 import io, ui
from torch import Tensor
from typing_extensions import override

from ..amadapter_core.class_names import names_in
from ..amadapter_core.datasets import KINDS
from ..amadapter_core.hosts.comfy import indexes, segmentation
from ..amadapter_core.hosts.comfy.folders import palettes
from ..amadapter_core.label_maps import LabelMap
from ..amadapter_core.retrieval.finding import NEAR_DUPLICATE, Finder, Wishes
from ..amadapter_core.retrieval.overlap import PENALTY
from ..amadapter_core.retrieval.sheets import contact_sheet
from .errors import naming
from .sockets import ExemplarIndexType, LabelMapType

CATEGORY = "AM-Adapter/retrieval"
_SHOWN = 10
_INDEX = "Knows the layout of every pair in a folder: connect to Retrieve Exemplars."


class AMAdapterBuildIndex(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterBuildIndex",
            display_name="Build Exemplar Index",
            category=CATEGORY,
            description="Reads a folder of pictures and label maps once, so that exemplars can be found in it. Run "
            "again, it reads only what has changed; cancelled, it goes on where it was.",
            search_aliases=["retrieval", "search", "data set", "dataset", "folder", "BDD100K", "AM-Adapter"],
            is_output_node=True,
            inputs=[
                io.String.Input(
                    "name", default="my_exemplars", tooltip="Of the file in models/exemplar_indexes, without ending."
                ),
                io.String.Input(
                    "folder",
                    default="",
                    tooltip="The data set: a folder in ComfyUI's input folder, or a full path.",
                ),
                io.Combo.Input(
                    "kind",
                    options=list(KINDS),
                    tooltip="How it is unpacked. folder: images/ and labels/ with files of the same names.",
                ),
                io.String.Input(
                    "split", default="", tooltip="train, val or the like; empty takes all that have label maps."
                ),
                io.Combo.Input(
                    "palette",
                    options=[indexes.OWN_TABLE, *palettes()],
                    default=indexes.OWN_TABLE,
                    tooltip="The table of class names and ids. A plain folder has none of its own: choose one for it.",
                ),
                io.Combo.Input(
                    "reading",
                    options=list(indexes.READINGS),
                    tooltip="Whether label maps in a plain folder hold class ids or colours.",
                ),
                io.Combo.Input(
                    "segmenter",
                    options=[indexes.NONE, *segmentation.networks()],
                    default=indexes.NONE,
                    tooltip="For pictures without label maps: a model in models/segmentation, which draws those that a "
                    "plain folder lacks into its labels/.",
                ),
                io.ClipVision.Input(
                    "clip_vision",
                    optional=True,
                    tooltip="Keeps what the pictures look like as well, so that they can be asked for by a picture.",
                ),
            ],
            outputs=[
                ExemplarIndexType.Output("index", tooltip=_INDEX),
                io.String.Output("report", tooltip="How many pairs it holds, and what was left out and why."),
            ],
        )

    @classmethod
    @override
    def fingerprint_inputs(cls, folder: str | None = None, **_: Any) -> str:
        return indexes.data_state(folder)

    @classmethod
    @override
    def execute(
        cls,
        name: str,
        folder: str,
        kind: str,
        split: str,
        palette: str,
        reading: str,
        segmenter: str,
        clip_vision: Any = None,
    ) -> io.NodeOutput:
        with naming(cls):
            built = indexes.Order(name, folder, kind, split, palette, reading, segmenter).build(clip_vision)
        count, broken = len(built.index), list(built.index.broken.items())
        lines = [
            f"{count} pairs: {built.read} read now, {count - built.read} known, {built.dropped} gone",
            *([f"{len(broken)} left out:"] if broken else []),
            *(f"- {place}: {reason}" for place, reason in broken[:_SHOWN]),
            *([f"- and {len(broken) - _SHOWN} more"] if len(broken) > _SHOWN else []),
        ]
        text = "\n".join(lines)
        return io.NodeOutput(Finder(built.index), text, ui=ui.PreviewText(text))


class AMAdapterLoadIndex(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterLoadIndex",
            display_name="Load Exemplar Index",
            category=CATEGORY,
            description="Opens an index that was built before, here or on the command line.",
            search_aliases=["retrieval", "search", "data set", "AM-Adapter"],
            inputs=[
                io.Combo.Input("index_name", options=indexes.names(), tooltip="A file in models/exemplar_indexes."),
                io.String.Input(
                    "folder",
                    default="",
                    tooltip="Where the data set lies, if it or the index was moved: a folder in ComfyUI's input "
                    "folder, or a full path. Empty: where it was.",
                ),
            ],
            outputs=[ExemplarIndexType.Output("index", tooltip=_INDEX)],
        )

    @classmethod
    @override
    def fingerprint_inputs(cls, index_name: str | None, folder: str | None) -> str:
        return indexes.state(index_name, folder)

    @classmethod
    @override
    def execute(cls, index_name: str, folder: str) -> io.NodeOutput:
        with naming(cls):
            return io.NodeOutput(indexes.load(index_name, folder))


class AMAdapterRetrieveExemplars(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterRetrieveExemplars",
            display_name="Retrieve Exemplars",
            category=CATEGORY,
            description="Finds the exemplars whose layouts fit a target best: its classes, in about its places. Shows "
            "them on a contact sheet.",
            search_aliases=["retrieval", "search", "nearest", "find exemplar", "similar layout", "AM-Adapter"],
            is_output_node=True,
            inputs=[
                ExemplarIndexType.Input("index", tooltip="From Build Exemplar Index or Load Exemplar Index."),
                LabelMapType.Input(
                    "target_labels", tooltip="The target's label map. Of a batch each has exemplars of its own."
                ),
                io.Int.Input("count", default=4, min=1, max=1000, tooltip="How many exemplars for each target."),
                io.String.Input(
                    "must_have",
                    default="",
                    tooltip="Names of classes that each exemplar must show, separated by commas: car, person.",
                ),
                io.Float.Input(
                    "penalty",
                    default=PENALTY,
                    min=0.0,
                    max=10.0,
                    step=0.05,
                    tooltip="What a class of the target costs that an exemplar does not show, times its weight. 0 "
                    "looks at overlap alone.",
                ),
                io.Float.Input(
                    "near_duplicate",
                    default=NEAR_DUPLICATE,
                    min=0.0,
                    max=1.01,
                    step=0.01,
                    tooltip="Leaves out exemplars whose layout is the target's own: this share of it, or more, is "
                    "equal. 1.01 leaves out none.",
                ),
                io.Float.Input(
                    "diversity",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="0 takes the best; towards 1 exemplars are more and more unlike each other.",
                ),
                io.Float.Input(
                    "variation",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="0 takes the best; above, others are drawn by chance, which fit about so much worse.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=2**32 - 1,
                    control_after_generate=False,
                    tooltip="Of that chance; without variation it changes nothing.",
                ),
                io.Float.Input(
                    "appearance_share",
                    default=0.25,
                    min=0.001,
                    max=1.0,
                    step=0.001,
                    round=0.001,
                    advanced=True,
                    tooltip="With appearance: the share of the index that looks most like it, and is searched.",
                ),
                io.String.Input(
                    "retrieval_json",
                    default="",
                    advanced=True,
                    tooltip="A file that lists exemplars by target, as published for BDD100K, and decides instead of "
                    "the search: a file in ComfyUI's input folder, or a full path.",
                ),
                io.String.Input(
                    "target_name",
                    default="target",
                    advanced=True,
                    tooltip="What the target is called in retrieval_json, and in the text that comes out.",
                ),
                io.Image.Input(
                    "appearance",
                    optional=True,
                    tooltip="One or more pictures of what exemplars should look like: one at night finds others at "
                    "night. Their layout does not matter.",
                ),
                io.ClipVision.Input(
                    "clip_vision", optional=True, tooltip="With appearance: the one that the index was built with."
                ),
            ],
            outputs=[
                io.Image.Output(
                    "images", is_output_list=True, tooltip="A list of the exemplars' pictures, the first choice first."
                ),
                LabelMapType.Output("labels", is_output_list=True, tooltip="A list of their label maps."),
                io.Float.Output(
                    "scores",
                    is_output_list=True,
                    tooltip="A list of how well they fit: 1 is the target's own layout, below 0 hardly anything fits.",
                ),
                io.String.Output("names", is_output_list=True, tooltip="A list of their names in the data set."),
                io.String.Output(
                    "found_json", tooltip="The names as text in the form of retrieval_json, to be saved as a file."
                ),
            ],
        )

    @classmethod
    @override
    def fingerprint_inputs(cls, retrieval_json: str | None = None, **_: Any) -> str:
        return indexes.file_state(retrieval_json)

    @classmethod
    @override
    def execute(
        cls,
        index: Finder,
        target_labels: LabelMap,
        count: int,
        must_have: str,
        penalty: float,
        near_duplicate: float,
        diversity: float,
        variation: float,
        seed: int,
        appearance_share: float,
        retrieval_json: str,
        target_name: str,
        appearance: Tensor | None = None,
        clip_vision: Any = None,
    ) -> io.NodeOutput:
        with naming(cls):
            wishes = Wishes(
                count,
                tuple(names_in(must_have)),
                penalty,
                near_duplicate,
                diversity,
                variation,
                seed,
                appearance=indexes.appearance(index, appearance, clip_vision),
                appearance_share=appearance_share,
            )
            batch = target_labels.batch
            called = [target_name] if batch == 1 else [f"{target_name}_{number:05}" for number in range(batch)]
            answers, sheets = [], []
            for number, name in enumerate(called):
                target = target_labels.changed(lambda ids, row=number: ids[row : row + 1])
                answers.append(indexes.retrieve(index, target, wishes, retrieval_json, name))
                sheets.append(_sheet(target, answers[-1]))
        found = [one for answer in answers for one in answer.found]
        listed = {name: [one.name for one in answer.found] for name, answer in zip(called, answers, strict=True)}
        return io.NodeOutput(
            [image for answer in answers for image in answer.images],
            [labels for answer in answers for labels in answer.labels],
            [one.score for one in found],
            [one.name for one in found],
            json.dumps(listed, indent=1, ensure_ascii=False),
            ui=ui.PreviewImage(sheets, cls=cls),
        )


def _sheet(target: LabelMap, answer: indexes.Answer) -> Tensor:
    """[H, W, 3] float 0..1."""
    exemplars = [
        (one.name, one.score, (image[0] * 255).round().byte().numpy(), labels)
        for one, image, labels in zip(answer.found, answer.images, answer.labels, strict=True)
    ]
    return torch.from_numpy(np.array(contact_sheet(target, exemplars[:_SHOWN]))).float() / 255


NODES: tuple[type[io.ComfyNode], ...] = (AMAdapterBuildIndex, AMAdapterLoadIndex, AMAdapterRetrieveExemplars)
