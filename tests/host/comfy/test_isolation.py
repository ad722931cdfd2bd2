"""Off is off, and nothing leaks: not into the MODEL, not into another run, not from one exemplar to another."""

from __future__ import annotations

import copy
import gc
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor

from amadapter_core.exemplar import digest
from tests.host.comfy.scene import (
    PARK,
    SIZE,
    TOWER,
    Forwards,
    application,
    conditions,
    exemplar,
    noisy,
    patched,
    predictions,
    random,
    sample,
)

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("inference", "no_banks")]


@pytest.fixture
def no_banks(comfy_modules: object) -> None:
    """Nothing is known of any exemplar when a test begins."""
    from amadapter_core.hosts.comfy import bank_store

    bank_store.clear()


def weights(model: Any) -> str:
    return digest(*(value for _, value in sorted(model.model.state_dict().items())))


def state(model: Any) -> tuple:
    """All that a clone could change behind a MODEL's back."""
    held = (model.model_options, model.wrappers, model.callbacks, model.patches, model.object_patches)
    extra = (model.additional_models, model.injections, model.attachments, model.hook_patches)
    return *(copy.copy(part) for part in held), *(dict(part) for part in extra), model.patches_uuid


# Off is off


@pytest.mark.parametrize(
    "off",
    [
        {"strength": 0.0},
        {"start": 1.0, "end": 1.0},
        {"start": 0.0, "end": 0.0},
        {"start": 0.6, "end": 0.4},
        {"block_weights": (0.0, 0.0, 0.0)},
    ],
    ids=str,
)
def test_off_is_the_plain_model_bit_for_bit(model, monkeypatch: pytest.MonkeyPatch, off: dict) -> None:
    plain, forwards = sample(model), Forwards(model, monkeypatch)
    assert torch.equal(sample(patched(model, application(**off))), plain)
    assert not forwards.exemplars


def test_what_was_patched_can_be_unpatched(model) -> None:
    from amadapter_core.hosts.comfy.patch import applications_of, unpatched

    changed = patched(model, application(), application(exemplar(TOWER, seed=8)))
    assert len(applications_of(changed)) == 2 and applications_of(model) == ()
    plain = unpatched(changed)
    assert applications_of(plain) == () and len(applications_of(changed)) == 2
    assert torch.equal(sample(plain), sample(model))


def test_unpatching_leaves_what_others_added(tiny, model) -> None:
    from comfy.patcher_extension import WrappersMP

    from amadapter_core.hosts.comfy.patch import unpatched

    other = model.clone()
    other.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "other", lambda executor, *a, **kw: executor(*a, **kw))
    other.set_additional_models("other", [tiny.tiny_matcher_patcher()])
    plain = unpatched(patched(other))
    assert len(plain.get_wrappers(WrappersMP.APPLY_MODEL, "other")) == 1
    assert len(plain.get_additional_models_with_key("other")) == 1


def test_the_negative_prediction_is_the_plain_one_bit_for_bit(tiny, model) -> None:
    x, plain = noisy(batch=2), predictions(model, noisy(batch=2))
    matcher = tiny.tiny_matcher_patcher()
    for mode in ("implicit", "categorical", "learned"):
        a = application(mode=mode, matcher=matcher if mode == "learned" else None)
        result = predictions(patched(model, a), x)
        assert torch.equal(result[1], plain[1])
        assert not torch.allclose(result[0], plain[0], atol=1e-2)


# Nothing leaks


def test_a_run_leaves_the_upstream_model_as_it_was(tiny, model) -> None:
    from amadapter_core.hosts.comfy.exemplar import control_of

    control = control_of(PARK, tiny.tiny_label_map_control(), 1.0)
    plain, before, values = sample(model), state(model), weights(model)
    changed = patched(
        model, application(exemplar(control=control), mode="learned", matcher=tiny.tiny_matcher_patcher())
    )
    changed_before = state(changed)
    sample(changed)
    assert state(model) == before
    assert state(changed) == changed_before
    assert weights(model) == values
    assert model.model_options == {"transformer_options": {}} and not model.wrappers and not model.patches
    assert torch.equal(sample(model), plain)


def test_no_module_of_the_unet_is_touched(model) -> None:
    def parts() -> list:
        unet = model.model.diffusion_model
        return [(name, type(m), m.forward.__func__, len(m._forward_hooks)) for name, m in unet.named_modules()]

    before = parts()
    sample(patched(model))
    assert parts() == before


def test_queueing_again_gives_the_same_picture(model) -> None:
    from amadapter_core.hosts.comfy import bank_store

    changed = patched(model)
    first = sample(changed)
    assert torch.equal(sample(changed), first)
    bank_store.clear()
    assert torch.equal(sample(changed), first)


def test_two_clones_in_turn_keep_apart(model) -> None:
    source = exemplar()
    makes = [
        lambda: patched(model, application(source)),
        lambda: patched(model, application(source, PARK, mode="implicit")),
        lambda: patched(model, application(exemplar(TOWER, seed=8), strength=0.5), application(source)),
    ]
    alone = [sample(make()) for make in makes]
    models = [make() for make in makes]
    for _ in range(2):
        for changed, expected in zip(models, alone, strict=True):
            assert torch.equal(sample(changed), expected)
    assert len({digest(result) for result in alone}) == 3


def test_a_patch_on_a_patched_model_leaves_that_one_as_it_was(model) -> None:
    first = patched(model, application())
    expected = sample(first)
    both = patched(first, application(exemplar(TOWER, seed=8)))
    assert not torch.allclose(sample(both), expected, atol=1e-2)
    assert torch.equal(sample(first), expected)


# Keys and values between runs


@pytest.mark.parametrize(("sampler", "levels"), [("euler", 3), ("heun", 3), ("dpm_2", 5), ("dpmpp_sde", 5)])
def test_one_pass_of_the_exemplar_per_noise_level(model, monkeypatch, sampler: str, levels: int) -> None:
    forwards = Forwards(model, monkeypatch)
    sample(patched(model), sampler_name=sampler, steps=3)
    assert len(forwards.exemplars) == len(set(forwards.exemplars)) == levels
    assert forwards.targets >= levels


def test_another_seed_target_and_setting_reuse_the_exemplar(model, monkeypatch: pytest.MonkeyPatch) -> None:
    source, forwards = exemplar(), Forwards(model, monkeypatch)
    sample(patched(model, application(source)))
    assert len(forwards.exemplars) == 2
    sample(patched(model, application(source)), seed=8)
    sample(patched(model, application(source, PARK, mode="implicit", strength=0.5)), batch=2, cfg=1.0)
    assert len(forwards.exemplars) == 2


def test_another_prompt_is_another_pass_unless_the_exemplar_has_its_own(model, monkeypatch) -> None:
    forwards = Forwards(model, monkeypatch)
    other = ([[random(1, 77, 64, seed=6), {}]], conditions()[1])
    for source, passes in ((exemplar(), 2), (exemplar(context=random(1, 77, 64, seed=9)), 1)):
        forwards.exemplars.clear()
        for conds in (None, other):
            sample(patched(model, application(source)), conds, steps=1)
        assert len(forwards.exemplars) == passes


def test_other_weights_are_other_passes(model, monkeypatch: pytest.MonkeyPatch) -> None:
    source, forwards = exemplar(), Forwards(model, monkeypatch)
    key = "diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_k.weight"
    changed = model.clone()
    changed.add_patches({key: (random(32, 32),)}, 1.0)
    for variant in (model, changed, model, changed):
        sample(patched(variant, application(source)), steps=1)
    assert len(forwards.exemplars) == 2


def test_keys_and_values_go_with_their_exemplar(model) -> None:
    from amadapter_core.hosts.comfy import bank_store

    first, second = exemplar(), exemplar(TOWER, seed=8)
    sample(patched(model, application(first)))
    held = bank_store.held()
    assert held > 0
    sample(patched(model, application(second)))
    gone = weakref.ref(second)
    del second
    gc.collect()
    assert gone() is None
    assert bank_store.held() == held
    del first
    gc.collect()
    assert bank_store.held() == 0


def test_no_more_is_kept_than_the_budget_allows(model, monkeypatch: pytest.MonkeyPatch) -> None:
    from amadapter_core.hosts.comfy import bank_store

    source = exemplar()
    expected = sample(patched(model, application(source)))
    one = bank_store.held() // 2
    monkeypatch.setattr(bank_store, "BUDGET", one)
    forwards = Forwards(model, monkeypatch)
    bank_store.clear()
    assert torch.equal(sample(patched(model, application(source))), expected)
    assert bank_store.held() == one
    monkeypatch.setattr(bank_store, "BUDGET", 0)
    forwards.exemplars.clear()
    assert torch.equal(sample(patched(model, application(source))), expected)
    assert bank_store.held() == 0 and len(forwards.exemplars) == 2


def test_little_free_memory_is_a_small_budget(model, monkeypatch: pytest.MonkeyPatch) -> None:
    import comfy.model_management as management

    from amadapter_core.hosts.comfy import bank_store

    source = exemplar()
    sample(patched(model, application(source)))
    one = bank_store.held() // 2
    bank_store.clear()
    monkeypatch.setattr(bank_store.comfy.model_management, "get_free_memory", lambda *_a, **_kw: 4.5 * one)
    assert management.get_free_memory() == 4.5 * one
    bank_store.fit_budget()
    assert bank_store._banks.budget == int(bank_store.SHARE_OF_FREE_MEMORY * 4.5 * one)


def test_scheduled_weights_are_not_kept_beyond_the_run(model, monkeypatch: pytest.MonkeyPatch) -> None:
    """LoRA by hooks on conditionings: such weights have no name to keep keys and values under."""
    import comfy.hooks

    from amadapter_core.hosts.comfy import bank_store

    key = "diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_k.weight"
    hook = comfy.hooks.WeightHook(strength_model=1.0)
    hook.weights, hook.need_weight_init = {key: (random(32, 32),)}, False
    hooks = comfy.hooks.HookGroup()
    hooks.add(hook)
    positive, negative = conditions()
    hooked = ([[positive[0][0], {"hooks": hooks}]], negative)
    source, forwards = exemplar(), Forwards(model, monkeypatch)
    result = sample(patched(model, application(source)), hooked)
    assert bank_store.held() == 0 and len(forwards.exemplars) == 2
    assert not torch.allclose(result, sample(patched(model, application(source))), atol=1e-3)
    assert torch.equal(sample(patched(model, application(source)), hooked), result)


@pytest.mark.slow
def test_fifty_runs_take_no_more_memory_than_two(tiny, model) -> None:
    import psutil

    source, matcher = exemplar(), tiny.tiny_matcher_patcher()
    process, held = psutil.Process(), {}
    for run in range(1, 51):
        a = application(source, mode="learned" if run % 2 else "categorical", matcher=matcher)
        sample(patched(model, a, application(exemplar(TOWER, seed=run))), size=SIZE, steps=2, seed=run)
        if run in (2, 10, 50):
            gc.collect()
            tensors = sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())
            held[run] = tensors, process.memory_info().rss
    assert held[50][0] == held[2][0]
    assert held[50][1] - held[10][1] < 32 << 20
