"""The two hosts check each other: the same weights and inputs in ComfyUI and on diffusers give the same numbers."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from amadapter_core.exemplar import Exemplar, Trajectory, sigma_of
from amadapter_core.label_maps import LabelMap, Palette
from amadapter_core.matching import Mode, PublishedMatching, SpatialMatching, Variant

pytestmark = pytest.mark.host

LATENT = (16, 16)
GUIDANCE = 5.0
TOLERANCE = 1e-4
ROUNDED_TOLERANCE = 5e-4
"""Of published runs: where the hosts differ in the seventh digit, a value of the bank now and then falls on the other
side of its rounding to fp16."""


def scene(seed: int) -> LabelMap:
    ids = torch.randint(0, 5, (1, 4, 4), generator=torch.Generator().manual_seed(seed))
    return LabelMap(ids.repeat_interleave(32, 1).repeat_interleave(32, 2), Palette.load("cityscapes19"))


def noise(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def twins(tiny) -> SimpleNamespace:
    """One set of weights in both hosts, one exemplar, one target, one prompt and a negative one."""
    from diffusers import DDIMScheduler

    from amadapter_core.hosts.comfy.control import LabelMapControl, control_for
    from amadapter_core.hosts.comfy.exemplar import HostExemplar
    from amadapter_core.hosts.diffusers import LabelControl

    scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1)
    target, labels = scene(1), scene(2)
    network = tiny.tiny_controlnext(0)
    control = LabelMapControl(network)
    exemplar = Exemplar(Trajectory.forward_noise(noise(3, 1, 4, *LATENT), torch.Generator().manual_seed(4)), labels)
    size = tuple(8 * side for side in LATENT)
    return SimpleNamespace(
        model=tiny.tiny_model(0),
        unet=tiny.tiny_diffusers_unet(0),
        scheduler=scheduler,
        matcher=tiny.tiny_matcher_patcher(0),
        target=target,
        labels=labels,
        exemplar=exemplar,
        host_exemplar=HostExemplar(exemplar, control_for(control, labels.colours(), 1.0)),
        hint=control_for(control, target.colours(), 1.0),
        controls=[LabelControl.of(network, x, size) for x in (target, labels)],
        positive=noise(5, 1, 77, tiny.CONTEXT),
        negative=noise(6, 1, 77, tiny.CONTEXT),
    )


def matching(twins: SimpleNamespace, mode: Mode, variant: Variant) -> SpatialMatching | PublishedMatching:
    """As the diffusers host takes it."""
    matcher = twins.matcher.model
    if variant is Variant.PUBLISHED:
        size = tuple(8 * side for side in LATENT)
        pictures = [x.picture(size) for x in (twins.target, twins.labels)]
        return PublishedMatching.from_colours(*pictures, mode, matcher=matcher)
    return SpatialMatching(twins.target.ids, [twins.labels.ids], mode, matcher=matcher)


def in_comfyui(twins: SimpleNamespace, mode: Mode, variant: Variant, exemplar: Exemplar, sigmas: Tensor, x: Tensor):
    """An euler run from `x` at the first sigma down to the last."""
    import comfy.samplers

    from amadapter_core.hosts.comfy.application import Application
    from amadapter_core.hosts.comfy.exemplar import HostExemplar
    from amadapter_core.hosts.comfy.patch import apply

    host_exemplar = HostExemplar(exemplar, twins.host_exemplar.control)
    application = Application(host_exemplar, twins.target, mode, variant=variant, matcher=twins.matcher)
    guider = comfy.samplers.CFGGuider(apply(twins.model, application))
    guider.set_conds(*([[text, {"control": twins.hint}]] for text in (twins.positive, twins.negative)))
    guider.set_cfg(GUIDANCE)
    # An empty latent is filled with sigma * noise, at the highest sigma with sqrt(1 + sigma^2) * noise.
    sampler = comfy.samplers.ksampler("euler")
    highest = sampler.max_denoise(SimpleNamespace(inner_model=twins.model.model), sigmas)
    scale = (1 + sigmas[0] ** 2) ** 0.5 if highest else sigmas[0]
    latent = guider.sample(x / scale, torch.zeros_like(x), sampler, sigmas, disable_pbar=True, seed=0)
    return twins.model.model.process_latent_in(latent)


def on_diffusers(twins: SimpleNamespace, mode: Mode, timesteps: list[int], sigmas: Tensor, x: Tensor) -> Tensor:
    """The same run with the stock UNet and `Augmentation`, Euler's steps written out."""
    from amadapter_core.hosts.diffusers import Augmentation, NoiseSchedule, Source

    source = Source(twins.exemplar, twins.positive, twins.controls[1])
    augmentation = Augmentation(
        twins.unet,
        NoiseSchedule(twins.scheduler),
        matching(twins, mode, Variant.SPATIAL),
        [source],
        target_control=twins.controls[0],
    )
    context = torch.cat([twins.negative, twins.positive])
    with augmentation.attached():
        for t, sigma, to in zip(timesteps, sigmas, sigmas[1:], strict=False):
            rows = (x / (1 + sigma**2) ** 0.5).expand(2, -1, -1, -1)
            negative, positive = twins.unet(rows, t, encoder_hidden_states=context, return_dict=False)[0].chunk(2)
            x = x + (to - sigma) * (negative + GUIDANCE * (positive - negative))
    return x


def relative(found: Tensor, expected: Tensor) -> float:
    """Largest difference, in units of the largest expected value where that is over 1."""
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1))


def levels(twins: SimpleNamespace, timesteps: list[int]) -> Tensor:
    return twins.model.get_model_object("model_sampling").sigmas[timesteps].float()


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("timestep", [981, 501, 21])
def test_one_denoiser_call(twins: SimpleNamespace, mode: Mode, timestep: int) -> None:
    sigma = levels(twins, [timestep])
    to_noise = torch.cat([sigma, sigma - 1])  # a step of length one: what changes is the predicted noise
    x = noise(7, 1, 4, *LATENT) * sigma
    here = in_comfyui(twins, mode, Variant.SPATIAL, twins.exemplar, to_noise, x)
    there = on_diffusers(twins, mode, [timestep], to_noise, x)
    assert (here - there).abs().max() <= TOLERANCE
    assert (here - x).abs().max() > 0.1


@pytest.mark.parametrize("mode", list(Mode))
def test_four_euler_steps(twins: SimpleNamespace, mode: Mode) -> None:
    timesteps = [999, 749, 499, 249]
    sigmas = torch.cat([levels(twins, timesteps), torch.zeros(1)])
    x = noise(7, 1, 4, *LATENT) * (1 + sigmas[0] ** 2) ** 0.5
    here = in_comfyui(twins, mode, Variant.SPATIAL, twins.exemplar, sigmas, x)
    there = on_diffusers(twins, mode, timesteps, sigmas, x)
    assert relative(here, there) <= TOLERANCE


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize("mode", list(Mode))
def test_four_published_steps(
    twins: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, mode: Mode, rounded: bool
) -> None:
    """The published loop denoises the exemplar along; where it goes is given to ComfyUI as the trajectory."""
    from amadapter_core.hosts.comfy import recording
    from amadapter_core.hosts.diffusers import branches
    from amadapter_core.hosts.diffusers.published import PublishedLoop

    if not rounded:
        for host in (recording, branches):
            monkeypatch.setattr(host, "rounded_as_published", lambda hidden: hidden)

    loop = PublishedLoop(twins.unet, twins.scheduler.config, 4, GUIDANCE, matching(twins, mode, Variant.PUBLISHED))
    alphas = twins.scheduler.alphas_cumprod
    x, exemplar = noise(7, 1, 4, *LATENT), noise(8, 1, 4, *LATENT)
    steps = list(loop.denoise(x, exemplar, torch.cat([twins.negative, twins.positive]), *twins.controls))
    way = torch.cat([exemplar, *(step.exemplar_latent for step in steps)])
    nodes = [*loop.timesteps, 0]
    scaled = torch.stack([latent / alphas[t] ** 0.5 for t, latent in zip(nodes, way, strict=True)])
    trajectory = Trajectory(torch.stack([sigma_of(alphas[t]) for t in nodes]).float().flip(0), scaled.flip(0))
    sigmas = levels(twins, nodes)
    here = in_comfyui(
        twins, mode, Variant.PUBLISHED, Exemplar(trajectory, twins.labels), sigmas, x * (1 + sigmas[0] ** 2) ** 0.5
    )
    tolerance = ROUNDED_TOLERANCE if rounded else TOLERANCE
    assert relative(here * alphas[0] ** 0.5, steps[-1].latent) <= tolerance


def test_what_is_compared_is_the_method(twins: SimpleNamespace) -> None:
    """The modes differ from each other by far more than the hosts do."""
    sigmas = torch.cat([levels(twins, [999, 749, 499, 249]), torch.zeros(1)])
    x = noise(7, 1, 4, *LATENT) * (1 + sigmas[0] ** 2) ** 0.5
    results = [
        in_comfyui(twins, mode, variant, twins.exemplar, sigmas, x)
        for mode, variant in (
            (Mode.IMPLICIT, Variant.SPATIAL),
            (Mode.CATEGORICAL, Variant.SPATIAL),
            (Mode.LEARNED, Variant.SPATIAL),
            (Mode.CATEGORICAL, Variant.PUBLISHED),
        )
    ]
    for i, one in enumerate(results):
        for other in results[i + 1 :]:
            assert relative(one, other) > 100 * TOLERANCE
