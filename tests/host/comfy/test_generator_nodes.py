"""clVAE, iPOSE and SCA-DM as nodes, on small networks: every mode that their papers show, and what goes wrong."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from amadapter_core.label_maps import LabelMap, Palette
from tests.host.comfy.pack import ROOT, pack_module

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("inference", "comfy_modules", "tiny")]

CLASSES = 20
"""Those of Cityscapes' training ids, and one for what is unknown."""
ROAD, SKY, PERSON, CAR = 0, 10, 11, 13
SIDE = 64


@pytest.fixture(scope="module")
def tiny_generators(tiny: ModuleType) -> ModuleType:
    folder = ROOT / "tests/packs/tiny_sd15"
    name = "tiny_sd15_of_generators"
    spec = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.generators


@pytest.fixture(scope="module")
def make(tiny_generators: ModuleType) -> Callable:
    """`make("clvae")`: a generator as the loader gives it; the same one each time."""
    made: dict[str, Any] = {}

    def one(system: str) -> Any:
        if system not in made:
            with torch.inference_mode():
                core = tiny_generators.tiny_generator(system, CLASSES, {PERSON: 24, CAR: 26})
                made[system] = pack_module("amadapter_core.hosts.comfy.generators").hosted(core)
        return made[system]

    return one


def labels(*classes: int, palette: str = "cityscapes19", size: tuple[int, int] = (SIDE, SIDE)) -> LabelMap:
    """Stripes from left to right."""
    height, width = size
    ids = torch.tensor(classes).repeat_interleave(-(-width // len(classes)))[:width]
    return LabelMap(ids.expand(1, height, width).clone(), Palette.load(palette))


def picture(seed: int = 0) -> Tensor:
    return torch.rand(1, SIDE, SIDE, 3, generator=torch.Generator().manual_seed(seed))


def run(node: str, *arguments: Any, **inputs: Any) -> Any:
    """What a node gives: one output, or all of them."""
    found = next(
        getattr(pack_module(f"nodes.{file}"), node)
        for file in ("generators", "generators_sampling", "generators_styles", "generators_parts")
        if hasattr(pack_module(f"nodes.{file}"), node)
    ).execute(*arguments, **inputs)
    return found.args[0] if len(found.args) == 1 else found.args


def generate(generator: Any, maps: LabelMap, seed: int = 0, **inputs: Any) -> Tensor:
    return run("AMAdapterGenerate", generator, maps, seed, **({"variants": 1, "steps": 2, "guidance": 1.0} | inputs))


def random_style(generator: Any, maps: LabelMap, seed: int, classes: str = "", layers: str = "", **inputs: Any) -> Any:
    return run("AMAdapterRandomStyle", generator, maps, seed, classes, layers, **inputs)


def mix(a: Any, rules: str = "", weight: float = 0.0, b: Any = None) -> Any:
    return run("AMAdapterMixStyles", a, weight, rules, b)


def code(style: Any, label: int) -> Tensor:
    return style.codes[0].codes[label]


def change(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


class TestLoading:
    @pytest.fixture
    def folder(self, model_folder: Path) -> Path:
        folder = model_folder / "semantic_generators"
        folder.mkdir()
        return folder

    def load(self, name: str, weights: str = "auto", width: int = 0, height: int = 0, **inputs: Any) -> Any:
        return run("AMAdapterLoadGenerator", name, weights, width, height, **inputs)

    @pytest.mark.parametrize(("system", "title"), [("clvae", "clVAE"), ("ipose", "iPOSE"), ("scadm", "SCA-DM")])
    def test_a_file_says_which_system_it_is(self, folder: Path, make, tiny_generators, system, title) -> None:
        tiny_generators.save(make(system).core, folder / "some.safetensors")
        generator, about = self.load("some.safetensors")
        assert about == f"{title}: classes 0 to 19, pictures of 64 x 64 (width x height)"
        maps = labels(ROAD, SKY)
        assert change(generate(generator, maps, 3), generate(make(system), maps, 3)) < 1e-5

    def test_the_folder_offers_generators_styles_and_supports_apart(
        self, folder: Path, make, tiny_generators: ModuleType
    ) -> None:
        from amadapter_core.hosts.comfy import folders

        tiny_generators.save(make("clvae").core, folder / "converted.safetensors")
        (folder / "best_EMA.pth").touch()
        tiny_generators.tiny_supports(26).save(folder / "examples.safetensors")
        style = random_style(make("clvae"), labels(ROAD), 0)
        name = run("AMAdapterSaveStyle", style, "mine/road")
        assert name == os.path.join("mine", "road_00001.safetensors")
        assert folders.generators() == ["best_EMA.pth", "converted.safetensors"]
        assert folders.styles() == [name] and folders.supports() == ["examples.safetensors"]
        assert folders.matchers() == []

    def test_what_the_weights_cannot_tell_is_chosen(self, folder: Path, make, tiny_generators: ModuleType) -> None:
        tiny_generators.save(make("scadm").core, folder / "scadm.safetensors")
        generator, _ = self.load("scadm.safetensors", width=128, height=64)
        assert generate(generator, labels(ROAD, SKY)).shape == (1, 64, 128, 3)
        tiny_generators.save(make("clvae").core, folder / "clvae.safetensors")
        # A grid of four cells is 2 x 2 or 1 x 4.
        generator, _ = self.load("clvae.safetensors", width=128, height=32)
        assert generate(generator, labels(ROAD, SKY)).shape == (1, 32, 128, 3)
        with pytest.raises(ValueError, match="^Load Semantic Generator: .*cannot make pictures of 64 x 128.*32 x 128"):
            self.load("clvae.safetensors", width=128, height=64)
        with pytest.raises(ValueError, match="^Load Semantic Generator: width is 64 and height 0; give both"):
            self.load("clvae.safetensors", width=64)

    def test_a_moving_average_and_an_encoder_are_chosen_by_name(self, folder: Path, make) -> None:
        core = make("clvae").core
        torch.save(core.generator.state_dict(), folder / "a_G.pth")
        torch.save(core.encoder.state_dict(), folder / "other.pth")
        assert self.load("a_G.pth", width=64, height=64)[0].core.encoder is None
        assert self.load("a_G.pth", width=64, height=64, encoder_name="other.pth")[0].core.encoder is not None
        with pytest.raises(ValueError, match="is of clVAE, which has no choice 'weights'"):
            self.load("a_G.pth", weights="ema")

    def test_another_checkpoint_is_told_apart(self, folder: Path, make) -> None:
        save_file({"conv_in.weight": torch.zeros(1)}, folder / "sd.safetensors")
        with pytest.raises(ValueError, match="^Load Semantic Generator: .*no semantic generator.*clVAE, iPOSE, SCA-DM"):
            self.load("sd.safetensors")
        torch.save(make("clvae").core.encoder.state_dict(), folder / "latest_net_E.pth")
        with pytest.raises(ValueError, match="clVAE's encoder alone.*latest_net_G.pth"):
            self.load("latest_net_E.pth")
        with pytest.raises(FileNotFoundError, match="^Load Semantic Generator: .*'gone.pth'.*semantic_generators"):
            self.load("gone.pth")


class TestClasses:
    def test_a_label_map_of_another_data_set_is_refused(self, make) -> None:
        with pytest.raises(ValueError, match="^Generate from Label Map: clVAE: .*20 classes.*'ade20k150' has 150.*150"):
            generate(make("clvae"), labels(1, 2, palette="ade20k150"))
        few = Palette(name="two", source="", names=("a", "b"), ids=(0, 1), colours=((0, 0, 0), (9, 9, 9)))
        with pytest.raises(ValueError, match="^Style from Image: SCA-DM: .*20 classes.*'two' has 2 with ids to 1"):
            run("AMAdapterStyleFromImage", make("scadm"), picture(), LabelMap(labels(0, 1).ids, few))

    @pytest.mark.parametrize("system", ["clvae", "ipose", "scadm"])
    def test_ignored_pixels_are_of_the_class_of_what_is_unknown(self, make, system: str) -> None:
        ignored, unknown = labels(ROAD, 255), labels(ROAD, SKY)
        numbers = torch.where(ignored.ids == 255, CLASSES - 1, ignored.ids)
        core = make(system).core
        options = {"steps": 2} if system == "scadm" else {}
        assert torch.equal(generate(make(system), ignored), core.generate(numbers, **options).movedim(1, -1))
        assert change(generate(make(system), ignored), generate(make(system), unknown)) > 1e-4


class TestClVAE:
    def test_one_label_map_has_many_pictures(self, make) -> None:
        maps = labels(ROAD, SKY, CAR)
        several = generate(make("clvae"), maps, 5, variants=3)
        assert several.shape == (3, SIDE, SIDE, 3) and 0 <= float(several.min()) and float(several.max()) <= 1
        assert change(several[0], several[1]) > 0.01
        assert torch.equal(several[2:], generate(make("clvae"), maps, 7))

    def test_a_class_may_have_a_seed_of_its_own(self, make) -> None:
        maps = labels(ROAD, SKY, CAR)
        one = random_style(make("clvae"), maps, 1)
        other = random_style(make("clvae"), maps, 1, class_seeds="car = 9")
        layer = random_style(make("clvae"), maps, 1, layer_seeds="4 = 9")
        assert torch.equal(code(one, ROAD), code(other, ROAD)) and change(code(one, CAR), code(other, CAR)) > 0.01
        assert torch.equal(code(one, ROAD)[:4], code(layer, ROAD)[:4])
        assert change(code(one, ROAD)[4], code(layer, ROAD)[4]) > 0.01
        drawn = generate(make("clvae"), maps, 1, class_seeds="car = 9")
        assert torch.equal(drawn, generate(make("clvae"), maps, 1, style=other))

    def test_a_picture_guides_the_classes_it_shows(self, make) -> None:
        style = run("AMAdapterStyleFromImage", make("clvae"), picture(), labels(ROAD, SKY))
        assert style.codes[0].classes == (ROAD, SKY)
        shown, more = labels(SKY, ROAD), labels(SKY, ROAD, CAR)
        assert torch.equal(
            generate(make("clvae"), shown, 1, style=style), generate(make("clvae"), shown, 2, style=style)
        )
        assert (
            change(generate(make("clvae"), more, 1, style=style), generate(make("clvae"), more, 2, style=style)) > 1e-3
        )
        left = generate(make("clvae"), shown, 1, style=style, random_classes="sky")
        assert change(left, generate(make("clvae"), shown, 2, style=style, random_classes="sky")) > 1e-3

    def test_one_class_and_one_layer_are_drawn_anew(self, make) -> None:
        maps = labels(ROAD, SKY, CAR)
        style = run("AMAdapterStyleFromImage", make("clvae"), picture(), maps)
        edited = random_style(make("clvae"), maps, 4, "car", "3, 4", style=style)
        assert all(torch.equal(code(style, label), code(edited, label)) for label in (ROAD, SKY))
        assert torch.equal(code(style, CAR)[:3], code(edited, CAR)[:3])
        assert change(code(style, CAR)[3:], code(edited, CAR)[3:]) > 0.01
        assert change(generate(make("clvae"), maps, style=style), generate(make("clvae"), maps, style=edited)) > 1e-4
        with pytest.raises(ValueError, match="^Random Style: single layers.*connect the style"):
            random_style(make("clvae"), maps, 4, layers="1")


class TestMixing:
    @pytest.fixture
    def styles(self, make) -> tuple[Any, Any]:
        return tuple(random_style(make("clvae"), labels(ROAD, SKY, CAR), seed) for seed in (1, 2))

    def test_classes_are_taken_from_either_style(self, styles) -> None:
        a, b = styles
        mixed = mix(a, "car = B\nsky @0, 2 = B  # two layers\nroad = 0.25", b=b)
        assert torch.equal(code(mixed, CAR), code(b, CAR))
        rows = [0, 2]
        assert torch.equal(code(mixed, SKY)[rows], code(b, SKY)[rows])
        assert torch.equal(code(mixed, SKY)[[1, 3, 4]], code(a, SKY)[[1, 3, 4]])
        assert torch.allclose(code(mixed, ROAD), torch.lerp(code(a, ROAD), code(b, ROAD), 0.25))
        assert torch.equal(mixed.codes[0].shared, a.codes[0].shared)

    def test_the_weight_goes_from_one_style_to_the_other(self, styles) -> None:
        a, b = styles
        assert torch.equal(code(mix(a, weight=1.0, b=b), CAR), code(b, CAR))
        assert torch.equal(mix(a, weight=1.0, b=b).codes[0].shared, b.codes[0].shared)
        half = mix(a, "car = A\nshared = B", 0.5, b)
        assert torch.allclose(code(half, SKY), (code(a, SKY) + code(b, SKY)) / 2)
        assert torch.equal(code(half, CAR), code(a, CAR))
        assert torch.equal(half.codes[0].shared, b.codes[0].shared)
        assert torch.equal(code(mix(a, "* = B", b=b), SKY), code(b, SKY))

    def test_classes_are_left_to_chance(self, styles) -> None:
        a, _ = styles
        assert mix(a, "car = random").codes[0].classes == (ROAD, SKY)
        kept = mix(a, "* = random\ncar = A\nshared = random").codes[0]
        assert kept.classes == (CAR,) and kept.shared is None

    def test_one_style_goes_with_several(self, styles) -> None:
        a, b = styles
        several = type(a)((*a.codes, *b.codes), a.palette)
        assert [len(c.codes) for c in (mix(several, weight=1.0, b=b), mix(b, weight=1.0, b=several))] == [2, 2]
        with pytest.raises(ValueError, match="^Mix Styles: there are 2 styles A for 3"):
            mix(several, weight=1.0, b=type(a)(several.codes + a.codes))

    @pytest.mark.parametrize(
        ("rules", "told"),
        [
            ("car = C", "'C' is neither A, B, random nor a number"),
            ("car > B", "line 1, 'car > B': this is no rule"),
            ("\nlorry = B", "line 2, 'lorry = B': palette 'cityscapes19' has no class 'lorry'"),
            ("car @7 = B", "names no layers; there are 0, 1, 2, 3, 4"),
            ("bus = B", "the second has no code for class 15; it has 0, 10, 13"),
            ("car @1 = random", "take them from a random style as B"),
            ("shared @1 = B", "the shared code has no layers"),
        ],
    )
    def test_rules_that_mean_nothing_are_told(self, styles, rules: str, told: str) -> None:
        with pytest.raises(ValueError, match="^Mix Styles: ") as error:
            mix(styles[0], rules, b=styles[1])
        assert told in str(error.value)

    def test_without_a_second_style_there_is_nothing_to_go_to(self, styles) -> None:
        with pytest.raises(ValueError, match="there is no second style"):
            mix(styles[0], weight=0.5)

    def test_styles_are_kept_with_the_names_of_their_classes(self, styles, model_folder: Path) -> None:
        name = run("AMAdapterSaveStyle", styles[0], "mine")
        loaded = run("AMAdapterLoadStyle", name)
        assert all(torch.equal(code(loaded, label), code(styles[0], label)) for label in (ROAD, SKY, CAR))
        assert torch.equal(code(mix(loaded, "car = B", b=styles[1]), CAR), code(styles[1], CAR))
        with pytest.raises(ValueError, match="^Save Style Codes: .*leaves"):
            run("AMAdapterSaveStyle", styles[0], "../../mine")


class TestSCADM:
    def test_three_modes(self, make) -> None:
        """By reference, by reference with random parts, by noise alone: which of them the reference still rules."""
        maps, generator = labels(SKY, ROAD), make("scadm")
        references = [run("AMAdapterStyleFromImage", generator, picture(seed), labels(ROAD, SKY)) for seed in (1, 2)]
        whole = [generate(generator, maps, style=style) for style in references]
        parts = [generate(generator, maps, style=style, random_classes="sky") for style in references]
        noise = generate(generator, maps)
        assert change(*whole) > 1e-5 and change(*parts) > 1e-5
        assert change(whole[0], parts[0]) > 1e-6 and change(whole[0], noise) > 1e-6
        both = [generate(generator, maps, style=style, random_classes="sky, road") for style in references]
        assert torch.equal(both[0], noise) and torch.equal(both[1], noise)
        left = generate(generator, maps, style=mix(references[0], "sky = random"))
        assert torch.equal(left, parts[0])
        assert torch.equal(generate(generator, maps, style=random_style(generator, maps, 5)), noise)

    def test_styles_are_interpolated_whole_and_in_parts(self, make) -> None:
        maps, generator = labels(ROAD, SKY), make("scadm")
        a, b = (run("AMAdapterStyleFromImage", generator, picture(seed), maps) for seed in (1, 2))
        half, part = mix(a, weight=0.5, b=b), mix(a, "sky = 0.5", b=b)
        assert torch.allclose(code(half, ROAD), (code(a, ROAD) + code(b, ROAD)) / 2)
        assert torch.equal(code(part, ROAD), code(a, ROAD)) and torch.equal(code(part, SKY), code(half, SKY))

    def test_noise_of_one_class_is_drawn_anew(self, make) -> None:
        maps, generator = labels(ROAD, SKY), make("scadm")
        assert change(generate(generator, maps), generate(generator, maps, class_seeds="sky = 5")) > 1e-4

    def test_guidance_leads_away_from_what_is_chosen(self, make) -> None:
        maps, generator = labels(ROAD, SKY), make("scadm")
        style = run("AMAdapterStyleFromImage", generator, picture(), maps)
        made = [
            generate(generator, maps, style=style, guidance=g, unconditional=kind)
            for g, kind in ((1.0, "empty_style"), (3.0, "empty_style"), (3.0, "published"))
        ]
        assert change(made[0], made[1]) > 1e-6 and change(made[1], made[2]) > 1e-6
        assert torch.equal(made[0], generate(generator, maps, style=style, unconditional="published"))

    def test_ksampler_s_ddim_is_the_core_s(self, make) -> None:
        """But for the last step: ComfyUI goes on to no noise at all, where the core shows its prediction."""
        import nodes as stock

        from amadapter_core.generators.scadm import NoisePredictor
        from amadapter_core.generators.scadm.diffusion import alphas_cumprod, ddim, ddim_timesteps

        maps, generator = labels(ROAD, SKY), make("scadm")
        style = run("AMAdapterStyleFromImage", generator, picture(), maps)
        model, positive, negative, vae, latent = run("AMAdapterSCADMForSampler", generator, maps, style)
        assert latent["samples"].shape == (1, 3, 16, 16)

        def sampled(cfg: float, name: str = "ddim") -> Tensor:
            return stock.common_ksampler(model, 3, 4, cfg, name, "ddim_uniform", positive, negative, latent)[0][
                "samples"
            ]

        seen = []
        core = generator.core
        noise = torch.randn(1, 3, 16, 16, generator=torch.manual_seed(3))
        last = alphas_cumprod()[ddim_timesteps(4)[-1]]
        predict = NoisePredictor(core.unet, core.conditioning(maps.ids, style.codes[0]))
        ddim(predict, noise * float((1 - last) ** 0.5), 4, watch=lambda done, count, clean: seen.append(clean))
        assert change(sampled(1.0), seen[-1]) < 1e-4 * float(seen[-1].abs().max())
        assert change(sampled(1.0), sampled(3.0)) > 1e-5
        assert torch.isfinite(sampled(2.0, "dpmpp_2m")).all()
        image = stock.VAEDecode().decode(vae, {"samples": seen[-1]})[0]
        assert torch.equal(image, core.decode(seen[-1]).movedim(1, -1))
        assert stock.VAEEncode().encode(vae, image)[0]["samples"].shape == latent["samples"].shape

    def test_only_a_diffusion_model_goes_to_ksampler(self, make) -> None:
        with pytest.raises(ValueError, match="^SCA-DM for KSampler: clVAE is no diffusion model"):
            run("AMAdapterSCADMForSampler", make("clvae"), labels(ROAD))


class TestIPOSE:
    @pytest.fixture
    def supports(self, tiny_generators: ModuleType) -> Any:
        return tiny_generators.tiny_supports(24, 26)

    @pytest.fixture
    def scene(self) -> LabelMap:
        """A person and two cars on a road, at another size than the generator's."""
        ids = torch.full((1, 96, 96), ROAD)
        ids[:, 10:60, 8:30], ids[:, 40:80, 36:62], ids[:, 40:80, 62:90] = PERSON, CAR, CAR
        return LabelMap(ids, Palette.load("cityscapes19"))

    def parts(self, make, scene: LabelMap, **inputs: Any) -> tuple[Any, Tensor]:
        return run("AMAdapterPartMaps", make("ipose"), scene, **inputs)

    def test_objects_have_parts(self, make, scene: LabelMap, supports) -> None:
        parts, shown = self.parts(make, scene, supports=supports)
        assert shown.shape == (1, SIDE, SIDE, 3) and len(parts.instances[0].instances) == 2
        there = parts.ids > 0
        assert bool(there.any()) and not bool(shown[~there].any())

    def test_instances_part_what_touches(self, make, scene: LabelMap, supports) -> None:
        masks = torch.zeros(3, 96, 96)
        masks[0, 10:60, 8:30], masks[1, 40:80, 36:62], masks[2, 40:80, 62:90] = 1, 1, 1
        instances, shown = run("AMAdapterInstancesFromMasks", masks)
        assert len(shown.flatten(0, 2).unique(dim=0)) == 4
        parts, _ = self.parts(make, scene, supports=supports, instances=instances)
        assert [i.category for i in parts.instances[0].instances] == [24, 26, 26]
        with pytest.raises(ValueError, match="^Instances from Masks: mask 2 of 3 is empty"):
            run("AMAdapterInstancesFromMasks", masks * torch.tensor([1, 0, 1])[:, None, None])

    @pytest.mark.parametrize("reading", ["counts", "cityscapes", "ade20k"])
    def test_instance_maps_are_read_as_the_data_sets_have_them(
        self, make, scene, supports, reading: str, tmp_path: Path, monkeypatch
    ) -> None:
        import folder_paths

        counts = torch.zeros(96, 96, dtype=torch.int32)
        counts[10:60, 8:30], counts[40:80, 36:62], counts[40:80, 62:90] = 1, 2, 3
        if reading == "ade20k":
            array = torch.stack([torch.zeros_like(counts), counts, torch.zeros_like(counts)], -1).byte().numpy()
        elif reading == "cityscapes":
            array = torch.where(counts > 0, 26000 + counts, 7).to(torch.int32).numpy().astype("uint16")
        else:
            array = counts.byte().numpy()
        Image.fromarray(array).save(tmp_path / "instances.png")
        monkeypatch.setattr(folder_paths, "get_annotated_filepath", lambda name: str(tmp_path / name))
        instances, shown = run("AMAdapterLoadInstances", "instances.png", reading)
        assert shown.shape == (1, 96, 96, 3) and not bool(shown[0, 0, 0].any())
        parts, _ = self.parts(make, scene, supports=supports, instances=instances)
        assert [i.category for i in parts.instances[0].instances] == [24, 26, 26]
        if reading != "ade20k":
            with pytest.raises(ValueError, match="^Load Instance Map: .*RGB"):
                run("AMAdapterLoadInstances", "instances.png", "ade20k")

    def test_parts_guide_the_picture(self, make, scene: LabelMap, supports) -> None:
        parts, _ = self.parts(make, scene, supports=supports)
        nowhere, _ = self.parts(make, scene, supports=supports, mask=torch.zeros(1, 10, 10))
        made = generate(make("ipose"), scene, 1, parts=parts)
        assert made.shape == (1, SIDE, SIDE, 3)
        assert torch.equal(made, generate(make("ipose"), scene, 1, parts=parts))
        assert change(made, generate(make("ipose"), scene, 1, parts=nowhere)) > 1e-4

    def test_the_whole_and_the_background_have_noises_of_their_own(self, make, scene: LabelMap, supports) -> None:
        parts, _ = self.parts(make, scene, supports=supports)
        made = {
            seeds: generate(make("ipose"), scene, seeds[0], parts=parts, background_seed=seeds[1])
            for seeds in ((1, 1), (2, 1), (1, 2), (1, -1))
        }
        assert torch.equal(made[1, 1], made[1, -1])
        assert change(made[1, 1], made[2, 1]) > 1e-4 and change(made[1, 1], made[1, 2]) > 1e-4
        other = generate(make("ipose"), scene, 1, parts=parts, class_seeds="road = 8")
        assert change(made[1, 1], other) > 1e-5

    def test_other_examples_make_other_parts(self, make, scene: LabelMap, supports) -> None:
        same, shown = run("AMAdapterEditSupports", supports, "26 car", "error")
        assert same is supports and shown.shape == (2, 256, 256, 3)
        edited, again = run("AMAdapterEditSupports", supports, "26 car", "error", shown.flip(1)[:1])
        assert torch.equal(again, shown.flip(1)[:1])
        before, after = (self.parts(make, scene, supports=s)[0] for s in (supports, edited))
        person, car = parts_of(before, 24), parts_of(before, 26)
        assert torch.equal(before.logits[:, :, person], after.logits[:, :, person])
        assert change(before.logits[:, :, car], after.logits[:, :, car]) > 1e-3
        with pytest.raises(ValueError, match="^Edit Part Supports: .*no examples of category 8"):
            run("AMAdapterEditSupports", supports, "8 cat", "error")

    def test_supports_are_packed_and_loaded(self, make, scene: LabelMap, tmp_path: Path, model_folder: Path) -> None:
        for category in ("24", "26"):
            place = tmp_path / "Full_Parts" / "support_shape" / "2" / category
            place.mkdir(parents=True)
            for name in ("a_part.png", "b_part.png"):
                Image.fromarray(torch.randint(0, 9, (64, 64)).byte().numpy()).save(place / name)
        packed, name = run("AMAdapterPackSupports", str(tmp_path / "Full_Parts"), 2, "mine")
        assert name == "mine_00001.safetensors" and {24, 26} <= set(packed.categories)
        loaded = run("AMAdapterLoadSupports", name)
        one, other = (self.parts(make, scene, supports=s)[0] for s in (packed, loaded))
        assert torch.equal(one.logits, other.logits)
        with pytest.raises(ValueError, match="^Pack Part Supports: folder is empty"):
            run("AMAdapterPackSupports", " ", 2, "mine")
        with pytest.raises(FileNotFoundError, match="^Pack Part Supports: .*Searched: .*support_shape"):
            run("AMAdapterPackSupports", str(model_folder), 2, "mine")

    def test_missing_supports_are_told_with_the_way_out(self, make, scene: LabelMap, tiny_generators) -> None:
        for node in (self.parts, lambda make, scene: generate(make("ipose"), scene)):
            with pytest.raises(ValueError, match="there are no supports, which no checkpoint holds.*support pack"):
                node(make, scene)
        with pytest.raises(ValueError, match="^Part Maps: .*no examples of category 24"):
            self.parts(make, scene, supports=tiny_generators.tiny_supports(26))


def parts_of(parts: Any, category: int) -> Tensor:
    """[H, W] where objects of a category are."""
    (instances,) = parts.instances
    return torch.stack([instances.mask(i) for i in instances.instances if i.category == category]).any(0)


class TestWhatDoesNotFit:
    @pytest.mark.parametrize("system", ["clvae", "scadm"])
    def test_part_maps_are_of_ipose(self, make, tiny_generators, system: str) -> None:
        with pytest.raises(ValueError, match="^Part Maps: .*has no part maps; load an iPOSE"):
            run("AMAdapterPartMaps", make(system), labels(ROAD))
        parts, _ = run("AMAdapterPartMaps", make("ipose"), labels(ROAD))
        with pytest.raises(ValueError, match="^Generate from Label Map: .*takes no part maps"):
            generate(make(system), labels(ROAD), parts=parts)

    def test_styles_are_of_the_others(self, make) -> None:
        for told, ask in (
            ("Style from Image", lambda: run("AMAdapterStyleFromImage", make("ipose"), picture(), labels(ROAD))),
            ("Random Style", lambda: random_style(make("ipose"), labels(ROAD), 0)),
        ):
            with pytest.raises(ValueError, match=f"^{told}: iPOSE has no style codes"):
                ask()
        style = random_style(make("clvae"), labels(ROAD), 0)
        with pytest.raises(ValueError, match="iPOSE takes no style codes"):
            generate(make("ipose"), labels(ROAD), style=style)
        with pytest.raises(ValueError, match="the style is of clVAE.*Make the style with this model"):
            generate(make("scadm"), labels(ROAD), style=style)

    def test_numbers_that_do_not_go_together(self, make) -> None:
        style = random_style(make("clvae"), labels(ROAD), 0)
        several = type(style)(style.codes * 3, style.palette)
        with pytest.raises(ValueError, match="there are 3 styles for 1 label maps"):
            generate(make("clvae"), labels(ROAD), style=several)
        with pytest.raises(ValueError, match="there are 2 label maps for 3 pictures"):
            maps = labels(ROAD)
            twice = LabelMap(maps.ids.expand(2, -1, -1), maps.palette)
            run("AMAdapterStyleFromImage", make("clvae"), picture().expand(3, -1, -1, -1), twice)

    def test_seeds_that_are_none(self, make) -> None:
        with pytest.raises(
            ValueError, match="^Generate from Label Map: rules: line 1, 'car': this is no rule.*lines such as"
        ):
            generate(make("clvae"), labels(ROAD), class_seeds="car")
        with pytest.raises(ValueError, match="^Random Style: .*there is no layer '5'; there are 0 to 4"):
            random_style(make("clvae"), labels(ROAD), 0, layer_seeds="5 = 1")


@pytest.mark.parametrize("system", ["clvae", "ipose", "scadm"])
def test_cancel_stops_within_a_picture(make, system: str) -> None:
    from comfy import model_management as management

    def last(*_: Any) -> None:
        management.interrupt_current_processing()

    core = make(system).core
    first = {"clvae": "generator", "ipose": "network", "scadm": "unet"}[system]
    hook = getattr(core, first).register_forward_pre_hook(last)
    try:
        with pytest.raises(management.InterruptProcessingException):
            generate(make(system), labels(ROAD, SKY))
    finally:
        hook.remove()
        management.interrupt_current_processing(False)
    assert generate(make(system), labels(ROAD, SKY)).shape[0] == 1


@pytest.mark.parametrize(("system", "steps"), [("clvae", 2), ("ipose", 2), ("scadm", 4)])
def test_the_progress_bar_counts_pictures_and_steps(make, system: str, steps: int, monkeypatch) -> None:
    import comfy.utils

    shown = []
    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", lambda value, total, *_, **__: shown.append((value, total)))
    generate(make(system), labels(ROAD, SKY), variants=2)
    values = [value for value, _ in shown]
    # How often it is told is ComfyUI's choice.
    assert {total for _, total in shown} == {steps} and values == sorted(values)
    assert values[0] == 1 and values[-1] == steps


def test_comfyui_holds_the_weights_whole_or_not_at_all(make) -> None:
    from comfy import model_management as management

    generator = make("clvae")
    generate(generator, labels(ROAD))
    held = [loaded.model for loaded in management.current_loaded_models]
    assert set(generator.patchers) <= set(held)
    assert all(patcher.partially_unload(patcher.offload_device, 1) == 0 for patcher in generator.patchers)
    management.unload_all_models()
    assert not set(generator.patchers) & {loaded.model for loaded in management.current_loaded_models}
    assert generate(generator, labels(ROAD)).shape == (1, SIDE, SIDE, 3)
