"""Every example workflow runs on a real ComfyUI: on the tiny test model, or on the demonstration in few steps."""

from __future__ import annotations

import copy
import io
import uuid
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / "workflows").glob("*.json"))
BLUEPRINTS = sorted((ROOT / "subgraphs").glob("*.json"))

pytestmark = [pytest.mark.host, pytest.mark.slow]
TWICE = (
    "minimal_exemplar_synthesis",
    "lora_and_controlnet",
    "reroll_one_class",
    "trained_matcher",
    "train_on_own_pairs",
    "clvae_style_and_editing",
    "ipose_parts",
    "scadm_three_modes",
)
"""One for each kind of chance and of loaders: these run again, and give the same picture."""


def runs(path: Path) -> bool:
    """Whether a workflow runs itself; for others their twin on the demonstration does, with the same nodes."""
    return path.stem in TWICE or not path.with_name(f"demo_{path.name}").is_file()


every_file = pytest.mark.parametrize("path", [*WORKFLOWS, *BLUEPRINTS], ids=lambda path: path.stem)


def nodes_of(host_server, path: Path) -> list[dict]:
    """The nodes of a workflow or, of a blueprint, those in it; without notes."""
    graph = host_server.workflow.read(path)
    if path in BLUEPRINTS:
        (graph,) = graph["definitions"]["subgraphs"]
    return [node for node in graph["nodes"] if node["type"] not in host_server.workflow.VIRTUAL]


def tiny_prompt(host_server, path: Path) -> dict:
    graph = host_server.workflow.read(path)
    prompt = host_server.workflow.on_tiny_model(host_server.workflow.to_prompt(graph, host_server.object_info))
    for node in prompt.values():
        if node["class_type"] == "AMAdapterPairExemplars":  # which leaves out what lies in its folder already
            node["inputs"]["folder"] = uuid.uuid4().hex
    return prompt


def run(host_server, prompt: dict, *, afresh: bool = False) -> np.ndarray:
    """The first picture that a prompt saves: [H, W, 3] uint8.

    :param afresh: nothing may come from the server's cache.
    """
    if afresh:
        host_server.forget()
    entry = host_server.client.run(host_server.url, prompt, timeout=300)
    if afresh:
        assert [data["nodes"] for event, data in entry["status"]["messages"] if event == "execution_cached"] == [[]]
    place = host_server.client.saved_pictures(entry)[0]
    return np.asarray(Image.open(io.BytesIO(host_server.client.download(host_server.url, place))).convert("RGB"))


@every_file
def test_all_its_nodes_are_there(host_server, path: Path) -> None:
    assert host_server.workflow.missing_types({"nodes": nodes_of(host_server, path)}, host_server.object_info) == []


@every_file
def test_it_names_each_widget_s_value(host_server, path: Path) -> None:
    """A value beyond a node's widgets, or one too few, would shift what a saved workflow means."""
    for node in nodes_of(host_server, path):
        widgets = list(host_server.workflow.widgets(host_server.object_info[node["type"]]))
        assert len(node["widgets_values"]) == sum(1 + extra for *_, extra in widgets), node["type"]
        driven = {entry["name"] for entry in node["inputs"] if "widget" in entry}
        assert driven <= {name for name, *_ in widgets}, node["type"]


@every_file
def test_its_sockets_are_the_nodes_own(host_server, path: Path) -> None:
    for node in nodes_of(host_server, path):
        definition = host_server.object_info[node["type"]]
        known = {**definition["input"].get("required", {}), **definition["input"].get("optional", {})}
        assert {entry["name"]: entry["type"] for entry in node["inputs"] if "widget" not in entry} == {
            name: spec[0] for name, spec in known.items() if not host_server.workflow.is_widget(spec)
        }, node["type"]
        for slot, entry in enumerate(node["outputs"]):
            given = (definition["output_name"][slot], definition["output"][slot])
            assert (entry["name"], entry["type"]) == given, node["type"]


@pytest.mark.parametrize("path", filter(runs, WORKFLOWS), ids=lambda path: path.stem)
def test_it_makes_a_picture_and_some_the_same_one_again(host_server, path: Path) -> None:
    prompt = tiny_prompt(host_server, path)
    picture = run(host_server, prompt)
    result = picture[:, -picture.shape[0] // 2 :]  # of the triplet its last panel
    assert result.std(axis=(0, 1)).min() > 1
    if path.stem in TWICE:
        assert np.array_equal(run(host_server, tiny_prompt(host_server, path), afresh=True), picture)


def test_switched_off_bypassed_or_removed_it_is_the_plain_model(host_server) -> None:
    graph = host_server.workflow.read(ROOT / "workflows" / "minimal_exemplar_synthesis.json")

    def picture(change: str, **inputs: float) -> np.ndarray:
        changed = copy.deepcopy(graph)
        (apply,) = (node for node in changed["nodes"] if node["type"] == "AMAdapterApply")
        if change == "bypass":
            apply["mode"] = host_server.workflow.BYPASS
        if change == "remove":
            (model,) = (entry["link"] for entry in apply["inputs"] if entry["name"] == "model")
            (source,) = (link for link in changed["links"] if link[0] == model)
            for link in changed["links"]:
                if link[1] == apply["id"]:
                    link[1:3] = source[1:3]
            changed["nodes"].remove(apply)
        prompt = host_server.workflow.on_tiny_model(host_server.workflow.to_prompt(changed, host_server.object_info))
        applied = [node for node in prompt.values() if node["class_type"] == "AMAdapterApply"]
        assert len(applied) == (change not in ("bypass", "remove"))
        for node in applied:
            node["inputs"].update(inputs)
        return run(host_server, prompt, afresh=True)

    plain = picture("remove")
    assert np.array_equal(picture("bypass"), plain)
    assert np.array_equal(picture("set", strength=0.0), plain)
    assert np.array_equal(picture("set", start_percent=1.0, end_percent=1.0), plain)
    assert not np.array_equal(picture("set", strength=1.0), plain)
