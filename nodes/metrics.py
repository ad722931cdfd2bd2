"""A node that says in figures how near a result comes to its exemplar."""

from __future__ import annotations

import math
from typing import Any

from comfy_api.v0_0_2 import io, ui
from torch import Tensor
from typing_extensions import override

from ..amadapter_core.hosts.comfy.segmenters import NONE, load_segmenter, segmenter_state, segmenters
from ..amadapter_core.label_maps import LabelMap
from ..amadapter_core.metrics.scoring import Score, report, score
from .errors import naming
from .sockets import LabelMapType


class AMAdapterEvaluate(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterEvaluate",
            display_name="Evaluate AM-Adapter",
            category="AM-Adapter/view",
            description="Measures how far the colours and textures of a result lie from those of its exemplar, class "
            "by class, and with a segmenter how well it keeps to its label map.",
            search_aliases=["metrics", "score", "measure", "compare", "colour distance", "delta E", "AM-Adapter"],
            is_output_node=True,
            inputs=[
                io.Image.Input("result", tooltip="The generated pictures."),
                LabelMapType.Input(
                    "target_labels",
                    tooltip="The label map that the results were made from: one, or as many as there are results.",
                ),
                io.Image.Input(
                    "reference",
                    tooltip="What the results should look like: the exemplar, or the true picture if there is one. "
                    "One, or as many as there are results.",
                ),
                LabelMapType.Input(
                    "reference_labels",
                    optional=True,
                    tooltip="The exemplar's label map. Leave it out if the reference is the true picture of the "
                    "target's layout: pixels at the same place are then compared as well.",
                ),
                io.Combo.Input(
                    "segmenter",
                    options=segmenters(),
                    default=NONE,
                    optional=True,
                    tooltip="Says which class each pixel of the results shows, to measure how well they keep to the "
                    "label map: segmenter files of the am_adapter folder, and models of the segmentation folder, whose "
                    "classes are told by name.",
                ),
            ],
            outputs=[
                io.Float.Output(
                    "appearance_error",
                    tooltip="Distance of the mean colours of each class (Delta E), a mean over classes and results. "
                    "Lower is better: below 2 is hardly seen.",
                ),
                io.Float.Output(
                    "texture_error",
                    tooltip="Distance of the textures of each class, whatever their mean colour, likewise. Lower is "
                    "better.",
                ),
                io.String.Output("report", tooltip="Everything measured, per class too, as a table in Markdown."),
                io.Float.Output(
                    "layout_agreement",
                    tooltip="Share of the pixels, 0..1, in which the segmenter sees the class of the target's label "
                    "map. Higher is better; not a number without a segmenter.",
                ),
            ],
        )

    @classmethod
    @override
    def fingerprint_inputs(cls, segmenter: str | None = None, **_: Any) -> str:
        return segmenter_state(segmenter)

    @classmethod
    @override
    def execute(
        cls,
        result: Tensor,
        target_labels: LabelMap,
        reference: Tensor,
        reference_labels: LabelMap | None = None,
        segmenter: str = NONE,
    ) -> io.NodeOutput:
        with naming(cls):
            images, references = (x[..., :3].movedim(-1, 1) for x in (result, reference))
            layout = load_segmenter(segmenter, target_labels)
            scores = score(images, target_labels, references, reference_labels, segmenter=layout)
            colour, texture, agreement = (_mean(scores, measure) for measure in ("colour", "texture", "accuracy"))
            if math.isnan(colour):
                theirs = target_labels if reference_labels is None else reference_labels
                raise ValueError(
                    "result and reference have no class in common that covers 0.5 % of both; the result has "
                    f"{', '.join(target_labels.names_present()) or 'none'}, the reference "
                    f"{', '.join(theirs.names_present()) or 'none'}"
                )
        text = report(scores)
        return io.NodeOutput(colour, texture, text, agreement, ui=ui.PreviewText(text))


def _mean(scores: list[Score], measure: str) -> float:
    """Over the results that have it; nan where none has."""
    values = [value for one in scores if not math.isnan(value := one.values.get(measure, math.nan))]
    return sum(values) / len(values) if values else math.nan


NODES: tuple[type[io.ComfyNode], ...] = (AMAdapterEvaluate,)
