"""The patched MODEL beside everything else that ComfyUI puts on a model, and on other models of the family.

Most tests use that an exemplar which *is* the target changes nothing: its keys and values are the target's own, and
a softmax over everything twice is the softmax. This holds for any model, and fails as soon as the exemplar's pass
differs in anything (weights, prompt, ControlNet, size, precision) or reaches rows that are not the positive ones.
"""

from __future__ import annotations

import logging
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from amadapter_core.exemplar import Exemplar
from tests.host.comfy.scene import (
    PARK,
    SIZE,
    SQUARE,
    STREET,
    TOWER,
    Forwards,
    application,
    cfg_guider,
    conditions,
    denoise,
    differs,
    exemplar,
    itself,
    noisy,
    patched,
    predictions,
    random,
    same,
    sample,
)

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("inference")]


# Guidance nodes and guiders


def guiders() -> dict[str, Any]:
    from comfy_extras import nodes_custom_sampler as stock
    from comfy_extras import nodes_pag, nodes_perpneg, nodes_sag

    conds, empty = conditions(), [[random(1, 77, 64, seed=4), {}]]
    return {
        "CFG": lambda m: cfg_guider(m, conds),
        "Dual CFG": lambda m: stock.DualCFGGuider.execute(m, conds[0], empty, conds[1], 3.0, 2.0, "regular")[0],
        "Dual CFG nested": lambda m: stock.DualCFGGuider.execute(m, conds[0], empty, conds[1], 3.0, 2.0, "nested")[0],
        "Perp-Neg guider": lambda m: nodes_perpneg.PerpNegGuider.execute(m, *conds, empty, 3.0, 1.0)[0],
        "Perp-Neg": lambda m: cfg_guider(nodes_perpneg.PerpNeg.execute(m, empty, 1.0)[0], conds),
        "PAG": lambda m: cfg_guider(nodes_pag.PerturbedAttentionGuidance.execute(m, 3.0)[0], conds),
        "SAG": lambda m: cfg_guider(nodes_sag.SelfAttentionGuidance.execute(m, 0.5, 2.0)[0], conds),
    }


GUIDERS = ["CFG", "Dual CFG", "Dual CFG nested", "Perp-Neg guider", "Perp-Neg", "PAG", "SAG"]


@pytest.mark.parametrize("name", GUIDERS)
def test_guidance_gives_the_exemplar_to_the_positive_rows_alone(model, name: str) -> None:
    make, x = guiders()[name], noisy((16, 16))
    plain = denoise(make(model), x)
    # After PAG's site its rows are no longer the exemplar's; the site itself must be left to PAG.
    weights = (1.0, 1.0, 0.0) if name == "PAG" else (1.0, 1.0, 1.0)
    twin = application(itself(x, 500, model, SQUARE), SQUARE, mode="implicit", block_weights=weights)
    assert same(denoise(make(patched(model, twin)), x), plain, 1e-4)
    if name not in GUIDERS[1:4]:  # and with the guidance node before ours: it leaves its patches on the model
        before = make(model).model_patcher
        assert same(denoise(cfg_guider(patched(before, twin), conditions()), x), plain, 1e-4)
    other = application(target=SQUARE)
    assert differs(denoise(make(patched(model, other)), x), plain)


# Neighbours on the MODEL


def lora(names: tuple[str, ...] = ("to_q", "to_k", "to_v")) -> dict[str, Tensor]:
    block = "lora_unet_{}_blocks_{}_attentions_{}_transformer_blocks_0_attn1_{}"
    places = [("down", 0, 0, 32), ("up", 3, 2, 32), ("down", 1, 1, 64)]
    weights = {}
    for number, (side, level, index, width) in enumerate(places):
        for name in names:
            key = block.format(side, level, index, name)
            weights[f"{key}.lora_up.weight"] = random(width, 4, seed=number)
            weights[f"{key}.lora_down.weight"] = random(4, width, seed=number + 50) * 0.2
    return weights


def with_lora(model: Any, strength: float = 1.0) -> Any:
    import comfy.sd

    return comfy.sd.load_lora_for_models(model, None, lora(), strength, 0.0)[0]


def test_a_lora_changes_target_and_exemplar(model) -> None:
    x = noisy()
    twin = application(itself(x, 500, model), mode="implicit")
    without = predictions(patched(model, twin), x)[0]  # its keys and values are known from now on
    for strength in (1.0, 0.5):
        changed = with_lora(model, strength)
        plain = predictions(changed, x)[0]
        assert same(predictions(patched(changed, twin), x)[0], plain)
        assert same(predictions(with_lora(patched(model, twin), strength), x)[0], plain)
        assert differs(plain, without)
    assert torch.equal(predictions(patched(model, twin), x)[0], without)


def test_keys_and_values_from_before_a_lora_are_not_used(model) -> None:
    from amadapter_core.hosts.comfy import bank_store

    source = exemplar()
    bank_store.clear()
    fresh = sample(with_lora(patched(model, application(source))))
    bank_store.clear()
    plain = sample(patched(model, application(source)))
    assert torch.equal(sample(with_lora(patched(model, application(source)))), fresh)
    assert torch.equal(sample(patched(model, application(source))), plain)
    assert differs(fresh, plain)


def test_a_stock_controlnet_in_the_exemplar_s_pass(tiny, model) -> None:
    import nodes

    from amadapter_core.hosts.comfy.exemplar import control_of

    for net in (tiny.tiny_controlnet(), tiny.tiny_label_map_control()):
        conds = nodes.ControlNetApplyAdvanced().apply_controlnet(*conditions(), net, STREET.colours(), 1.0, 0.0, 1.0)
        x, plain = noisy(), predictions(model, noisy(), conds)[0]
        controlled, free = (itself(x, 500, model, control=control_of(STREET, c, 1.0)) for c in (net, None))
        assert same(predictions(patched(model, application(controlled, mode="implicit")), x, conds)[0], plain)
        assert differs(predictions(patched(model, application(free, mode="implicit")), x, conds)[0], plain)


def test_stock_controlnet_and_controlnext_chain_in_either_order(tiny, model) -> None:
    import nodes

    def chain(*nets: Any) -> Any:
        conds = conditions()
        for net in nets:
            conds = nodes.ControlNetApplyAdvanced().apply_controlnet(*conds, net, STREET.colours(), 1.0, 0.0, 1.0)
        return conds

    stock, ours, x = tiny.tiny_controlnet(), tiny.tiny_label_map_control(), noisy()
    changed = patched(model, application(exemplar(context=random(1, 77, 64))))
    results = [predictions(changed, x, chain(*nets))[0] for nets in ((stock, ours), (ours, stock))]
    assert same(*results)
    assert differs(results[0], predictions(model, x, chain(stock, ours))[0])
    assert all(differs(results[0], predictions(changed, x, chain(net))[0]) for net in (stock, ours))


def test_cross_attention_patches_see_the_target_alone(model) -> None:
    """As IPAdapter's do."""
    from comfy.ldm.modules.attention import optimized_attention

    rows = []

    def attend(q: Tensor, k: Tensor, v: Tensor, extra: dict) -> Tensor:
        rows.append(len(q) // len(extra["cond_or_uncond"]))
        return optimized_attention(q, k, v, extra["n_heads"]) + v.mean(1, keepdim=True)

    adapted = model.clone()
    for block in [("input", 4), ("middle", 0), ("output", 5)]:
        adapted.set_model_attn2_replace(attend, *block)
    x, source = noisy(batch=2), exemplar()
    plain = predictions(adapted, x)
    asked, rows[:] = len(rows), []
    first = predictions(patched(adapted, application(source)), x)
    assert rows == [2] * asked
    last = patched(model, application(source)).clone()
    for block in [("input", 4), ("middle", 0), ("output", 5)]:
        last.set_model_attn2_replace(attend, *block)
    assert torch.equal(predictions(last, x)[0], first[0])
    assert torch.equal(first[1], plain[1])
    assert differs(first[0], plain[0], predictions(patched(model, application(source)), x)[0])


def test_freeu(model) -> None:
    from comfy_extras.nodes_freelunch import FreeU_V2

    source, x = exemplar(), noisy()

    def freed(model: Any) -> Any:
        return FreeU_V2.execute(model, 1.3, 1.4, 0.9, 0.2)[0]

    result = predictions(patched(freed(model), application(source)), x)
    assert torch.equal(result[0], predictions(freed(patched(model, application(source))), x)[0])
    assert torch.equal(result[1], predictions(freed(model), x)[1])
    assert differs(result[0], predictions(freed(model), x)[0], predictions(patched(model, application(source)), x)[0])


def test_hypertile_keeps_the_sites_that_it_cuts_up(model, caplog: pytest.LogCaptureFixture) -> None:
    from comfy_extras.nodes_hypertile import HyperTile

    def tiled(model: Any) -> Any:
        return HyperTile.execute(model, 32, 1, 0, False)[0]

    x, source = noisy((16, 16)), exemplar()
    with caplog.at_level(logging.WARNING):
        result = predictions(tiled(patched(model, application(source, SQUARE))), x)
    warnings = [r.getMessage() for r in caplog.records if "HyperTile" in r.getMessage()]
    assert len(warnings) == len(set(warnings)) > 0
    plain = predictions(tiled(model), x)
    assert torch.equal(result[1], plain[1])
    assert differs(result[0], plain[0], predictions(patched(model, application(source, SQUARE)), x)[0])


@pytest.mark.parametrize("compiled_first", [True, False])
def test_torch_compile_is_left_out_of_our_runs_alone(model, compiled_first: bool) -> None:
    from comfy.patcher_extension import WrappersMP
    from comfy_api.torch_helpers import set_torch_compile_wrapper

    calls = []

    def backend(graph: Any, inputs: Any) -> Any:
        calls.append(graph)
        raise AssertionError("the UNet was compiled")

    def compiled(model: Any) -> Any:
        clone = model.clone(disable_dynamic=True)
        set_torch_compile_wrapper(clone, backend=backend)
        return clone

    source = exemplar()
    upstream = compiled(model)
    both = patched(upstream, application(source)) if compiled_first else compiled(patched(model, application(source)))
    for _ in range(2):
        assert torch.equal(sample(both), sample(patched(model, application(source))))
    assert not calls
    for kept in (upstream, both):
        assert len(kept.get_wrappers(WrappersMP.APPLY_MODEL, "torch.compile")) == 1


@pytest.mark.parametrize("compiled_first", [True, False])
def test_where_nothing_is_looked_at_the_compiled_unet_runs(model, compiled_first: bool) -> None:
    from comfy.patcher_extension import WrappersMP

    calls = []

    def compiled(model: Any) -> Any:
        clone = model.clone()
        clone.add_wrapper_with_key(
            WrappersMP.APPLY_MODEL, "torch.compile", lambda executor, *a, **kw: (calls.append(1), executor(*a, **kw))[1]
        )
        return clone

    off = application(strength=0.0)
    sample(patched(compiled(model), off) if compiled_first else compiled(patched(model, off)))
    assert len(calls) == 2


# Weights and memory


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2], ids=str)
def test_weights_of_less_precision(tiny, dtype: torch.dtype) -> None:
    rough, x = tiny.tiny_model(dtype=dtype), noisy()
    plain = predictions(rough, x)
    twin = application(itself(x, 500, rough), mode="implicit")
    assert same(predictions(patched(rough, twin), x)[0], plain[0], 1e-4)
    assert differs(predictions(patched(rough), x)[0], plain[0])


def test_little_video_memory(tiny, model, matcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """All weights stay where they are and are cast layer by layer: UNet, ControlNeXt and matcher."""
    import comfy.model_management as management
    import nodes
    from comfy.model_patcher import ModelPatcher

    from amadapter_core.hosts.comfy.exemplar import control_of

    net = tiny.tiny_label_map_control()
    conds = nodes.ControlNetApplyAdvanced().apply_controlnet(*conditions(), net, STREET.colours(), 1.0, 0.0, 1.0)
    control = control_of(PARK, net, 1.0)

    def run(model: Any) -> Tensor:
        a = application(exemplar(control=control), mode="learned", matcher=matcher)
        return sample(patched(model, a), conds, steps=2)

    expected = run(with_lora(model))
    management.unload_all_models()
    load, partly = ModelPatcher.load, []

    def load_little(self: Any, device_to: Any = None, lowvram_model_memory: int = 0, *_: Any, **__: Any) -> Any:
        result = load(self, device_to, lowvram_model_memory=1)
        partly.append((self.model, self.model.model_lowvram))
        return result

    monkeypatch.setattr(ModelPatcher, "load", load_little)
    assert torch.equal(run(with_lora(model)), expected)
    low = {id(network): flag for network, flag in partly}
    assert low[id(model.model)] and low[id(matcher.model)] and low[id(net.network)]
    monkeypatch.undo()
    management.unload_all_models()


def test_matcher_and_controlnet_are_loaded_with_the_model(tiny, model, matcher) -> None:
    from amadapter_core.hosts.comfy.exemplar import control_of

    net = tiny.tiny_label_map_control()
    learned = application(exemplar(control=control_of(PARK, net, 1.0)), mode="learned", matcher=matcher)
    changed = patched(model, learned, application())
    held = {p.model for p in changed.get_nested_additional_models()}
    assert held == {matcher.model, net.network}
    assert model.get_nested_additional_models() == []


def test_memory_is_asked_for_the_exemplars_rows(model, monkeypatch: pytest.MonkeyPatch) -> None:
    import comfy.sampler_helpers

    asked = []
    estimate = comfy.sampler_helpers.estimate_memory

    def noted(patcher: Any, shape: Any, *args: Any) -> Any:
        asked.append(shape[0])
        return estimate(patcher, shape, *args)

    monkeypatch.setattr(comfy.sampler_helpers, "estimate_memory", noted)
    sample(model, batch=2, steps=1)
    sample(patched(model, application(), application()), batch=2, steps=1)
    assert asked == [2, 4]


def test_an_interrupted_run_leaves_nothing_behind(tiny, model) -> None:
    import comfy.model_management as management
    import comfy.samplers

    from amadapter_core.hosts.comfy import bank_store
    from amadapter_core.hosts.comfy.exemplar import control_of

    control = control_of(PARK, tiny.tiny_label_map_control(), 1.0)
    changed = patched(model, application(exemplar(control=control)))

    def run(callback: Any = None) -> Tensor:
        guider = cfg_guider(changed, conditions())
        sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", 4)
        noise = random(1, 4, *SIZE)
        sampler = comfy.samplers.ksampler("euler")
        return guider.sample(noise, torch.zeros_like(noise), sampler, sigmas, callback=callback, seed=0)

    expected = run()
    bank_store.clear()

    def interrupt(step: int, *_: Any) -> None:
        if step == 1:
            management.interrupt_current_processing()

    with pytest.raises(management.InterruptProcessingException):
        run(interrupt)
    assert changed.model_options == {"transformer_options": {}}
    assert control.cond_hint is None
    assert torch.equal(run(), expected)


# Other models


def unusual(tiny: ModuleType, base: type, config: dict, heads: dict, **settings: Any) -> Any:
    """A MODEL of another family in miniature."""
    import comfy.ops
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    class Tiny(base):
        unet_config: dict = {}
        unet_extra_config = heads

    for name, value in settings.items():
        setattr(Tiny, name, value)
    shapes = UNetModel(**config, **heads, device="meta", operations=comfy.ops.disable_weight_init)
    weights = tiny.random_weights(shapes, 0, {"attn1.to_q": 2.0, "attn1.to_k": 2.0})
    made = Tiny(config)
    made.set_inference_dtype(torch.float32, None)
    model = made.get_model(weights, "")
    patcher = tiny.core("hosts.comfy.managed").managed(model)
    model.load_model_weights(weights, "", assign=patcher.is_dynamic())
    return patcher


@pytest.fixture(scope="module")
def families(tiny: ModuleType) -> dict[str, Any]:
    import comfy.model_base
    import comfy.supported_models as supported

    eight = dict(num_heads=8, num_head_channels=-1)
    wide = dict(
        tiny.UNET,
        num_res_blocks=[2, 2, 2],
        channel_mult=[1, 2, 4],
        transformer_depth=[0, 0, 1, 1, 2, 2],
        transformer_depth_middle=2,
        transformer_depth_output=[0, 0, 0, 1, 1, 1, 2, 2, 2],
        use_linear_in_transformer=True,
        adm_in_channels=64 + 6 * 256,
        num_classes="sequential",
    )
    with torch.inference_mode():
        return {
            "inpainting": unusual(tiny, supported.SD15, dict(tiny.UNET, in_channels=9), eight),
            "v-prediction": unusual(
                tiny,
                supported.SD15,
                dict(tiny.UNET),
                eight,
                model_type=lambda self, *_: comfy.model_base.ModelType.V_PREDICTION,
            ),
            "SD2": unusual(
                tiny,
                supported.SD20,
                dict(tiny.UNET, use_linear_in_transformer=True),
                dict(num_heads=-1, num_head_channels=8, attn_precision=torch.float32),
            ),
            "SDXL": unusual(tiny, supported.SDXL, wide, dict(num_heads=-1, num_head_channels=16)),
        }


@pytest.mark.parametrize("name", ["inpainting", "v-prediction", "SD2", "SDXL"])
def test_other_models_of_the_family(families: dict[str, Any], name: str) -> None:
    model, x, clean = families[name], noisy((16, 24)), random(1, 4, 16, 24, seed=20)
    conds = conditions(pooled_output=random(1, 64, seed=30))
    image = model.model.process_latent_out(clean)
    given = {"latent": image, "mask": torch.zeros(1, 1, 16, 24)} if name == "inpainting" else {}
    plain = predictions(model, x, conds, **given)
    same_picture = itself(x, 500, model, clean=clean)
    for mode in ("implicit", "categorical"):
        if mode == "implicit":
            twin = patched(model, application(same_picture, mode=mode))
            result = predictions(twin, x, conds, **given)
            assert same(result[0], plain[0])
            assert torch.equal(result[1], plain[1])
        other = patched(model, application(mode=mode))
        assert differs(predictions(other, x, conds, **given)[0], plain[0])
    assert differs(
        sample(other, conds, size=(16, 24), steps=2, latent={"samples": image}),
        sample(model, conds, size=(16, 24), steps=2, latent={"samples": image}),
    )


def test_an_inpainting_model_sees_the_exemplar_as_a_finished_picture(families, monkeypatch) -> None:
    model, source = families["inpainting"], exemplar()
    forwards = Forwards(model, monkeypatch)
    latent = {"samples": random(1, 4, *SIZE), "noise_mask": torch.ones(1, 1, *SIZE)}
    sample(patched(model, application(source)), latent=latent, steps=1)
    (given,) = forwards.arguments
    mask, picture = given["c_concat"].split([1, 4], 1)
    assert not mask.any()
    assert torch.equal(picture, source.exemplar.trajectory.latents[:1])


def test_sdxl_gets_the_exemplar_s_own_size(families, monkeypatch) -> None:
    model, pooled = families["SDXL"], random(1, 64, seed=30)
    forwards = Forwards(model, monkeypatch)
    conds = conditions(pooled_output=pooled)
    sample(patched(model, application(exemplar(TOWER))), conds, steps=1)
    (given,) = forwards.arguments
    sizes = [model.model.embedder(torch.tensor([float(n)]))[0] for n in (128, 64, 0, 0, 128, 64)]
    assert torch.allclose(given["y"][0], torch.cat([pooled[0], *sizes]))


def test_sdxl_with_a_prompt_of_the_exemplar_s_own(families, monkeypatch) -> None:
    model = families["SDXL"]
    forwards = Forwards(model, monkeypatch)
    context, pooled = random(1, 77, 64, seed=40), random(1, 64, seed=41)
    source = exemplar()
    own = Exemplar(source.exemplar.trajectory, PARK, context, "own", pooled)
    sample(patched(model, application(type(source)(own))), conditions(pooled_output=random(1, 64)), steps=1)
    (given,) = forwards.arguments
    assert torch.equal(given["c_crossattn"], context)
    assert torch.equal(given["y"][0, :64], pooled[0])


@pytest.mark.parametrize(("name", "heads"), [("SD2", "4 and 8"), ("SDXL", "4 and 8")])
def test_the_matcher_is_refused_where_heads_differ(families, matcher, name: str, heads: str) -> None:
    message = f"made for 8 attention heads at every site, this model has {heads}; use mode 'categorical' or 'implicit'"
    with pytest.raises(ValueError, match=message):
        patched(families[name], application(mode="learned", matcher=matcher))


def test_models_without_the_sites_are_refused(model) -> None:
    transformer = model.clone()
    transformer.add_object_patch("diffusion_model", torch.nn.Linear(1, 1))
    with pytest.raises(ValueError, match="this model is a Linear without the UNet self-attention"):
        patched(transformer, application())


def test_an_exemplar_of_other_latents_is_refused(model) -> None:
    with pytest.raises(ValueError, match="was encoded to 16 latent channels, this model has 4"):
        patched(model, application(exemplar(channels=16)))
