"""Weights files: what is recognised, what is refused and in which words, and that no pickle runs code."""

from __future__ import annotations

import json
import os
import pickle
import stat
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from amadapter_core.checkpoints import (
    CheckpointError,
    Kind,
    convert,
    find_pair,
    inspect,
    load_controlnext,
    load_matcher,
    load_unet_state_dict,
    read,
    read_pair,
    recognise,
    save,
    save_tensors,
)
from amadapter_core.checkpoints.__main__ import main
from amadapter_core.controlnext import ControlNeXt
from amadapter_core.limits import HEADER_BYTES
from amadapter_core.matcher import Matcher

ROOT = Path(__file__).resolve().parents[2]
GOLDENS = ROOT.parent / "shared" / "goldens" / "amadapter"
needs_goldens = pytest.mark.skipif(not GOLDENS.is_dir(), reason="no golden tensors beside the repository")

StateDict = dict[str, Tensor]


@pytest.fixture(scope="module")
def controlnext() -> StateDict:
    """A ControlNeXt of the published shape of network, narrow, for a UNet of first width 32."""
    torch.manual_seed(0)
    return ControlNeXt(out_channels=32, stem=(8, 8, 16), stages=(16, 32), time_channels=(8, 16)).state_dict()


@pytest.fixture(scope="module")
def matcher() -> StateDict:
    torch.manual_seed(1)
    return Matcher(heads=8).state_dict()


@pytest.fixture(scope="module")
def unet() -> StateDict:
    """A UNet of SD1.5's layout, first width 32, with weights."""
    shapes = diffusers_shapes(widths=(32, 64, 64, 64), context=32, layers=1)
    generator = torch.Generator().manual_seed(2)
    return {key: torch.randn(tensor.shape, generator=generator) * 0.02 for key, tensor in shapes.items()}


def meta(shapes: dict[str, tuple[int, ...]]) -> StateDict:
    return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}


def diffusers_shapes(
    widths: tuple[int, ...] = (320, 640, 1280, 1280), context: int = 768, layers: int = 2, **options: Any
) -> StateDict:
    """Keys and shapes of diffusers' own UNet, as meta tensors."""
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        network = UNet2DConditionModel(
            block_out_channels=widths,
            cross_attention_dim=context,
            layers_per_block=layers,
            attention_head_dim=8,
            **options,
        )
    return network.state_dict()


def sdxl_shapes() -> StateDict:
    return diffusers_shapes(
        widths=(320, 640, 1280),
        context=2048,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 1, 1),
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
    )


def ldm_shapes(widths: tuple[int, ...] = (320, 640, 1280, 1280), context: int = 768, in_channels: int = 4) -> StateDict:
    """Keys and shapes of the encoder and the ends of the original UNet, numbered as its constructor does."""
    first, time = widths[0], 4 * widths[0]
    shapes: dict[str, tuple[int, ...]] = {
        "time_embed.0.weight": (time, first),
        "time_embed.2.weight": (time, time),
        "input_blocks.0.0.weight": (first, in_channels, 3, 3),
        "middle_block.0.in_layers.2.weight": (widths[-1], widths[-1], 3, 3),
        "middle_block.1.transformer_blocks.0.attn2.to_k.weight": (widths[-1], context),
        "output_blocks.0.0.in_layers.2.weight": (widths[-1], 2 * widths[-1], 3, 3),
        "out.0.weight": (first,),
        "out.2.weight": (4, first, 3, 3),
    }
    number, before = 0, first
    for level, width in enumerate(widths):
        for _ in range(2):
            number += 1
            shapes[f"input_blocks.{number}.0.in_layers.2.weight"] = (width, before, 3, 3)
            shapes[f"input_blocks.{number}.1.transformer_blocks.0.attn2.to_k.weight"] = (width, context)
            before = width
        if level < len(widths) - 1:
            number += 1
            shapes[f"input_blocks.{number}.0.op.weight"] = (width, width, 3, 3)
    return meta(shapes)


def prefixed(state_dict: StateDict, prefix: str) -> StateDict:
    return {prefix + key: value for key, value in state_dict.items()}


def filled(state_dict: StateDict) -> StateDict:
    return {key: torch.zeros(tensor.shape) for key, tensor in state_dict.items()}


def save_hole(state_dict: StateDict, path: Path) -> None:
    """Write a safetensors file of full size whose tensors take no room on the disk: the file has a hole."""
    entries, offset = {}, 0
    for key, tensor in state_dict.items():
        end = offset + 4 * tensor.numel()
        entries[key] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    header = json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    os.truncate(path, 8 + len(header) + offset)


def message_of(action: Callable[[], Any]) -> str:
    with pytest.raises(CheckpointError) as caught:
        action()
    message = str(caught.value)
    assert "\n" not in message
    assert "weights_only=False" not in message
    return message


# What a file holds


class TestRecognition:
    def test_controlnext_tells_its_channels(self) -> None:
        with torch.device("meta"):
            found = recognise(ControlNeXt().state_dict())
        assert found.kind is Kind.CONTROLNEXT
        assert found.details == {"in_channels": 3, "out_channels": 320}

    def test_matcher_tells_its_heads(self, matcher: StateDict) -> None:
        found = recognise(matcher)
        assert found.kind is Kind.MATCHER
        assert found.details == {"heads": 8, "in_channels": 9, "encoders": 3}

    @pytest.mark.parametrize("in_channels", [4, 9])
    @pytest.mark.parametrize(("shapes", "kind"), [(diffusers_shapes, Kind.UNET_DIFFUSERS), (ldm_shapes, Kind.UNET_LDM)])
    def test_sd15_in_either_naming(self, shapes: Callable[..., StateDict], kind: Kind, in_channels: int) -> None:
        found = recognise(shapes(in_channels=in_channels))
        assert found.kind is kind
        assert found.details == {
            "widths": [320, 640, 1280, 1280],
            "context_dim": 768,
            "in_channels": in_channels,
        }

    def test_a_small_unet_of_the_same_layout_is_one_too(self, unet: StateDict) -> None:
        found = recognise(unet)
        assert found.kind is Kind.UNET_DIFFUSERS
        assert found.details == {"widths": [32, 64, 64, 64], "context_dim": 32, "in_channels": 4}

    @pytest.mark.parametrize(
        ("state_dict", "kind"),
        [
            pytest.param(lambda: diffusers_shapes(context=1024), Kind.SD2_UNET, id="sd2"),
            pytest.param(lambda: ldm_shapes(context=1024), Kind.SD2_UNET, id="sd2-ldm"),
            pytest.param(sdxl_shapes, Kind.SDXL_UNET, id="sdxl"),
            pytest.param(
                lambda: ldm_shapes((320, 640, 1280), 2048) | meta({"label_emb.0.0.weight": (1280, 2816)}),
                Kind.SDXL_UNET,
                id="sdxl-ldm",
            ),
            pytest.param(lambda: meta({"lora_unet_mid_block.lora_down.weight": (4, 320)}), Kind.LORA, id="lora-kohya"),
            pytest.param(
                lambda: meta({"unet.mid_block.attentions.0.to_q.lora_A.weight": (4, 320)}),
                Kind.LORA,
                id="lora-peft",
            ),
            pytest.param(
                lambda: prefixed(ldm_shapes(), "control_model.") | meta({"control_model.zero_convs.0.0.weight": (1,)}),
                Kind.CONTROLNET,
                id="controlnet-ldm",
            ),
            pytest.param(lambda: meta({"body.0.block1.weight": (320, 320)}), Kind.T2I_ADAPTER, id="t2i"),
            pytest.param(lambda: meta({"image_proj.proj.weight": (1, 1)}), Kind.IP_ADAPTER, id="ip-adapter"),
            pytest.param(lambda: meta({"decoder.conv_in.weight": (512, 4)}), Kind.VAE, id="vae"),
            pytest.param(
                lambda: meta({"text_model.embeddings.token_embedding.weight": (49408, 768)}),
                Kind.TEXT_ENCODER,
                id="clip",
            ),
            pytest.param(
                lambda: meta({"vision_model.embeddings.class_embedding": (1280,)}),
                Kind.IMAGE_ENCODER,
                id="clip-vision",
            ),
            pytest.param(
                lambda: meta({"double_blocks.0.img_attn.qkv.weight": (1, 1)}),
                Kind.DIFFUSION_TRANSFORMER,
                id="flux",
            ),
            pytest.param(lambda: meta({"emb_params": (4, 768)}), Kind.TEXTUAL_INVERSION, id="embedding"),
            pytest.param(lambda: meta({"state.0.exp_avg": (1,)}), Kind.OPTIMIZER, id="optimizer"),
            pytest.param(lambda: meta({"fc.weight": (10, 10)}), Kind.UNKNOWN, id="unknown"),
            pytest.param(dict, Kind.UNKNOWN, id="nothing"),
        ],
    )
    def test_other_networks_are_known_by_name(self, state_dict: Callable[[], StateDict], kind: Kind) -> None:
        found = recognise(state_dict())
        assert found.kind is kind
        assert kind.description
        assert kind.remedy

    def test_other_networks_of_diffusers(self) -> None:
        from diffusers import AutoencoderKL, ControlNetModel, T2IAdapter

        with torch.device("meta"):
            assert recognise(ControlNetModel().state_dict()).kind is Kind.CONTROLNET
            assert recognise(T2IAdapter().state_dict()).kind is Kind.T2I_ADAPTER
            assert recognise(AutoencoderKL().state_dict()).kind is Kind.VAE

    @pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "module.model.", "controlnext."])
    def test_prefixes_come_off(self, prefix: str, controlnext: StateDict, tmp_path: Path) -> None:
        save_file(prefixed(controlnext, prefix), tmp_path / "x.safetensors")
        checkpoint = read(tmp_path / "x.safetensors")
        assert checkpoint.state_dict.keys() == controlnext.keys()
        assert checkpoint.details["taken_from"] == prefix.removesuffix(".")

    def test_unet_is_taken_out_of_a_full_checkpoint(self, tmp_path: Path) -> None:
        unet = filled(ldm_shapes((32, 64, 64, 64), 32))
        others = meta({"first_stage_model.decoder.conv_in.weight": (8, 4), "cond_stage_model.x.weight": (1, 1)})
        save_file(prefixed(unet, "model.diffusion_model.") | filled(others), tmp_path / "full.safetensors")
        state_dict, naming = load_unet_state_dict(tmp_path / "full.safetensors")
        assert naming == "ldm"
        assert state_dict.keys() == unet.keys()
        details = inspect(tmp_path / "full.safetensors").details
        assert details["taken_from"] == "model.diffusion_model"
        assert details["left_out"] == 2

    def test_names_and_extensions_mean_nothing(self, matcher: StateDict, tmp_path: Path) -> None:
        torch.save(matcher, tmp_path / "unet.safetensors")
        save_file(matcher, tmp_path / "controlnext.pth")
        assert read(tmp_path / "unet.safetensors").details["file_format"] == "torch zip"
        assert read(tmp_path / "controlnext.pth").details["file_format"] == "safetensors"
        assert load_matcher(tmp_path / "unet.safetensors").heads == load_matcher(tmp_path / "controlnext.pth").heads

    def test_a_safetensors_header_that_begins_like_a_pickle_is_still_one(self, tmp_path: Path) -> None:
        # A header of 0x280 bytes makes the file begin with 80 02, as a pickle of protocol 2 does.
        header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode().ljust(0x280)
        (tmp_path / "x").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
        assert (tmp_path / "x").read_bytes().startswith(b"\x80\x02")
        assert inspect(tmp_path / "x").details["file_format"] == "safetensors"

    def test_a_large_unet_is_recognised_without_its_tensors(self, tmp_path: Path) -> None:
        path = tmp_path / "sd15.safetensors"
        save_hole(diffusers_shapes(), path)
        assert path.stat().st_size > 3.4e9
        checkpoint = inspect(path)
        assert checkpoint.kind is Kind.UNET_DIFFUSERS
        assert checkpoint.details["parameters"] == 859_520_964
        assert {tensor.device.type for tensor in checkpoint.state_dict.values()} == {"meta"}

    @needs_goldens
    def test_the_recorded_networks(self) -> None:
        controlnext = inspect(GOLDENS / "controlnext_weights.safetensors")
        assert (controlnext.kind, controlnext.details["parameters"]) == (Kind.CONTROLNEXT, 3_526_400)
        matcher = inspect(GOLDENS / "matcher_weights.safetensors")
        assert (matcher.kind, matcher.details["parameters"]) == (Kind.MATCHER, 39_744)
        unet = inspect(GOLDENS / "run_unet_weights.safetensors")
        assert (unet.kind, unet.details["widths"]) == (Kind.UNET_DIFFUSERS, [32, 64, 64, 64])
        assert unet.details["taken_from"] == "unet"
        assert load_controlnext(controlnext.path, dtype=torch.float32).out_channels == 320
        assert load_matcher(matcher.path).heads == 8


# torch's own files


class TestTorchFiles:
    @pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
    @pytest.mark.parametrize("suffix", ["pth", "bin", "ckpt"])
    def test_state_dicts_of_torch_save(self, matcher: StateDict, tmp_path: Path, suffix: str, zipped: bool) -> None:
        path = tmp_path / f"x.{suffix}"
        torch.save(matcher, path, _use_new_zipfile_serialization=zipped)
        checkpoint = read(path)
        assert checkpoint.kind is Kind.MATCHER
        assert checkpoint.metadata == {}
        assert checkpoint.variant == "published"
        for key, value in matcher.items():
            torch.testing.assert_close(checkpoint.state_dict[key], value, rtol=0, atol=0)

    @pytest.mark.parametrize("container", ["state_dict", "model", "ema", "params_ema", "weights"])
    def test_containers_are_opened_and_named(self, matcher: StateDict, tmp_path: Path, container: str) -> None:
        torch.save({container: matcher, "global_step": 7, "config": {"lr": 1e-4}}, tmp_path / "x.pth")
        checkpoint = read(tmp_path / "x.pth")
        assert checkpoint.state_dict.keys() == matcher.keys()
        assert checkpoint.details["taken_from"] == container
        assert checkpoint.details["ignored"] == 2

    def test_averaged_weights_are_preferred(self, matcher: StateDict, tmp_path: Path) -> None:
        averaged = {key: torch.ones_like(value) for key, value in matcher.items()}
        torch.save({"model": matcher, "ema": averaged}, tmp_path / "x.pth")
        checkpoint = read(tmp_path / "x.pth")
        assert checkpoint.details["taken_from"] == "ema"
        assert all((value == 1).all() for value in checkpoint.state_dict.values())

    def test_two_networks_of_a_kind_are_not_guessed_between(self, matcher: StateDict, tmp_path: Path) -> None:
        torch.save({"model": matcher, "best": matcher}, tmp_path / "x.pth")
        message = message_of(lambda: load_matcher(tmp_path / "x.pth"))
        assert "2 networks of the same kind" in message
        assert "'best.', 'model.'" in message

    def test_the_wanted_one_of_several_networks_is_found(
        self, controlnext: StateDict, matcher: StateDict, tmp_path: Path
    ) -> None:
        torch.save({"controlnext": controlnext, "matcher": matcher}, tmp_path / "x.pth")
        assert load_matcher(tmp_path / "x.pth").heads == 8
        assert load_controlnext(tmp_path / "x.pth").out_channels == 32
        assert inspect(tmp_path / "x.pth").details["also_holds"] == ["matcher"]

    def test_a_training_state_is_read_for_its_network(self, matcher: StateDict, tmp_path: Path) -> None:
        network = Matcher()
        optimizer = torch.optim.Adam(network.parameters())
        sum(parameter.sum() for parameter in network.parameters()).backward()
        optimizer.step()
        torch.save({"model": matcher, "optimizer": optimizer.state_dict()}, tmp_path / "state.pth")
        torch.save(optimizer.state_dict(), tmp_path / "optimizer.bin")
        assert inspect(tmp_path / "state.pth").kind is Kind.MATCHER
        assert inspect(tmp_path / "optimizer.bin").kind is Kind.OPTIMIZER

    def test_something_else_than_a_state_dict(self, tmp_path: Path) -> None:
        torch.save(torch.zeros(3), tmp_path / "x.pth")
        message = message_of(lambda: read(tmp_path / "x.pth"))
        assert "holds a Tensor. Expected a state dict" in message

    def test_a_tensor_larger_than_its_data_is_refused(self, tmp_path: Path) -> None:
        torch.save({"w.weight": torch.zeros(1).expand(1 << 20, 1 << 20)}, tmp_path / "x.pth")
        assert "has a tensor larger than its data" in message_of(lambda: inspect(tmp_path / "x.pth"))

    def test_a_compressed_archive_is_refused(self, matcher: StateDict, tmp_path: Path) -> None:
        torch.save(matcher, tmp_path / "a.pth")
        with zipfile.ZipFile(tmp_path / "a.pth") as old:
            with zipfile.ZipFile(tmp_path / "b.pth", "w", zipfile.ZIP_DEFLATED) as new:
                for name in old.namelist():
                    new.writestr(name, old.read(name))
        assert "is a compressed zip archive" in message_of(lambda: inspect(tmp_path / "b.pth"))

    def test_a_zip_of_something_else(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "x.pth", "w") as archive:
            archive.writestr("readme.txt", "hello")
        message = message_of(lambda: inspect(tmp_path / "x.pth"))
        assert "is a zip archive, but not one of torch" in message
        assert "readme.txt" in message

    @pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
    @pytest.mark.parametrize("part", [0.3, 0.9])
    def test_a_truncated_file(self, matcher: StateDict, tmp_path: Path, zipped: bool, part: float) -> None:
        path = tmp_path / "x.pth"
        torch.save(matcher, path, _use_new_zipfile_serialization=zipped)
        os.truncate(path, int(path.stat().st_size * part))
        message = message_of(lambda: read(path))
        assert "truncated" in message or "damaged" in message


# Pickles that would run code


class Hostile:
    """Unpickled by the plain unpickler it makes a folder."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def write_hostile(path: Path, marker: Path, form: str) -> None:
    content = {"encoders.0.conv4d.0.0.query_conv.weight": Hostile(marker)}
    if form.startswith("pickle"):
        path.write_bytes(pickle.dumps(content, protocol=int(form[-1])))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
class TestHostilePickles:
    forms = pytest.mark.parametrize("form", ["zip", "legacy", "pickle-2", "pickle-4", "pickle-5"])

    @forms
    @pytest.mark.parametrize("suffix", ["pth", "safetensors"])
    @pytest.mark.parametrize("reader", [read, inspect, load_matcher, load_controlnext, load_unet_state_dict])
    def test_nothing_runs_and_the_error_says_what_it_asked_for(
        self, tmp_path: Path, form: str, suffix: str, reader: Callable[[Path], Any]
    ) -> None:
        path, marker = tmp_path / f"matcher.{suffix}", tmp_path / "ran"
        write_hostile(path, marker, form)
        message = message_of(lambda: reader(path))
        assert not marker.exists()
        assert f"is a pickle that asks for {os.mkdir.__module__}.mkdir" in message
        assert "nothing in the file was executed" in message
        assert "safetensors" in message

    @pytest.mark.parametrize("form", ["pickle-0", "pickle-1"])
    def test_the_oldest_pickles_are_not_even_opened(self, tmp_path: Path, form: str) -> None:
        write_hostile(tmp_path / "x.pth", tmp_path / "ran", form)
        message_of(lambda: read(tmp_path / "x.pth"))
        assert not (tmp_path / "ran").exists()

    def test_the_example_is_hostile_indeed(self, tmp_path: Path) -> None:
        write_hostile(tmp_path / "x.pth", tmp_path / "ran", "pickle-2")
        pickle.loads((tmp_path / "x.pth").read_bytes())
        assert (tmp_path / "ran").exists()

    def test_the_environment_cannot_open_the_door(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
        write_hostile(tmp_path / "x.pth", tmp_path / "ran", "zip")
        message_of(lambda: read(tmp_path / "x.pth"))
        assert not (tmp_path / "ran").exists()

    def test_the_error_does_not_drag_torchs_advice_along(self, tmp_path: Path) -> None:
        write_hostile(tmp_path / "x.pth", tmp_path / "ran", "zip")
        with pytest.raises(CheckpointError) as caught:
            read(tmp_path / "x.pth")
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None

    def test_a_whole_pickled_module_is_refused_by_name(self, tmp_path: Path) -> None:
        torch.save(Matcher(), tmp_path / "x.pth")
        message = message_of(lambda: load_matcher(tmp_path / "x.pth"))
        assert "amadapter_core.matcher.Matcher" in message
        assert "state_dict()" in message


# Damaged files


class TestDamage:
    def test_truncated_safetensors_gives_both_sizes(self, matcher: StateDict, tmp_path: Path) -> None:
        path = tmp_path / "x.safetensors"
        save_file(matcher, path)
        whole = path.stat().st_size
        os.truncate(path, whole - 100)
        message = message_of(lambda: load_matcher(path))
        assert f"is a truncated safetensors file: its header declares {whole} bytes, {whole - 100} are" in message

    def test_truncated_inside_the_header(self, matcher: StateDict, tmp_path: Path) -> None:
        path = tmp_path / "x.safetensors"
        save_file(matcher, path)
        os.truncate(path, 200)
        message = message_of(lambda: inspect(path))
        assert "is a truncated safetensors file: its header alone needs" in message
        assert "200 are there" in message

    def test_an_absurd_header_is_refused_before_it_is_read(self, tmp_path: Path) -> None:
        (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", 1 << 40) + b'{"a":1}')
        message = message_of(lambda: inspect(tmp_path / "x.safetensors"))
        assert f"declares a safetensors header of {1 << 40} bytes. Expected at most {HEADER_BYTES}" in message

    @pytest.mark.parametrize(
        "header",
        [
            b"{not json}",
            b'{"a": 1}',
            b'{"a": {"dtype": "F32", "shape": [2]}}',
            b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}',
            b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}',
            b'{"a": {"dtype": "WHAT", "shape": [1], "data_offsets": [0, 4]}}',
            b'{"a":' * 20000,
        ],
    )
    def test_a_damaged_header(self, tmp_path: Path, header: bytes) -> None:
        (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
        assert "has a damaged safetensors header" in message_of(lambda: inspect(tmp_path / "x.safetensors"))

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"", "is empty (0 bytes)"),
            (b"<!DOCTYPE html><html>log in</html>", "is a web page, not weights"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "is a Git LFS pointer"),
            (b"GGUF\x03\x00\x00\x00", "is a GGUF file"),
            (b'{"weight_map": {}}', "is a text file (JSON)"),
            (b"\x89PNG\r\n\x1a\n", "is not a weights file"),
        ],
    )
    def test_files_that_are_no_weights(self, tmp_path: Path, content: bytes, words: str) -> None:
        (tmp_path / "x.safetensors").write_bytes(content)
        assert words in message_of(lambda: inspect(tmp_path / "x.safetensors"))

    def test_a_folder(self, tmp_path: Path) -> None:
        assert "is a folder" in message_of(lambda: read(tmp_path))

    def test_a_missing_file_tells_where_it_was_looked_for(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="no weights file m.pth.*one.*two"):
            load_matcher("m.pth", folders=[tmp_path / "one", tmp_path / "two"])

    def test_a_name_is_found_in_the_folders(self, matcher: StateDict, tmp_path: Path) -> None:
        (tmp_path / "two").mkdir()
        save_file(matcher, tmp_path / "two" / "m.safetensors")
        assert load_matcher("m.safetensors", folders=[tmp_path / "one", tmp_path / "two"]).heads == 8

    @pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
    def test_weights_that_are_not_finite(
        self, matcher: StateDict, tmp_path: Path, bad: float, dtype: torch.dtype
    ) -> None:
        key = "encoders.1.conv4d.2.0.supp_conv.weight"
        weights = {name: value.to(dtype, copy=True) for name, value in matcher.items()}
        weights[key].view(-1)[5] = bad
        save_file(weights, tmp_path / "x.safetensors")
        message = message_of(lambda: load_matcher(tmp_path / "x.safetensors"))
        assert f"has weights that are not finite. Expected numbers without NaN and infinity. Seen: {key}" in message
        assert "1 of 4608 values" in message

    @pytest.mark.filterwarnings("ignore:Detected pickle protocol")
    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_no_bytes_give_any_other_error(self, data: st.DataObject, tmp_path: Path) -> None:
        small = {"conv.weight": torch.zeros(2, 2)}
        path = tmp_path / "x"
        if data.draw(st.booleans()):
            save_file(small, path)
        else:
            torch.save(small, path, _use_new_zipfile_serialization=data.draw(st.booleans()))
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(0, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
        try:
            read(path)
        except CheckpointError as error:
            assert str(error).startswith("AM-Adapter: ")


# The wrong file


class TestWrongFile:
    @pytest.mark.parametrize(
        ("content", "words"),
        [
            pytest.param(
                sdxl_shapes,
                ("is an SDXL UNet", "attn2.to_k.weight [640, 2048]", "belong to SD1.5 UNets"),
                id="sdxl",
            ),
            pytest.param(
                lambda: meta({"lora_unet_x.lora_up.weight": (4, 4)}),
                ("is a LoRA", "lora_unet_x.lora_up.weight [4, 4]", "LoRA loader"),
                id="lora",
            ),
            pytest.param(
                lambda: meta({"controlnet_down_blocks.0.weight": (4, 4)}),
                ("is a ControlNet", "different network than ControlNeXt"),
                id="controlnet",
            ),
        ],
    )
    @pytest.mark.parametrize(
        ("loader", "expected"),
        [
            (load_controlnext, "Expected a ControlNeXt network"),
            (load_matcher, "Expected an AM-Adapter matcher"),
            (load_unet_state_dict, "Expected an SD1.5 type UNet"),
        ],
    )
    def test_says_what_it_is_and_what_was_expected(
        self,
        tmp_path: Path,
        content: Callable[[], StateDict],
        words: tuple[str, ...],
        loader: Callable[[Path], Any],
        expected: str,
    ) -> None:
        path = tmp_path / "x.safetensors"
        save_hole(content(), path)
        message = message_of(lambda: loader(path))
        for part in (str(path), expected, *words):
            assert part in message

    def test_our_own_networks_mixed_up(
        self, controlnext: StateDict, matcher: StateDict, unet: StateDict, tmp_path: Path
    ) -> None:
        for name, content in (("c", controlnext), ("m", matcher), ("u", unet)):
            save_file(content, tmp_path / name)
        assert "is an AM-Adapter matcher" in message_of(lambda: load_controlnext(tmp_path / "m"))
        assert "is a ControlNeXt network" in message_of(lambda: load_unet_state_dict(tmp_path / "c"))
        assert "of accelerate's pair" in message_of(lambda: load_controlnext(tmp_path / "u"))

    def test_a_matcher_for_other_heads_gives_both_numbers(self, tmp_path: Path) -> None:
        save_file(Matcher(heads=5).state_dict(), tmp_path / "x")
        message = message_of(lambda: load_matcher(tmp_path / "x"))
        assert "is a matcher for 5 attention heads. Expected one for the UNet's 8" in message
        assert "[16, 6, 1, 1]" in message
        assert load_matcher(tmp_path / "x", heads=5).heads == 5
        assert load_matcher(tmp_path / "x", heads=None).heads == 5

    def test_a_matcher_whose_ends_disagree(self, matcher: StateDict, tmp_path: Path) -> None:
        first = "encoders.0.conv4d.0.0.query_conv.weight"
        save_file(matcher | {first: torch.zeros(16, 8, 1, 1)}, tmp_path / "x")
        assert "is a matcher with 8 inputs and 8 outputs" in message_of(lambda: load_matcher(tmp_path / "x"))

    def test_a_shape_that_does_not_fit_its_neighbours(self, matcher: StateDict, tmp_path: Path) -> None:
        key = "encoders.2.conv4d.1.1.weight"
        save_file(matcher | {key: torch.zeros(31)}, tmp_path / "x")
        message = message_of(lambda: load_matcher(tmp_path / "x"))
        assert "its shapes do not fit together" in message
        assert key in message

    @pytest.mark.parametrize("heads_only", [True, False])
    def test_missing_and_surplus_keys_are_named(self, controlnext: StateDict, tmp_path: Path, heads_only: bool) -> None:
        weights = dict(controlnext) | {"extra.weight": torch.zeros(1)}
        del weights["mid_convs.0.4.bias"]
        if heads_only:
            del weights["extra.weight"]
        save_file(weights, tmp_path / "x")
        message = message_of(lambda: load_controlnext(tmp_path / "x"))
        assert "is a ControlNeXt network, but not a complete one. Expected 52 tensors" in message
        assert "missing mid_convs.0.4.bias" in message
        assert ("left over extra.weight" in message) is not heads_only

    @pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.int8])
    def test_quantised_weights_are_refused(self, matcher: StateDict, tmp_path: Path, dtype: torch.dtype) -> None:
        save_file({key: value.to(dtype) for key, value in matcher.items()}, tmp_path / "x")
        message = message_of(lambda: load_matcher(tmp_path / "x"))
        assert f"stored as {str(dtype)[6:]}. Expected fp32, fp16 or bf16" in message


# Networks made of files


class TestLoading:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
    def test_dtype_is_the_files_unless_asked_for(
        self, controlnext: StateDict, tmp_path: Path, dtype: torch.dtype
    ) -> None:
        save_file({key: value.to(dtype) for key, value in controlnext.items()}, tmp_path / "x")
        assert inspect(tmp_path / "x").details["dtype"] == str(dtype).removeprefix("torch.")
        assert {value.dtype for value in read(tmp_path / "x").state_dict.values()} == {dtype}
        assert {p.dtype for p in load_controlnext(tmp_path / "x").parameters()} == {dtype}
        network = load_controlnext(tmp_path / "x", dtype=torch.float32)
        for key, value in network.state_dict().items():
            torch.testing.assert_close(value, controlnext[key].to(dtype).float(), rtol=0, atol=0)

    def test_mixed_dtypes_become_the_widest(self, matcher: StateDict, tmp_path: Path) -> None:
        weights = {key: value.half() if "conv.weight" in key else value for key, value in matcher.items()}
        save_file(weights, tmp_path / "x")
        assert inspect(tmp_path / "x").details["dtype"] == "mixed: float32, float16"
        assert {p.dtype for p in load_matcher(tmp_path / "x").parameters()} == {torch.float32}

    def test_layers_come_from_the_host(self, matcher: StateDict, tmp_path: Path) -> None:
        class Host:
            class Conv2d(torch.nn.Conv2d):
                pass

            class GroupNorm(torch.nn.GroupNorm):
                pass

        save_file(matcher, tmp_path / "x")
        network = load_matcher(tmp_path / "x", operations=Host)
        leaves = {type(module) for module in network.modules() if not list(module.children())}
        assert leaves == {Host.Conv2d, Host.GroupNorm}

    def test_the_network_is_ready_for_inference(self, matcher: StateDict, tmp_path: Path) -> None:
        save_file(matcher, tmp_path / "x")
        network = load_matcher(tmp_path / "x")
        assert not network.training
        assert not any(parameter.requires_grad for parameter in network.parameters())

    def test_a_unet_keeps_its_names_and_dtype(self, unet: StateDict, tmp_path: Path) -> None:
        save_file({key: value.half() for key, value in unet.items()}, tmp_path / "x")
        state_dict, naming = load_unet_state_dict(tmp_path / "x")
        assert naming == "diffusers"
        assert state_dict.keys() == unet.keys()
        assert {value.dtype for value in state_dict.values()} == {torch.float16}


# accelerate's two files


class TestPair:
    @pytest.mark.parametrize("swapped", [False, True])
    def test_both_are_found_by_content(
        self, controlnext: StateDict, unet: StateDict, tmp_path: Path, swapped: bool
    ) -> None:
        names = ["model.safetensors", "model_1.safetensors"]
        for name, weights in zip(names[::-1] if swapped else names, (controlnext, unet), strict=True):
            save_file(weights, tmp_path / name)
        torch.save({"state": {0: {"exp_avg": torch.zeros(1)}}, "param_groups": []}, tmp_path / "optimizer.bin")
        (tmp_path / "scheduler.bin").write_bytes(b"")
        (tmp_path / "config.json").write_text("{}")
        pair = read_pair(tmp_path)
        assert pair.controlnext.path.name == names[swapped]
        assert pair.controlnext.state_dict.keys() == controlnext.keys()
        assert pair.unet.path.name == names[not swapped]
        assert pair.unet.state_dict.keys() == unet.keys()
        assert find_pair(tmp_path).unet.state_dict["conv_in.weight"].is_meta

    def test_a_missing_one_lists_what_is_there(self, unet: StateDict, matcher: StateDict, tmp_path: Path) -> None:
        save_file(unet, tmp_path / "a.safetensors")
        save_file(matcher, tmp_path / "b.safetensors")
        (tmp_path / "c.pth").write_bytes(b"")
        message = message_of(lambda: read_pair(tmp_path))
        assert "holds no ControlNeXt and 1 SD1.5 UNet (a.safetensors). Expected one of each" in message
        assert "b.safetensors: an AM-Adapter matcher" in message
        assert "c.pth: unusable, is empty (0 bytes). Leave one of each" in message

    def test_rivals_are_not_guessed_between(self, controlnext: StateDict, unet: StateDict, tmp_path: Path) -> None:
        save_file(controlnext, tmp_path / "a.safetensors")
        torch.save(controlnext, tmp_path / "b.pth")
        save_file(unet, tmp_path / "c.safetensors")
        message = message_of(lambda: read_pair(tmp_path))
        assert "holds 2 ControlNeXt (a.safetensors, b.pth) and 1 SD1.5 UNet (c.safetensors)" in message

    def test_two_that_do_not_fit(self, unet: StateDict, tmp_path: Path) -> None:
        other = ControlNeXt(out_channels=48, stem=(8, 8, 16), stages=(16, 32), time_channels=(8, 16))
        save_file(other.state_dict(), tmp_path / "a.safetensors")
        save_file(unet, tmp_path / "b.safetensors")
        message = message_of(lambda: read_pair(tmp_path))
        assert "a ControlNeXt with 48 output channels and a UNet of first width 32" in message

    def test_an_empty_or_missing_folder(self, tmp_path: Path) -> None:
        assert "no file that ends in" in message_of(lambda: read_pair(tmp_path))
        with pytest.raises(FileNotFoundError, match="no such folder"):
            read_pair(tmp_path / "nowhere")


# Writing


class TestSaving:
    @pytest.mark.parametrize("variant", ["published", "spatial"])
    def test_what_is_written_comes_back(self, matcher: StateDict, tmp_path: Path, variant: str) -> None:
        path = tmp_path / "new" / "x.safetensors"
        save(path, matcher, Kind.MATCHER, {"steps": "100"}, variant=variant)
        checkpoint = read(path)
        assert (checkpoint.kind, checkpoint.variant) == (Kind.MATCHER, variant)
        assert (
            checkpoint.metadata.items()
            >= {
                "steps": "100",
                "am_adapter.kind": "matcher",
                "am_adapter.variant": variant,
                "am_adapter.format": "1",
            }.items()
        )
        assert checkpoint.metadata["am_adapter.version"]
        for key, value in matcher.items():
            torch.testing.assert_close(checkpoint.state_dict[key], value, rtol=0, atol=0)

    def test_modules_and_metadata_variants_do_as_well(self, tmp_path: Path) -> None:
        save(tmp_path / "x.safetensors", Matcher(), Kind.MATCHER, {"am_adapter.variant": "spatial"})
        assert read(tmp_path / "x.safetensors").variant == "spatial"

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_rounding_once_is_all_that_is_lost(self, matcher: StateDict, tmp_path: Path, dtype: torch.dtype) -> None:
        save(tmp_path / "x.safetensors", matcher, Kind.MATCHER, variant="spatial", dtype=dtype)
        for key, value in load_matcher(tmp_path / "x.safetensors", dtype=torch.float32).state_dict().items():
            torch.testing.assert_close(value, matcher[key].to(dtype).float(), rtol=0, atol=0)

    def test_shared_and_strided_tensors(self, matcher: StateDict, tmp_path: Path) -> None:
        first, second = (f"encoders.{i}.conv4d.0.0.query_conv.weight" for i in (0, 1))
        strided = torch.randn(9, 16, 1, 1).transpose(0, 1)
        weights = matcher | {first: strided, second: strided}
        save(tmp_path / "x.safetensors", weights, Kind.MATCHER, variant="spatial")
        loaded = load_file(tmp_path / "x.safetensors")
        assert torch.equal(loaded[first], strided)
        assert torch.equal(loaded[second], strided)

    def test_any_tensors_can_be_written_the_same_way(self, tmp_path: Path) -> None:
        base = torch.randn(4, 6)
        save_tensors(tmp_path / "a" / "x.safetensors", {"t": base.T, "row": base[1], "all": base}, {"by": "us"})
        loaded = load_file(tmp_path / "a" / "x.safetensors")
        assert torch.equal(loaded["t"], base.T)
        assert torch.equal(loaded["row"], base[1])
        assert torch.equal(loaded["all"], base)
        assert read(tmp_path / "a" / "x.safetensors").metadata == {"by": "us"}

    def test_a_failed_write_leaves_the_old_file(
        self, matcher: StateDict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "x.safetensors"
        save(path, matcher, Kind.MATCHER, variant="spatial")
        before = path.read_bytes()

        def fail(*_: Any) -> None:
            raise OSError("disk full")

        monkeypatch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="disk full"):
            save(path, matcher, Kind.MATCHER, variant="published")
        assert path.read_bytes() == before
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
    def test_others_may_read_the_file(self, matcher: StateDict, tmp_path: Path) -> None:
        (tmp_path / "plain").touch()
        save(tmp_path / "x.safetensors", matcher, Kind.MATCHER, variant="spatial")
        modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "x.safetensors")]
        assert modes[0] == modes[1]

    def test_the_wrong_kind_is_not_written(self, matcher: StateDict, tmp_path: Path) -> None:
        path = tmp_path / "x.safetensors"
        message = message_of(lambda: save(path, matcher, Kind.CONTROLNEXT))
        assert "was to be written with an AM-Adapter matcher. Expected a ControlNeXt network" in message
        assert not path.exists()

    def test_weights_too_large_for_fp16_are_not_written(self, matcher: StateDict, tmp_path: Path) -> None:
        weights = matcher | {"encoders.0.conv4d.0.1.bias": torch.full((16,), 1e6)}
        path = tmp_path / "x.safetensors"
        message = message_of(lambda: save(path, weights, Kind.MATCHER, variant="spatial", dtype=torch.float16))
        assert "Nothing was written" in message
        assert not path.exists()

    def test_a_matcher_needs_its_variant(self, matcher: StateDict, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="variant it was trained with"):
            save(tmp_path / "x.safetensors", matcher, Kind.MATCHER)
        with pytest.raises(ValueError, match="unknown variant 'flat'"):
            save(tmp_path / "x.safetensors", matcher, Kind.MATCHER, variant="flat")

    def test_metadata_is_text(self, matcher: StateDict, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="metadata 'steps' is 3"):
            save(tmp_path / "x.safetensors", matcher, Kind.MATCHER, {"steps": 3}, variant="spatial")

    def test_another_suffix(self, matcher: StateDict, tmp_path: Path) -> None:
        assert "ends in .safetensors" in message_of(lambda: save(tmp_path / "x.pth", matcher, Kind.MATCHER))

    def test_a_newer_format_and_an_unknown_variant_are_refused(self, matcher: StateDict, tmp_path: Path) -> None:
        save_file(matcher, tmp_path / "a", metadata={"am_adapter.format": "2"})
        save_file(matcher, tmp_path / "b", metadata={"am_adapter.variant": "flat"})
        assert "update this one" in message_of(lambda: read(tmp_path / "a"))
        assert "'published' or 'spatial'" in message_of(lambda: read(tmp_path / "b"))


# The command


class TestCommand:
    def test_inspect(
        self, matcher: StateDict, unet: StateDict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        save(tmp_path / "m.safetensors", matcher, Kind.MATCHER, {"note": "line\x1b[2J"}, variant="spatial")
        torch.save({"state_dict": unet}, tmp_path / "u.ckpt")
        assert main(["inspect", str(tmp_path / "m.safetensors"), str(tmp_path / "u.ckpt")]) == 0
        output = capsys.readouterr().out
        assert "an AM-Adapter matcher" in output
        assert "parameters: 39,744" in output
        assert "\x1b" not in output
        first, second = json.loads(output.splitlines()[-1])["files"]
        assert (first["kind"], first["variant"], first["dtype"]) == ("matcher", "spatial", "float32")
        assert (second["kind"], second["taken_from"]) == ("unet_diffusers", "state_dict")

    def test_inspect_goes_on_after_a_bad_file(
        self, matcher: StateDict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "bad").write_bytes(b"")
        save_file(matcher, tmp_path / "good")
        paths = [str(tmp_path / name) for name in ("bad", "good", "missing")]
        assert main(["inspect", *paths]) == 1
        captured = capsys.readouterr()
        assert len(captured.err.splitlines()) == 2
        bad, good, missing = json.loads(captured.out.splitlines()[-1])["files"]
        assert "is empty" in bad["error"]
        assert good["kind"] == "matcher"
        assert "no weights file" in missing["error"]

    @pytest.mark.parametrize(("name", "dtype"), [("fp16", torch.float16), ("bf16", torch.bfloat16)])
    def test_convert(
        self,
        matcher: StateDict,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        name: str,
        dtype: torch.dtype,
    ) -> None:
        torch.save({"state_dict": prefixed(matcher, "module."), "epoch": 3}, tmp_path / "in.pth")
        target = tmp_path / "out.safetensors"
        assert main(["convert", str(tmp_path / "in.pth"), str(target), "--dtype", name, "--expect", "matcher"]) == 0
        summary = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert (summary["kind"], summary["variant"]) == ("matcher", "published")
        loaded = load_file(target)
        assert loaded.keys() == matcher.keys()
        for key, value in matcher.items():
            assert torch.equal(loaded[key], value.to(dtype))

    def test_convert_sets_the_variant_and_keeps_metadata(self, matcher: StateDict, tmp_path: Path) -> None:
        save_file(matcher, tmp_path / "in", metadata={"note": "kept"})
        target = tmp_path / "out.safetensors"
        assert main(["convert", str(tmp_path / "in"), str(target), "--variant", "spatial"]) == 0
        checkpoint = read(target)
        assert checkpoint.variant == "spatial"
        assert checkpoint.metadata["note"] == "kept"

    def test_convert_takes_a_unet_out_of_a_full_checkpoint(self, tmp_path: Path) -> None:
        save_file(prefixed(filled(ldm_shapes((32, 64, 64, 64), 32)), "model.diffusion_model."), tmp_path / "in")
        summary = convert(tmp_path / "in", tmp_path / "out.safetensors", dtype=torch.float16)
        assert (summary["kind"], summary["dtype"]) == ("unet_ldm", "float16")
        assert "taken_from" not in summary

    def test_convert_does_not_overwrite_unasked(
        self, matcher: StateDict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        save_file(matcher, tmp_path / "in")
        target = tmp_path / "out.safetensors"
        target.write_bytes(b"mine")
        assert main(["convert", str(tmp_path / "in"), str(target)]) == 1
        assert "exists already" in capsys.readouterr().err
        assert target.read_bytes() == b"mine"
        assert main(["convert", str(tmp_path / "in"), str(target), "--overwrite"]) == 0
        assert read(target).kind is Kind.MATCHER

    def test_convert_may_replace_its_own_source(self, matcher: StateDict, tmp_path: Path) -> None:
        path = tmp_path / "x.safetensors"
        save_file(matcher, path)
        assert main(["convert", str(path), str(path), "--dtype", "fp16", "--overwrite"]) == 0
        assert inspect(path).details["dtype"] == "float16"

    @pytest.mark.parametrize("expect", ["controlnext", "unet"])
    def test_convert_refuses_the_unexpected(
        self, matcher: StateDict, tmp_path: Path, capsys: pytest.CaptureFixture[str], expect: str
    ) -> None:
        save_file(matcher, tmp_path / "in")
        target = tmp_path / "out.safetensors"
        assert main(["convert", str(tmp_path / "in"), str(target), "--expect", expect]) == 1
        error = capsys.readouterr().err
        assert len(error.splitlines()) == 1
        assert "is an AM-Adapter matcher. Expected" in error
        assert not target.exists()

    def test_as_a_program(self, tmp_path: Path) -> None:
        (tmp_path / "bad.pth").write_bytes(b"")
        result = subprocess.run(
            [sys.executable, "-m", "amadapter_core.checkpoints", "inspect", str(tmp_path / "bad.pth")],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert result.returncode == 1
        assert len(result.stderr.splitlines()) == 1
        assert "is empty (0 bytes)" in json.loads(result.stdout.splitlines()[-1])["files"][0]["error"]
