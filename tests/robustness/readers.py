"""Every file that the pack reads, in one table: how a good one is made, how it is read, and how it is damaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from amadapter_core.batch.on_server import Workflow
from amadapter_core.batch.plan import Plan, Row, Settings
from amadapter_core.batch.plan_files import read_plan, write_plan
from amadapter_core.checkpoints import Kind, load_matcher, read, save
from amadapter_core.datasets.celebamaskhq import MAPPING, _split_of
from amadapter_core.datasets.finding import captions_in
from amadapter_core.demo.files import SHIPPED, Files
from amadapter_core.exemplar import Exemplar, Trajectory
from amadapter_core.generators.ipose import Supports, load_supports
from amadapter_core.generators.ipose.conventions import ADE20K
from amadapter_core.generators.ipose.supports import read_parts
from amadapter_core.generators.styles import StyleCodes, load_styles, save_styles
from amadapter_core.generators.system import System, recognise_file
from amadapter_core.label_maps import LabelMap, Palette
from amadapter_core.label_pictures import read_label_picture
from amadapter_core.mappings import load_mapping
from amadapter_core.matcher import Matcher
from amadapter_core.metrics.folders import read_picture
from amadapter_core.metrics.segmenter import Segmenter
from amadapter_core.painting import read_painting, write_painting
from amadapter_core.result_folder import RECORDS, ResultFolder
from amadapter_core.retrieval.index import Index
from amadapter_core.retrieval.published import read_retrieval
from amadapter_core.scenes.folders import _read_json as read_scenes_record
from amadapter_core.training import config as training_config
from amadapter_core.training.ipose_data import _one_channel, convention_of
from amadapter_core.training.records import Table
from amadapter_core.training.store import open_store

from . import runs
from .mutations import (
    Mutation,
    cut,
    header,
    json_lines,
    json_text,
    json_values,
    noise,
    pickled,
    png_chunks,
    tensors,
    yaml_text,
)

BYTES = (noise, cut)
JSON = (json_values, json_text, noise, cut)
SAFETENSORS = (header, tensors, noise, cut)
TORCH = (pickled, noise, cut)
PNG = (png_chunks, noise, cut)
YAML = (yaml_text, noise, cut)

PALETTE = Palette("garden", "", ("lawn", "path", "pond"), (0, 1, 2), ((9, 200, 9), (180, 170, 160), (0, 0, 255)), 255)


@dataclass(frozen=True)
class Reader:
    """A kind of file.

    :param file: where it lies below the folder of a case.
    :param make: writes a good one into a folder, with whatever lies beside it.
    :param read: reads what lies in a folder.
    :param damages: the ways of damaging it.
    :param named: whether messages name the file; what is no file of its own has none.
    """

    name: str
    file: str
    make: Callable[[Path], None]
    read: Callable[[Path], Any]
    damages: tuple[Mutation, ...]
    named: bool = True


def ids(height: int = 12, width: int = 16) -> np.ndarray:
    """[H, W] uint8, patches of the three classes."""
    return ((np.arange(height)[:, None] // 4 + np.arange(width) // 5) % 3).astype(np.uint8)


def _write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def _json(file: str, value: Any) -> Callable[[Path], None]:
    return lambda folder: _write(folder / file, json.dumps(value, indent=1))


def _picture(file: str, mode: str, **options: Any) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        colours = np.array(PALETTE.colours, np.uint8)
        picture = Image.fromarray(colours[ids()] if mode in ("RGB", "RGBA") else ids())
        if mode == "P":
            picture.putpalette(colours.tobytes())
        if mode == "I;16":
            picture = Image.fromarray(ids().astype(np.uint16))
        picture = picture.convert("RGBA") if mode == "RGBA" else picture
        more = [picture.transpose(Image.Transpose.ROTATE_180)] if options.get("save_all") else []
        picture.save(folder / file, **options, **({"append_images": more} if more else {}))

    return make


def _labels(name: str, file: str, mode: str, damages: tuple[Mutation, ...] = BYTES, **options: Any) -> Reader:
    def read(folder: Path) -> LabelMap:
        return read_label_picture(folder / file, PALETTE, unknown="ignore")

    return Reader(f"label map, {name}", file, _picture(file, mode, **options), read, damages)


def _torch_file(zipped: bool) -> Callable[[Path], None]:
    state = {"conv.weight": torch.ones(4, 3), "step": 3, "deep": {"bias": torch.zeros(5, dtype=torch.float16)}}
    return lambda folder: torch.save(state, folder / "w.pth", _use_new_zipfile_serialization=zipped)


def _generator(folder: Path) -> None:
    """What clVAE's encoder is known by."""
    torch.save({"fc_mu1.weight": torch.ones(4, 3), "fc_var5.weight": torch.zeros(4, 3)}, folder / "w.pth")


def _exemplar() -> Exemplar:
    labels = LabelMap(torch.from_numpy(ids())[None], PALETTE)
    parts = LabelMap(torch.zeros(1, 12, 16, dtype=torch.int64), PALETTE)
    trajectory = Trajectory(torch.tensor([0.0, 1.0, 9.0]), torch.randn(3, 4, 3, 4))
    return Exemplar(
        trajectory, LabelMap(labels.ids, PALETTE, parts=parts), torch.randn(1, 5, 6), "x", torch.randn(1, 6)
    )


def _styles(folder: Path) -> None:
    codes = StyleCodes(System.CLVAE, {1: torch.randn(5, 8), 4: torch.randn(5, 8)}, torch.randn(9))
    save_styles(folder / "s.safetensors", codes)


def _plan(file: str) -> Callable[[Path], None]:
    rows = tuple(Row(f"r{i}", "e.png", ("e1.png",), ("t.png",), i, Settings(prompt="a street")) for i in range(4))
    return lambda folder: write_plan(folder / file, Plan(rows, folder))


def _results(folder: Path) -> None:
    results = ResultFolder(folder)
    for name in ("a/1", "a/2", "b"):
        results.keep(name, "key", {"result": b"png"}, seed=3)


def _read_results(folder: Path) -> None:
    results = ResultFolder(folder)
    for name in ("a/1", "b"):
        results.is_finished(name, "key")
    results.clashes({"a/1": "other"})
    results.write_manifest()


def _painting(folder: Path) -> None:
    _write(folder / "p.txt", write_painting(torch.from_numpy(ids().astype(np.int64))))


def _part_picture(folder: Path) -> None:
    Image.fromarray(ids()).save(folder / "1part.png")


def _store(folder: Path) -> None:
    np.save(folder / "latents.npy", np.zeros((3, 4, 5), np.float16))


def _table(folder: Path) -> None:
    table = Table(folder / "losses.csv", 0)
    for step in range(1, 5):
        table.add(step, {"loss": 1 / step, "rate": 1e-4})


def _read_table(folder: Path) -> Any:
    return Table(folder / "losses.csv", 3).series("loss")


def _convention(folder: Path) -> None:
    _write(folder / "c.json", ADE20K.to_json())


def _family(folder: Path) -> None:
    for name in ("tokenizer.json", "unet.safetensors", "vae.safetensors", "text_encoder.safetensors"):
        _write(folder / name, b"x")
    _write(folder / "controlnext.safetensors", b"x")
    _write(folder / "family.json", (SHIPPED / "family.json").read_bytes())


def _read_mapping(folder: Path) -> Any:
    return load_mapping(folder / "m.json", Palette.load("cityscapes19"), PALETTE)


_MAPPING = {"others": None, "classes": {"road": "path", "vegetation": "lawn", "sky": None, "car": 2}}
_TITLES = ("exemplar", "exemplar labels", "target labels", "prompt", "negative prompt")
_PROMPT = {
    str(i): {"class_type": "X", "inputs": {"text": "", "a": 1}, "_meta": {"title": title}}
    for i, title in enumerate(_TITLES)
}
_SCENES = {"size": [64, 64], "seed": 3}
_CAPTIONS = {"a": "a street", "b": "a garden"}
_LISTED = "\n".join(f"{i} {160000 + 9000 * i} {i}.jpg" for i in range(4))

READERS = (
    Reader(
        "weights, safetensors",
        "w.safetensors",
        lambda d: save_file({"conv.weight": torch.ones(4, 3), "b": torch.zeros(2)}, d / "w.safetensors", {"a": "b"}),
        lambda d: read(d / "w.safetensors"),
        SAFETENSORS,
    ),
    Reader("weights, torch zip", "w.pth", _torch_file(True), lambda d: read(d / "w.pth"), TORCH),
    Reader("weights, bare pickle", "w.pth", _torch_file(False), lambda d: read(d / "w.pth"), BYTES),
    Reader(
        "matcher",
        "m.safetensors",
        lambda d: save(d / "m.safetensors", Matcher(heads=8), Kind.MATCHER, variant="spatial"),
        lambda d: load_matcher(d / "m.safetensors"),
        SAFETENSORS,
    ),
    Reader("generator", "w.pth", _generator, lambda d: recognise_file(d / "w.pth"), TORCH),
    Reader(
        "segmenter",
        "s.safetensors",
        lambda d: Segmenter({0: "a", 1: "b"}, width=4).save(d / "s.safetensors"),
        lambda d: Segmenter.load(d / "s.safetensors"),
        SAFETENSORS,
    ),
    Reader(
        "exemplar",
        "e.safetensors",
        lambda d: _exemplar().save(d / "e.safetensors"),
        lambda d: Exemplar.load(d / "e.safetensors").trajectory.at(0.5),
        SAFETENSORS,
    ),
    Reader(
        "exemplar index",
        "i.safetensors",
        lambda d: runs.index(d).save(d / "i.safetensors"),
        lambda d: Index.load(d / "i.safetensors"),
        SAFETENSORS,
    ),
    Reader("style codes", "s.safetensors", _styles, lambda d: load_styles(d / "s.safetensors"), SAFETENSORS),
    Reader(
        "part supports",
        "p.safetensors",
        lambda d: Supports({24: torch.ones(2, 64, 64, dtype=torch.int64)}, {24: ["a", "b"]}).save(d / "p.safetensors"),
        lambda d: load_supports(d / "p.safetensors"),
        SAFETENSORS,
    ),
    Reader("part picture", "1part.png", _part_picture, lambda d: read_parts(d / "1part.png"), PNG),
    _labels("ids in PNG", "l.png", "L", PNG),
    _labels("16-bit ids in PNG", "l.png", "I;16", PNG),
    _labels("colours in PNG", "l.png", "RGB", PNG),
    _labels("colours with alpha", "l.png", "RGBA", PNG),
    _labels("colour table in PNG", "l.png", "P", PNG),
    _labels("animated PNG", "l.png", "RGB", PNG, save_all=True),
    _labels("BMP", "l.bmp", "RGB"),
    _labels("GIF", "l.gif", "P"),
    _labels("animated WebP", "l.webp", "RGB", lossless=True, save_all=True),
    _labels("TIFF", "l.tif", "RGB"),
    _labels("packed TIFF", "l.tif", "L", compression="tiff_lzw"),
    _labels("JPEG", "l.jpg", "RGB"),
    _labels("PPM", "l.ppm", "RGB"),
    _labels("TGA", "l.tga", "RGB", compression="tga_rle"),
    Reader("picture to judge", "p.tif", _picture("p.tif", "RGB"), lambda d: read_picture(d / "p.tif"), BYTES),
    Reader("instance map", "i.png", _picture("i.png", "I;16"), lambda d: _one_channel(d / "i.png"), PNG),
    Reader("palette", "g.json", _json("g.json", PALETTE.to_dict()), lambda d: Palette.load(d / "g.json"), JSON),
    Reader("table between palettes", "m.json", _json("m.json", _MAPPING), _read_mapping, JSON),
    Reader(
        "retrieved",
        "r.json",
        _json("r.json", {"t/1": ["e/1", "e/2"], "t/2": ["e/2"]}),
        lambda d: read_retrieval(d / "r.json"),
        JSON,
    ),
    Reader("plan, JSON", "p.json", _plan("p.json"), lambda d: read_plan(d / "p.json").keys(""), JSON),
    Reader("plan, YAML", "p.yaml", _plan("p.yaml"), lambda d: read_plan(d / "p.yaml").keys(""), YAML),
    Reader("plan, Parquet", "p.parquet", _plan("p.parquet"), lambda d: read_plan(d / "p.parquet").keys(""), BYTES),
    Reader("workflow of a batch", "w.json", _json("w.json", _PROMPT), lambda d: Workflow(d / "w.json"), JSON),
    Reader("records of results", RECORDS, _results, _read_results, (json_lines, noise, cut)),
    Reader("painting", "p.txt", _painting, lambda d: read_painting((d / "p.txt").read_text("latin-1")), BYTES, False),
    Reader(
        "training settings",
        "c.yaml",
        lambda d: _write(d / "c.yaml", (training_config.BUILT_IN / "small_gpu_stage2.yaml").read_bytes()),
        lambda d: training_config.load(d / "c.yaml"),
        YAML,
    ),
    Reader("state of a training run", f"{runs.STEP}/state.json", runs.checkpoint, runs.resume, JSON),
    Reader("network of a training run", f"{runs.STEP}/model.safetensors", runs.checkpoint, runs.resume, SAFETENSORS),
    Reader("moments of a training run", f"{runs.STEP}/resume/optimiser.pt", runs.checkpoint, runs.resume, TORCH),
    Reader(
        "average of a training run",
        f"{runs.STEP}/resume/average.safetensors",
        runs.checkpoint,
        runs.resume,
        SAFETENSORS,
    ),
    Reader("losses of a training run", "losses.csv", _table, _read_table, BYTES),
    Reader("prepared pairs", "latents.npy", _store, open_store, BYTES, False),
    Reader("convention", "c.json", _convention, lambda d: convention_of(str(d / "c.json")), JSON),
    Reader("demonstration", "family.json", _family, lambda d: Files(d).description, JSON),
    Reader("captions", "captions.json", _json("captions.json", _CAPTIONS), captions_in, JSON),
    Reader("record of scenes", "s.json", _json("s.json", _SCENES), lambda d: read_scenes_record(d / "s.json"), JSON),
    Reader("list of faces", MAPPING, lambda d: _write(d / MAPPING, _LISTED), lambda d: _split_of(d, "val"), BYTES),
)  # fmt: skip
