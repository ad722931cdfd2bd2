"""What the tests of the MODEL patch share: a small scene, ways to sample it, and single calls of its denoiser."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from amadapter_core.exemplar import Exemplar, Trajectory
from amadapter_core.label_maps import LabelMap, Palette

Conds = tuple[list, list]
TOLERANCE = 2e-5
"""Of one call in fp32, as a share of the greatest value."""
PUBLISHED_TOLERANCE = 1e-4
"""Of one published call: its bank is rounded to fp16, and where the hosts differ in the seventh digit a value now and
then falls on the other side of a rounding."""
SIZE = (8, 12)
"""(h, w) of the latent, where nothing else is said."""


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def labels(rows: Sequence[Sequence[int]], cell: int = 8) -> LabelMap:
    """A label map of square cells, two pixels for each of the latent's: finer ones only take longer."""
    ids = torch.tensor(rows).repeat_interleave(cell, 0).repeat_interleave(cell, 1)
    return LabelMap(ids[None], Palette.load("cityscapes19"))


STREET = labels([[10, 10, 2], [8, 13, 2]])  # 16 x 24
PARK = labels([[8, 10, 10], [13, 13, 0]])
SQUARE = labels([[10, 2], [8, 13]], cell=16)  # for a latent of 16 x 16
SQUARE_PARK = labels([[8, 10], [13, 2]], cell=16)
TOWER = labels([[10, 2], [13, 8], [13, 8], [0, 8]])  # 32 x 16


def conditions(tokens: int = 77, channels: int = 64, **extra: Any) -> Conds:
    """Positive and negative CONDITIONING."""
    return tuple([[random(1, tokens, channels, seed=seed), dict(extra)]] for seed in (1, 2))


def exemplar(
    given: LabelMap = PARK, seed: int = 5, control: Any = None, context: Tensor | None = None, channels: int = 4
) -> Any:
    """An AM_EXEMPLAR of a random latent with one noise at every level."""
    from amadapter_core.hosts.comfy.exemplar import HostExemplar

    h, w = (side // 2 for side in given.size)
    noise = torch.Generator().manual_seed(seed)
    trajectory = Trajectory.forward_noise(random(1, channels, h, w, seed=seed + 100), noise)
    return HostExemplar(Exemplar(trajectory, given, context, f"exemplar {seed}"), control)


def application(source: Any = None, target: LabelMap = STREET, mode: str = "categorical", **options: Any) -> Any:
    from amadapter_core.hosts.comfy.application import Application
    from amadapter_core.matching import Mode

    return Application(exemplar() if source is None else source, target, Mode(mode), **options)


def patched(model: Any, *applications: Any) -> Any:
    """The MODEL after Apply AM-Adapter; without arguments as `application` makes it."""
    from amadapter_core.hosts.comfy.patch import apply

    for a in applications or (application(),):
        model = apply(model, a)
    return model


def sample(
    model: Any,
    conds: Conds | None = None,
    size: Sequence[int] = SIZE,
    batch: int = 1,
    latent: dict[str, Any] | None = None,
    **options: Any,
) -> Tensor:
    """The stock KSampler: two steps of euler."""
    import nodes

    positive, negative = conds or conditions()
    chosen = dict(seed=7, steps=2, cfg=3.0, sampler_name="euler", scheduler="normal", denoise=1.0) | options
    latent = latent or {"samples": torch.zeros(batch, 4, *size)}
    return nodes.KSampler().sample(model, positive=positive, negative=negative, latent_image=latent, **chosen)[0][
        "samples"
    ]


def cfg_guider(model: Any, conds: Conds, cfg: float = 3.0) -> Any:
    import comfy.samplers

    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(*conds)
    guider.set_cfg(cfg)
    return guider


def sigma_at(model: Any, step: float) -> Tensor:
    return model.get_model_object("model_sampling").sigma(torch.tensor([float(step)]))


def call(
    guider: Any, x: Tensor, step: float, ask: Callable[[Any, Tensor, Tensor, dict], Any], latent=None, mask=None
) -> Any:
    """A sampling run that asks the denoiser once.

    :param x: in sigma space, at the level of timestep `step`.
    :param ask: gets the guider at work, x, sigma and its model_options.
    """
    import comfy.samplers

    answers = []

    class Once(comfy.samplers.Sampler):
        def sample(self, wrap, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None, *_):
            answers.append(ask(wrap, x, sigmas[:1].expand(len(x)), extra_args["model_options"]))
            return x

    clean = torch.zeros_like(x) if latent is None else latent
    sigma = sigma_at(guider.model_patcher, step)
    guider.sample(torch.zeros_like(x), clean, Once(), sigma, denoise_mask=mask, seed=0)
    return answers[0]


def denoise(guider: Any, x: Tensor, step: float = 500, **given: Any) -> Tensor:
    """What the guider says the picture is."""
    return call(guider, x, step, lambda wrap, x, sigma, options: wrap(x, sigma, model_options=options), **given)


def predictions(model: Any, x: Tensor, conds: Conds | None = None, step: float = 500, **given: Any) -> list[Tensor]:
    """The denoised pictures of positive and negative, of one call with both."""
    import comfy.samplers

    def ask(wrap: Any, x: Tensor, sigma: Tensor, options: dict) -> list[Tensor]:
        both = [wrap.conds["positive"], wrap.conds["negative"]]
        return comfy.samplers.calc_cond_batch(wrap.inner_model, both, x, sigma, options)

    return call(cfg_guider(model, conds or conditions()), x, step, ask, **given)


def noisy(size: Sequence[int] = SIZE, batch: int = 1, step: float = 500, seed: int = 3) -> Tensor:
    """A latent in sigma space at a timestep of Stable Diffusion's schedule."""
    return random(batch, 4, *size, seed=seed) + _sigma(step) * random(batch, 4, *size, seed=seed + 1)


def _sigma(step: float) -> float:
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    alpha = float((1 - betas).cumprod(0)[int(step)])
    return ((1 - alpha) / alpha) ** 0.5


def relative(a: Tensor, b: Tensor) -> float:
    """Greatest difference, as a share of the greatest value."""
    return float((a - b).abs().max() / b.abs().max())


def at(source: Any, sigma: Tensor) -> Tensor:
    """An AM_EXEMPLAR's latent at a noise level."""
    return source.exemplar.trajectory.at(float(sigma))


def differs(result: Tensor, *others: Tensor, by: float = 1e-3) -> bool:
    """Finite, and far from each of the others."""
    return bool(result.isfinite().all()) and all(relative(result, other) > by for other in others)


def same(result: Tensor, other: Tensor, tolerance: float = TOLERANCE) -> bool:
    return relative(result, other) <= tolerance


def itself(x: Tensor, step: float, model: Any, target: LabelMap = STREET, control: Any = None, clean=None) -> Any:
    """An exemplar whose latent at a timestep is a given target."""
    from amadapter_core.hosts.comfy.exemplar import HostExemplar

    sigma = sigma_at(model, step)
    clean = torch.zeros_like(x) if clean is None else clean
    trajectory = Trajectory(torch.cat([torch.zeros(1), sigma]), torch.cat([clean, x]))
    return HostExemplar(Exemplar(trajectory, target), control)


def truth(
    tiny: ModuleType,
    x: Tensor,
    applications: Sequence[Any],
    step: float = 500,
    conds: Conds | None = None,
    target_control: Any = None,
    controls: Sequence[Any] = (),
) -> list[Tensor]:
    """What `predictions` must be, computed by the host on diffusers with the twin UNet.

    :param target_control: LabelControl of the target; `controls` of the exemplars.
    """
    from diffusers import DDIMScheduler

    from amadapter_core.hosts.diffusers.augmentation import Augmentation, Source
    from amadapter_core.hosts.diffusers.noise import NoiseSchedule
    from amadapter_core.matching import SpatialMatching

    schedule = NoiseSchedule(DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"))
    (positive, _), (negative, _) = (cond[0] for cond in conds or conditions())
    matching = SpatialMatching.of([a.pairing(a.strength, None) for a in applications])
    controls = list(controls) or [None] * len(applications)
    sources = []
    for a, control in zip(applications, controls, strict=True):
        own = a.exemplar.exemplar.context
        sources.append(Source(a.exemplar.exemplar, positive if own is None else own, control))
    unet, alpha, rows = tiny.tiny_diffusers_unet(), schedule.alpha(step), len(x)
    context = torch.cat([negative.expand(rows, -1, -1), positive.expand(rows, -1, -1)])
    with Augmentation(unet, schedule, matching, sources, target_control=target_control).attached():
        eps = unet(torch.cat([x, x]) * alpha**0.5, step, context).sample
    sigma = ((1 - alpha) / alpha) ** 0.5
    without, within = (x - sigma * part for part in eps.chunk(2))
    return [within, without]


class Forwards:
    """Counts a MODEL's calls of its UNet while it is there: the exemplars' and all others.

    :param exemplars: sigma of each exemplar's pass.
    :param arguments: what each exemplar's pass was given.
    """

    def __init__(self, model: Any, monkeypatch: Any):
        self.exemplars: list[float] = []
        self.arguments: list[dict] = []
        self.targets = 0
        forward = model.model._apply_model

        def counted(x: Tensor, t: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            options = kwargs.get("transformer_options") or (args[3] if len(args) > 3 else {})
            # The sampler's calls carry the wrappers; an exemplar's pass has a dictionary of its own.
            if "wrappers" in options or "sample_sigmas" in options:
                self.targets += 1
            else:
                self.exemplars.append(float(t[0]))
                self.arguments.append(kwargs)
            return forward(x, t, *args, **kwargs)

        monkeypatch.setattr(model.model, "_apply_model", counted)
