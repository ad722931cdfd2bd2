"""The demonstration family on diffusers: a folder to train, the flat set it is packed to, and how that is measured."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from amadapter_core.checkpoints import CheckpointError, Kind, load_matcher, save
from amadapter_core.demo import family, files, weights
from amadapter_core.demo.__main__ import main
from amadapter_core.demo.files import Files
from amadapter_core.demo.measuring import CODEC, Bench, Settings, run
from amadapter_core.demo.pictures import SHOWN, grid
from amadapter_core.demo.rows import IMPLICIT, NONE, SPATIAL, rows
from amadapter_core.demo.seeds import HELD_OUT
from amadapter_core.matcher import Matcher
from amadapter_core.matching import Mode, Route, Routing, SpatialMatching

SIZE = (64, 96)
ONE_CLASS = (torch.zeros(1, 8, 8, dtype=torch.long), [torch.zeros(1, 8, 8, dtype=torch.long)], "implicit")
"""Label maps of one class throughout: target, exemplars, mode."""
STRENGTHS = {"implicit": 1.0, "categorical": 0.5, "learned spatial": 0.7}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def bench(demo_flat: Path) -> Bench:
    return Bench(demo_flat, Settings(SIZE, steps=3), torch.device("cpu"))


class TestInit:
    def test_the_folder_is_a_pipeline_of_diffusers(self, demo_folder: Path) -> None:
        from diffusers import StableDiffusionPipeline

        pipeline = StableDiffusionPipeline.from_pretrained(demo_folder)
        assert pipeline.scheduler.config.prediction_type == "v_prediction"
        assert pipeline.unet.config.in_channels == pipeline.vae.config.latent_channels == family.LATENT_CHANNELS
        assert pipeline.vae_scale_factor == 8
        encoded = pipeline.encode_prompt("a street at night", "cpu", 1, False)[0]
        assert encoded.shape == (1, pipeline.tokenizer.model_max_length, family.CONTEXT)

    def test_the_seed_decides_the_weights(self) -> None:
        first, again, other = (family.random_pipeline(seed) for seed in (1, 1, 2))
        weight = "down_blocks.0.resnets.0.conv1.weight"
        assert torch.equal(first.unet.state_dict()[weight], again.unet.state_dict()[weight])
        assert not torch.equal(first.unet.state_dict()[weight], other.unet.state_dict()[weight])

    def test_a_model_that_is_there_is_not_overwritten(self, demo_folder: Path) -> None:
        with pytest.raises(FileExistsError, match="holds a model already"):
            family.init(demo_folder)

    def test_every_attention_site_has_8_heads_as_the_matcher_wants(self) -> None:
        unet = family.random_pipeline().unet
        sites = [module for name, module in unet.named_modules() if name.endswith("attn1")]
        assert len(sites) == 16 and {site.heads for site in sites} == {8}


class TestPack:
    def test_all_files_are_fp16_and_small_enough_to_be_shipped(self, demo_flat: Path) -> None:
        names = {path.name for path in demo_flat.iterdir()}
        assert names == {*files.WEIGHTS, *files.NEEDED}
        assert sum(path.stat().st_size for path in demo_flat.iterdir()) < weights.LIMIT
        for name in files.WEIGHTS:
            assert {tensor.dtype for tensor in load_file(demo_flat / name).values()} == {torch.float16}

    def test_the_files_say_what_they_are(self, demo_flat: Path) -> None:
        for name in (files.UNET, files.CONTROLNEXT, *files.MATCHERS.values(), files.SEGMENTER):
            with safe_open(demo_flat / name, framework="pt") as file:
                assert file.metadata()["am_adapter.kind"]
        for variant in files.MATCHERS:
            assert load_matcher(Files(demo_flat).matcher(variant)).variant == variant

    def test_the_pipeline_of_the_set_computes_as_the_trained_one_to_half_precision(
        self, demo_folder: Path, demo_flat: Path
    ) -> None:
        from diffusers import UNet2DConditionModel

        trained = UNet2DConditionModel.from_pretrained(demo_folder / "unet")
        x = torch.randn(1, family.LATENT_CHANNELS, 8, 8, generator=torch.Generator().manual_seed(0))
        context = torch.randn(1, 16, family.CONTEXT, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            theirs = trained(x, 300, context).sample
            ours = weights.pipeline(demo_flat).unet(x, 300, context).sample
        assert float((ours - theirs).abs().max()) < 0.02 * float(theirs.abs().max())

    def test_a_model_folder_of_the_set_packs_to_the_same_set(self, demo_flat: Path, tmp_path: Path) -> None:
        weights.unpack(demo_flat, tmp_path / "model")
        weights.pack(tmp_path / "model", tmp_path / "flat", incomplete=True)
        for name in (files.UNET, files.VAE, files.TEXT_ENCODER, files.CONTROLNEXT, files.SEGMENTER):
            packed, again = load_file(demo_flat / name), load_file(tmp_path / "flat" / name)
            assert packed.keys() == again.keys()
            assert all(torch.equal(packed[key], again[key]) for key in packed)
        with pytest.raises(FileExistsError, match="exists already"):
            weights.unpack(demo_flat, tmp_path / "model")

    def test_a_part_that_is_missing_is_named(self, demo_folder: Path, tmp_path: Path) -> None:
        folder = tmp_path / "trained"
        shutil.copytree(demo_folder, folder)
        shutil.rmtree(folder / "vae")
        (folder / "matcher_published.safetensors").unlink()
        with pytest.raises(FileNotFoundError, match=r"missing: .*vae.*matcher_published.safetensors"):
            weights.pack(folder, tmp_path / "flat", matchers=[folder / "matcher.safetensors"])
        assert not (tmp_path / "flat").exists()

    def test_while_it_is_trained_it_may_lack_matchers_and_segmenter(self, demo_folder: Path, tmp_path: Path) -> None:
        folder = tmp_path / "trained"
        shutil.copytree(demo_folder, folder, ignore=shutil.ignore_patterns("matcher*", "segmenter*"))
        weights.pack(folder, tmp_path / "flat", incomplete=True, side=256)
        pipeline = weights.pipeline(tmp_path / "flat")
        assert pipeline.matcher is None
        assert pipeline.unet.config.sample_size == 32

    def test_a_set_that_is_too_large_is_refused_and_nothing_is_written(
        self, demo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(weights, "LIMIT", 20_000_000)
        with pytest.raises(ValueError, match=r"makes 2\d,\d{3},\d{3} bytes, at most 20,000,000 .*unet.safetensors 19"):
            weights.pack(demo_folder, tmp_path / "flat", matchers=sorted(demo_folder.glob("matcher*")))
        assert list(tmp_path.iterdir()) == []

    def test_weights_that_diverged_are_refused(self, demo_folder: Path, tmp_path: Path) -> None:
        folder = tmp_path / "trained"
        shutil.copytree(demo_folder, folder)
        file = folder / "vae" / "diffusion_pytorch_model.safetensors"
        spoilt = load_file(file)
        spoilt["decoder.conv_in.bias"][0] = torch.nan
        save_file(spoilt, file)
        with pytest.raises(ValueError, match="not finite"):
            weights.pack(folder, tmp_path / "flat", incomplete=True)

    def test_a_file_of_another_network_is_refused(self, demo_folder: Path, tmp_path: Path) -> None:
        save(tmp_path / "m.safetensors", Matcher(), Kind.MATCHER, variant="spatial")
        folder = tmp_path / "trained"
        shutil.copytree(demo_folder, folder)
        shutil.copyfile(tmp_path / "m.safetensors", folder / "controlnext.safetensors")
        with pytest.raises(CheckpointError, match="matcher"):
            weights.pack(folder, tmp_path / "flat", incomplete=True)

    def test_what_training_noted_comes_along_but_for_the_places_of_its_machine(
        self, demo_folder: Path, tmp_path: Path
    ) -> None:
        folder = tmp_path / "trained"
        shutil.copytree(demo_folder, folder)
        file = folder / "controlnext.safetensors"
        noted = {"am_adapter.step": "700", "am_adapter.config": json.dumps({"model": str(tmp_path), "data": {"a": 1}})}
        save(file, load_file(file), Kind.CONTROLNEXT, noted)
        weights.pack(folder, tmp_path / "flat", incomplete=True)
        for name in (files.CONTROLNEXT, files.UNET):
            with safe_open(tmp_path / "flat" / name, framework="pt") as opened:
                assert opened.metadata()["am_adapter.step"] == "700"
                assert json.loads(opened.metadata()["am_adapter.config"]) == {"model": tmp_path.name, "data": {"a": 1}}

    def test_a_matcher_that_was_never_trained_is_not_taken_by_itself(self, demo_folder: Path, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="matcher_spatial.safetensors, matcher_published.safetensors"):
            weights.pack(demo_folder, tmp_path / "flat")
        folder = tmp_path / "trained"
        shutil.copytree(demo_folder, folder)
        save(folder / "matcher.safetensors", Matcher(), Kind.MATCHER, {"am_adapter.step": "9"}, variant="spatial")
        weights.pack(folder, tmp_path / "flat", incomplete=True)
        assert {path.name for path in (tmp_path / "flat").glob("matcher*")} == {files.MATCHERS["spatial"]}

    def test_chosen_strengths_are_kept_in_the_set(self, demo_flat: Path, tmp_path: Path) -> None:
        shutil.copytree(demo_flat, tmp_path / "flat")
        weights.set_strengths(tmp_path / "flat", {"implicit": 1.5})
        assert Files(tmp_path / "flat").description["log_strengths"] == {"implicit": 1.5}


class TestSampling:
    @pytest.mark.slow
    @pytest.mark.parametrize("guidance", [1.0, 2.5])
    def test_a_batch_gives_what_the_pipeline_gives_one_by_one(self, demo_flat: Path, guidance: float) -> None:
        bench = Bench(demo_flat, Settings(SIZE, steps=2, guidance=guidance), torch.device("cpu"))
        names = (NONE, f"{IMPLICIT} + k", "categorical", SPATIAL)
        chosen = [row for row in rows(STRENGTHS, bench.matchers) if row.name in names]
        batch = bench.draw(HELD_OUT, [0, 3])
        sampled = bench.sampler.sample(batch, chosen)
        for row in chosen:
            for i in range(2):
                labels = [replace(x, ids=x.ids[i : i + 1]) for x in (batch.exemplar_labels, batch.target_labels)]
                alone = bench.pipeline(
                    batch.captions[i],
                    batch.exemplar[i : i + 1],
                    *labels,
                    mode=row.mode or Mode.IMPLICIT,
                    routing=Routing([Route(strength=row.strength if row.mode else 0.0)]),
                    num_inference_steps=2,
                    guidance_scale=guidance,
                    latents=batch.noise[i : i + 1, 0],
                    output_type="pt",
                ).images[0]
                assert float((sampled[row.name].images[i] - alone).abs().max()) < 5e-4, row.name

    def test_every_row_makes_another_picture_and_knows_its_time(self, bench: Bench) -> None:
        chosen = rows(STRENGTHS, bench.matchers)
        sampled = bench.sampler.sample(bench.draw(HELD_OUT, [0]), chosen)
        assert len(sampled) == 8
        pictures = list(sampled.values())
        for i, first in enumerate(pictures):
            assert first.seconds > 0
            for second in pictures[:i]:
                assert float((first.images - second.images).abs().max()) > 1e-3

    @pytest.mark.slow
    def test_a_triple_is_judged_the_same_in_any_company(self, bench: Bench) -> None:
        chosen = rows(STRENGTHS, bench.matchers)
        together, alone = (bench.sampler.judge(bench.draw(HELD_OUT, n), chosen) for n in ([2, 7], [7]))
        for name, judged in alone.items():
            assert torch.allclose(together[name].losses[1:], judged.losses, rtol=1e-4)
            if judged.object_share is not None:
                for share in ("class_share", "object_share", "exemplar_share"):
                    assert getattr(together[name], share)[1] == pytest.approx(float(getattr(judged, share)), rel=1e-3)
        assert alone[NONE].class_share is None
        assert float(alone["categorical"].class_share) == pytest.approx(1.0)
        more, less = alone["implicit + k"].exemplar_share, alone[IMPLICIT].exemplar_share
        assert float(more) > float(less)

    def test_the_published_loop_knows_the_prediction_of_v(self, demo_flat: Path) -> None:
        """A UNet that says v, and one that says the noise which that v means, make the same steps."""
        from diffusers import UNet2DConditionModel

        from amadapter_core.hosts.diffusers import NoiseSchedule
        from amadapter_core.hosts.diffusers.published import PublishedLoop

        pipeline = weights.pipeline(demo_flat)
        schedule, config = NoiseSchedule(pipeline.scheduler), dict(pipeline.scheduler.config)
        twin = UNet2DConditionModel.from_config(pipeline.unet.config)
        twin.load_state_dict(pipeline.unet.state_dict())
        twin.register_forward_hook(lambda _, args, output: (schedule.noise(output[0], args[0], args[1]),))
        x = torch.randn(2, family.LATENT_CHANNELS, 8, 8, generator=torch.Generator().manual_seed(0))
        context = torch.randn(2, 16, family.CONTEXT, generator=torch.Generator().manual_seed(1))
        found = []
        for unet, prediction in ((pipeline.unet, "v_prediction"), (twin, "epsilon")):
            loop = PublishedLoop(unet, config | {"prediction_type": prediction}, 4, 2.5, SpatialMatching(*ONE_CLASS))
            with torch.no_grad():
                last = loop.invert(x[:1], context[:1])[-1]
                found.append([step.latent for step in loop.denoise(x[1:], last, context, None, None)])
        for ours, theirs in zip(*found, strict=True):
            assert float((ours - theirs).abs().max()) < 1e-4


class TestMeasuring:
    def test_a_run_that_was_ended_goes_on_where_it_stopped(self, bench: Bench, tmp_path: Path) -> None:
        chosen = [row for row in rows({}, bench.matchers) if row.name in (NONE, IMPLICIT)]
        path, steps = tmp_path / "r.jsonl", []

        def go(count: int) -> list:
            return run(bench, chosen, HELD_OUT, count, path, batch=1, progress=lambda *done: steps.append(done))

        first = go(1)
        both = go(2)
        assert both[0] == first[0] and steps == [(1, 1), (2, 2)]
        assert set(both[1]) == {NONE, IMPLICIT, CODEC}
        assert both[1][CODEC]["pixel"] >= 0 and both[1][IMPLICIT]["object_share"] > 0
        text = path.read_text(encoding="utf-8")
        path.write_text(text[:-20], encoding="utf-8")
        again = go(2)
        for row, entry in again[1].items():
            for name in ("colour", "texture", "accuracy"):
                assert entry[name] == pytest.approx(both[1][row][name], rel=1e-5)

    @pytest.mark.slow
    def test_several_processes_find_what_one_finds(self, bench: Bench, tmp_path: Path) -> None:
        chosen = [row for row in rows({}, bench.matchers) if row.name in (NONE, SPATIAL)]
        one = run(bench, chosen, HELD_OUT, 2, tmp_path / "one.jsonl", batch=1)
        two = run(bench, chosen, HELD_OUT, 2, tmp_path / "two.jsonl", batch=1, workers=2)
        for first, second in zip(one, two, strict=True):
            assert second[SPATIAL]["colour"] == pytest.approx(first[SPATIAL]["colour"], rel=1e-5)
            assert second[SPATIAL]["loss"] == pytest.approx(first[SPATIAL]["loss"], rel=1e-5)


class TestCommands:
    FAST = ("--steps", "2", "--size", "64", "--workers", "1")

    def call(self, capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[str, dict]:
        assert main([str(argument) for argument in arguments]) == 0
        lines = capsys.readouterr().out.splitlines()
        return "\n".join(lines[:-1]), json.loads(lines[-1])

    def test_pictures_of_every_way_of_looking(
        self, demo_flat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        from PIL import Image

        _, told = self.call(capsys, "--weights", demo_flat, "--out", tmp_path, "--scenes", 1, *self.FAST)
        with Image.open(told["picture"]) as page:
            assert page.width > (3 + len(SHOWN)) * 128 and page.height > 128

    def test_a_sheet_needs_no_matcher(self, demo_flat: Path, tmp_path: Path) -> None:
        shutil.copytree(demo_flat, tmp_path / "flat", ignore=shutil.ignore_patterns("matcher*"))
        bench = Bench(tmp_path / "flat", Settings((64, 64), steps=1), torch.device("cpu"))
        assert grid(bench, [0]).width < 7 * 140

    @pytest.mark.slow
    def test_strengths_are_chosen_and_then_compared_with(
        self, demo_flat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        flat = tmp_path / "flat"
        shutil.copytree(demo_flat, flat)
        common = ("--weights", flat, "--out", tmp_path, "--n", 2, *self.FAST)
        _, chosen = self.call(capsys, "choose-k", *common, "--candidates", 0, 1)
        assert set(chosen["log_strengths"]) == set(STRENGTHS)
        text, told = self.call(capsys, "evaluate", *common)
        (found,) = told["sets"]
        assert found["log_strengths"] == chosen["log_strengths"]
        assert len(found["rows"]) == 9 and set(found["losses"][SPATIAL]) == {"100", "300", "500", "700", "850", "950"}
        assert found["rows"][SPATIAL]["colour"]["n"] == 2
        assert "| learned published " in text and "appearance error" in text


class TestRetrieval:
    def test_the_retrieved_exemplar_fits_best_and_all_else_stays_the_same(
        self, demo_flat: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        given = ["retrieval", "--n", "2", "--gallery", "5", "--row", "categorical", "--steps", "2", "--size", "64"]
        assert main([*given, "--weights", str(demo_flat)]) == 0
        output = capsys.readouterr().out
        told = json.loads(output.splitlines()[-1])
        assert (told["targets"], told["gallery"], told["row"]) == (2, 5, "categorical")
        fit = told["paired"]["fit"]
        assert fit["losses"] == 0 and told["means"]["retrieved"]["fit"]["mean"] > told["means"]["random"]["fit"]["mean"]
        assert told["means"]["retrieved"]["colour"]["n"] == 2 and "| colour" in output
        again = main([*given, "--weights", str(demo_flat), "--batch", "1"])
        assert again == 0
        alone = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert alone["means"]["random"]["colour"]["mean"] == pytest.approx(told["means"]["random"]["colour"]["mean"])

    def test_an_unknown_way_of_looking_is_refused_with_those_that_are_there(
        self, demo_flat: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["retrieval", "--row", "telepathy", "--weights", str(demo_flat)]) == 2
        assert "expected one of implicit, categorical, learned published, learned spatial" in capsys.readouterr().err
