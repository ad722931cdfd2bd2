"""SCA-DM on small networks: who attends to what, what a style decides, how pictures are sampled."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from amadapter_core.generators.noise import Seeds
from amadapter_core.generators.scadm import ClassDiffusionGenerator, Configuration, NoisePredictor, Unconditional
from amadapter_core.generators.scadm.attention import ClassAttention
from amadapter_core.generators.scadm.conditioning import Conditioning
from amadapter_core.generators.scadm.diffusion import alphas_cumprod, ddim, ddim_timesteps, noisy
from amadapter_core.generators.scadm.first_stage import FirstStage
from amadapter_core.generators.scadm.layout import Form, Layout
from amadapter_core.generators.scadm.style_encoder import StyleEncoder
from amadapter_core.generators.scadm.unet import UNet
from amadapter_core.generators.semantic import one_hot
from amadapter_core.generators.styles import StyleCodes, interpolated, restricted, swapped
from amadapter_core.generators.system import System

CLASSES, SCALES, WIDTH = 3, 5, 8
SMALL = Configuration(
    unet={
        "classes": CLASSES,
        "width": 32,
        "factors": (1, 2),
        "blocks": 1,
        "transformers": (1,),
        "head_width": 32,
        "context": SCALES * WIDTH,
        "channels": 3,
    },
    style_encoder={"classes": CLASSES, "features": 1, "downs": 6, "scales": SCALES, "width": WIDTH},
    first_stage={"width": 32, "factors": (1, 1, 1), "blocks": 1, "latent": 3, "entries": 16},
    size=(64, 64),
)
GRID = (4, 6)


def small_model() -> ClassDiffusionGenerator:
    torch.manual_seed(0)
    networks = [UNet(**SMALL.unet), StyleEncoder(**SMALL.style_encoder), FirstStage(**SMALL.first_stage)]
    return ClassDiffusionGenerator(SMALL, *(net.eval().requires_grad_(False) for net in networks))


@pytest.fixture(scope="module")
def model() -> ClassDiffusionGenerator:
    return small_model()


@pytest.fixture(scope="module")
def ids() -> Tensor:
    """Class 0 on the left, class 1 on the right; class 2 nowhere."""
    return (torch.arange(64) >= 32).long().expand(1, 64, 64).contiguous()


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def layer() -> ClassAttention:
    torch.manual_seed(0)
    return ClassAttention(16, 10, heads=4)


def masks() -> dict[str, Tensor]:
    """[2, K, H, W] each, eight times GRID in size."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(CLASSES, (2, 1, *GRID), generator=generator)
    hot = one_hot(ids[:, 0], CLASSES)
    none, several, uneven = hot.clone(), hot.clone(), hot.clone()
    none[0, :, 1] = 0
    several[1, 0, :, ::2] = 1
    uneven[:, 1] *= 0.5
    uneven[1, 2, 0] = 2
    mixed = several.clone()
    mixed[1, :, 2:] = 0
    cases = {"one": hot, "none": none, "several": several, "none and several": mixed, "weights": uneven}
    return {name: F.interpolate(mask, scale_factor=8) for name, mask in cases.items()}


def inputs() -> tuple[Tensor, Tensor]:
    """Pixels [2, N, 16] and tokens [2, K, 10]."""
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(2, GRID[0] * GRID[1], 16, generator=generator)
    return x, torch.randn(2, CLASSES, 10, generator=generator).requires_grad_()


@pytest.mark.parametrize("case", masks())
def test_the_gather_is_the_literal_formula(layer: ClassAttention, case: str) -> None:
    outcomes = []
    for form in (Form.LITERAL, Form.GATHER):
        x, context = inputs()
        out = layer(x, context, Layout(masks()[case], form), GRID)
        weighted = (out * torch.arange(out.numel()).view_as(out) / out.numel()).sum()
        outcomes.append((out, *torch.autograd.grad(weighted, [context, layer.to_v.weight, layer.to_out[0].weight])))
    for literal, gathered in zip(*outcomes, strict=True):
        torch.testing.assert_close(gathered, literal, atol=2e-6, rtol=1e-4)


def test_a_pixel_of_one_class_receives_that_token_whatever_it_asks(layer: ClassAttention) -> None:
    (x, context), layout = inputs(), Layout(masks()["one"])
    out = layer(x, context, layout, GRID)
    assert torch.equal(out, layer(torch.zeros_like(x), context, layout, GRID))
    expected = layer.to_out(layer.to_v(context))[0, layout.at(GRID)[0].argmax(0).flatten()]
    torch.testing.assert_close(out[0], expected)


def test_a_pixel_of_no_class_receives_the_mean(layer: ClassAttention) -> None:
    x, context = inputs()
    out = layer(x, context, Layout(masks()["none"]), GRID)
    expected = layer.to_out(layer.to_v(context[0]).mean(0))
    torch.testing.assert_close(out[0, GRID[1] : 2 * GRID[1]], expected.expand(GRID[1], -1))


def test_plain_attention_leaves_the_label_map_out(layer: ClassAttention) -> None:
    x, context = inputs()
    ours = [layer(x, context, Layout(mask, Form.PLAIN), GRID) for mask in (masks()["one"], masks()["none"])]
    assert torch.equal(*ours)
    weights = layer.scores(x, context).softmax(-1)
    torch.testing.assert_close(ours[0], layer.join(weights @ layer.split(layer.to_v(context))))


def test_the_recorded_score_is_the_mean_over_the_heads(layer: ClassAttention) -> None:
    (x, context), layout = inputs(), Layout(masks()["one"], record=True)
    layer(x, context, layout, GRID)
    ((grid, scores),) = layout.scores
    assert grid == GRID
    torch.testing.assert_close(scores, layer.scores(x, context).mean(1))


@pytest.mark.parametrize("size", [(96, 128), (128, 64), (100, 100), (32, 16), (16, 16)])
def test_a_label_map_that_never_halves_to_the_latent_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="does not halve to the latent's 32 x 32; give it 4 times"):
        Layout(torch.zeros(1, CLASSES, *size)).at((32, 32))


@pytest.mark.parametrize("times", [1, 2, 8])
def test_a_label_map_may_be_any_power_of_two_larger(times: int) -> None:
    assert Layout(torch.zeros(1, CLASSES, 32 * times, 16 * times)).at((32, 16)).shape == (1, CLASSES, 32, 16)


def test_what_the_label_map_alone_decides_is_made_once_in_a_run(model: ClassDiffusionGenerator, ids: Tensor) -> None:
    made: list[int] = []
    hooks = [
        module.register_forward_hook(lambda *_: made.append(1))
        for name, module in model.unet.named_modules()
        if name.endswith("mlp_shared")
    ]
    predict = NoisePredictor(model.unet, model.conditioning(ids))
    x, t = torch.randn(1, 3, 16, 16), torch.tensor([7])
    first, second = predict(x, t), predict(x, t)
    for hook in hooks:
        hook.remove()
    assert len(made) == len(hooks) > 0
    assert torch.equal(first, second)
    torch.testing.assert_close(first, model.unet(x, t, predict.context, Layout(predict.layout.mask)))


def test_a_class_without_pixels_has_one_token_for_all_pictures(model: ClassDiffusionGenerator, ids, pictures) -> None:
    tokens = model.style_encoder(pictures * 2 - 1, one_hot(ids, CLASSES).expand(2, -1, -1, -1))
    assert torch.equal(tokens[0, 2], tokens[1, 2])
    biases = [model.style_encoder.out[f"out_{j}"][0].bias.view(CLASSES, WIDTH)[2] for j in range(SCALES)]
    torch.testing.assert_close(tokens[0, 2], torch.cat(biases).tanh())
    assert (tokens[0, :2] - tokens[1, :2]).abs().amax(1).min() > 1e-3


@pytest.mark.parametrize(("changed", "reached"), [(0, {0, 1}), (1, {0, 2}), (2, {1, 2})])
def test_the_published_skips_mix_classes_but_at_the_coarsest_scale(
    pictures: Tensor, changed: int, reached: set[int]
) -> None:
    """The second decoder layer's groups see [x0 x1] [x2 e0] [e1 e2], x the decoder's and e the encoder's classes."""
    encoder = small_model().style_encoder
    mask = torch.ones(1, CLASSES, 64, 64)
    before = encoder(pictures[:1], mask).unflatten(2, (SCALES, WIDTH))
    first = encoder.Encoder["enc_layer_0"][0].weight
    first[2 * changed : 2 * changed + 2] += 1
    moved = (encoder(pictures[:1], mask).unflatten(2, (SCALES, WIDTH)) - before).abs().amax((0, 3)) > 0  # [K, L]
    assert moved[:, 0].nonzero().flatten().tolist() == [changed]
    assert set(moved[:, 1].nonzero().flatten().tolist()) == reached


def test_pictures_that_cannot_be_halved_are_refused(model: ClassDiffusionGenerator) -> None:
    with pytest.raises(ValueError, match="96 x 64.*divisible by 64"):
        model.style_encoder(torch.zeros(1, 3, 96, 64), torch.zeros(1, CLASSES, 96, 64))
    with pytest.raises(ValueError, match="30 x 64.*divisible by 4"):
        model.first_stage.encode(torch.zeros(1, 3, 30, 64))


def test_a_latent_pixel_becomes_the_nearest_entry_of_the_codebook(model: ClassDiffusionGenerator) -> None:
    latent, book = torch.randn(2, 3, 4, 4), model.first_stage.quantize
    nearest = torch.cdist(latent.movedim(1, -1).flatten(0, 2), book.embedding.weight).argmin(1).view(2, 4, 4)
    assert torch.equal(book.indices(latent), nearest)
    assert torch.equal(book(latent), book.embedding.weight[nearest].movedim(-1, 1))


@pytest.mark.parametrize(("steps", "count", "last"), [(4, 4, 751), (50, 50, 981), (150, 167, 997), (500, 500, 999)])
def test_the_timesteps_are_the_published_ones(steps: int, count: int, last: int) -> None:
    timesteps = ddim_timesteps(steps)
    assert (len(timesteps), int(timesteps[0]), int(timesteps[-1])) == (count, 1, last)


def test_no_number_of_steps_leads_beyond_the_schedule() -> None:
    """1000 // 3 is 333, and 3 x 333 + 1 would be the first timestep there is not."""
    for steps in range(1, 501):
        timesteps = ddim_timesteps(steps)
        assert int(timesteps[-1]) < 1000 and len(timesteps) >= steps


@pytest.mark.parametrize("steps", [0, 501, 1000])
def test_steps_beyond_the_schedule_are_refused(steps: int) -> None:
    with pytest.raises(ValueError, match=f"{steps} DDIM steps; expected 1 to 500"):
        ddim_timesteps(steps)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_who_knows_the_picture_is_led_to_it(eta: float) -> None:
    clean, shares = torch.rand(2, 3, 4, 4) - 0.5, alphas_cumprod()

    def predict(x: Tensor, timesteps: Tensor) -> Tensor:
        a = shares[timesteps].float()[:, None, None, None]
        return (x - a.sqrt() * clean) / (1 - a).sqrt()

    told = []
    out = ddim(
        predict,
        torch.randn(2, 3, 4, 4),
        10,
        eta=eta,
        draw=lambda step: torch.randn(2, 3, 4, 4),
        watch=lambda done, count, latent: told.append((done, count, float((latent - clean).abs().max()))),
    )
    assert [entry[:2] for entry in told] == [(step, 10) for step in range(1, 11)]
    assert max(entry[2] for entry in told) < 1e-3
    # What is left is the noise of the first timestep.
    assert (out - clean).abs().mean() < 0.06


def test_noise_on_the_way_needs_somebody_to_draw_it() -> None:
    with pytest.raises(ValueError, match="pass draw"):
        ddim(lambda x, t: x, torch.zeros(1, 3, 4, 4), 2, eta=0.5)


def test_noisy_latents_have_their_share_of_noise() -> None:
    one, zero, timesteps = torch.ones(2, 1, 1, 1), torch.zeros(2, 1, 1, 1), torch.tensor([0, 999])
    a = alphas_cumprod()[timesteps].float()
    torch.testing.assert_close(noisy(one, zero, timesteps).flatten(), a.sqrt())
    torch.testing.assert_close(noisy(zero, one, timesteps).flatten(), (1 - a).sqrt())


def test_a_seed_is_a_picture(model: ClassDiffusionGenerator, ids: Tensor) -> None:
    first = model.generate(ids, seed=1, steps=2)
    assert first.shape == (1, 3, 64, 64) and 0 <= float(first.min()) <= float(first.max()) <= 1
    assert torch.equal(first, model.generate(ids, seed=1, steps=2))
    assert not torch.equal(first, model.generate(ids, seed=2, steps=2))


def test_a_class_has_a_seed_of_its_own(model: ClassDiffusionGenerator, ids: Tensor) -> None:
    plain, other = model.noise(ids, 1), model.noise(ids, Seeds(1, {1: 9}))
    assert plain.shape == (1, 3, 16, 16)
    assert torch.equal(plain[..., :8], other[..., :8]) and not torch.equal(plain[..., 8:], other[..., 8:])


def test_a_style_has_the_classes_of_its_picture(model: ClassDiffusionGenerator, ids, pictures) -> None:
    own, other = (model.style(picture[None], ids) for picture in pictures)
    assert own.system is System.SCADM and own.classes == (0, 1) and own.shape == (SCALES, WIDTH)
    assert not torch.equal(own.codes[0], other.codes[0])
    assert not torch.equal(model.generate(ids, own, steps=2), model.generate(ids, other, steps=2))
    both = model.styles(pictures, ids.expand(2, -1, -1))
    torch.testing.assert_close(both[1].codes[1], other.codes[1])


def test_three_modes(model: ClassDiffusionGenerator, ids: Tensor, pictures: Tensor) -> None:
    """By reference, by reference with random parts, by noise alone: they differ in the tokens alone."""
    reference, empty = model.style(pictures[:1], ids), model.random_style(ids, seed=3)
    tokens = {
        "reference": model.conditioning(ids, reference).context,
        "random part": model.conditioning(ids, restricted(reference, [0])).context,
        "noise": model.conditioning(ids).context,
    }
    for name, mine in (("reference", {0, 1}), ("random part", {0}), ("noise", set())):
        for label in (0, 1):
            expected = (reference if label in mine else empty).codes[label].flatten()
            torch.testing.assert_close(tokens[name][0, label], expected)
    grey = torch.zeros(1, 3, 64, 64)
    torch.testing.assert_close(tokens["noise"], model.style_encoder(grey, one_hot(ids, CLASSES)))
    assert torch.equal(model.generate(ids, steps=2), model.generate(ids, empty, steps=2))


def test_parts_and_scales_are_exchanged_and_interpolated(model: ClassDiffusionGenerator, ids, pictures) -> None:
    a, b = (model.style(picture[None], ids) for picture in pictures)
    tokens = {
        name: model.conditioning(ids, style).context[0].unflatten(1, (SCALES, WIDTH))
        for name, style in {
            "a": a,
            "b": b,
            "part": swapped(a, b, [1]),
            "scale": swapped(a, b, [1], layers=[4]),
            "half": interpolated(a, b, 0.5),
        }.items()
    }
    assert torch.equal(tokens["part"][0], tokens["a"][0]) and torch.equal(tokens["part"][1], tokens["b"][1])
    assert torch.equal(tokens["scale"][1, :4], tokens["a"][1, :4])
    assert torch.equal(tokens["scale"][1, 4], tokens["b"][1, 4])
    torch.testing.assert_close(tokens["half"][:2], (tokens["a"][:2] + tokens["b"][:2]) / 2)


def test_each_picture_of_a_batch_may_have_its_style(model: ClassDiffusionGenerator, ids: Tensor, pictures) -> None:
    styles = model.styles(pictures, ids.expand(2, -1, -1))
    mixed = model.conditioning(torch.cat([ids, 1 - ids]), styles).context
    torch.testing.assert_close(mixed[0], model.conditioning(ids, styles[0]).context[0])
    torch.testing.assert_close(mixed[1], model.conditioning(1 - ids, styles[1]).context[0])
    with pytest.raises(ValueError, match="2 styles for 3 label maps"):
        model.conditioning(ids.expand(3, -1, -1), styles)


def test_maps_and_pictures_are_fitted_to_the_size_of_the_model(model: ClassDiffusionGenerator, ids, pictures) -> None:
    large = ids.repeat_interleave(2, 1).repeat_interleave(2, 2)
    assert torch.equal(model.conditioning(large).mask, model.conditioning(ids).mask)
    wide = model.style(F.interpolate(pictures[:1], (128, 96), mode="bicubic", antialias=True).clamp(0, 1), large)
    assert wide.shape == (SCALES, WIDTH)


def test_guidance_leads_away_from_the_chosen_counterpart(model: ClassDiffusionGenerator, ids, pictures) -> None:
    conditional = model.conditioning(ids, model.style(pictures[:1], ids))
    x, t = torch.randn(1, 3, 16, 16), torch.tensor([100])
    alone = NoisePredictor(model.unet, conditional)(x, t)
    for kind in Unconditional:
        counterpart = model.unconditional(conditional, kind)
        without = NoisePredictor(model.unet, counterpart)(x, t)
        guided = NoisePredictor(model.unet, conditional, counterpart, 3.0)(x, t)
        torch.testing.assert_close(guided, without + 3 * (alone - without), atol=1e-5, rtol=1e-4)
    empty, zeros = (model.unconditional(conditional, kind) for kind in Unconditional)
    assert torch.equal(empty.mask, conditional.mask) and torch.equal(empty.context, model.conditioning(ids).context)
    assert not zeros.mask.any() and not zeros.context.any()
    with pytest.raises(ValueError, match="pass unconditional"):
        NoisePredictor(model.unet, conditional, guidance=2.0)


def test_the_predictor_takes_fractions_of_timesteps(model: ClassDiffusionGenerator, ids: Tensor) -> None:
    """As hosts' samplers call it: noise in, noise out, with the betas beside it."""
    predict, x = NoisePredictor(model.unet, model.conditioning(ids)), torch.randn(1, 3, 16, 16)
    at = {t: predict(x, torch.tensor([t])) for t in (10.0, 10.5, 11.0)}
    assert (at[10.0] - at[10.5]).abs().max() > 0 and (at[10.5] - at[11.0]).abs().max() > 0
    assert model.betas.shape == (1000,) and model.betas.dtype == torch.float64


def test_what_does_not_fit_the_model_is_refused(model: ClassDiffusionGenerator, ids: Tensor, pictures: Tensor) -> None:
    with pytest.raises(ValueError, match=r"no class for: 3 \(1 pixels\).*knows 0 to 2"):
        model.generate(ids.clone().index_put((torch.tensor(0),) * 3, torch.tensor(3)))
    with pytest.raises(ValueError, match=r"clVAE with codes \[5, 8\]"):
        model.conditioning(ids, StyleCodes(System.CLVAE, {0: torch.zeros(SCALES, WIDTH)}))
    with pytest.raises(ValueError, match=r"SCA-DM with codes \[5, 9\]"):
        model.conditioning(ids, StyleCodes(System.SCADM, {0: torch.zeros(SCALES, 9)}))
    with pytest.raises(ValueError, match="class 7; this model knows 0 to 2"):
        model.conditioning(ids, StyleCodes(System.SCADM, {7: torch.zeros(SCALES, WIDTH)}))
    with pytest.raises(ValueError, match="as many pictures"):
        model.styles(pictures, ids)
    latent, context = torch.zeros(1, 3, 16, 16), torch.zeros(1, CLASSES, SCALES * WIDTH)
    with pytest.raises(ValueError, match="label map has 4 classes, these weights 3"):
        model.unet(latent, torch.zeros(1), context, Layout(torch.zeros(1, 4, 64, 64)))
    with pytest.raises(ValueError, match="expected style tokens"):
        model.unet(latent, torch.zeros(1), context[:, :2], Layout(torch.zeros(1, CLASSES, 64, 64)))


def test_checkpointing_changes_no_gradient() -> None:
    unet = small_model().unet.requires_grad_(True)
    conditional = Conditioning(torch.randn(1, CLASSES, SCALES * WIDTH), torch.ones(1, CLASSES, 64, 64))
    x, gradients = torch.randn(1, 3, 16, 16), []
    for unet.checkpointing in (False, True):
        layout = Layout(conditional.mask, record=True)
        out = unet(x, torch.tensor([3]), conditional.context, layout)
        loss = out.square().mean() + sum(scores.square().mean() for _, scores in layout.scores)
        gradients.append(torch.autograd.grad(loss, list(unet.parameters()), allow_unused=True))
    for (name, _), plain, again in zip(unet.named_parameters(), *gradients, strict=True):
        assert (plain is None) == (again is None) == (name == "label_emb.weight")
        if plain is not None:
            torch.testing.assert_close(plain, again)
