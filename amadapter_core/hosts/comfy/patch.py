"""The MODEL patch: wrappers on a clone of the ModelPatcher, and nothing else.

No weight, module or dictionary of the model changes. The wrappers share one immutable list of applications; what a
run needs lives in a `Run` that exists from the run's start to its end:

* OUTER_SAMPLE makes it and clears it away;
* PREPARE_SAMPLING asks for memory for the exemplars' rows;
* CALC_COND_BATCH tells positive conditionings from others, by the identity of their lists, and where they lie;
* APPLY_MODEL runs the exemplars where they are not known yet, and hands the target's call its attention patches.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ...matching import Mode, Variant
from ...sites import Observer
from .application import Application, Crop
from .control import AREAS, LATENT
from .run import ROLES, Roles, Run
from .sites import sites_of

logger = logging.getLogger(__name__)

KEY = "am_adapter"
OBSERVER = "am_adapter_observer"


def apply(model: Any, application: Application) -> Any:
    """A MODEL that looks at one more exemplar.

    :param model: ModelPatcher; stays as it is.
    :return: a clone of it with the wrappers; applications of an earlier call stay, one softmax decides among all.
    :raises ValueError: when the model has no sites, or not the heads of the matcher, or not the exemplar's channels.
    """
    _check(model, application)
    former = applications_of(model)
    if former and Variant.PUBLISHED in {a.variant for a in (*former, application)}:
        raise ValueError("variant 'published' takes one exemplar alone; use variant 'spatial' to chain several")
    applications = (*former, application)
    patched = unpatched(model)
    managed = [a.matcher for a in applications if a.matcher is not None]
    for a in applications:
        managed += [] if a.exemplar.control is None else a.exemplar.control.get_models()
    patched.set_additional_models(KEY, list(dict.fromkeys(managed)))
    for kind, wrapper in _wrappers(applications).items():
        patched.add_wrapper_with_key(kind, KEY, wrapper)
    return patched


def unpatched(model: Any) -> Any:
    """A clone of a MODEL without what `apply` added."""
    clone = model.clone()
    for kind in (
        WrappersMP.OUTER_SAMPLE,
        WrappersMP.PREPARE_SAMPLING,
        WrappersMP.CALC_COND_BATCH,
        WrappersMP.APPLY_MODEL,
    ):
        clone.remove_wrappers_with_key(kind, KEY)
    clone.remove_additional_models(KEY)
    return clone


def applications_of(model: Any) -> tuple[Application, ...]:
    """What `apply` put on a MODEL, in order."""
    wrappers = model.get_wrappers(WrappersMP.OUTER_SAMPLE, KEY)
    return wrappers[0].applications if wrappers else ()


def observed(model: Any, observer: Observer) -> Any:
    """A clone of a patched MODEL that tells an observer what happens at every site."""
    clone = model.clone()
    clone.model_options["transformer_options"][OBSERVER] = observer
    return clone


def _check(model: Any, application: Application) -> None:
    sites = sites_of(model.get_model_object("diffusion_model"))
    network = application.network
    if application.mode is Mode.LEARNED and sites.heads != [network.heads]:
        raise ValueError(
            f"the matcher was made for {network.heads} attention heads at every site, this model has "
            f"{' and '.join(map(str, sites.heads))}; use mode 'categorical' or 'implicit' with it"
        )
    channels = model.model.latent_format.latent_channels
    found = application.exemplar.exemplar.trajectory.latents.shape[1]
    if found != channels:
        raise ValueError(
            f"{application.name} was encoded to {found} latent channels, this model has {channels}; "
            "encode the exemplar with this model and its VAE"
        )


def _wrappers(applications: Sequence[Application]) -> dict[str, Callable]:
    return {
        WrappersMP.OUTER_SAMPLE: _OuterSample(tuple(applications)),
        WrappersMP.PREPARE_SAMPLING: _prepare_sampling,
        WrappersMP.CALC_COND_BATCH: _calc_cond_batch,
        WrappersMP.APPLY_MODEL: _apply_model,
    }


class _OuterSample:
    def __init__(self, applications: tuple[Application, ...]):
        self.applications = applications

    def __call__(self, executor: Any, noise: Tensor, *args: Any, **kwargs: Any) -> Any:
        options = executor.class_obj.model_options["transformer_options"]
        if not any(a.strength > 0 and any(a.block_weights) and a.start < a.end for a in self.applications):
            return executor(noise, *args, **kwargs)
        _drop_compilation(options)
        run = Run(self.applications, executor.class_obj, noise.shape, options.get(OBSERVER))
        options[KEY] = run
        try:
            return executor(noise, *args, **kwargs)
        finally:
            options.pop(KEY, None)
            run.close()


def _drop_compilation(options: dict[str, Any]) -> None:
    """A compiled UNet does not look at attention patches again; this touches the run's own copy alone."""
    if options.get("wrappers", {}).get(WrappersMP.APPLY_MODEL, {}).pop("torch.compile", None):
        logger.warning("AM-Adapter: the UNet runs uncompiled; torch.compile would miss the exemplar's attention")


def _prepare_sampling(executor: Any, model: Any, noise_shape: Sequence[int], *args: Any, **kwargs: Any) -> Any:
    exemplars = len(applications_of(model))
    return executor(model, [noise_shape[0] + exemplars, *noise_shape[1:]], *args, **kwargs)


def _calc_cond_batch(
    executor: Any, model: Any, conds: list, x_in: Tensor, timestep: Tensor, model_options: dict[str, Any]
) -> Any:
    options = model_options.get("transformer_options", {})
    run = options.get(KEY)
    if run is None:
        return executor(model, conds, x_in, timestep, model_options)
    latent = tuple(x_in.shape[-2:])
    areas = {cond["uuid"]: _area(cond["area"], latent) for part in conds if part for cond in part if cond.get("area")}
    crops: dict[Any, Crop] = {uuid: (area, latent) for uuid, area in areas.items()}
    roles = Roles(_positive(conds, run.guider.conds), crops)
    options = {**options, ROLES: roles, AREAS: areas, LATENT: latent}
    return executor(model, conds, x_in, timestep, {**model_options, "transformer_options": options})


def _positive(conds: Sequence[list | None], known: dict[str, list]) -> list[bool]:
    """Which lists of conditionings are the guider's positive one: the same object, wherever it stands.

    The place in the call says nothing: guiders and guidance nodes pass one, two or three lists in any order. Where
    none of the lists is the guider's (context windows cut them anew), the conditionings' uuids tell.
    """
    positive = known.get("positive")
    if any(part is not None and any(part is given for given in known.values()) for part in conds):
        return [part is not None and part is positive for part in conds]
    uuids = {cond["uuid"] for cond in positive or ()}
    return [bool(part) and all(cond.get("uuid") in uuids for cond in part) for part in conds]


def _area(area: Sequence[int], latent: tuple[int, int]) -> tuple[int, int, int, int]:
    """(height, width, top, left) in cells, as the sampler cuts it."""
    height, width, top, left = area
    return min(latent[0] - top, height), min(latent[1] - left, width), top, left


def _apply_model(
    executor: Any,
    x: Tensor,
    t: Tensor,
    c_concat: Any = None,
    c_crossattn: Any = None,
    control: Any = None,
    transformer_options: dict[str, Any] | None = None,
    **kwargs: Any,
) -> Tensor:
    options = transformer_options or {}
    run: Run | None = options.get(KEY)
    if run is not None:
        options = run.options_for(executor.class_obj, x, t, options) or options
    return executor(x, t, c_concat, c_crossattn, control, options, **kwargs)
