"""The patched MODEL under everything that ComfyUI samples with.

What it computes is held against the host on diffusers with a UNet of equal weights, on single calls of the denoiser,
where nothing can drift.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from amadapter_core.label_maps import LabelMap
from amadapter_core.routing_rules import RoutingRules
from tests.host.comfy.scene import (
    PARK,
    PUBLISHED_TOLERANCE,
    SIZE,
    SQUARE,
    SQUARE_PARK,
    STREET,
    TOLERANCE,
    TOWER,
    Forwards,
    application,
    at,
    cfg_guider,
    conditions,
    denoise,
    differs,
    exemplar,
    labels,
    noisy,
    patched,
    predictions,
    random,
    relative,
    same,
    sample,
    sigma_at,
    truth,
)

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("inference")]


@pytest.fixture
def options_of(matcher: Any) -> Any:
    """What a mode needs beside its name."""
    return lambda mode: {"mode": mode, **({"matcher": matcher} if mode == "learned" else {})}


# The truth of the other host


@pytest.mark.parametrize("mode", ["implicit", "categorical", "learned"])
@pytest.mark.parametrize("step", [999, 250])
def test_it_computes_what_the_diffusers_host_computes(tiny, model, options_of, mode: str, step: int) -> None:
    a, x = application(**options_of(mode)), noisy(step=step)
    result, plain = predictions(patched(model, a), x, step=step), predictions(model, x, step=step)
    for mine, theirs in zip(result, truth(tiny, x, [a], step), strict=True):
        assert same(mine, theirs)
    assert differs(result[0], plain[0])


def variations(matcher: Any) -> dict[str, Callable[[], list]]:
    half = torch.zeros(1, 16, 24)
    half[..., 12:] = 1.0
    fading = torch.linspace(0, 1, 96).expand(1, 64, 96)
    rules = RoutingRules.parse("car = 0.5\nsky -> road, car\nbuilding -> none\n* = 2")
    pair = RoutingRules.pair(half, 1 - half, strength=1.5)
    tall = exemplar(TOWER, seed=8)
    return {
        "strength": lambda: [application(strength=0.3)],
        "keep_mass": lambda: [application(keep_mass=True)],
        "penalty": lambda: [application(penalty=2.0)],
        "another size and aspect": lambda: [application(tall)],
        "another size and aspect, learned": lambda: [application(tall, mode="learned", matcher=matcher)],
        "a prompt of its own": lambda: [application(exemplar(context=random(1, 77, 64, seed=9)))],
        "a mask over half": lambda: [application(mask=half, mode="implicit")],
        "a mask that fades": lambda: [application(mask=fading)],
        "class rules": lambda: [application(rules=rules)],
        "a region pair": lambda: [application(rules=pair)],
        "both, learned": lambda: [application(rules=rules.joined(pair), mode="learned", matcher=matcher)],
        "two exemplars": lambda: [application(mode="implicit"), application(tall, mode="implicit", strength=0.5)],
        "two modes": lambda: [application(mode="learned", matcher=matcher), application(tall, strength=2.0)],
    }


@pytest.mark.parametrize(
    "name",
    [
        "strength",
        "keep_mass",
        "penalty",
        "another size and aspect",
        "another size and aspect, learned",
        "a prompt of its own",
        "a mask over half",
        "a mask that fades",
        "class rules",
        "a region pair",
        "both, learned",
        "two exemplars",
        "two modes",
    ],
)
def test_each_setting_means_what_it_means_there(tiny, model, matcher, name: str) -> None:
    applications, x = variations(matcher)[name](), noisy()
    result = predictions(patched(model, *applications), x)
    for mine, theirs in zip(result, truth(tiny, x, applications), strict=True):
        assert same(mine, theirs)
    assert differs(result[0], predictions(model, x)[0], predictions(patched(model), x)[0])


def test_controlnext_on_target_and_exemplar_as_there(tiny, model) -> None:
    import nodes

    from amadapter_core.hosts.comfy.exemplar import control_of
    from amadapter_core.hosts.diffusers.control import LabelControl

    net = tiny.tiny_label_map_control()
    conds = nodes.ControlNetApplyAdvanced().apply_controlnet(*conditions(), net, STREET.colours(), 0.8, 0.0, 1.0)
    a, x = application(exemplar(control=control_of(PARK, net, 0.8))), noisy()
    result = predictions(patched(model, a), x, conds)
    theirs = [LabelControl.of(tiny.tiny_controlnext(), given, (64, 96), 0.8) for given in (STREET, PARK)]
    for mine, expected in zip(result, truth(tiny, x, [a], target_control=theirs[0], controls=theirs[1:]), strict=True):
        assert same(mine, expected)
    assert differs(result[0], predictions(patched(model), x, conds)[0])


def test_each_item_of_a_batch_has_its_own_label_map(tiny, model) -> None:
    both = LabelMap(torch.cat([STREET.ids, PARK.ids]), STREET.palette)
    a, x = application(target=both), noisy(batch=2)
    result = predictions(patched(model, a), x)
    for mine, theirs in zip(result, truth(tiny, x, [a]), strict=True):
        assert same(mine, theirs)


# Samplers


@pytest.mark.parametrize(
    ("sampler", "options"),
    [
        ("euler", {}),
        ("euler_ancestral", {}),
        ("heun", {}),
        ("dpm_2", {}),
        ("dpmpp_2m", {"scheduler": "karras"}),
        ("dpmpp_2m_sde", {}),
        ("dpmpp_sde", {}),
        ("uni_pc", {}),
        ("lcm", {"cfg": 1.0}),
        ("ddim", {"scheduler": "ddim_uniform"}),
        ("euler_cfg_pp", {"cfg": 1.0}),
    ],
)
def test_any_sampler(model, sampler: str, options: dict) -> None:
    chosen = {"sampler_name": sampler, "steps": 3, **options}
    assert differs(sample(patched(model), **chosen), sample(model, **chosen))


def test_sampler_custom_advanced(model) -> None:
    from comfy_extras import nodes_custom_sampler as stock

    def run(model: Any) -> Tensor:
        guider = stock.CFGGuider.execute(model, *conditions(), 3.0)[0]
        sigmas = stock.BasicScheduler.execute(model, "normal", 2, 1.0)[0]
        noise, sampler = stock.RandomNoise.execute(7)[0], stock.KSamplerSelect.execute("euler")[0]
        latent = {"samples": torch.zeros(1, 4, *SIZE)}
        return stock.SamplerCustomAdvanced.execute(noise, guider, sampler, sigmas, latent)[0]["samples"]

    result = run(patched(model))
    assert torch.equal(result, sample(patched(model)))
    assert differs(result, run(model))


def test_a_run_is_nothing_but_its_calls(model) -> None:
    """Euler by hand, each call a run of its own."""
    import comfy.samplers

    changed, steps = patched(model), (999, 500, 100)
    sigmas = torch.cat([*(sigma_at(model, step) for step in steps), torch.zeros(1)])
    expected = noise = random(1, 4, *SIZE, seed=11) * sigmas[0]
    for step, sigma, below in zip(steps, sigmas, sigmas[1:], strict=False):
        clean = denoise(cfg_guider(changed, conditions()), expected, step)
        expected = expected + (expected - clean) / sigma * (below - sigma)
    guider = cfg_guider(changed, conditions())
    sampler = comfy.samplers.ksampler("euler")
    result = guider.sample(noise / (1 + sigmas[0] ** 2) ** 0.5, torch.zeros_like(noise), sampler, sigmas, seed=0)
    assert same(model.model.process_latent_in(result), expected, 1e-3)


# Batches and guidance


@pytest.mark.parametrize("mode", ["implicit", "categorical", "learned"])
def test_an_item_of_a_batch_is_as_if_alone(model, options_of, mode: str) -> None:
    changed, x = patched(model, application(**options_of(mode))), noisy(batch=3)
    together = predictions(changed, x)
    for i in range(3):
        for batch, alone in zip(together, predictions(changed, x[i : i + 1]), strict=True):
            assert relative(batch[i : i + 1], alone) <= 1e-4


def test_a_batch_of_three_through_the_sampler(model) -> None:
    changed = patched(model)
    together = sample(changed, batch=3)
    for i in range(3):
        latent = {"samples": torch.zeros(1, 4, *SIZE), "batch_index": [i]}
        assert relative(together[i : i + 1], sample(changed, latent=latent)) <= 1e-3
    assert differs(together, sample(model, batch=3))


def test_without_guidance_the_positive_rows_are_all_there_is(model) -> None:
    changed, x = patched(model), noisy()
    assert same(denoise(cfg_guider(changed, conditions(), cfg=1.0), x), predictions(changed, x)[0])
    assert differs(sample(changed, cfg=1.0), sample(model, cfg=1.0))


def test_positive_and_negative_in_one_call_or_in_two(model, monkeypatch: pytest.MonkeyPatch) -> None:
    changed, x = patched(model), noisy()
    together = predictions(changed, x)
    monkeypatch.setattr(model.model, "memory_required", lambda *_args, **_kwargs: float("inf"))
    forwards = Forwards(model, monkeypatch)
    split = predictions(patched(model), x)
    assert forwards.targets == 2 and len(forwards.exemplars) == 1
    assert all(same(a, b) for a, b in zip(split, together, strict=True))


def test_a_control_on_the_positive_alone_splits_the_call(tiny, model) -> None:
    import nodes

    positive, negative = conditions()
    controlled = nodes.ControlNetApply().apply_controlnet(positive, tiny.tiny_controlnet(), STREET.colours(), 1.0)[0]
    controlled = [[c, {**d, "control_apply_to_uncond": False}] for c, d in controlled]
    a, x = application(), noisy()
    result = predictions(patched(model, a), x, (controlled, negative))
    assert torch.equal(result[1], predictions(model, x, (controlled, negative))[1])
    assert differs(result[0], predictions(model, x, (controlled, negative))[0], predictions(patched(model, a), x)[0])


# Conditionings with areas and masks


@pytest.mark.parametrize("target", [STREET, STREET.resize(64, 96), STREET.resize(8, 12)], ids=["2", "8", "1"])
@pytest.mark.parametrize("mode", ["categorical", "learned"])
def test_an_area_sees_its_part_of_the_label_map(model, options_of, target: LabelMap, mode: str) -> None:
    source, x = exemplar(), noisy()
    positive, negative = conditions()
    h, w = target.size
    right = target.crop(0, w // 2, h, w // 2)
    area = [[positive[0][0], {"area": (8, 6, 0, 6), "strength": 1.0}]]
    whole = patched(model, application(source, target, **options_of(mode)))
    part = patched(model, application(source, right, **options_of(mode)))
    expected = predictions(part, x[..., 6:].contiguous())[0]
    assert same(predictions(whole, x, (area, negative))[0][..., 6:], expected)
    assert differs(expected, predictions(whole, x)[0][..., 6:])


def test_several_positives_each_with_its_mask(model) -> None:
    context = random(1, 77, 64, seed=9)  # the exemplar's own; else it is the first positive's
    changed, x = patched(model, application(exemplar(context=context))), noisy()
    left, right = torch.zeros(1, *SIZE), torch.zeros(1, *SIZE)
    left[..., :8], right[..., 4:] = 1.0, 0.5
    texts = [random(1, 77, 64, seed=seed) for seed in (1, 4)]
    masked = [[text, {"mask": mask}] for text, mask in zip(texts, (left, right), strict=True)]
    negative = conditions()[1]
    result = predictions(changed, x, (masked, negative))[0]
    alone = [predictions(changed, x, ([[text, {}]], negative))[0] for text in texts]
    assert same(result, (left * alone[0] + right * alone[1]) / (left + right))


def test_areas_and_a_whole_at_once(model) -> None:
    positive, negative = conditions()
    areas = [[random(1, 77, 64, seed=4), {"area": (8, 6, 0, left), "strength": 1.0}] for left in (0, 6)]
    conds = ([*positive, *areas], negative)
    assert differs(sample(patched(model), conds), sample(model, conds))


# Latents


def test_img2img(model) -> None:
    latent = {"samples": random(1, 4, *SIZE)}
    changed = patched(model)
    assert differs(sample(changed, latent=latent, denoise=0.5), sample(model, latent=latent, denoise=0.5))


def test_inpainting_by_a_noise_mask(model) -> None:
    mask = torch.zeros(1, 1, *SIZE)
    mask[..., 6:] = 1.0
    latent = {"samples": random(1, 4, *SIZE), "noise_mask": mask}
    result = sample(patched(model), latent=latent)
    assert torch.allclose(result[..., :5], latent["samples"][..., :5], atol=1e-4)
    assert differs(result[..., 6:], sample(model, latent=latent)[..., 6:])


def test_a_latent_of_odd_size(tiny, model, options_of) -> None:
    target = labels([[10, 2, 13], [8, 0, 8]], cell=20).resize(66, 50)
    for mode in ("implicit", "categorical"):
        a, x = application(target=target, **options_of(mode)), noisy((33, 25))
        assert same(predictions(patched(model, a), x)[0], truth(tiny, x, [a])[0])
    assert sample(patched(model, a), size=(33, 25), steps=1).isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize("size", [(64, 64), (96, 64)], ids=str)
@pytest.mark.parametrize("mode", ["categorical", "learned"])
def test_latents_of_full_size(tiny, model, options_of, size: tuple[int, int], mode: str) -> None:
    target = STREET.resize(8 * size[0], 8 * size[1])
    a, x = application(target=target, **options_of(mode)), noisy(size)
    result = predictions(patched(model, a), x)
    assert all(same(mine, theirs) for mine, theirs in zip(result, truth(tiny, x, [a]), strict=True))


def test_a_label_map_of_another_aspect_is_refused(model) -> None:
    with pytest.raises(ValueError, match="Apply AM-Adapter: the picture"):
        sample(patched(model), size=(12, 8))


def test_label_maps_and_masks_that_do_not_fit_the_batch_are_refused(model) -> None:
    two = LabelMap(STREET.ids.repeat(2, 1, 1), STREET.palette)
    with pytest.raises(ValueError, match="2 target label maps cannot serve a batch of 3 latents; give 1 or 3"):
        sample(patched(model, application(target=two)), batch=3)
    with pytest.raises(ValueError, match="2 masks cannot serve a batch of 3"):
        sample(patched(model, application(mask=torch.ones(2, 8, 12))), batch=3)


# Settings


def test_one_of_two_at_strength_zero_is_the_other_alone(model) -> None:
    first, x = application(), noisy()
    off = application(exemplar(TOWER, seed=8), strength=0.0)
    alone = predictions(patched(model, first), x)
    assert torch.equal(predictions(patched(model, first, off), x)[0], alone[0])
    assert torch.equal(predictions(patched(model, off, first), x)[0], alone[0])


def test_the_order_of_two_does_not_matter(model) -> None:
    both, x = [application(), application(exemplar(TOWER, seed=8), strength=0.5)], noisy()
    assert same(predictions(patched(model, *both), x)[0], predictions(patched(model, *both[::-1]), x)[0])


def test_the_same_exemplar_twice_is_one_at_twice_the_strength(model) -> None:
    source, x = exemplar(), noisy()
    twice = patched(model, application(source), application(source))
    assert same(predictions(twice, x)[0], predictions(patched(model, application(source, strength=2.0)), x)[0])


@pytest.mark.parametrize("mode", ["implicit", "categorical", "learned"])
def test_a_mask_of_ones_is_none_and_a_mask_of_zeros_is_off(model, options_of, mode: str) -> None:
    source, x = exemplar(), noisy()
    make = {"source": source, **options_of(mode)}
    plain = predictions(model, x)[0]
    full = predictions(patched(model, application(**make)), x)[0]
    assert torch.equal(predictions(patched(model, application(mask=torch.ones(1, 8, 12), **make)), x)[0], full)
    zeros = application(mask=torch.zeros(1, 8, 12), **make)
    assert same(predictions(patched(model, zeros), x)[0], plain, 1e-5)
    nearly = [predictions(patched(model, application(strength=s, **make)), x)[0] for s in (1e-2, 1e-12)]
    assert relative(nearly[1], plain) < relative(nearly[0], plain) < relative(full, plain)
    assert same(nearly[1], plain, 1e-4)


@pytest.mark.parametrize(
    ("window", "inside", "outside"), [((0.0, 0.5), 700, 300), ((0.5, 1.0), 300, 700), ((0.4, 0.6), 500, 900)]
)
def test_outside_its_part_of_the_run_it_is_off(model, window: tuple[float, float], inside: int, outside: int) -> None:
    changed = patched(model, application(start=window[0], end=window[1]))
    for step in (inside, outside):
        x = noisy(step=step)
        result, plain = predictions(changed, x, step=step)[0], predictions(model, x, step=step)[0]
        assert differs(result, plain) if step == inside else torch.equal(result, plain)


def test_the_steps_before_its_part_of_the_run_are_the_plain_ones(model, monkeypatch: pytest.MonkeyPatch) -> None:
    import comfy.sample

    forwards = Forwards(model, monkeypatch)

    def steps(model: Any) -> list[Tensor]:
        seen: list[Tensor] = []
        noise, conds = random(1, 4, *SIZE), conditions()
        options = dict(steps=4, cfg=3.0, sampler_name="euler", scheduler="normal", seed=0)
        options |= dict(positive=conds[0], negative=conds[1], latent_image=torch.zeros_like(noise))
        comfy.sample.sample(model, noise, callback=lambda i, clean, x, n: seen.append(clean.clone()), **options)
        return seen

    result, plain = steps(patched(model, application(start=0.5))), steps(model)
    assert [torch.equal(a, b) for a, b in zip(result, plain, strict=True)] == [True, True, False, False]
    assert len(forwards.exemplars) == 2


@pytest.mark.parametrize(
    ("weights", "blocks"),
    [
        ((1.0, 0.0, 0.0), {"down_blocks"}),
        ((0.0, 2.0, 0.0), {"mid_block"}),
        ((0.0, 0.0, 0.5), {"up_blocks"}),
        ((1.0, 0.0, 1.0), {"down_blocks", "up_blocks"}),
    ],
)
def test_block_weights_choose_the_sites(model, weights: tuple[float, float, float], blocks: set[str]) -> None:
    from amadapter_core.hosts.comfy.patch import observed

    seen = set()
    source, x = exemplar(), noisy((16, 24))
    changed = patched(model, application(source, block_weights=weights))
    result = predictions(observed(changed, lambda site, *_: seen.add(site.block)), x)[0]
    assert seen == blocks
    assert torch.equal(result, predictions(changed, x)[0])
    assert differs(result, predictions(model, x)[0], predictions(patched(model, application(source)), x)[0], by=1e-4)


def test_block_weights_are_factors_of_the_strength(model) -> None:
    source, x = exemplar(), noisy()
    halves = application(source, strength=4.0, block_weights=(0.5, 0.5, 0.5))
    assert torch.equal(
        predictions(patched(model, halves), x)[0],
        predictions(patched(model, application(source, strength=2.0)), x)[0],
    )


def count_encodings(matcher: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    calls: list[str] = []
    encoder = matcher.model.encoder
    monkeypatch.setattr(matcher.model, "encoder", lambda block: (calls.append(block), encoder(block))[1])
    return calls


def test_two_steps_may_share_one_result_of_the_matcher(model, matcher, monkeypatch: pytest.MonkeyPatch) -> None:
    source, calls = exemplar(), count_encodings(matcher, monkeypatch)
    options = dict(steps=4, denoise=0.05, latent={"samples": random(1, 4, *SIZE)})
    results = []
    for interval in (1, 2):
        a = application(source, mode="learned", matcher=matcher, interval=interval)
        results.append(sample(patched(model, a), **options))
        assert len(calls) == 16 * 4 // interval
        calls.clear()
    effect, deviation = (results[0] - sample(model, **options)).norm(), (results[1] - results[0]).norm()
    assert 0 < deviation < 0.5 * effect


def test_an_exemplar_without_a_matcher_has_no_say_in_the_interval(model, matcher, monkeypatch) -> None:
    calls = count_encodings(matcher, monkeypatch)
    learned = application(mode="learned", matcher=matcher, interval=2)
    sample(patched(model, learned, application(exemplar(TOWER, seed=8))), steps=4)
    assert len(calls) == 16 * 2


def test_the_published_variant_runs_alone(model, matcher) -> None:
    from amadapter_core.matching import Variant

    source = exemplar(SQUARE)
    for mode in ("implicit", "categorical", "learned"):
        given = {"matcher": matcher} if mode == "learned" else {}
        a = application(source, SQUARE, mode, variant=Variant.PUBLISHED, **given)
        result, plain = (predictions(m, noisy((16, 16))) for m in (patched(model, a), model))
        assert differs(result[0], plain[0])
        assert torch.equal(result[1], plain[1])
    with pytest.raises(ValueError, match="variant 'published' takes one exemplar alone"):
        patched(model, a, application(target=SQUARE))


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize("mode", ["implicit", "categorical", "learned"])
def test_the_published_variant_computes_what_the_diffusers_host_computes(
    tiny, model, matcher, monkeypatch: pytest.MonkeyPatch, mode: str, rounded: bool
) -> None:
    from amadapter_core.hosts.comfy import recording
    from amadapter_core.hosts.comfy.application import match
    from amadapter_core.hosts.diffusers import branches
    from amadapter_core.hosts.diffusers.branches import PublishedAppearance, PublishedStructure
    from amadapter_core.hosts.diffusers.sites import Sites
    from amadapter_core.matching import Variant

    if not rounded:
        for host in (recording, branches):
            monkeypatch.setattr(host, "rounded_as_published", lambda hidden: hidden)
    source, x = exemplar(SQUARE_PARK), noisy((16, 16))
    given = {"matcher": matcher} if mode == "learned" else {}
    a = application(source, SQUARE, mode, variant=Variant.PUBLISHED, **given)
    result = predictions(patched(model, a), x)

    unet, sigma = tiny.tiny_diffusers_unet(), sigma_at(model, 500)
    context = torch.cat([conditions()[i][0][0] for i in (1, 0)])
    theirs, mine = (latent.expand(2, -1, -1, -1) / (1 + sigma**2) ** 0.5 for latent in (at(source, sigma), x))
    appearance, sites = PublishedAppearance(), Sites(unet)
    with sites.installed():
        with sites.during(appearance):
            unet(theirs, 500, context)
        structure = PublishedStructure(match([a], [1.0], None, (16, 16)), appearance.bank, (16, 16), (16, 16))
        with sites.during(structure):
            noise = unet(mine, 500, context).sample
    for denoised, eps in zip(result, noise.flip(0), strict=True):
        assert same(denoised, x - sigma * eps, PUBLISHED_TOLERANCE if rounded else TOLERANCE)
    assert differs(result[0], predictions(model, x)[0])
