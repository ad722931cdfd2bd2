"""The miniature Stable Diffusion of the tests is one: stock nodes take it, and diffusers computes the same."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from amadapter_core.controlnext import ControlNeXt
from amadapter_core.generators.ipose import Supports
from amadapter_core.generators.system import System
from amadapter_core.matcher import Matcher

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("inference")]

ROOT = Path(__file__).resolve().parents[3]
TO_K = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_k"


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def predict(model, transformer_options: dict | None = None) -> torch.Tensor:
    """The UNet's output for fixed inputs, on a grid that is not square."""
    model.patch_model()
    x, context, t = random(2, 4, 12, 8), random(2, 77, 64, seed=1), torch.tensor([400.0, 400.0])
    options = transformer_options or {}
    result = model.model.diffusion_model(x, t, context=context, transformer_options=options)
    model.unpatch_model()
    return result


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_its_twin_in_diffusers_computes_the_same(tiny: ModuleType, dtype: torch.dtype, tolerance: float) -> None:
    x, context, t = random(2, 4, 12, 8).to(dtype), random(2, 77, 64, seed=1).to(dtype), torch.tensor([400.0, 400.0])
    theirs = tiny.tiny_diffusers_unet(seed=3).to(dtype)(x, t, context).sample
    ours = tiny.tiny_model(seed=3, dtype=dtype).model.diffusion_model(x, t, context=context)
    assert (ours - theirs).abs().max() <= tolerance
    assert theirs.std() > 0.3


def test_it_has_the_16_self_attentions_of_sd15_and_they_matter(tiny: ModuleType) -> None:
    model, seen = tiny.tiny_model(), []

    def forget_where(q, k, v, options):
        seen.append((options["block"], options["n_heads"]))
        return v.mean(1, keepdim=True).expand_as(v)

    blocks = [("input", i) for i in (1, 2, 4, 5, 7, 8)] + [("middle", 0)] + [("output", i) for i in range(3, 12)]
    changed = predict(model, {"patches_replace": {"attn1": dict.fromkeys(blocks, forget_where)}})
    assert seen == [(block, 8) for block in blocks]
    assert (changed - predict(model)).abs().mean() > 0.1


def test_the_same_seed_makes_the_same_model_and_another_makes_another(tiny: ModuleType) -> None:
    model = tiny.tiny_model(seed=1)
    assert torch.equal(predict(model), predict(tiny.tiny_model(seed=1)))
    assert not torch.allclose(predict(model), predict(tiny.tiny_model(seed=2)), atol=0.1)


def test_a_deep_clone_has_weights_of_its_own(tiny: ModuleType) -> None:
    model = tiny.tiny_model(seed=1)
    clone = model.clone(force_deepcopy=True)
    assert clone.model is not model.model
    assert torch.equal(predict(clone), predict(model))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_weights_of_less_precision_are_cast_at_use(tiny: ModuleType, dtype: torch.dtype) -> None:
    model = tiny.tiny_model(dtype=dtype)
    assert model.model.get_dtype() == dtype
    assert predict(model).isfinite().all()


def test_a_lora_finds_its_layer(tiny: ModuleType) -> None:
    import comfy.sd

    model, clip = tiny.tiny_model(), tiny.tiny_clip()
    lora = {f"{TO_K}.lora_up.weight": random(32, 4), f"{TO_K}.lora_down.weight": random(4, 32)}
    patched, _ = comfy.sd.load_lora_for_models(model, clip, lora, 1.0, 1.0)
    assert list(patched.patches) == [
        "diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_k.weight",
    ]
    plain = predict(model)
    assert (predict(patched) - plain).abs().max() > 1e-3
    assert torch.equal(predict(model), plain)


def test_stock_nodes_take_it(tiny: ModuleType) -> None:
    import nodes

    model, clip, vae = tiny.tiny_model(), tiny.tiny_clip(), tiny.tiny_vae()
    positive, negative = (nodes.CLIPTextEncode().encode(clip, text)[0] for text in ("a red car", ""))
    assert positive[0][0].shape == (1, 77, 64)
    assert positive[0][1]["pooled_output"].shape == (1, 64)
    assert not torch.allclose(positive[0][0], negative[0][0], atol=0.1)
    image = torch.rand(1, 48, 64, 3)
    latent = nodes.VAEEncode().encode(vae, image)[0]
    assert latent["samples"].shape == (1, 4, 6, 8)
    masked = nodes.VAEEncodeForInpaint().encode(vae, image, torch.ones(1, 48, 64))[0]
    applied = nodes.ControlNetApplyAdvanced().apply_controlnet(
        positive, negative, tiny.tiny_controlnet(), image, 1.0, 0.0, 1.0
    )
    sampled = nodes.KSampler().sample(model, 0, 1, 2.0, "euler", "normal", *applied, masked)[0]
    plain = nodes.KSampler().sample(model, 0, 1, 2.0, "euler", "normal", positive, negative, masked)[0]
    assert not torch.allclose(sampled["samples"], plain["samples"], atol=0.1)
    decoded = nodes.VAEDecode().decode(vae, sampled)[0]
    assert decoded.shape == (1, 48, 64, 3)
    assert decoded.isfinite().all()


def test_the_pack_s_nodes_bring_the_classes_of_the_pack_under_test(tiny: ModuleType) -> None:
    folder = ROOT / "tests/packs/tiny_sd15"
    spec = importlib.util.spec_from_file_location(
        "tiny_sd15_pack", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    sys.modules[spec.name] = pack = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pack)
    loaders = {name: node() for name, node in pack.NODE_CLASS_MAPPINGS.items() if node.FUNCTION == "load"}
    assert pack.NODE_CLASS_MAPPINGS.keys() - loaders.keys() == {"TinySegmentation"}
    made = {name: node.load(0) for name, node in loaders.items()}
    named = ("SD15Checkpoint", "ControlNet", "ControlNeXt", "Matcher", "Transformer", "Generator", "Supports")
    assert list(made) == [f"Tiny{name}" for name in named]
    assert len(made["TinySD15Checkpoint"]) == 3
    assert isinstance(made["TinyControlNeXt"][0].network, ControlNeXt)
    assert isinstance(made["TinyMatcher"][0].model, Matcher)
    assert made["TinyGenerator"][0].core.system is System.CLVAE and isinstance(made["TinySupports"][0], Supports)


def test_classes_are_those_of_the_pack_that_a_server_has_loaded(
    tiny: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "/somewhere/custom_nodes/pack"
    spec = importlib.util.spec_from_file_location(name, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    # As in a server: no finder of the tests, and no other copy of the pack.
    monkeypatch.setattr(sys, "meta_path", [finder for finder in sys.meta_path if type(finder).__name__ != "SameCore"])
    for loaded in [key for key in sys.modules if key.endswith(".amadapter_core")]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, name, importlib.util.module_from_spec(spec))
    running = importlib.import_module(f"{name}.amadapter_core.matcher")
    assert running.Matcher is not Matcher
    assert type(tiny.tiny_matcher()) is running.Matcher
