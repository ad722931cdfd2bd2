"""Parts, mixed exemplars, rules by layer and noise by class, through the nodes and a real sampler."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from amadapter_core.class_noise import redrawn
from amadapter_core.generators.ipose.part_maps import PALETTE, PartMaps
from amadapter_core.label_maps import LabelMap
from amadapter_core.part_labels import with_parts
from amadapter_core.routing_rules import RoutingRules
from tests.host.comfy.pack import pack_module
from tests.host.comfy.scene import (
    PARK,
    SIZE,
    STREET,
    application,
    cfg_guider,
    conditions,
    differs,
    exemplar,
    labels,
    noisy,
    patched,
    predictions,
    same,
    sample,
    truth,
)

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("comfy_modules", "inference")]

CAR = 13
CARS = (STREET.resize(*SIZE, "majority").ids == CAR).expand(4, -1, -1)


def run(node: str, *values: Any) -> tuple:
    """What a node of the pack gives."""
    found = next(
        getattr(module, node)
        for module in map(pack_module, ("nodes.noise", "nodes.parts", "nodes.routing"))
        if hasattr(module, node)
    )
    return found.execute(*values).args


def halves(given: LabelMap) -> LabelMap:
    """Part 1 above part 2, in every class."""
    parts = torch.ones_like(given.ids)
    parts[:, given.size[0] // 4 :] = 2
    return with_parts(given, LabelMap(parts, PALETTE))


# Parts


def test_refined_label_maps_are_matched_by_part_as_in_the_other_host(tiny, model) -> None:
    a, x = application(exemplar(halves(PARK)), halves(STREET)), noisy()
    result = predictions(patched(model, a), x)
    for mine, theirs in zip(result, truth(tiny, x, [a]), strict=True):
        assert same(mine, theirs)
    assert differs(result[0], predictions(patched(model), x)[0])


def test_the_published_variant_refuses_parts(model) -> None:
    with pytest.raises(ValueError, match="'published' takes .*no parts"):
        application(target=halves(STREET), variant=pack_module("amadapter_core.matching").Variant.PUBLISHED)


def test_parts_come_as_a_label_map_as_part_maps_or_as_masks() -> None:
    ids = (torch.arange(24) // 8).expand(1, 16, 24)
    logits = torch.nn.functional.one_hot(ids, 9).movedim(-1, 1).float()
    masks = torch.stack([ids[0] == 1, ids[0] == 2]).float()
    for parts in (LabelMap(ids, PALETTE), PartMaps(logits, torch.zeros(1, 18, 16, 24), ()), masks):
        refined, picture = run("AMAdapterLabelMapParts", STREET, parts, "")
        assert refined.part_ids[0, 0].tolist() == [-1] * 8 + [1] * 8 + [2] * 8
        assert torch.equal(refined.ids, STREET.ids) and torch.equal(refined.colours(), STREET.colours())
        assert picture.shape == (1, 16, 24, 3) and not bool(picture[:, :, :8].any()) and bool(picture[:, :, 8:].any())
    some, _ = run("AMAdapterLabelMapParts", STREET, masks, "Car")
    assert torch.equal(some.part_ids >= 0, (refined.part_ids >= 0) & (STREET.ids == CAR))
    with pytest.raises(ValueError, match="^Label Map with Parts: .*no class 'caar'"):
        run("AMAdapterLabelMapParts", STREET, masks, "caar")


# Rules by layer


def test_a_rule_for_all_classes_in_some_layers_is_a_block_weight(model) -> None:
    x = noisy()
    by_rule = predictions(patched(model, application(rules=RoutingRules.parse("* @down, mid = 0\n* @up = 0.5"))), x)
    by_weight = predictions(patched(model, application(block_weights=(0.0, 0.0, 0.5))), x)
    for mine, theirs in zip(by_rule, by_weight, strict=True):
        assert same(mine, theirs)
    everywhere, fine = (
        predictions(patched(model, application(rules=RoutingRules.parse(f"car {layers} = 0"))), x)[0]
        for layers in ("", "@0")
    )
    assert differs(fine, everywhere, predictions(patched(model), x)[0])


# Two exemplars


def test_mixed_exemplars_share_out_the_classes(model) -> None:
    day, dusk, x = exemplar(), exemplar(labels([[10, 8], [13, 2]]), seed=8), noisy()

    def picture(rules: str, share: float) -> Tensor:
        first, second = run("AMAdapterMixExemplars", rules, share)
        return predictions(patched(model, application(day, rules=first), application(dusk, rules=second)), x)[0]

    alone = [predictions(patched(model, application(source)), x)[0] for source in (day, dusk)]
    assert same(picture("", 0.0), alone[0]) and same(picture("* = B", 0.0), alone[1])
    assert same(picture("* = none", 0.5), predictions(model, x)[0])
    assert differs(picture("car = A\nsky = B", 0.5), *alone, picture("", 0.5))
    with pytest.raises(ValueError, match="^Mix Exemplars: .*line 1, 'car = C'"):
        run("AMAdapterMixExemplars", "car = C", 0.5)


# Noise


def random_noise(seed: int) -> Any:
    from comfy_extras.nodes_custom_sampler import RandomNoise

    return RandomNoise.execute(seed).args[0]


def latent(batch: int = 1) -> dict[str, Any]:
    return {"samples": torch.zeros(batch, 4, *SIZE)}


def test_class_noise_is_that_of_the_sampler_but_for_the_class() -> None:
    plain, (noise,) = random_noise(7), run("AMAdapterClassNoise", random_noise(7), STREET, "car", 5)
    before, after = (given.generate_noise(latent(2)) for given in (plain, noise))
    assert torch.equal(before[:, ~CARS], after[:, ~CARS]) and not bool((before == after)[:, CARS].any())
    assert noise.seed == 7
    (again,) = run("AMAdapterClassNoise", random_noise(7), STREET, "car", 6)
    assert not bool((again.generate_noise(latent(2)) == after)[:, CARS].any())
    (chained,) = run("AMAdapterClassNoise", noise, STREET, "sky", 1)
    assert torch.equal(chained.generate_noise(latent(2))[:, CARS], after[:, CARS])


def test_an_item_taken_out_of_its_batch_keeps_its_noise() -> None:
    (noise,) = run("AMAdapterClassNoise", random_noise(7), STREET, "car", 5)
    whole, item = noise.generate_noise(latent(3)), noise.generate_noise(latent() | {"batch_index": [2]})
    assert torch.equal(item[0][CARS], whole[2][CARS])


def test_ksampler_draws_the_same_by_way_of_the_model(model) -> None:
    import comfy.samplers
    from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced

    source = patched(model)
    (redraws,) = run("AMAdapterClassNoiseModel", source, STREET, "car", 5)
    result = sample(redraws)
    (noise,) = run("AMAdapterClassNoise", random_noise(7), STREET, "car", 5)
    sigmas = comfy.samplers.calculate_sigmas(source.get_model_object("model_sampling"), "normal", 2)
    sampler = comfy.samplers.sampler_object("euler")
    advanced = SamplerCustomAdvanced.execute(noise, cfg_guider(source, conditions()), sampler, sigmas, latent())
    assert torch.equal(advanced.args[0]["samples"], result)
    assert differs(result, sample(source))


def test_a_noisy_latent_brings_it_to_samplers_that_add_none(model) -> None:
    import comfy.samplers
    import nodes
    from comfy_extras.nodes_custom_sampler import AddNoise

    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", 2)

    def advanced(seed: int) -> Tensor:
        (noise,) = run("AMAdapterClassNoise", random_noise(7), STREET, "car", seed)
        noised = AddNoise.execute(model, noise, sigmas, latent()).args[0]
        given = ("disable", 7, 2, 3.0, "euler", "normal", *conditions(), noised, 0, 2, "disable")
        return nodes.KSamplerAdvanced().sample(model, *given)[0]["samples"]

    (redraws,) = run("AMAdapterClassNoiseModel", model, STREET, "car", 5)
    assert same(advanced(5), sample(redraws), 0.05)
    assert differs(advanced(6), sample(redraws), by=0.2)


def test_the_model_redraws_whatever_noise_comes_and_none_where_none_is(model) -> None:
    import comfy.samplers

    (redraws,) = run("AMAdapterClassNoiseModel", model, STREET, "car", 5)
    came = []

    class Records(comfy.samplers.Sampler):
        def sample(self, wrap, sigmas, extra_args, callback, noise, *_: Any, **__: Any) -> Tensor:
            came.append(noise.clone())
            return noise

    given = noisy()
    for source, noise in ((model, given), (redraws, given), (redraws, torch.zeros_like(given))):
        guider = cfg_guider(source, conditions())
        guider.sample(noise, torch.zeros_like(noise), Records(), torch.tensor([1.0, 0.0]), seed=0)
    assert torch.equal(came[0], given) and torch.equal(came[1], redrawn(given, STREET, [CAR], 5))
    assert not bool(came[2].any())


def test_errors_name_their_node(model) -> None:
    with pytest.raises(ValueError, match="^Class Noise: no class is named"):
        run("AMAdapterClassNoise", random_noise(7), STREET, " ", 5)
    with pytest.raises(ValueError, match="^Class Noise for KSampler: .*no class 'caar'"):
        run("AMAdapterClassNoiseModel", model, STREET, "caar", 5)
    (redraws,) = run("AMAdapterClassNoiseModel", model, STREET, "car", 5)
    with pytest.raises(ValueError, match="the latent is 8 x 8, its label map .*aspect"):
        sample(redraws, size=(8, 8))
