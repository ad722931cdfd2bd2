"""ControlNeXt as a CONTROL_NET: the feature enters where diffusers lets it in, and nowhere else."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from amadapter_core.label_maps import LabelMap, Palette

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("inference")]

STEP = 500


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def labels(rows: list[list[int]], cell: int = 32) -> LabelMap:
    """A label map of square cells."""
    ids = torch.tensor(rows).repeat_interleave(cell, 0).repeat_interleave(cell, 1)
    return LabelMap(ids[None], Palette.load("cityscapes19"))


STREET = labels([[10, 10, 2], [8, 13, 2]])  # 64 x 96 pixels, 8 x 12 latent
PARK = labels([[8, 10, 10], [9, 9, 0]])


@pytest.fixture
def control_net(tiny: ModuleType) -> Any:
    return tiny.tiny_label_map_control()


def applied(control_net: Any, model: Any, hint: Tensor, strength: float = 1.0) -> Any:
    """A control at the start of a run."""
    from amadapter_core.hosts.comfy.control import control_for

    control = control_for(control_net, hint, strength)
    control.pre_run(model.model, model.model.model_sampling.percent_to_sigma)
    return control


def call(control: Any, model: Any, x: Tensor, chunks: int = 1, options: dict | None = None, step: int = STEP) -> dict:
    """The options of a call of the UNet, after the control has had its say."""
    sigma = model.model.model_sampling.sigma(torch.tensor([float(step)])).expand(len(x))
    options = {} if options is None else options
    assert control.get_control(x, sigma, {}, chunks, options) is None
    return options


def predict(model: Any, x: Tensor, options: dict) -> Tensor:
    t = torch.full((len(x),), float(STEP))
    return model.model.diffusion_model(x, t, context=random(len(x), 77, 64, seed=1), transformer_options=options)


def feature(options: dict) -> Tensor:
    return options["patches"]["input_block_patch_after_skip"][-1].feature


def conditions(channels: int = 64) -> tuple[list, list]:
    return [[random(1, 77, channels, seed=1), {}]], [[random(1, 77, channels, seed=2), {}]]


def apply(conds: tuple[list, list], control_net: Any, hint: Tensor, strength: float = 1.0, start=0.0, end=1.0) -> tuple:
    import nodes

    return nodes.ControlNetApplyAdvanced().apply_controlnet(*conds, control_net, hint, strength, start, end)


def sample(model: Any, conds: tuple[list, list], size: tuple[int, ...] = (1, 4, 8, 12), steps: int = 1, **options):
    import nodes

    options = {"sampler_name": "euler", "scheduler": "normal", "cfg": 2.0} | options
    latent = {"samples": torch.zeros(size)}
    return nodes.KSampler().sample(
        model, 7, steps, positive=conds[0], negative=conds[1], latent_image=latent, **options
    )[0]["samples"]


def count_calls(control_net: Any, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Timesteps at which the network runs from now on."""
    calls: list[float] = []
    forward = control_net.network.forward

    def counted(colours: Tensor, timestep: Tensor) -> Tensor:
        calls.append(float(timestep))
        return forward(colours, timestep)

    monkeypatch.setattr(control_net.network, "forward", counted)
    return calls


@pytest.mark.parametrize("strength", [1.0, 0.4])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-5)])
def test_it_computes_what_the_diffusers_host_computes(
    tiny: ModuleType, control_net, strength: float, dtype: torch.dtype, tolerance: float
) -> None:
    from amadapter_core.hosts.diffusers.control import LabelControl, controlled

    model, unet = tiny.tiny_model(dtype=dtype), tiny.tiny_diffusers_unet().to(dtype)
    x, context, t = random(1, 4, 8, 12).to(dtype), random(1, 77, 64, seed=1).to(dtype), torch.tensor([float(STEP)])
    theirs = LabelControl.of(tiny.tiny_controlnext(), STREET, (64, 96), strength)
    with controlled(unet, theirs, STEP):
        expected = unet(x, t, context).sample
    options = call(applied(control_net, model, STREET.colours(), strength), model, x)
    result = model.model.diffusion_model(x, t, context=context, transformer_options=options)
    assert (result - expected).abs().max() <= tolerance
    assert (result - model.model.diffusion_model(x, t, context=context)).abs().max() > 0.1
    assert torch.allclose(feature(options), theirs.feature(STEP), atol=1e-6)


def test_the_block_is_found_in_the_model(model, control_net) -> None:
    options = call(applied(control_net, model, STREET.colours()), model, random(1, 4, 8, 12))
    assert options["patches"]["input_block_patch_after_skip"][0].block == ("input", 3)


def test_patches_of_others_stay_and_none_is_left_on_the_model(model, control_net) -> None:
    other = [lambda h, _options: h]
    options = {"patches": {"input_block_patch_after_skip": other, "input_block_patch": other}}
    call(applied(control_net, model, STREET.colours()), model, random(1, 4, 8, 12), options=options)
    assert len(options["patches"]["input_block_patch_after_skip"]) == 2
    assert len(other) == 1

    before = sample(model, conditions())
    sample(model, apply(conditions(), control_net, STREET.colours()))
    assert model.model_options["transformer_options"] == {}
    assert torch.equal(sample(model, conditions()), before)


@pytest.mark.parametrize("off", [{"start": 1.0, "end": 1.0}, {"strength": 0.0}, {"strength": 1e-30}])
def test_outside_its_range_or_at_strength_zero_it_is_not_there(model, control_net, off: dict) -> None:
    conds = apply(conditions(), control_net, STREET.colours(), **off)
    assert torch.equal(sample(model, conds, steps=2), sample(model, conditions(), steps=2))


def test_strength_zero_is_off_without_the_node_s_help(model, control_net) -> None:
    assert call(applied(control_net, model, STREET.colours(), strength=0.0), model, random(1, 4, 8, 12)) == {}


def test_it_is_on_in_its_range_of_the_run(model, control_net, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = count_calls(control_net, monkeypatch)
    sample(model, apply(conditions(), control_net, STREET.colours(), start=0.0, end=0.5), steps=4)
    assert len(calls) == 2
    assert min(calls) >= 499


def test_it_chains_with_a_stock_controlnet_in_either_order(tiny: ModuleType, model, control_net) -> None:
    stock, hint = tiny.tiny_controlnet(), STREET.colours()
    ours_first = sample(model, apply(apply(conditions(), control_net, hint), stock, hint))
    stock_first = sample(model, apply(apply(conditions(), stock, hint), control_net, hint))
    assert torch.equal(ours_first, stock_first)
    alone = [sample(model, apply(conditions(), net, hint)) for net in (control_net, stock)]
    assert all((ours_first - one).abs().max() > 0.1 for one in alone)


def test_two_of_them_both_count(model, control_net) -> None:
    once = apply(conditions(), control_net, STREET.colours())
    twice = sample(model, apply(once, control_net, PARK.colours()))
    assert not torch.allclose(twice, sample(model, once), atol=1e-2)


def test_each_image_of_a_batch_follows_its_own_colours(model, control_net) -> None:
    hints, x = torch.cat([STREET.colours(), PARK.colours()]), random(4, 4, 8, 12)
    options = call(applied(control_net, model, hints), model, x, chunks=2)
    for i, hint in enumerate((STREET, PARK)):
        alone = call(applied(control_net, model, hint.colours()), model, x[:1])
        for chunk in range(2):
            assert torch.allclose(feature(options)[2 * chunk + i], feature(alone)[0], atol=1e-5)
    assert predict(model, x, options).isfinite().all()


def test_one_colour_image_serves_a_batch(model, control_net) -> None:
    control, x = applied(control_net, model, STREET.colours()), random(3, 4, 8, 12)
    batch, single = predict(model, x, call(control, model, x)), predict(model, x[:1], call(control, model, x[:1]))
    assert torch.allclose(batch[:1], single, atol=1e-4)


def test_colour_images_that_do_not_fit_the_batch_are_refused(model, control_net) -> None:
    control = applied(control_net, model, torch.cat([STREET.colours()] * 2))
    with pytest.raises(ValueError, match="2 colour images for a latent batch of 3; give Apply ControlNet 1 or 3"):
        call(control, model, random(6, 4, 8, 12), chunks=2)


@pytest.mark.parametrize("size", [(1, 4, 9, 13), (2, 4, 5, 6)])
def test_any_size_of_latent(model, control_net, size: tuple[int, ...]) -> None:
    assert sample(model, apply(conditions(), control_net, STREET.colours()), size).isfinite().all()


def test_colours_are_never_mixed_by_resizing(model, control_net) -> None:
    control = applied(control_net, model, STREET.colours())
    call(control, model, random(1, 4, 11, 17))
    colours = {tuple(pixel) for pixel in control.cond_hint[0].flatten(1).T.tolist()}
    assert colours <= {tuple(pixel) for pixel in STREET.colours().flatten(0, 2).tolist()}


@pytest.mark.parametrize(("sampler", "calls_of_the_unet"), [("euler", 3), ("heun", 5)])
@pytest.mark.parametrize("split", [False, True])
def test_the_network_runs_once_per_timestep(
    model, control_net, monkeypatch: pytest.MonkeyPatch, sampler: str, calls_of_the_unet: int, split: bool
) -> None:
    if split:
        monkeypatch.setattr(model.model, "memory_required", lambda *a, **kw: float("inf"))
    calls, passes = count_calls(control_net, monkeypatch), []
    conds = apply(conditions(), control_net, STREET.colours())

    def count(apply_model, arguments):
        passes.append(arguments["input"])
        return apply_model(arguments["input"], arguments["timestep"], **arguments["c"])

    counted = model.clone()
    counted.set_model_unet_function_wrapper(count)
    result = sample(counted, conds, steps=3, sampler_name=sampler)
    assert len(passes) == calls_of_the_unet * (2 if split else 1)
    assert len(calls) == len(set(calls)) == 3
    sample(model, conds, steps=3, sampler_name=sampler)
    assert len(calls) == 6  # a run begins with nothing kept
    assert result.isfinite().all()


def test_areas_see_their_part_of_the_picture(model, control_net) -> None:
    hint = STREET.colours()
    x, left, right = random(2, 4, 8, 6), ("left", (8, 6, 0, 0)), ("right", (8, 6, 0, 6))
    known = {"uuids": ["right", "left"], "am_adapter_areas": dict([left, right]), "am_adapter_latent": (8, 12)}
    options = call(applied(control_net, model, hint), model, x, chunks=2, options=known)
    for row, half in enumerate((hint[:, :, 48:], hint[:, :, :48])):
        alone = call(applied(control_net, model, half.contiguous()), model, x[:1])
        assert torch.allclose(feature(options)[row], feature(alone)[0], atol=1e-5)


def test_without_areas_each_chunk_sees_the_whole_picture(model, control_net) -> None:
    known = {"uuids": ["a", "b"], "am_adapter_areas": {"a": None, "b": None}, "am_adapter_latent": (8, 12)}
    x = random(2, 4, 8, 12)
    told = call(applied(control_net, model, STREET.colours()), model, x, chunks=2, options=known)
    assert torch.equal(feature(told), feature(call(applied(control_net, model, STREET.colours()), model, x, chunks=2)))


def test_area_conditioning_runs_where_nobody_tells_the_areas(model, control_net) -> None:
    positive, negative = conditions()
    positive = [[positive[0][0], {"area": (8, 6, 0, 6), "strength": 1.0}], *positive]
    assert sample(model, apply((positive, negative), control_net, STREET.colours())).isfinite().all()


def test_an_interrupted_run_leaves_nothing_for_the_next(model, control_net) -> None:
    conds = apply(conditions(), control_net, STREET.colours())
    expected = sample(model, conds, steps=2)
    broken = model.clone()

    def stop(*_arguments):
        raise InterruptedError

    broken.set_model_unet_function_wrapper(stop)
    other = apply(conditions(), control_net, STREET.colours())
    with pytest.raises(InterruptedError):
        sample(broken, other, size=(1, 4, 5, 6), steps=2)
    assert torch.equal(sample(model, other, steps=2), expected)


def test_it_keeps_nothing_after_a_run(model, control_net) -> None:
    conds = apply(conditions(), control_net, STREET.colours())
    sample(model, conds)
    control = conds[0][0][1]["control"]
    assert control.cond_hint is None
    assert not control._features


def test_a_unet_of_another_width_is_refused(tiny: ModuleType, control_net) -> None:
    from amadapter_core.controlnext import ControlNeXt
    from amadapter_core.hosts.comfy.control import LabelMapControl

    wide = LabelMapControl(ControlNeXt(64, stem=(8, 8, 16), stages=(16, 32), time_channels=(16, 32)))
    with pytest.raises(ValueError, match="makes 64 channels and the MODEL's UNet has 32"):
        sample(tiny.tiny_model(), apply(conditions(), wide, STREET.colours()))


def test_a_model_without_downsampling_blocks_is_refused(model, control_net) -> None:
    flat = SimpleNamespace(diffusion_model=torch.nn.Linear(1, 1), model_sampling=model.model.model_sampling)
    with pytest.raises(ValueError, match="the MODEL is a Linear without downsampling blocks"):
        control_net.copy().pre_run(flat, flat.model_sampling.percent_to_sigma)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_less_precision_are_cast_at_use(tiny: ModuleType, model, dtype: torch.dtype) -> None:
    import comfy.ops

    from amadapter_core.hosts.comfy.control import LabelMapControl

    x, hint = random(1, 4, 8, 12), STREET.colours()
    exact = feature(call(applied(tiny.tiny_label_map_control(), model, hint), model, x))
    network = tiny.tiny_controlnext(operations=comfy.ops.manual_cast).to(dtype)
    rough = feature(call(applied(LabelMapControl(network), model, hint), model, x))
    assert (rough - exact).abs().max() < 0.1 * exact.abs().max()


def test_comfyui_may_offload_the_network(model, control_net) -> None:
    conds = apply(conditions(), control_net, STREET.colours())
    control = conds[0][0][1]["control"]
    assert control.get_models() == [control_net.patcher]
    assert control.inference_memory_requirements(torch.float32) > 64 * 96


def test_a_clone_for_another_device_computes_the_same(model, control_net) -> None:
    x, control = random(1, 4, 8, 12), applied(control_net, model, STREET.colours())
    clone = control.deepclone_multigpu(torch.device("cpu"), autoregister=True)
    assert clone.network is not control.network
    assert control.get_instance_for_device(torch.device("cpu")) is clone
    clone.pre_run(model.model, model.model.model_sampling.percent_to_sigma)
    assert torch.equal(feature(call(clone, model, x)), feature(call(control, model, x)))
