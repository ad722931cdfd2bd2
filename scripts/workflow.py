"""Workflows outside the browser: what the frontend does before it queues one, and how to try one without models.

The frontend saves a graph (nodes, links, widget values by position); the server executes a prompt (inputs by name).
Only the standard library, since `run.py` uses it.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from environment import SetupError

NOTES = ("Note", "MarkdownNote")
VIRTUAL = (*NOTES, "Reroute", "PrimitiveNode")
NEVER, BYPASS = 2, 4

WIDGET_TYPES = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
SEEDS = ("seed", "noise_seed")
UPLOADS = ("image_upload", "video_upload", "animated_image_upload", "audio_upload")

# Nodes whose first widget names a file or a folder of models: where it lies, and what stands in on the tiny model.
LOADERS = {
    "CheckpointLoaderSimple": ("checkpoints", "TinySD15Checkpoint"),
    "AMAdapterLoadUNet": ("diffusion_models", "TinySD15Checkpoint"),
    "ControlNetLoader": ("controlnet", "TinyControlNet"),
    "AMAdapterLoadControlNeXt": ("controlnet", "TinyControlNeXt"),
    "AMAdapterLoadMatcher": ("am_adapter", "TinyMatcher"),
    "AMAdapterLoadGenerator": ("semantic_generators", "TinyGenerator"),
    "AMAdapterLoadSupports": ("semantic_generators", "TinySupports"),
    "AMAdapterLabelMapFromSegmentation": ("segmentation", "TinySegmentation"),
    "LoraLoader": ("loras", None),
    "LoraLoaderModelOnly": ("loras", None),
}
# Inputs of a loader that its stand-in takes as well.
KEPT = {
    "AMAdapterLoadGenerator": ("generator_name", "supports"),
    "AMAdapterLabelMapFromSegmentation": ("image",),
}
TINY_SIZE = 128
TINY_STEPS = 2
TINY_TRAINING = {"steps": TINY_STEPS, "batch_size": 2, "width": 64, "height": 64, "samples_every": 0}
# What makes a run long, and the value that makes it short.
SHRUNK = {
    "AMAdapterTrainStructure": TINY_TRAINING,
    "AMAdapterTrainMatcher": TINY_TRAINING,
    "EmptyLatentImage": {"width": TINY_SIZE, "height": TINY_SIZE, "batch_size": 1},
    "KSampler": {"steps": TINY_STEPS},
    "AMAdapterGenerate": {"steps": TINY_STEPS},
    "AMAdapterEncodeExemplar": {"steps": TINY_STEPS, "resize": "crop", "width": TINY_SIZE, "height": TINY_SIZE},
}
PIXELS_TO_LATENT = ("VAEEncode", "VAEEncodeForInpaint")


class WorkflowError(SetupError):
    """A workflow that cannot run here; the message is one sentence that says why."""


def read(path: Path) -> dict:
    """Read a workflow as the frontend saves it.

    :raises WorkflowError: when there is none in the file.
    """
    try:
        workflow = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WorkflowError(f"{path} cannot be read as a workflow: {error}") from error
    if not isinstance(workflow, dict) or "nodes" not in workflow:
        raise WorkflowError(f"{path} holds no nodes; save the workflow with File > Save, not in the API format.")
    return workflow


def to_prompt(workflow: dict, object_info: dict) -> dict:
    """Return the prompt that the frontend would queue for a workflow.

    :param object_info: the server's `/object_info`, which knows the order of each node's widgets.
    :raises WorkflowError: when a node's type is not among the server's.
    """
    missing = missing_types(workflow, object_info)
    if missing:
        raise WorkflowError(f"the workflow needs nodes that ComfyUI does not have: {', '.join(missing)}.")
    graph = Graph(workflow)
    prompt = {}
    for node in graph.nodes.values():
        if node["type"] in VIRTUAL or node.get("mode", 0) in (NEVER, BYPASS):
            continue
        inputs = widget_values(node, object_info[node["type"]])
        for entry in node.get("inputs", ()):
            found, value = graph.source(entry.get("link"))
            if found:
                inputs[entry["name"]] = value
        title = node.get("title") or object_info[node["type"]]["display_name"]
        prompt[str(node["id"])] = {"class_type": node["type"], "inputs": inputs, "_meta": {"title": title}}
    return prompt


def missing_types(workflow: dict, object_info: dict) -> list[str]:
    return sorted({node["type"] for node in workflow["nodes"]} - set(object_info) - set(VIRTUAL))


class Graph:
    """The nodes of a workflow by id, and where each link comes from."""

    def __init__(self, workflow: dict) -> None:
        self.nodes = {node["id"]: node for node in workflow["nodes"]}
        self.links = {link[0]: link for link in workflow["links"]}

    def source(self, link: int | None) -> tuple[bool, object]:
        """Follow a link upwards, past whatever does not execute.

        :return: whether it leads anywhere, and there `[node id, slot]` or, from a primitive, the value itself.
        """
        if link not in self.links:
            return False, None
        _, origin, slot, *_, kind = self.links[link]
        node = self.nodes[origin]
        mode = node.get("mode", 0)
        if mode == NEVER:
            return False, None
        if node["type"] == "Reroute":
            return self.source(node["inputs"][0]["link"])
        if node["type"] == "PrimitiveNode":
            return True, node["widgets_values"][0]
        if mode == BYPASS:
            return self.source(passed_through(node, slot, kind))
        return True, [str(origin), slot]


def passed_through(node: dict, slot: int, kind: str) -> int | None:
    """Return the link that a bypassed node hands on: the input beside the output, or the first that fits."""
    inputs = node.get("inputs", [])
    for entry in (*inputs[slot : slot + 1], *inputs):
        if entry["type"] in (kind, "*"):
            return entry.get("link")
    return None


def widget_values(node: dict, definition: dict) -> dict:
    """Return a node's widget values by name; the frontend keeps them by position."""
    values = node.get("widgets_values") or []
    if isinstance(values, dict):
        return {name: values[name] for name, *_ in widgets(definition) if name in values}
    result = {}
    remaining = iter(values)
    for name, spec, extra in widgets(definition):
        result[name] = next(remaining, default_of(spec))
        for _ in range(extra):
            next(remaining, None)
    return result


def widgets(definition: dict) -> Iterator[tuple[str, list, int]]:
    """Yield each widget's name and specification, and how many positions of the frontend's own follow it."""
    for group in ("required", "optional"):
        names = definition["input_order"].get(group, [])
        specs = [(name, definition["input"][group][name]) for name in names]
        found = [(name, spec, has_control(name, spec)) for name, spec in specs if is_widget(spec)]
        if group == "required" and found and any(options(spec).get(key) for _, spec in specs for key in UPLOADS):
            name, spec, extra = found[-1]
            found[-1] = name, spec, extra + 1  # the upload button stands last
        yield from found


def is_widget(spec: list) -> bool:
    return (isinstance(spec[0], list) or spec[0] in WIDGET_TYPES) and not options(spec).get("forceInput")


def has_control(name: str, spec: list) -> bool:
    """Whether the frontend puts a choice behind the widget of what becomes of its value after a run."""
    return bool(options(spec).get("control_after_generate", spec[0] == "INT" and name in SEEDS))


def options(spec: list) -> dict:
    return spec[1] if len(spec) > 1 else {}


def default_of(spec: list) -> object:
    choices = spec[0] if isinstance(spec[0], list) else options(spec).get("options")
    return options(spec).get("default", choices[0] if choices else None)


# Without models


def missing_files(workflow: dict, folders: Iterable[Path]) -> list[str]:
    """Return the model files (`folder/name`) that a workflow loads and that lie in none of the models folders."""
    roots = list(folders)
    wanted = {
        f"{LOADERS[node['type']][0]}/{node['widgets_values'][0]}"
        for node in workflow["nodes"]
        if node["type"] in LOADERS and node.get("mode", 0) not in (NEVER, BYPASS)
    }
    return sorted(name for name in wanted if not any((root / name).exists() for root in roots))


def on_tiny_model(prompt: dict) -> dict:
    """Return a prompt that runs in seconds without any file: on the tests' tiny model, small and in few steps.

    LoRAs are left out. The picture shows nothing: the weights are random.
    """
    prompt = copy.deepcopy(prompt)
    for key, node in list(prompt.items()):
        kind = node["class_type"]
        if kind.startswith("LoraLoader"):
            del prompt[key]
            relink(prompt, key, node["inputs"])
        elif kind in LOADERS:
            kept = {name: value for name, value in node["inputs"].items() if name in KEPT.get(kind, ())}
            node.update(class_type=LOADERS[kind][1], inputs={"seed": 0} | kept)
        node["inputs"].update(SHRUNK.get(kind, {}))
        if kind in PIXELS_TO_LATENT:
            scaled = {"image": node["inputs"]["pixels"], "upscale_method": "area", "crop": "disabled"}
            scaled |= {"width": TINY_SIZE, "height": TINY_SIZE}
            prompt[f"{key}_scaled"] = {"class_type": "ImageScale", "inputs": scaled}
            node["inputs"]["pixels"] = [f"{key}_scaled", 0]
    return prompt


def relink(prompt: dict, key: str, inputs: dict) -> None:
    """Lead what read a LoRA loader's outputs to the model and the text encoder the loader had read."""
    sources = [inputs["model"], inputs.get("clip")]
    for node in prompt.values():
        for name, value in node["inputs"].items():
            if isinstance(value, list) and value[0] == key:
                node["inputs"][name] = sources[value[1]]
