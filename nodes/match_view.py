"""A node that shows where the model looks in an exemplar."""

from __future__ import annotations

from typing import Any

from comfy_api.v0_0_2 import io
from torch import Tensor
from typing_extensions import override

from ..amadapter_core.hosts.comfy.looking import LAYERS, look
from ..amadapter_core.match_pictures import enlarge, heat_picture, warped_picture
from .errors import naming


class AMAdapterMatchView(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterMatchView",
            display_name="Match View",
            category="AM-Adapter/view",
            description="Shows where a finished picture looks in its exemplar: a heat map for a point or a class, the "
            "exemplar moved to the picture's layout, and how much of it was used where.",
            search_aliases=["attention map", "heat map", "correspondence", "visualise matching", "debug", "AM-Adapter"],
            inputs=[
                io.Model.Input("model", tooltip="The MODEL from Apply AM-Adapter, as the sampler got it."),
                io.Conditioning.Input("positive", tooltip="The positive conditioning, as the sampler got it."),
                io.Latent.Input("latent", tooltip="What the sampler gave: the finished picture, not decoded."),
                io.Image.Input(
                    "exemplar_image",
                    tooltip="The image that was encoded, only to be drawn. It is resized plainly to the exemplar's "
                    "size; if Encode Exemplar cropped it, connect a picture cropped alike.",
                ),
                io.Float.Input(
                    "x",
                    default=0.5,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="The point in the target whose heat map is drawn: 0 is left, 1 is right.",
                ),
                io.Float.Input(
                    "y", default=0.5, min=0.0, max=1.0, step=0.01, tooltip="The same point: 0 is top, 1 is bottom."
                ),
                io.String.Input(
                    "class_name",
                    default="",
                    tooltip="A class of the target's label map, by name or id: draw the heat map of all its pixels "
                    "instead of the point's. Empty uses the point.",
                ),
                io.Float.Input(
                    "start_percent",
                    default=0.3,
                    min=0.0,
                    max=1.0,
                    step=0.001,
                    tooltip="From which part of the sampling on to look; early parts decide the layout.",
                ),
                io.Float.Input(
                    "end_percent",
                    default=0.8,
                    min=0.0,
                    max=1.0,
                    step=0.001,
                    tooltip="Until which part of the sampling.",
                ),
                io.Int.Input(
                    "samples",
                    default=4,
                    min=1,
                    max=50,
                    tooltip="How many noise levels between the two are averaged; each costs one call of the model.",
                ),
                io.Combo.Input(
                    "layers",
                    options=list(LAYERS),
                    tooltip="Which blocks of the UNet: down, mid, up, or all of them.",
                ),
                io.Int.Input(
                    "exemplar_index",
                    default=0,
                    min=0,
                    max=63,
                    tooltip="Which exemplar, if several are chained: 0 is the one applied first.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFFFFFFFFFF,
                    control_after_generate=False,
                    tooltip="Of the noise that is added to the finished picture.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "heat_map",
                    tooltip="The exemplar in grey; the brighter and yellower a place, the more it is looked at.",
                ),
                io.Image.Output(
                    "warped",
                    tooltip="The exemplar's colours where the target uses them; grey where it hardly looks at it.",
                ),
                io.Mask.Output(
                    "share", tooltip="How much of its attention each place of the target gives to the exemplar, 0..1."
                ),
            ],
        )

    @classmethod
    @override
    def execute(
        cls,
        model: Any,
        positive: list,
        latent: dict[str, Any],
        exemplar_image: Tensor,
        x: float,
        y: float,
        class_name: str,
        start_percent: float,
        end_percent: float,
        samples: int,
        layers: str,
        exemplar_index: int,
        seed: int,
    ) -> io.NodeOutput:
        with naming(cls):
            view = look(
                model,
                positive,
                latent,
                exemplar_image,
                x=x,
                y=y,
                class_name=class_name,
                start=start_percent,
                end=end_percent,
                samples=samples,
                layers=layers,
                index=exemplar_index,
                seed=seed,
            )
        size = tuple(8 * side for side in view.target)
        return io.NodeOutput(
            heat_picture(view.picture, view.heat),
            warped_picture(view.warped, view.share, size),
            enlarge(view.share, size, "nearest-exact"),
        )


NODES: tuple[type[io.ComfyNode], ...] = (AMAdapterMatchView,)
