"""From a trained model folder to the flat set that is shipped, and from that to a pipeline."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from ..checkpoints import Kind, inspect, load_controlnext, load_matcher, read, save, save_tensors
from ..whole_files import write_whole
from . import files
from .family import CONTROLNEXT_FILE, MATCHER_FILE, stock
from .files import Files
from .preview import preview_factors
from .words import FILE as TOKENIZER
from .words import read_tokenizer

LIMIT = 24_000_000
"""Bytes that all files together may take in the repository."""

_TEXT_PREFIX = "text_model."
_MODEL = "diffusion_pytorch_model.safetensors"
_SOURCES = {
    files.UNET: f"unet/{_MODEL}",
    files.VAE: f"vae/{_MODEL}",
    files.TEXT_ENCODER: "text_encoder/model.safetensors",
    files.CONTROLNEXT: CONTROLNEXT_FILE,
}
_CONFIGS = {
    "unet": "unet/config.json",
    "vae": "vae/config.json",
    "text_encoder": "text_encoder/config.json",
    "scheduler": "scheduler/scheduler_config.json",
}
_STEP, _CONFIG = "am_adapter.step", "am_adapter.config"
"""Metadata of what training wrote."""
_PROVENANCE = ("_name_or_path", "_diffusers_version", "transformers_version")


def pack(
    folder: str | Path,
    out: str | Path | None = None,
    *,
    matchers: Iterable[str | Path] = (),
    segmenter: str | Path | None = None,
    side: int | None = None,
    incomplete: bool = False,
) -> dict[str, int]:
    """Make the flat fp16 set of a trained model folder.

    :param folder: as diffusers saves a pipeline, with `controlnext.safetensors` beside it.
    :param out: None is where the set is shipped; what is there under the set's names is replaced, all of it or nothing.
    :param matchers: files, one per variant; none takes `matcher*.safetensors` of the folder that were trained.
    :param segmenter: None takes `segmenter.safetensors` of the folder.
    :param side: of the pictures it was trained on, in pixels; None takes what the UNet's configuration says.
    :param incomplete: let matchers or segmenter be missing, as while the family is being trained.
    :return: the bytes of each file.
    :raises FileNotFoundError: when a part is missing.
    :raises ValueError: when the set would be larger than LIMIT.
    :raises CheckpointError: when a file holds something else, or numbers that fp16 cannot.
    """
    folder, out = Path(folder), Path(out or files.SHIPPED)
    sources = _sources(folder, matchers, segmenter, incomplete)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as name:
        flat = Path(name)
        trained = _metadata(sources[files.CONTROLNEXT])
        for name, source in sources.items():
            _write(flat / name, source, trained)
        shutil.copyfile(folder / "tokenizer" / TOKENIZER, flat / TOKENIZER)
        _describe(folder, flat, side)
        sizes = {path.name: path.stat().st_size for path in sorted(flat.iterdir())}
        if sum(sizes.values()) > LIMIT:
            raise ValueError(
                f"demo pack: {folder} makes {sum(sizes.values()):,} bytes, at most {LIMIT:,} may be shipped: "
                + ", ".join(f"{name} {size:,}" for name, size in sizes.items())
            )
        out.mkdir(exist_ok=True)
        for path in flat.iterdir():
            os.replace(path, out / path.name)
    return sizes


def pipeline(folder: str | Path | None = None, *, dtype: torch.dtype = torch.float32, matcher: str = "spatial") -> Any:
    """An AMAdapterPipeline of the demonstration family.

    :param folder: a flat set; None is the one that is shipped.
    :param dtype: to compute in; CPUs want fp32.
    :param matcher: "spatial" or "published", the variant it was trained with; left out where the set has none.
    :raises FileNotFoundError: when the weights are not there.
    """
    from diffusers import DDIMScheduler, UNet2DConditionModel

    from ..hosts.diffusers.pipeline import AMAdapterPipeline

    flat = Files(folder)
    description = flat.description
    unet = UNet2DConditionModel.from_config(description["unet"])
    unet.load_state_dict(load_file(flat.path(files.UNET)))
    vae = _autoencoder(description["vae"], flat.path(files.VAE))
    parts: dict[str, Any] = {"unet": unet, "vae": vae, "text_encoder": _text_encoder(flat)}
    for part in parts.values():
        torch.nn.Module.to(part.requires_grad_(False).eval(), dtype)  # diffusers' own `to` warns of nothing
    parts["controlnext"] = load_controlnext(flat.path(files.CONTROLNEXT), dtype=dtype)
    if (flat.folder / files.MATCHERS[matcher]).is_file():
        parts["matcher"] = load_matcher(flat.matcher(matcher), dtype=dtype)
    made = AMAdapterPipeline(
        tokenizer=read_tokenizer(flat.folder), scheduler=DDIMScheduler.from_config(description["scheduler"]), **parts
    )
    made.set_progress_bar_config(disable=True)
    return made


def unpack(folder: str | Path | None, out: str | Path) -> list[str]:
    """Make a model folder of a flat set, as training takes it: the way back from `pack`.

    :param folder: a flat set; None is the one that is shipped.
    :param out: made; ControlNeXt, matchers and segmenter lie in it under the set's names.
    :return: the names of what is in it.
    :raises FileNotFoundError: when the weights are not there.
    :raises FileExistsError: when there is something at `out` already.
    """
    flat, out = Files(folder), Path(out)
    if out.exists():
        raise FileExistsError(f"demo unpack: {out} exists already; name another folder, or remove that one")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as name:
        partial = Path(name) / out.name
        stock(pipeline(flat.folder)).save_pretrained(partial)
        for file in (files.CONTROLNEXT, files.SEGMENTER, *files.MATCHERS.values()):
            if (flat.folder / file).is_file():
                shutil.copyfile(flat.folder / file, partial / file)
        os.replace(partial, out)
    return sorted(path.name for path in out.iterdir())


def set_strengths(folder: str | Path | None, strengths: Mapping[str, float]) -> None:
    """Write the log strengths that were chosen on validation scenes into a flat set."""
    path = Files(folder).folder / files.DESCRIPTION
    description = json.loads(path.read_text(encoding="utf-8"))
    _write_json(path, description | {"log_strengths": dict(strengths)})


def _sources(
    folder: Path, matchers: Iterable[str | Path], segmenter: str | Path | None, incomplete: bool
) -> dict[str, Path]:
    """The file that each of the set is made of.

    :raises FileNotFoundError: names all that is missing.
    """
    sources = {name: folder / place for name, place in _SOURCES.items()}
    beside = sorted(folder.glob(f"{Path(MATCHER_FILE).stem}*.safetensors"))
    # A model folder may still have the random one that it was made with.
    given = [Path(path) for path in matchers] or [path for path in beside if _STEP in _metadata(path)]
    sources |= {files.MATCHERS[inspect(path, wanted=[Kind.MATCHER]).variant]: path for path in given}
    wanted = Path(segmenter) if segmenter else folder / files.SEGMENTER
    if wanted.is_file() or segmenter:
        sources[files.SEGMENTER] = wanted
    places = [*sources.values(), *(folder / place for place in _CONFIGS.values()), folder / "tokenizer" / TOKENIZER]
    missing = [str(path) for path in places if not path.is_file()]
    if not incomplete:
        missing += [name for name in files.WEIGHTS if name not in sources]
    if missing:
        raise FileNotFoundError(
            f"demo pack: {folder} is not a trained demonstration family; missing: {', '.join(missing)}. "
            "Train those parts first, or give their files with --matcher and --segmenter"
        )
    return sources


def _write(path: Path, source: Path, trained: Mapping[str, str]) -> None:
    """Write one network in fp16, with what its file, or the ControlNeXt trained with it, says of its training."""
    kinds = {files.UNET: Kind.UNET_DIFFUSERS, files.CONTROLNEXT: Kind.CONTROLNEXT}
    kind = Kind.MATCHER if path.name in files.MATCHERS.values() else kinds.get(path.name)
    if kind is not None:
        checkpoint = read(source, wanted=[kind])
        metadata = (trained if kind is Kind.UNET_DIFFUSERS else {}) | _metadata(source)
        save(path, checkpoint.state_dict, kind, metadata, variant=checkpoint.variant, dtype=torch.float16)
        return
    weights = load_file(source)
    if path.name == files.TEXT_ENCODER:
        weights = {_TEXT_PREFIX + name.removeprefix(_TEXT_PREFIX): tensor for name, tensor in weights.items()}
    save_tensors(path, {name: _half(tensor) for name, tensor in weights.items()}, _metadata(source))


def _half(tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    half = tensor.to(torch.float16)
    if not bool(half.isfinite().all()):
        raise ValueError("demo pack: weights that are not finite in fp16; the training has diverged")
    return half


def _autoencoder(config: Mapping[str, Any], path: Path) -> Any:
    from diffusers import AutoencoderKL

    network = AutoencoderKL.from_config(config)
    network.load_state_dict(load_file(path))
    return network


def _text_encoder(flat: Files) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel

    network = CLIPTextModel(CLIPTextConfig.from_dict(flat.description["text_encoder"]))
    weights = load_file(flat.path(files.TEXT_ENCODER))
    if not any(name.startswith(_TEXT_PREFIX) for name in network.state_dict()):  # transformers 5 has no prefix
        weights = {name.removeprefix(_TEXT_PREFIX): tensor for name, tensor in weights.items()}
    network.load_state_dict(weights)
    return network


def _describe(folder: Path, flat: Path, side: int | None) -> None:
    """Write `family.json`."""
    description: dict[str, Any] = {
        part: {
            key: value
            for key, value in json.loads((folder / place).read_text(encoding="utf-8")).items()
            if key not in _PROVENANCE
        }
        for part, place in _CONFIGS.items()
    }
    if side is not None:
        description["vae"]["sample_size"], description["unet"]["sample_size"] = side, side // 8
    description["preview"] = preview_factors(_autoencoder(description["vae"], flat / files.VAE))
    _write_json(flat / files.DESCRIPTION, description)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_whole(path, (json.dumps(content, indent=1) + "\n").encode())


def _metadata(path: Path) -> dict[str, str]:
    """What a file says, without the places of the machine it was trained on."""
    with safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata() or {})
    if _CONFIG in metadata:
        metadata[_CONFIG] = json.dumps(_portable(json.loads(metadata[_CONFIG])))
    return metadata


def _portable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _portable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_portable(item) for item in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value
