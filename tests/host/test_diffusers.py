"""The method on diffusers: right rows, right numbers, nothing left behind, everything of the pipeline at hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    HeunDiscreteScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
    UniPCMultistepScheduler,
)
from torch import Tensor

from amadapter_core.exemplar import Banks, Exemplar, Trajectory
from amadapter_core.hosts.diffusers import Augmentation, LabelControl, NoiseSchedule, Sites, Source, invert_latent
from amadapter_core.hosts.diffusers.pipeline import AMAdapterPipeline
from amadapter_core.label_maps import LabelMap, Palette
from amadapter_core.matcher import Matcher
from amadapter_core.matching import Mode, Route, Routing, SpatialMatching

from .conftest import CONTEXT, labels, small_unet

TARGET = labels([[0, 0, 1, 1, 2], [0, 2, 2, 1, 2], [3, 3, 2, 2, 2], [3, 0, 0, 1, 1]])
EXEMPLAR = labels([[1, 0, 2], [1, 2, 2], [3, 3, 0]])
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
SCHEDULE = NoiseSchedule(DDIMScheduler(**BETAS))
STEP = 501


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def source(seed: int = 5, size: tuple[int, int] = (6, 6), label_map: LabelMap = EXEMPLAR, **options) -> Source:
    generator = torch.Generator().manual_seed(seed)
    trajectory = Trajectory.forward_noise(random(1, 4, *size, seed=seed), generator)
    return Source(Exemplar(trajectory, label_map), random(1, 7, CONTEXT, seed=seed + 1), **options)


def matching(mode: Mode, parts: dict, exemplars: int = 1, target: Tensor = TARGET.ids, **options) -> SpatialMatching:
    return SpatialMatching(target, [EXEMPLAR.ids] * exemplars, mode, matcher=parts["matcher"], **options)


def hooks_of(unet) -> list[str]:
    return [name for name, m in unet.named_modules() if m._forward_hooks or m._forward_pre_hooks]


def passes(unet) -> list[int]:
    """Batch sizes of the UNet's passes, as they come; the record stays on the UNet."""
    seen: list[int] = []
    unet.conv_in.register_forward_hook(lambda _m, args, _o: seen.append(len(args[0])))
    return seen


@torch.no_grad()
def test_implicit_is_concatenating_the_exemplars_tokens_on_conditional_rows() -> None:
    """Against processors of another kind: hidden states are kept and concatenated before the projections."""
    unet, src = small_unet(), source()
    rows, context = random(2, 4, 8, 10), random(2, 7, CONTEXT, seed=2)
    plain = unet(rows, STEP, context).sample
    bank: dict[str, Tensor] = {}

    class Keep:
        def __init__(self, name: str, read: bool):
            self.name, self.read = name, read

        def __call__(self, attn, hidden_states, *_args, **_kwargs):
            if not self.read:
                bank[self.name] = hidden_states
            out = []
            for i, x in enumerate(hidden_states):
                seen = torch.cat([x, bank[self.name][0]]) if self.read and i == 1 else x
                q, k, v = (
                    f(t)[None].unflatten(-1, (8, -1)).transpose(1, 2)
                    for f, t in ((attn.to_q, x), (attn.to_k, seen), (attn.to_v, seen))
                )
                out.append(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
            return attn.to_out[0](torch.cat(out))

    alpha = SCHEDULE.alpha(STEP)
    latent = src.exemplar.trajectory.at(((1 - alpha) / alpha) ** 0.5) * alpha**0.5
    sites = [name for name, _ in unet.named_modules() if name.endswith("attn1")]
    for read, call in ((False, (latent, STEP, src.context)), (True, (rows, STEP, context))):
        for name in sites:
            unet.get_submodule(name).processor = Keep(name, read)
        expected = unet(*call).sample
    unet = small_unet()
    implicit = SpatialMatching(TARGET.ids, [EXEMPLAR.ids], Mode.IMPLICIT)
    with Augmentation(unet, SCHEDULE, implicit, [src]).attached():
        out = unet(rows, STEP, context).sample
    assert (out - expected).abs().max() <= 1e-5
    assert (out[:1] - plain[:1]).abs().max() <= 1e-6
    assert (out[1:] - plain[1:]).abs().max() > 1e-2


@torch.no_grad()
@pytest.mark.parametrize("mode", list(Mode))
def test_strength_zero_is_the_plain_unet_bit_for_bit(mode: Mode, parts: dict, unet) -> None:
    rows, context = random(2, 4, 8, 10), random(2, 7, CONTEXT, seed=2)
    plain = unet(rows, STEP, context).sample
    off = matching(mode, parts, routing=Routing([Route(0.0)]))
    seen = passes(unet)
    with Augmentation(unet, SCHEDULE, off, [source()]).attached():
        assert torch.equal(unet(rows, STEP, context).sample, plain)
    assert seen == [2]  # the exemplar is not even run


@torch.no_grad()
@pytest.mark.parametrize("mode", list(Mode))
def test_an_image_does_not_depend_on_its_batch_mates(mode: Mode, parts: dict, unet) -> None:
    rows, context = random(3, 4, 8, 10), random(3, 7, CONTEXT, seed=2)
    targets = torch.cat([TARGET.ids, TARGET.ids.flip(1), TARGET.ids.flip(2)])
    with Augmentation(unet, SCHEDULE, matching(mode, parts, target=targets), [source()], guided=False).attached():
        together = unet(rows, STEP, context).sample
    alone = matching(mode, parts, target=targets[1:2])
    with Augmentation(unet, SCHEDULE, alone, [source()], guided=False).attached():
        assert (unet(rows[1:2], STEP, context[1:2]).sample - together[1:2]).abs().max() <= 1e-5


def test_training_reaches_the_matcher_and_nothing_else(unet) -> None:
    torch.manual_seed(3)
    matcher = Matcher()
    learned = SpatialMatching(TARGET.ids, [EXEMPLAR.ids], Mode.LEARNED, matcher=matcher)
    with Augmentation(unet, SCHEDULE, learned, [source()]).attached():
        out = unet(random(2, 4, 8, 8), STEP, random(2, 7, CONTEXT, seed=2)).sample
    out[1:].square().mean().backward()
    trained = {name for name, p in matcher.named_parameters() if p.grad is not None and bool(p.grad.any())}
    assert trained == {name for name, _ in matcher.named_parameters() if name.startswith("encoders.0.")}
    assert all(p.grad is None for p in unet.parameters())


@torch.no_grad()
def test_nothing_is_left_behind_however_the_block_ends(parts: dict, unet) -> None:
    rows, context = random(2, 4, 8, 8), random(2, 7, CONTEXT, seed=2)
    plain = unet(rows, STEP, context).sample
    processors = dict(unet.attn_processors)
    control = LabelControl.of(parts["controlnext"], TARGET, (64, 64))
    augmentation = Augmentation(unet, SCHEDULE, matching(Mode.LEARNED, parts), [source()], target_control=control)
    with augmentation.attached():
        assert not torch.equal(unet(rows, STEP, context).sample, plain)
    for error in ("outside the call", "inside the call"):
        with pytest.raises((RuntimeError, ValueError)), augmentation.attached():
            if error == "inside the call":
                unet(rows, STEP, random(2, 7, CONTEXT + 1))
            raise RuntimeError(error)
    assert hooks_of(unet) == [] and augmentation.sites.branch is None
    assert all(unet.attn_processors[name] is processor for name, processor in processors.items())
    assert torch.equal(unet(rows, STEP, context).sample, plain)


@torch.no_grad()
def test_banks_are_filled_once_per_timestep_and_serve_other_targets(parts: dict, unet) -> None:
    banks, seen = Banks(), passes(unet)
    for seed in range(3):
        with Augmentation(unet, SCHEDULE, matching(Mode.CATEGORICAL, parts), [source()], banks=banks).attached():
            for t in (801, 501, 501):
                unet(random(2, 4, 8, 8, seed=seed), t, random(2, 7, CONTEXT, seed=2))
    assert seen == [1, 2, 1, 2, 2, 2, 2, 2, 2, 2, 2]
    assert len(banks) == 2 and banks.bytes > 0
    small = Banks(budget=banks.bytes // 2)
    with Augmentation(unet, SCHEDULE, matching(Mode.CATEGORICAL, parts), [source()], banks=small).attached():
        for t in (801, 501):
            unet(random(2, 4, 8, 8), t, random(2, 7, CONTEXT, seed=2))
    assert len(small) == 1 and small.bytes <= small.budget


@torch.no_grad()
def test_two_exemplars_of_one_class_each(parts: dict, unet) -> None:
    """Class by class: where only the second may serve, the first leaves no trace."""
    rows, context = random(1, 4, 8, 8), random(1, 7, CONTEXT, seed=2)
    both = Routing([Route(class_strength={c: 0.0 for c in range(4)}), Route()])
    pair = matching(Mode.IMPLICIT, parts, exemplars=2, routing=both)
    assert pair.active == (1,)
    sources = [source(seed=5), source(seed=8, size=(7, 5))]
    with Augmentation(unet, SCHEDULE, pair, sources, guided=False).attached():
        routed = unet(rows, STEP, context).sample
    with Augmentation(unet, SCHEDULE, matching(Mode.IMPLICIT, parts), sources[1:], guided=False).attached():
        assert torch.equal(unet(rows, STEP, context).sample, routed)
    mixed = matching(Mode.LEARNED, parts, exemplars=2, routing=Routing(weights=[0.5, 0.5]))
    with Augmentation(unet, SCHEDULE, mixed, sources, guided=False).attached():
        assert bool(unet(rows, STEP, context).sample.isfinite().all())


@torch.no_grad()
def test_control_enters_after_the_first_block_and_spares_its_skips(parts: dict, unet) -> None:
    rows, context = random(1, 4, 8, 8), random(1, 7, CONTEXT, seed=2)
    kept: list[tuple[Tensor, ...]] = []
    unet.up_blocks[-1].register_forward_pre_hook(
        lambda _m, args, kwargs: kept.append(kwargs["res_hidden_states_tuple"]), with_kwargs=True
    )
    plain = unet(rows, STEP, context).sample
    control = LabelControl.of(parts["controlnext"], TARGET, (64, 64))
    off = matching(Mode.IMPLICIT, parts, routing=Routing([Route(0.0)]))
    with Augmentation(unet, SCHEDULE, off, [source()], target_control=control, guided=False).attached():
        controlled = unet(rows, STEP, context).sample
    assert not torch.allclose(plain, controlled, atol=1e-3)
    assert all(torch.equal(a, b) for a, b in zip(*kept, strict=True))


@torch.no_grad()
def test_lora_acts_on_the_exemplar_too(unet, parts: dict) -> None:
    from peft import LoraConfig

    from amadapter_core.hosts.diffusers import record

    src, sites = source(), Sites(unet)
    with sites.installed():
        before = record(unet, sites, SCHEDULE, src, STEP)
    unet.add_adapter(LoraConfig(r=2, target_modules=["to_k", "to_v"], init_lora_weights=False))
    with sites.installed():
        after = record(unet, sites, SCHEDULE, src, STEP)
    name = sites.sites[0].name
    assert before.keys() == after.keys()
    assert not torch.allclose(before[name].k, after[name].k, atol=1e-4)


def test_lora_through_the_pipeline_and_its_scale(make_pipeline: Callable, tmp_path) -> None:
    from peft import LoraConfig, get_peft_model_state_dict

    donor = small_unet()
    donor.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_k", "to_v"], init_lora_weights=False))
    StableDiffusionPipeline.save_lora_weights(tmp_path, unet_lora_layers=get_peft_model_state_dict(donor))
    pipeline = make_pipeline()
    exemplar = pipeline.encode_exemplar(torch.rand(3, 48, 48), EXEMPLAR, steps=2)

    def run(**options) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        common = dict(num_inference_steps=2, output_type="latent", generator=generator)
        return pipeline("sun", exemplar, target_labels=TARGET, **common, **options).images

    plain = run()
    pipeline.load_lora_weights(tmp_path)
    assert torch.allclose(run(cross_attention_kwargs={"scale": 0.0}), plain, atol=1e-5)
    assert not torch.allclose(run(cross_attention_kwargs={"scale": 1.0}), plain, atol=1e-2)
    pipeline.unload_lora_weights()
    assert torch.equal(run(), plain)


@torch.no_grad()
def test_sdxl_topology_runs_implicit_and_refuses_learned_where_heads_differ(parts: dict) -> None:
    unet = small_unet(
        block_out_channels=(32, 64),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2),
        attention_head_dim=(2, 4),
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=64,
    )
    rows, context = random(2, 4, 8, 8), random(2, 7, CONTEXT, seed=2)
    added = {"text_embeds": random(2, 16), "time_ids": torch.ones(2, 6)}
    plain = unet(rows, STEP, context, added_cond_kwargs=added).sample
    with Augmentation(unet, SCHEDULE, matching(Mode.CATEGORICAL, parts), [source()]).attached():
        out = unet(rows, STEP, context, added_cond_kwargs=added).sample
    assert (out[:1] - plain[:1]).abs().max() <= 1e-6 and not torch.allclose(out[1:], plain[1:], atol=1e-4)
    with pytest.raises(ValueError, match="made for 8 attention heads, this UNet has 4"):
        with Augmentation(unet, SCHEDULE, matching(Mode.LEARNED, parts), [source()]).attached():
            unet(rows, STEP, context, added_cond_kwargs=added)


@torch.no_grad()
def test_inversion_is_undone_by_deterministic_sampling_the_better_the_finer(unet) -> None:
    latent, context = random(1, 4, 8, 6) * 0.5, random(1, 7, CONTEXT)

    def round_trip_error(stride: int) -> float:
        timesteps = [float(t) for t in range(1, 400, stride)]
        trajectory = invert_latent(unet, SCHEDULE, latent, context, reversed(timesteps))
        assert len(trajectory.latents) == len(timesteps) + 1 and torch.equal(trajectory.at(0.0), latent)
        x, sigmas = trajectory.latents[-1:], trajectory.sigmas
        for i in range(len(timesteps), 0, -1):
            alpha = SCHEDULE.alpha(timesteps[i - 1])
            eps = unet(x * alpha**0.5, timesteps[i - 1], context).sample
            x = x + (sigmas[i - 1] - sigmas[i]) * eps
        return ((x - latent).abs().mean() / latent.abs().mean()).item()

    coarse, fine = round_trip_error(63), round_trip_error(7)
    assert fine < 0.6 * coarse and fine < 0.15
    assert hooks_of(unet) == []


@pytest.mark.parametrize(
    "scheduler",
    [
        DDIMScheduler,
        EulerDiscreteScheduler,
        EulerAncestralDiscreteScheduler,
        HeunDiscreteScheduler,
        DPMSolverMultistepScheduler,
        UniPCMultistepScheduler,
    ],
)
def test_any_scheduler_with_an_exemplar_of_another_size(make_pipeline: Callable, scheduler: type) -> None:
    pipeline = make_pipeline()
    pipeline.scheduler = scheduler.from_config(pipeline.scheduler.config)
    out = []
    for mode in (Mode.IMPLICIT, Mode.LEARNED, Mode.LEARNED):
        image = pipeline(
            "a street at night",
            torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(0)),
            EXEMPLAR,
            TARGET,
            mode=mode,
            num_inference_steps=3,
            generator=torch.Generator().manual_seed(0),
            output_type="latent",
        ).images
        assert image.shape == (1, 4, 8, 10) and bool(image.isfinite().all())
        out.append(image)
    assert torch.equal(out[1], out[2]) and not torch.allclose(out[0], out[1], atol=1e-5)


def test_strength_zero_is_the_stock_pipeline_bit_for_bit(make_pipeline: Callable) -> None:
    pipeline = make_pipeline(controlnext=None)
    stock = StableDiffusionPipeline(
        **{k: v for k, v in pipeline.components.items() if k not in ("controlnext", "matcher")},
        requires_safety_checker=False,
    )
    stock.set_progress_bar_config(disable=True)
    exemplar = pipeline.encode_exemplar(torch.rand(3, 48, 48), EXEMPLAR, method="noise")
    common = dict(num_inference_steps=3, output_type="latent", negative_prompt="rain")
    expected = stock("sun", 64, 80, generator=torch.Generator().manual_seed(3), guidance_scale=7.5, **common).images
    ours = pipeline(
        "sun",
        exemplar,
        target_labels=TARGET,
        routing=Routing([Route(0.0)]),
        generator=torch.Generator().manual_seed(3),
        **common,
    ).images
    assert torch.equal(ours, expected)


@pytest.mark.parametrize("trained", [True, False])
def test_it_is_made_of_a_stock_pipelines_folder(make_pipeline: Callable, parts: dict, tmp_path, trained: bool) -> None:
    pipeline = make_pipeline()
    kept = {k: v for k, v in pipeline.components.items() if k not in ("controlnext", "matcher")}
    StableDiffusionPipeline(**kept, requires_safety_checker=False).save_pretrained(tmp_path)
    networks = {"controlnext": parts["controlnext"], "matcher": parts["matcher"]} if trained else {}
    loaded = AMAdapterPipeline.from_pretrained(tmp_path, **networks)
    loaded.set_progress_bar_config(disable=True)
    common = dict(mode="learned" if trained else "categorical", num_inference_steps=2, output_type="latent")
    expected, ours = (
        pipe(
            "sun",
            torch.ones(3, 48, 48) / 2,
            EXEMPLAR,
            TARGET,
            controlnext_scale=float(trained),
            generator=torch.Generator().manual_seed(0),
            **common,
        ).images
        for pipe in (pipeline, loaded)
    )
    assert torch.allclose(ours, expected, atol=1e-5)


def test_sides_that_the_autoencoder_cannot_have_are_rounded(make_pipeline: Callable) -> None:
    odd = EXEMPLAR.resize(50, 45)
    exemplar = make_pipeline().encode_exemplar(torch.rand(3, 50, 45), odd, method="noise")
    assert exemplar.size == (6, 5)


def test_images_of_one_call_are_those_of_single_calls(make_pipeline: Callable) -> None:
    pipeline = make_pipeline()
    exemplar = pipeline.encode_exemplar(torch.rand(3, 48, 48), EXEMPLAR, steps=2, exemplar_prompt="")
    targets = LabelMap(torch.cat([TARGET.ids, TARGET.ids.flip(2)]), TARGET.palette)
    common = dict(mode="categorical", keep_mass=True, num_inference_steps=2, output_type="latent")

    def generators(*seeds: int) -> list[torch.Generator]:
        return [torch.Generator().manual_seed(seed) for seed in seeds]

    four = pipeline(
        ["sun", "rain"],
        exemplar,
        target_labels=targets,
        num_images_per_prompt=2,
        generator=generators(1, 2, 3, 4),
        **common,
    ).images
    one = LabelMap(targets.ids[1:], TARGET.palette)
    last = pipeline("rain", exemplar, target_labels=one, generator=generators(4), **common).images
    assert len(four) == 4 and (four[3:] - last).abs().max() <= 1e-4


def test_callbacks_progress_and_saved_exemplars(make_pipeline: Callable, tmp_path) -> None:
    pipeline = make_pipeline()
    done: list[int] = []
    exemplar = pipeline.encode_exemplar(
        torch.rand(3, 48, 48), EXEMPLAR, steps=3, controlnext_scale=1.0, progress=lambda i, n, x: done.append(i)
    )
    assert done == [1, 2, 3]
    exemplar.save(tmp_path / "street.safetensors")
    steps: list[int] = []

    def note(_pipe, i: int, _t, state: dict) -> dict:
        steps.append(i)
        return state

    images = [
        pipeline(
            "sun",
            x,
            target_labels=TARGET,
            num_inference_steps=2,
            output_type="pt",
            generator=torch.Generator().manual_seed(0),
            callback_on_step_end=note,
        ).images
        for x in (exemplar, Exemplar.load(tmp_path / "street.safetensors"))
    ]
    assert steps == [0, 1, 0, 1] and torch.equal(*images) and images[0].shape == (1, 3, 64, 80)


def test_published_variant_runs_at_any_target_size(make_pipeline: Callable) -> None:
    pipeline = make_pipeline()
    common = dict(
        variant="published", num_inference_steps=1, output_type="pt", generator=torch.Generator().manual_seed(0)
    )
    for mode in ("implicit", "learned"):
        images = pipeline("sun", torch.rand(3, 48, 48), EXEMPLAR, TARGET, mode=mode, **common).images
        assert images.shape == (1, 3, 64, 80) and bool(images.isfinite().all())
    with pytest.raises(ValueError, match="takes one exemplar as an image"):
        pipeline("sun", torch.rand(3, 48, 48), EXEMPLAR, TARGET, routing=Routing(), **common)


@torch.no_grad()
def test_other_pipelines_around_the_unet_are_augmented_as_well(make_pipeline: Callable, parts: dict) -> None:
    pipeline = make_pipeline()
    image_to_image = StableDiffusionImg2ImgPipeline(
        **{k: v for k, v in pipeline.components.items() if k not in ("controlnext", "matcher")},
        requires_safety_checker=False,
    )
    image_to_image.set_progress_bar_config(disable=True)

    def run() -> Tensor:
        return image_to_image(
            "sun",
            torch.zeros(1, 3, 64, 80),
            strength=0.5,
            num_inference_steps=4,
            output_type="latent",
            generator=torch.Generator().manual_seed(0),
        ).images

    plain = run()
    with Augmentation(pipeline.unet, SCHEDULE, matching(Mode.LEARNED, parts), [source()]).attached():
        assert not torch.allclose(run(), plain, atol=1e-3)
    assert torch.equal(run(), plain)


def test_what_cannot_be_is_refused_with_a_sentence(make_pipeline: Callable, unet) -> None:
    pipeline, image = make_pipeline(matcher=None), torch.rand(3, 48, 48)
    with pytest.raises(ValueError, match="target_labels is missing"):
        pipeline("sun", image, EXEMPLAR)
    with pytest.raises(ValueError, match="mode 'learned' needs a matcher"):
        pipeline("sun", image, EXEMPLAR, TARGET)
    with pytest.raises(ValueError, match="together with exemplar_labels="):
        pipeline("sun", image, None, TARGET, mode="implicit")
    with pytest.raises(ValueError, match=r"image is 48 x 48, its label map 64 x 80"):
        pipeline("sun", image, TARGET, TARGET, mode="implicit")
    with pytest.raises(ValueError, match=r"picture is 64 x 64, its label map 64 x 80"):
        pipeline("sun", image, EXEMPLAR, TARGET, 64, 64, mode="implicit")
    with pytest.raises(ValueError, match=r"label map is 3 x 3 .* give height= and width="):
        pipeline("sun", image, EXEMPLAR, EXEMPLAR.resize(3, 3), mode="implicit")
    other = LabelMap(EXEMPLAR.ids + 1, Palette.load("ade20k150"))
    with pytest.raises(ValueError, match=r"disagree on 2 ids: 1 is 'sidewalk' / 'wall'"):
        pipeline("sun", image, other, TARGET, mode="implicit")
    three = LabelMap(TARGET.ids.expand(3, -1, -1), TARGET.palette)
    with pytest.raises(ValueError, match="3 target label maps cannot serve 2 prompts x 2 images"):
        pipeline(["a", "b"], image, EXEMPLAR, three, mode="implicit", num_images_per_prompt=2)
    with pytest.raises(ValueError, match="has no alphas_cumprod"):
        NoiseSchedule(FlowMatchEulerDiscreteScheduler())
    with pytest.raises(ValueError, match="needs a UNet2DConditionModel"):
        Sites(torch.nn.Linear(1, 1))
    with pytest.raises(ValueError, match="matching of 1 exemplars with 2 sources"):
        one = SpatialMatching(TARGET.ids, [EXEMPLAR.ids], Mode.IMPLICIT)
        Augmentation(unet, SCHEDULE, one, [source(), source()])


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_noise_is_recovered_from_any_prediction(prediction: str) -> None:
    schedule = NoiseSchedule(DDIMScheduler(**BETAS, prediction_type=prediction))
    x0, eps, t = random(1, 4, 3, 3), random(1, 4, 3, 3, seed=1), 321
    a = schedule.alpha(t)
    x = a**0.5 * x0 + (1 - a) ** 0.5 * eps
    output = {"epsilon": eps, "sample": x0, "v_prediction": a**0.5 * eps - (1 - a) ** 0.5 * x0}[prediction]
    assert torch.allclose(schedule.noise(output, x, t), eps, atol=1e-5)


def test_alpha_between_timesteps_lies_between_them() -> None:
    low, mid, high = (SCHEDULE.alpha(t) for t in (500, 500.5, 501))
    assert low > mid > high
