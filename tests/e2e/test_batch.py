"""Many exemplars and targets on a real ComfyUI, on the tiny test model: as a graph of lists, and row by row."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from amadapter_core.batch.__main__ import main

pytestmark = [pytest.mark.host, pytest.mark.slow]

SIDE = 64
LOAD = {"split": "", "palette": "cityscapes19", "reading": "ids", "first": 0, "count": 0}


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Two pairs of picture and label map, "day" and "night"."""
    for number, name in enumerate(("day", "night")):
        ids = np.zeros((SIDE, SIDE), np.uint8)
        ids[: 16 * (number + 1)] = 10
        picture = np.random.default_rng(number).integers(0, 255, (SIDE, SIDE, 3), np.uint8)
        for folder, content in (("images", picture), ("labels", ids)):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(content).save(tmp_path / folder / f"{name}.png")
    return tmp_path


def graph(exemplar: list, exemplar_labels: list, target: list, seed: int | list, name: str | list) -> dict:
    """What a picture is made by, between its inputs and its end."""
    encode = {
        "model": ["checkpoint", 0],
        "vae": ["checkpoint", 2],
        "image": exemplar,
        "labels": exemplar_labels,
        "conditioning": ["text", 0],
        "method": "forward noise",
        "steps": 2,
        "resize": "keep",
        "width": SIDE,
        "height": SIDE,
        "prompt_of_pass": "target's prompt",
        "seed": 0,
        "control_strength": 1.0,
        "control_in_inversion": False,
        "name": name,
    }
    apply = {"model": ["checkpoint", 0], "exemplar": ["encode", 0], "target_labels": target, "mode": "categorical"}
    apply |= {"strength": 1.0, "start_percent": 0.0, "end_percent": 1.0, "keep_mass": False, "penalty": 0.0}
    apply |= {"down_weight": 1.0, "mid_weight": 1.0, "up_weight": 1.0, "variant": "spatial", "matcher_interval": 1}
    sample = {"model": ["apply", 0], "positive": ["text", 0], "negative": ["text", 0], "latent_image": ["latent", 0]}
    sample |= {"seed": seed, "steps": 2, "cfg": 3.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    return {
        "checkpoint": ("TinySD15Checkpoint", {"seed": 0}),
        "text": ("CLIPTextEncode", {"clip": ["checkpoint", 1], "text": "a street"}),
        "encode": ("AMAdapterEncodeExemplar", encode),
        "apply": ("AMAdapterApply", apply),
        "latent": ("EmptyLatentImage", {"width": SIDE, "height": SIDE, "batch_size": 1}),
        "sample": ("KSampler", sample),
        "decode": ("VAEDecode", {"samples": ["sample", 0], "vae": ["checkpoint", 2]}),
    }


def prompt(nodes: dict, titles: dict[str, str] | None = None) -> dict:
    return {
        key: {"class_type": kind, "inputs": inputs, "_meta": {"title": (titles or {}).get(key, key)}}
        for key, (kind, inputs) in nodes.items()
    }


def test_lists_are_made_into_rows_a_few_at_a_time_until_all_are_there(host_server, pairs: Path) -> None:
    nodes = graph(["pairs", 0], ["pairs", 1], ["rows", 1], ["rows", 2], ["pairs", 2])
    nodes["pairs"] = ("AMAdapterLoadPairs", {"folder": str(pairs), "kind": "folder", **LOAD})
    maps = {"folder": str(pairs / "labels"), "kind": "label maps alone", **LOAD}
    nodes["targets"] = ("AMAdapterLoadPairs", maps)
    pair = {"exemplars": ["encode", 0], "target_labels": ["targets", 1], "folder": "rows", "seed": 3, "repeats": 1}
    pair |= {"pairing": "every exemplar with every target", "seeds": "by row", "rows_at_once": 3}
    pair |= {"save": "results and triplets", "exemplar_images": ["pairs", 0], "target_names": ["targets", 2]}
    nodes["rows"] = ("AMAdapterPairExemplars", pair)
    nodes["apply"][1]["exemplar"] = ["rows", 0]
    nodes["save"] = ("AMAdapterSaveBatch", {"result": ["decode", 0], "row": ["rows", 4]})
    out = host_server.base / "output" / "rows"
    saved = []
    for made in (3, 1, 0):
        entry = host_server.client.run(host_server.url, prompt(nodes), timeout=300)
        pictures = entry["outputs"].get("save", {}).get("images", [])
        assert len(pictures) == 2 * made
        saved += [f"{picture['subfolder']}/{picture['filename']}" for picture in pictures]
    manifest = json.loads((out / "manifest.json").read_text())
    assert [row["name"] for row in manifest["rows"]] == ["day/day", "day/night", "night/day", "night/night"]
    assert sorted(saved) == sorted(f"rows/{row[kind]}" for row in manifest["rows"] for kind in ("result", "triplet"))
    contents = {row["name"]: (out / row["result"]).read_bytes() for row in manifest["rows"]}
    assert len(set(contents.values())) == 4
    with Image.open(out / "results" / "day" / "night.png") as picture:
        assert picture.size == (SIDE, SIDE)
        assert json.loads(picture.text["prompt"])["rows"]["class_type"] == "AMAdapterPairExemplars"


def test_the_command_runs_a_workflow_row_by_row(
    host_server, pairs: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, out = pairs / "plan.json", pairs / "out"
    options = ["--palette", "cityscapes19", "--target-kind", "maps", "--seeds", "by row", "--set", "prompt=a road"]
    assert main(["plan", str(plan), str(pairs), str(pairs / "labels"), *options]) == 0
    nodes = graph(["image", 0], ["exemplar_labels", 0], ["target_labels", 0], 0, "exemplar")
    label_map = {"image": "any", "palette": "cityscapes19", "reading": "ids", "unknown": "error", "tolerance": 0.0}
    label_map |= {"offset": 0, "void": ""}
    nodes["image"] = ("LoadImage", {"image": "any"})
    nodes["exemplar_labels"] = ("AMAdapterLoadLabelMap", dict(label_map))
    nodes["target_labels"] = ("AMAdapterLoadLabelMap", dict(label_map))
    nodes["save"] = ("SaveImage", {"images": ["decode", 0], "filename_prefix": "row"})
    titles = {"image": "Exemplar", "exemplar_labels": "Exemplar labels", "target_labels": "Target labels"}
    titles |= {"text": "Prompt"}
    (pairs / "workflow.json").write_text(json.dumps(prompt(nodes, titles)))
    command = ["run", str(plan), str(out), "--workflow", str(pairs / "workflow.json"), "--server", host_server.url]
    capsys.readouterr()
    for done, skipped in ((4, 0), (0, 4)):
        assert main(command) == 0
        summary = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert (summary["done"], summary["skipped"]) == (done, skipped)
    contents = {path.relative_to(out / "results").as_posix(): path.read_bytes() for path in out.rglob("*/*/*.png")}
    assert sorted(contents) == ["day/day.png", "day/night.png", "night/day.png", "night/night.png"]
    assert len(set(contents.values())) == 4
    with Image.open(io.BytesIO(contents["day/day.png"])) as picture:
        assert json.loads(picture.text["prompt"])["text"]["inputs"]["text"] == "a road"
    # What ComfyUI complains of is the row's message: a label map of ids that the palette does not have.
    Image.fromarray(np.full((SIDE, SIDE), 77, np.uint8)).save(pairs / "labels" / "night.png")
    monkeypatch.chdir(pairs)
    assert main(["run", str(plan), "other", *command[3:]]) == 1
    told = capsys.readouterr()
    assert json.loads(told.out.splitlines()[-1])["failed"] == 3
    assert "AMAdapterLoadLabelMap" in told.err and "77" in told.err
