"""Watching a patched MODEL look at its exemplars, on a picture that is finished."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import comfy.model_management
import comfy.sample
import comfy.samplers
import comfy.utils
import latent_preview
import torch
from torch import Tensor

from ...class_names import class_id
from ...label_maps import LabelMap
from ...match_view import MatchView, Selection, pixels_of, point
from ...matcher import BLOCKS
from ...matching import Bias, Variant
from ...sites import Look, Site
from .application import Application
from .patch import applications_of, observed

LAYERS = {"all": BLOCKS, **{block.split("_")[0]: (block,) for block in BLOCKS}}


class Looking(comfy.samplers.Sampler):
    """Adds noise to the latent at each level and calls the model once there; the latent stays as it is."""

    def sample(
        self,
        model_wrap: Any,
        sigmas: Tensor,
        extra_args: dict[str, Any],
        callback: Callable | None,
        noise: Tensor,
        latent_image: Tensor,
        denoise_mask: Tensor | None = None,
        disable_pbar: bool = False,
    ) -> Tensor:
        sampling = model_wrap.inner_model.model_sampling
        for step, sigma in enumerate(sigmas):
            comfy.model_management.throw_exception_if_processing_interrupted()
            x = sampling.noise_scaling(sigma, noise, latent_image)
            clean = model_wrap(x, sigma.expand(len(x)), **extra_args)
            if callback is not None:
                callback(step, clean, x, len(sigmas))
        return latent_image


def look(
    model: Any,
    positive: list,
    latent: dict[str, Any],
    picture: Tensor,
    *,
    x: float = 0.5,
    y: float = 0.5,
    class_name: str = "",
    start: float = 0.3,
    end: float = 0.8,
    samples: int = 4,
    layers: str = "all",
    index: int = 0,
    seed: int = 0,
) -> MatchView:
    """See what a MODEL takes from where in an exemplar.

    :param model: ModelPatcher with AM-Adapter applied; stays as it is.
    :param positive: CONDITIONING of the target.
    :param latent: LATENT, the finished picture.
    :param picture: [1, H, W, 3] in 0..1, the image that the exemplar was made of; resized to the exemplar's size.
    :param x: the target point whose heat map is wanted, 0..1; y likewise.
    :param class_name: all pixels of this class of the target instead, by name or id.
    :param start: noise levels lie evenly from this share of the sampling on, until `end`; `samples` is their number.
    :param layers: "all", "down", "mid" or "up".
    :param index: which exemplar, in the order in which they were applied, from 0.
    :param seed: of the noise.
    :raises ValueError: when there is no such exemplar or class, or nothing is looked at.
    """
    application = _application(applications_of(model), index)
    if start > end:
        raise ValueError(f"start_percent {start} comes after end_percent {end}; exchange them")
    if len(picture) != 1:
        raise ValueError(f"{len(picture)} exemplar images, expected the one that the exemplar was made of")
    clean = comfy.sample.fix_empty_latent_channels(model, latent["samples"])
    h, w = application.exemplar.exemplar.size
    picture = comfy.utils.common_upscale(picture[..., :3].movedim(-1, 1), 8 * w, 8 * h, "area", "disabled")
    selection = _selection(application.target, class_name, x, y)
    view = MatchView(picture[0].movedim(0, -1), tuple(clean.shape[-2:]), (h, w), selection)

    def observe(
        site: Site, look: Look, q: Tensor, k: Tensor, keys: Sequence[Tensor], bias: Bias | None, scale: float
    ) -> None:
        active = look.matching.active
        # A conditioning with an area covers a part of the picture; where, is not said here.
        if site.block in LAYERS[layers] and index in active and look.target == view.target:
            place = active.index(index)
            grids = site.grid(look.target), site.grid(look.exemplars[place])
            view.add(q, k, keys, bias, scale, place, *grids)

    sampling = model.get_model_object("model_sampling")
    percents = [start + (end - start) * (i + 0.5) / samples for i in range(samples)]
    lowest, highest = float(sampling.sigma_min), float(sampling.sigma_max)
    sigmas = torch.tensor([min(max(float(sampling.percent_to_sigma(p)), lowest), highest) for p in percents])
    guider = comfy.samplers.CFGGuider(observed(model, observe))
    guider.inner_set_conds({"positive": positive})
    noise = comfy.sample.prepare_noise(clean, seed, latent.get("batch_index"))
    guider.sample(noise, clean, Looking(), sigmas, callback=latent_preview.prepare_callback(model, samples), seed=seed)
    if view.empty:
        raise ValueError(
            f"between {start} and {end} nothing is looked at in {application.name} in the layers {layers!r}: it is "
            f"applied from {application.start} to {application.end} at strength {application.strength} with block "
            f"weights {', '.join(map(str, application.block_weights))} (down, mid, up); choose noise levels and layers "
            "within, and a conditioning that covers the whole picture"
        )
    return view


def _application(applications: Sequence[Application], index: int) -> Application:
    if not applications:
        raise ValueError("this model has no exemplar; connect the MODEL that Apply AM-Adapter gives")
    if not 0 <= index < len(applications):
        raise ValueError(
            f"exemplar_index is {index}, the model looks at {len(applications)} exemplars; use 0 to "
            f"{len(applications) - 1}, in the order in which they were applied"
        )
    if applications[index].variant is Variant.PUBLISHED:
        raise ValueError("variant 'published' cannot be viewed; use variant 'spatial' in Apply AM-Adapter")
    return applications[index]


def _selection(target: LabelMap, class_name: str, x: float, y: float) -> Selection:
    if not class_name.strip():
        return point(x, y)
    wanted = class_id(class_name.strip(), target.palette, target.names_present)
    if not bool((target.ids == wanted).any()):
        raise ValueError(
            f"the target has no pixel of class {class_name.strip()!r}; present in its label map: "
            f"{', '.join(target.names_present())}"
        )
    return pixels_of(target.ids, wanted, target.ignore)
