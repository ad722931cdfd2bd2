"""Training on a real ComfyUI, on the tiny test model: cancelled by its button, and gone on with."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from amadapter_core.checkpoints import inspect

pytestmark = [pytest.mark.host, pytest.mark.slow]


def prompt(steps: int) -> dict:
    """Train Matcher on one picture; the rest of what it needs is the tiny model's."""
    nodes = {
        "checkpoint": ("TinySD15Checkpoint", {"seed": 0}),
        "control": ("TinyControlNeXt", {"seed": 0}),
        "image": ("LoadImage", {"image": "am_exemplar_day.png"}),
        "colours": ("LoadImage", {"image": "am_exemplar_day_cityscapes19.png"}),
        "labels": (
            "AMAdapterLabelMapFromColours",
            {"image": ["colours", 0], "palette": "cityscapes19", "unknown": "error", "tolerance": 0.0},
        ),
        "train": (
            "AMAdapterTrainMatcher",
            {
                **{name: ["checkpoint", slot] for slot, name in enumerate(("model", "clip", "vae"))},
                "control_net": ["control", 0],
                "images": ["image", 0],
                "labels": ["labels", 0],
                "name": "cancelled",
                "folder": "",
                "palette": "cityscapes19",
                "reading": "ids",
                "prompt": "a street",
                "width": 64,
                "height": 64,
                "steps": steps,
                "learning_rate": 1e-3,
                "batch_size": 1,
                "seed": 0,
                "variant": "spatial",
                "exemplar": "view",
                "augment": True,
                "one_at_a_time": True,
                "checkpointing": False,
                "samples_every": 0,
            },
        ),
        "loss": ("LossGraphNode", {"loss": ["train", 1], "filename_prefix": "loss"}),
    }
    return {key: {"class_type": kind, "inputs": inputs} for key, (kind, inputs) in nodes.items()}


def wait_for(path: Path, lines: int) -> None:
    end = time.monotonic() + 120
    while not (path.is_file() and len(path.read_text().splitlines()) > lines):
        assert time.monotonic() < end, f"{path} did not get {lines} lines"
        time.sleep(0.1)


def test_cancel_keeps_the_matcher_and_the_same_name_goes_on(host_server) -> None:
    client, url = host_server.client, host_server.url
    run = host_server.base / "output" / "am_adapter" / "matcher" / "cancelled"
    file = host_server.base / "models" / "am_adapter" / "cancelled.safetensors"
    queued = client.queue(url, prompt(100_000))
    wait_for(run / "losses.csv", 1)  # its heading and a row
    client.ask(f"{url}/interrupt", {})
    with pytest.raises(client.PromptError, match="interrupted"):
        client.wait(url, queued, timeout=60)
    reached = int(inspect(file).metadata["am_adapter.step"])
    assert 10 <= reached < 1000
    assert [path.name for path in (run / "checkpoints").iterdir()] == [f"step-{reached:08}"]
    entry = client.run(url, prompt(reached + 2), timeout=120)
    assert inspect(file).metadata["am_adapter.step"] == str(reached + 2)
    assert all(entry["outputs"][node]["images"] for node in ("train", "loss"))
    offered = client.ask(f"{url}/object_info/AMAdapterLoadMatcher")["AMAdapterLoadMatcher"]["input"]["required"]
    assert "cancelled.safetensors" in str(offered["matcher_name"])
