"""Exemplars of images: the inversion against the diffusers host, resizing, and what is kept on disk."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from amadapter_core.exemplar import FORWARD_NOISE_SIGMA, ddim_move, invert, sigma_of
from amadapter_core.label_maps import LabelMap
from tests.host.comfy import scene
from tests.host.comfy.pack import pack_module
from tests.host.comfy.scene import application, cfg_guider, patched, random, relative, sample

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("inference")]

STREET, PARK = (labels.resize(64, 96) for labels in (scene.STREET, scene.PARK))
TEXT = [[random(1, 77, 64, seed=1), {"pooled_output": random(1, 64, seed=2)}]]


@pytest.fixture(scope="module")
def vae(tiny: ModuleType) -> Any:
    with torch.inference_mode():
        return tiny.tiny_vae()


def picture(labels: LabelMap = STREET, noise: float = 0.2) -> Tensor:
    """[1, H, W, 3]: a label map's colours with some noise."""
    colours = labels.colours()
    return (colours + noise * random(*colours.shape)).clamp(0, 1)


def encode(model: Any, vae: Any, image: Tensor | None = None, labels: LabelMap = STREET, **options: Any) -> Any:
    from amadapter_core.hosts.comfy.encoding import encode_exemplar

    image = picture(labels) if image is None else image
    return encode_exemplar(model, vae, image, labels, TEXT, **{"steps": 4, **options})


# The trajectory


def levels(model: Any, steps: int) -> tuple[list[int], list[float]]:
    """Timesteps of an inversion and their cumulative alphas."""
    timesteps = [round(999 * (i + 1) / steps) for i in range(steps)]
    sigmas = model.get_model_object("model_sampling").sigmas[timesteps]
    return timesteps, [float(1 / (1 + sigma**2)) for sigma in sigmas]


def calmed(model: Any, share: float) -> Any:
    """A MODEL whose answer hardly depends on what it is given; random weights blow up every rounding from step to
    step (to 0.6 of the greatest value in 20 steps)."""
    calm, key = model.clone(), "diffusion_model.out.2.weight"
    calm.add_patches({key: ("set", (share * model.model.diffusion_model.out[2].weight.clone(),))}, 1.0)
    return calm


@pytest.mark.parametrize("steps", [1, 4, 20])
def test_each_step_of_the_inversion_is_the_core_s_with_the_twin_in_diffusers(tiny, model, vae, steps: int) -> None:
    latents, unet, alpha = encode(model, vae, steps=steps).exemplar.trajectory.latents, tiny.tiny_diffusers_unet(), 1.0
    for i, (timestep, to) in enumerate(zip(*levels(model, steps), strict=True)):
        x = latents[i : i + 1] * alpha**0.5
        expected = ddim_move(x, unet(x, timestep, TEXT[0][0]).sample, alpha, to) / to**0.5
        assert relative(latents[i + 1 : i + 2], expected) <= 1e-4
        alpha = to


def test_the_whole_inversion_is_the_core_s_with_the_twin_in_diffusers(tiny, model, vae) -> None:
    found = encode(calmed(model, 0.05), vae, steps=20).exemplar.trajectory
    clean, unet = model.model.process_latent_in(vae.encode(picture())), tiny.tiny_diffusers_unet()
    unet.conv_out.weight *= 0.05
    expected = invert(clean, lambda x, t: unet(x, t, TEXT[0][0]).sample, *levels(model, 20))
    assert torch.allclose(found.sigmas, expected.sigmas, rtol=1e-6)
    assert all(relative(a, b) <= 1e-4 for a, b in zip(found.latents, expected.latents, strict=True))
    assert relative(found.latents[-1], clean[0]) > 0.1


def test_its_levels_are_those_of_the_diffusers_host(model, vae) -> None:
    from diffusers import DDIMScheduler

    from amadapter_core.hosts.diffusers.noise import NoiseSchedule

    schedule = NoiseSchedule(DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"))
    found = encode(model, vae, steps=5).exemplar.trajectory.sigmas
    expected = [0.0, *(sigma_of(schedule.alpha(t)) for t in (200, 400, 599, 799, 999))]
    assert torch.allclose(found, torch.tensor(expected), rtol=1e-4)


def test_it_goes_from_the_clean_latent_to_the_highest_level(model, vae) -> None:
    trajectory = encode(model, vae, steps=5).exemplar.trajectory
    sigmas = model.get_model_object("model_sampling").sigmas
    assert trajectory.sigmas.tolist() == [0.0, *(float(sigmas[t]) for t in (200, 400, 599, 799, 999))]
    assert torch.equal(trajectory.latents[:1], model.model.process_latent_in(vae.encode(picture())))
    assert trajectory.latents.shape == (6, 4, 8, 12)
    assert trajectory.latents.device.type == "cpu" and trajectory.latents.dtype == torch.float32


@pytest.mark.parametrize(("share", "tolerance"), [(0.0, 1e-5), (0.05, 0.1)])
def test_the_way_back_meets_the_clean_latent(model, vae, share: float, tolerance: float) -> None:
    """Euler down the same levels. It takes the noise where a step of the inversion arrived, from a latent that the
    inversion was not asked about there: exact where the answer does not depend on it."""
    import comfy.samplers

    calm = calmed(model, share)
    trajectory = encode(calm, vae, steps=20).exemplar.trajectory
    top, clean = trajectory.latents[-1:], trajectory.latents[:1]
    # The sampler scales noise to the first level on its own.
    noise = top / (1 + trajectory.sigmas[-1] ** 2) ** 0.5
    sampler, sigmas = comfy.samplers.ksampler("euler"), trajectory.sigmas.flip(0)
    back = cfg_guider(calm, (TEXT, TEXT), cfg=1.0).sample(noise, torch.zeros_like(top), sampler, sigmas, seed=0)
    assert relative(top, clean) > 0.1
    assert float((model.model.process_latent_in(back) - clean).norm() / clean.norm()) <= tolerance


def test_forward_noise_is_a_straight_line_and_follows_its_seed(model, vae) -> None:
    def latents(seed: int) -> Tensor:
        trajectory = encode(model, vae, method="forward noise", seed=seed).exemplar.trajectory
        assert trajectory.sigmas.tolist() == [0.0, FORWARD_NOISE_SIGMA]
        return trajectory.latents

    first = latents(1)
    assert torch.equal(first, latents(1))
    assert torch.equal(first[:1], model.model.process_latent_in(vae.encode(picture())))
    noise = (first[1] - first[0]) / FORWARD_NOISE_SIGMA
    assert abs(float(noise.mean())) < 0.2 and 0.8 < float(noise.std()) < 1.2
    assert not torch.allclose(latents(2)[1], first[1], rtol=0.1)


def test_the_inversion_ignores_what_am_adapter_put_on_the_model(model, vae) -> None:
    expected = encode(model, vae).exemplar.trajectory.latents
    assert torch.equal(encode(patched(model), vae).exemplar.trajectory.latents, expected)


def test_the_inversion_sees_a_lora(model, vae) -> None:
    changed = model.clone()
    key = "diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_k.weight"
    changed.add_patches({key: (random(32, 32),)}, 1.0)
    expected = encode(model, vae).exemplar.trajectory.latents
    assert relative(encode(changed, vae).exemplar.trajectory.latents, expected) > 1e-3
    assert torch.equal(encode(model, vae).exemplar.trajectory.latents, expected)


def test_the_control_net_takes_part_in_the_inversion_only_where_told(tiny, model, vae) -> None:
    net = tiny.tiny_label_map_control()
    free = encode(model, vae).exemplar.trajectory.latents
    outside, inside = (encode(model, vae, control_net=net, control_in_inversion=told) for told in (False, True))
    assert torch.equal(outside.exemplar.trajectory.latents, free)
    assert relative(inside.exemplar.trajectory.latents, free) > 1e-2
    for made in (outside, inside):
        assert torch.equal(made.control.cond_hint_original, STREET.colours().movedim(-1, 1))
    assert encode(model, vae, control_net=net, control_strength=0.0).control is None


def test_the_prompt_is_kept_where_it_is_to_be_the_pass_s_own(model, vae) -> None:
    free, own = (encode(model, vae, own_prompt=told).exemplar for told in (False, True))
    assert free.context is None and free.pooled is None
    assert torch.equal(own.context, TEXT[0][0]) and torch.equal(own.pooled, TEXT[0][1]["pooled_output"])


def test_an_interrupted_inversion_can_be_done_again(model, vae, monkeypatch: pytest.MonkeyPatch) -> None:
    import comfy.model_management as management
    import latent_preview

    expected = encode(model, vae).exemplar.trajectory.latents

    def callback(step: int, *_: Any) -> None:
        if step == 1:
            management.interrupt_current_processing()

    with monkeypatch.context() as patch, pytest.raises(management.InterruptProcessingException):
        patch.setattr(latent_preview, "prepare_callback", lambda *_args: callback)
        encode(model, vae)
    assert torch.equal(encode(model, vae).exemplar.trajectory.latents, expected)


def test_progress_is_told_once_per_step(model, vae, monkeypatch: pytest.MonkeyPatch) -> None:
    import latent_preview

    seen = []
    monkeypatch.setattr(latent_preview, "prepare_callback", lambda *_a: lambda i, clean, x, n: seen.append((i, n)))
    encode(model, vae, steps=3)
    assert seen == [(0, 3), (1, 3), (2, 3)]


def test_a_picture_looks_at_an_inverted_exemplar(model, vae) -> None:
    source = encode(model, vae, labels=PARK)
    result = sample(patched(model, application(source)))
    assert result.isfinite().all()
    assert relative(result, sample(model)) > 1e-2


# Sizes


@pytest.mark.parametrize(
    ("size", "options", "expected"),
    [
        ((64, 96), {}, (64, 96)),
        ((70, 101), {}, (64, 96)),
        ((128, 192), {"resize": "stretch", "width": 80, "height": 64}, (64, 80)),
        ((128, 192), {"resize": "crop", "width": 64, "height": 64}, (64, 64)),
        ((64, 96), {"resize": "crop", "width": 64, "height": 128}, (128, 64)),
        ((64, 96), {"resize": "stretch", "width": 100, "height": 70}, (64, 96)),
    ],
    ids=str,
)
def test_image_and_label_map_are_resized_alike(size, options: dict, expected: tuple[int, int]) -> None:
    from amadapter_core.hosts.comfy.encoding import fit

    given = STREET.resize(*size)
    image, labels = fit(given.colours(), given, **{"resize": "keep", "width": 0, "height": 0, **options})
    assert image.shape == (1, *expected, 3) and labels.size == expected
    off = (image - labels.colours()).abs().amax(-1) > 0.05  # blends at borders
    assert off.float().mean() < 0.1


def test_the_middle_is_kept(model) -> None:
    from amadapter_core.hosts.comfy.encoding import fit

    _, labels = fit(STREET.colours(), STREET, "crop", 64, 64)
    assert torch.equal(labels.ids, STREET.crop(0, 16, 64, 64).ids)


def test_a_label_map_of_another_size_goes_along(model, vae) -> None:
    made = encode(model, vae, picture(), STREET.resize(32, 48))
    assert made.exemplar.labels.size == (64, 96)
    assert torch.equal(made.exemplar.labels.ids, STREET.ids)


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        ({"image": picture().repeat(2, 1, 1, 1)}, {}, "2 images with 1 label maps, expected one of each"),
        ({"labels": LabelMap(STREET.ids.repeat(2, 1, 1), STREET.palette)}, {}, "1 images with 2 label maps"),
        ({"labels": STREET.resize(64, 64)}, {}, "the image"),
        ({}, {"resize": "fit"}, "resize is 'fit', expected one of keep, crop, stretch"),
        ({}, {"resize": "crop", "width": 64}, "give width and height of at least 64"),
        ({"image": picture()[:, :60], "labels": STREET.crop(0, 0, 60, 96)}, {}, "96 x 60, too small"),
        ({}, {"steps": 0}, "0 inversion steps, expected 1 to 999"),
        ({}, {"steps": 1000}, "1000 inversion steps, expected 1 to 999"),
        ({}, {"method": "magic"}, "method is 'magic', expected one of inversion, forward noise"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(model, vae, given: dict, options: dict, message: str) -> None:
    given = {"image": picture(), "labels": STREET} | given
    with pytest.raises(ValueError, match=re.escape(message)):
        encode(model, vae, **given, **options)


def test_a_vae_of_another_family_is_refused(model) -> None:
    class Wide:
        def encode(self, image: Tensor) -> Tensor:
            return torch.zeros(1, 16, *(side // 8 for side in image.shape[1:3]))

    with pytest.raises(
        ValueError, match=re.escape("this VAE makes latents (1, 16, 8, 12), the model takes 4 channels")
    ):
        encode(model, Wide())


# Files


@pytest.fixture
def nodes(model_folder: Path) -> ModuleType:
    return pack_module("nodes.exemplar")


def encoded(nodes: ModuleType, model: Any, vae: Any, **options: Any) -> Any:
    """Through the node, as a workflow does."""
    given = dict(method="forward noise", steps=4, resize="keep", width=512, height=512, seed=3)
    given |= dict(control_strength=1.0, control_in_inversion=False, name="a street")
    given |= dict(prompt_of_pass=nodes.THIS_CONDITIONING) | options
    return nodes.AMAdapterEncodeExemplar.execute(
        model=model, vae=vae, image=picture(), labels=STREET, conditioning=TEXT, **given
    )[0]


def tensors(source: Any) -> list[Tensor | None]:
    e = source.exemplar
    return [e.trajectory.sigmas, e.trajectory.latents, e.labels.ids, e.context, e.pooled]


@pytest.mark.parametrize("options", [{}, {"method": "inversion", "prompt_of_pass": "target's prompt"}], ids=str)
def test_what_is_saved_is_loaded_bit_for_bit(nodes, model, vae, model_folder: Path, options: dict) -> None:
    made = encoded(nodes, model, vae, **options)
    name = nodes.AMAdapterSaveExemplar.execute(made, "streets/first")[0]
    assert name == "streets/first_00001.safetensors"
    assert (model_folder / "am_adapter" / name).is_file()
    loaded = nodes.AMAdapterLoadExemplar.execute(name, 1.0)[0]
    for kept, given in zip(tensors(loaded), tensors(made), strict=True):
        assert (kept is None and given is None) or torch.equal(kept, given)
    assert loaded.exemplar.name == "a street" and loaded.control is None
    assert loaded.exemplar.labels.palette == made.exemplar.labels.palette
    assert torch.equal(sample(patched(model, application(loaded))), sample(patched(model, application(made))))


def test_a_loaded_exemplar_gets_its_control_net_anew(nodes, tiny, model, vae) -> None:
    net = tiny.tiny_label_map_control()
    made = encoded(nodes, model, vae, control_net=net, control_strength=0.7)
    name = nodes.AMAdapterSaveExemplar.execute(made, "street")[0]
    loaded = nodes.AMAdapterLoadExemplar.execute(name, 0.7, net)[0]
    assert torch.equal(sample(patched(model, application(loaded))), sample(patched(model, application(made))))


def test_no_file_is_overwritten(nodes, model, vae, model_folder: Path) -> None:
    made = encoded(nodes, model, vae)
    names = [nodes.AMAdapterSaveExemplar.execute(made, "street")[0] for _ in range(3)]
    assert len(set(names)) == 3
    assert sorted(path.name for path in (model_folder / "am_adapter").iterdir()) == sorted(names)


def test_a_write_that_breaks_off_leaves_no_file(nodes, model, vae, model_folder: Path, monkeypatch) -> None:
    import amadapter_core.checkpoints.saving as saving

    made, write, during = encoded(nodes, model, vae), saving.save_file, []

    def break_off(given: dict, path: Path, **options: Any) -> None:
        write(given, path, **options)
        path.write_bytes(path.read_bytes()[:100])
        during.extend(nodes.folders.exemplars() + nodes.folders.matchers())
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(saving, "save_file", break_off)
        nodes.AMAdapterSaveExemplar.execute(made, "street")
    assert during == []
    assert list((model_folder / "am_adapter").iterdir()) == []
    name = nodes.AMAdapterSaveExemplar.execute(made, "street")[0]
    assert nodes.folders.exemplars() == [name]


def test_errors_name_the_node(nodes, model, vae) -> None:
    with pytest.raises(ValueError, match="^Encode Exemplar: resize 'crop' to 8 x 8"):
        encoded(nodes, model, vae, resize="crop", width=8, height=8)
    with pytest.raises(FileNotFoundError, match="^Load Exemplar: .*no file 'missing.safetensors'"):
        nodes.AMAdapterLoadExemplar.execute("missing.safetensors", 1.0)
    with pytest.raises(ValueError, match="^Save Exemplar: .*leaves"):
        nodes.AMAdapterSaveExemplar.execute(encoded(nodes, model, vae), "../street")
