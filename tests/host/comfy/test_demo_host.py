"""The demonstration family in ComfyUI computes what it computes in diffusers, and stock nodes take it.

Its weights are random here: what is compared are two programs, not pictures.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from amadapter_core.demo import files
from amadapter_core.demo.family import LATENT_CHANNELS
from amadapter_core.demo.weights import pipeline
from amadapter_core.demo.words import LENGTH
from tests.host.comfy import scene
from tests.host.comfy.pack import pack_module

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("inference")]

CHANNELS, TOKENS = LATENT_CHANNELS, LENGTH
STEP = 500
PROMPTS = (
    "",
    "a street at night",
    "A Street, at NIGHT in the rain!",
    "rain",
    "a zeppelin over the street",
    "street-at\nnight   rain.",
    " ".join(["rain"] * 14),
    "nightly rains",
    "ein Weg nach Süden",
)


@pytest.fixture(scope="module")
def demo(tiny: ModuleType) -> ModuleType:
    from amadapter_core.hosts.comfy import demo

    return demo


@pytest.fixture(scope="module", params=["fp16", "fp32"])
def flat(request: pytest.FixtureRequest, demo_folder: Path, demo_flat: Path, tmp_path_factory: Any) -> Path:
    """The packed set, and one of the same names whose networks are in fp32."""
    if request.param == "fp16":
        return demo_flat
    wide = tmp_path_factory.mktemp("fp32")
    for path in demo_flat.iterdir():
        (wide / path.name).write_bytes(path.read_bytes())
    for name, folder in ((files.UNET, "unet"), (files.VAE, "vae")):
        save_file(load_file(demo_folder / folder / "diffusion_pytorch_model.safetensors"), wide / name)
    return wide


@pytest.fixture(scope="module")
def stock(flat: Path) -> Any:
    """The same files in diffusers."""
    return pipeline(flat)


@pytest.fixture(scope="module")
def model(demo: ModuleType, flat: Path) -> Any:
    return demo.load_model(flat)


@pytest.fixture(scope="module")
def clip(demo: ModuleType, flat: Path) -> Any:
    return demo.load_clip(flat)


@pytest.fixture(scope="module")
def vae(demo: ModuleType, flat: Path) -> Any:
    return demo.load_vae(flat)


@pytest.fixture(scope="module")
def control(demo: ModuleType, flat: Path) -> Any:
    return demo.load_demo_control(flat)


def encode(clip: Any, text: str) -> list:
    import nodes

    return nodes.CLIPTextEncode().encode(clip, text)[0]


def controlled(control: Any, conds: scene.Conds, colours: Tensor) -> scene.Conds:
    import nodes

    return nodes.ControlNetApplyAdvanced().apply_controlnet(*conds, control, colours, 1.0, 0.0, 1.0)


def widgets(node: Any) -> dict[str, Any]:
    """The values that a node's widgets start with."""
    entries = node.GET_SCHEMA().inputs
    chosen = {entry.id: entry.options[0] for entry in entries if getattr(entry, "options", None)}
    return chosen | {entry.id: entry.default for entry in entries if getattr(entry, "default", None) is not None}


def greatest(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


def test_the_unet_computes_the_same(model: Any, stock: Any) -> None:
    x, context = scene.random(2, CHANNELS, 12, 16), scene.random(2, TOKENS, 64, seed=1)
    t = torch.tensor([400.0, 400.0])
    theirs = stock.unet(x, t, context).sample
    assert greatest(model.model.diffusion_model(x, t, context=context), theirs) < 2e-5
    assert theirs.std() > 0.1


def test_the_text_encoder_computes_the_same(clip: Any, stock: Any) -> None:
    for prompt in PROMPTS:
        theirs = stock.encode_prompt(prompt, "cpu", 1, False)[0]
        assert greatest(encode(clip, prompt)[0][0], theirs) < 1e-5
    assert greatest(encode(clip, "rain")[0][0], encode(clip, "night")[0][0]) > 1e-3


def test_words_become_the_same_tokens(clip: Any, stock: Any) -> None:
    length = stock.tokenizer.model_max_length
    for prompt in PROMPTS:
        theirs = stock.tokenizer(prompt, padding="max_length", max_length=length, truncation=True).input_ids
        assert clip.tokenize(prompt) == {"l": [[(token, 1.0) for token in theirs]]}


def test_a_prompt_that_is_too_long_goes_on_in_a_second_chunk(clip: Any) -> None:
    chunks = clip.tokenize(" ".join(["rain"] * 20))["l"]
    assert [len(chunk) for chunk in chunks] == [TOKENS, TOKENS]


def test_words_can_be_weighted(clip: Any) -> None:
    plain, weighted = encode(clip, "a street at night")[0][0], encode(clip, "a street at (night:1.5)")[0][0]
    assert [weight for _, weight in clip.tokenize("a street at (night:1.5)")["l"][0]][4] == 1.5
    moved = (weighted - plain).abs().amax(-1)[0]
    assert moved[4] > 1e-2
    assert greatest(weighted[:, :4], plain[:, :4]) < 1e-6
    assert torch.equal(encode(clip, "a street at (night:1.0)")[0][0], plain)


def test_the_autoencoder_computes_the_same(vae: Any, stock: Any) -> None:
    import nodes

    image = torch.rand(1, 48, 64, 3, generator=torch.Generator().manual_seed(1))
    theirs = stock.vae.encode(image.permute(0, 3, 1, 2) * 2 - 1).latent_dist.mode()
    latent = nodes.VAEEncode().encode(vae, image)[0]
    assert latent["samples"].shape == (1, CHANNELS, 6, 8)
    assert greatest(latent["samples"], theirs) < 1e-5
    picture = (stock.vae.decode(theirs).sample / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)
    assert greatest(nodes.VAEDecode().decode(vae, latent)[0], picture) < 5e-5


def test_a_denoised_picture_is_the_same_with_label_map_and_prediction_of_v(
    model: Any, clip: Any, control: Any, stock: Any
) -> None:
    from amadapter_core.hosts.diffusers import LabelControl, NoiseSchedule
    from amadapter_core.hosts.diffusers.control import controlled as with_control

    target, t = scene.STREET, float(STEP)
    size = tuple(8 * side for side in scene.SIZE)
    alpha = NoiseSchedule(stock.scheduler).alpha(STEP)
    x = scene.random(1, CHANNELS, *scene.SIZE, seed=3) / alpha**0.5
    conds = encode(clip, "a street at night"), encode(clip, "")
    ours = scene.predictions(
        model, x, controlled(control, conds, target.resize(*size, method="nearest").colours()), STEP
    )
    label_control = LabelControl.of(stock.controlnext, target, size)
    for (cond, _), denoised in zip((conds[0][0], conds[1][0]), ours, strict=True):
        with with_control(stock.unet, label_control, t):
            v = stock.unet(x * alpha**0.5, t, cond).sample
        assert scene.relative(denoised, alpha * x - (1 - alpha) ** 0.5 * v) < 1e-4


@pytest.mark.parametrize("mode", ["implicit", "categorical", "learned"])
def test_a_picture_that_looks_at_an_exemplar_is_the_same(
    demo: ModuleType, model: Any, stock: Any, flat: Path, mode: str
) -> None:
    from amadapter_core.hosts.diffusers import Augmentation, NoiseSchedule, Source
    from amadapter_core.matching import SpatialMatching

    schedule = NoiseSchedule(stock.scheduler)
    alpha = schedule.alpha(STEP)
    x = scene.random(1, CHANNELS, *scene.SIZE, seed=3) / alpha**0.5
    conds = scene.conditions(TOKENS)
    source = scene.exemplar(channels=CHANNELS, context=conds[0][0][0])
    application = scene.application(source, mode=mode, matcher=demo.load_demo_matcher(folder=flat))
    ours = scene.predictions(scene.patched(model, application), x, conds, STEP)
    context = torch.cat([conds[1][0][0], conds[0][0][0]])
    matching = SpatialMatching.of([application.pairing(1.0, None)])
    sources = [Source(source.exemplar, source.exemplar.context)]
    with Augmentation(stock.unet, schedule, matching, sources).attached():
        v = stock.unet(torch.cat([x, x]) * alpha**0.5, STEP, context).sample
    without, within = (alpha * x - (1 - alpha) ** 0.5 * part for part in v.chunk(2))
    assert scene.relative(ours[0], within) < 1e-4
    assert scene.relative(ours[1], without) < 1e-4
    assert scene.relative(within, scene.predictions(model, x, conds, STEP)[0]) > 1e-3


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("implicit", {}),
        ("categorical", {}),
        ("categorical", {"keep_mass": True}),
        ("learned", {}),
        ("learned", {"variant": "published"}),
    ],
)
def test_the_method_runs_from_empty_latent_to_picture_with_the_nodes_alone(
    demo: ModuleType, model: Any, clip: Any, vae: Any, control: Any, flat: Path, mode: str, options: dict
) -> None:
    import nodes

    apply, encoding = pack_module("nodes.apply").AMAdapterApply, pack_module("nodes.exemplar").AMAdapterEncodeExemplar
    target, source = scene.SQUARE, scene.SQUARE_PARK
    conds = encode(clip, "a street at night"), encode(clip, "")
    image = torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(1))
    given = dict(model=model, vae=vae, image=image, labels=source, conditioning=conds[1], steps=4, control_net=control)
    exemplar = encoding.execute(**widgets(encoding) | given)[0]
    settings = widgets(apply) | {"mode": mode, "matcher": demo.load_demo_matcher(folder=flat)} | options
    applied = apply.execute(model=model, exemplar=exemplar, target_labels=target, **settings)[0]
    both = controlled(control, conds, target.colours())
    empty = nodes.EmptyLatentImage().generate(64, 64, 1)[0]
    results = [scene.sample(m, both, latent=empty) for m in (model, applied)]
    assert results[1].shape == (1, CHANNELS, 8, 8)
    assert scene.differs(results[1], results[0])
    picture = nodes.VAEDecode().decode(vae, {"samples": results[1]})[0]
    assert picture.shape == (1, 64, 64, 3)
    assert picture.std() > 0.01


def test_deep_copies_have_weights_of_their_own(model: Any, clip: Any, vae: Any) -> None:
    for patcher in (model, clip.patcher, vae.patcher):
        again = patcher.clone(force_deepcopy=True)
        assert again.model is not patcher.model
        for (name, tensor), other in zip(
            patcher.model.state_dict().items(), again.model.state_dict().values(), strict=True
        ):
            assert torch.equal(tensor, other), name


def test_the_model_keeps_the_schedule_and_the_latents_it_was_trained_with(model: Any, stock: Any) -> None:
    import comfy.model_sampling

    sampling, latents = model.get_model_object("model_sampling"), model.get_model_object("latent_format")
    assert isinstance(sampling, comfy.model_sampling.V_PREDICTION)
    alphas = 1 / (1 + sampling.sigmas.double() ** 2)
    assert greatest(alphas, stock.scheduler.alphas_cumprod.double()) < 1e-6
    assert latents.scale_factor == stock.vae.config.scaling_factor
    assert latents.latent_channels == CHANNELS


def test_a_latent_is_previewed_in_colours(model: Any, vae: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import latent_preview
    from comfy.cli_args import LatentPreviewMethod

    monkeypatch.setattr(latent_preview.args, "preview_method", LatentPreviewMethod.Auto)
    previewer = latent_preview.get_previewer("cpu", model.get_model_object("latent_format"))
    assert previewer.decode_latent_to_preview(scene.random(1, CHANNELS, 8, 12)).size == (12, 8)


def test_the_node_gives_all_five(demo_flat: Path, monkeypatch: pytest.MonkeyPatch, tiny: ModuleType) -> None:
    node = pack_module("nodes.demo").AMAdapterLoadDemo
    monkeypatch.setattr(files, "SHIPPED", demo_flat)
    for variant in ("spatial", "published"):
        model, clip, vae, control, matcher = node.execute(variant).result
        assert matcher.model.variant == variant
    assert control.network.out_channels == model.model.diffusion_model.model_channels
    assert node.fingerprint_inputs("spatial") == node.fingerprint_inputs("spatial") != ""


def test_users_are_offered_the_node_once_its_weights_are_there(
    demo_flat: Path, tiny: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    node = pack_module("nodes.demo").AMAdapterLoadDemo
    for folder, hidden in ((tmp_path, True), (demo_flat, False)):
        monkeypatch.setattr(files, "SHIPPED", folder)
        assert node.define_schema().is_dev_only is hidden


def test_without_weights_the_node_says_what_to_do(
    tiny: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    node = pack_module("nodes.demo").AMAdapterLoadDemo
    monkeypatch.setattr(files, "SHIPPED", tmp_path)
    assert node.fingerprint_inputs("spatial") == ""
    with pytest.raises(FileNotFoundError, match="^Load AM-Adapter Demo: .*unet.safetensors.*not found in .*demo pack"):
        node.execute("spatial")
