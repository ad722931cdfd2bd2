"""Damaged prompts and workflows: one value, link or node of a legal one is spoilt."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .catalogue import PACK, is_widget
from .settings import choices, options

JUNK = ("abc", [], {}, None, [1, 2, 3], {"a": {"b": []}}, "\0", "é" * 300, float("nan"), float("inf"), -(10**30))
"""What stands where a number or a choice should."""
TEXTS = (
    "= = =",
    "-> ->",
    "car =",
    "@",
    "car @nowhere = 1",
    "\0\n\0",
    "9" * 400,
    "../../etc",
    "[",
    "car = nan",
    "," * 50,
)
"""What stands where rules, names of classes or of files should."""
LOST = ("lost.safetensors", "../../../etc/passwd", "soak", "")


@dataclass(frozen=True)
class Damage:
    """A spoilt prompt.

    :param node: id of the node that is spoilt.
    :param what: told in reports.
    """

    prompt: dict[str, dict]
    node: str
    what: str


def damaged(rng: random.Random, prompt: dict[str, dict], object_info: dict) -> Damage:
    """Spoil one thing about one of our nodes in a prompt."""
    kinds: list[Callable] = [_number, _junk, _text, _option, _wired, _missing, _lost_link, _wrong_type, _unknown_node]
    while True:
        spoilt = copy.deepcopy(prompt)
        key = rng.choice([k for k, n in spoilt.items() if object_info[n["class_type"]].get("python_module") == PACK])
        what = rng.choice(kinds)(rng, spoilt, key, object_info)
        if what:
            return Damage(spoilt, key, f"{prompt[key]['class_type']}: {what}")


def damaged_workflow(rng: random.Random, workflow: dict) -> tuple[dict, str]:
    """Spoil a workflow as the frontend saves it: values, or their number, or links of one node."""
    spoilt = copy.deepcopy(workflow)
    node = rng.choice([n for n in spoilt["nodes"] if n["type"].startswith("AMAdapter")])
    values = node.get("widgets_values") or []
    chance = rng.random()
    if chance < 0.5 and values:
        place = rng.randrange(len(values))
        values[place] = rng.choice((*JUNK, *TEXTS, *LOST))
        return spoilt, f"{node['type']}: value {place} is {values[place]!r:.40}"
    if chance < 0.6 and values:
        del values[rng.randrange(len(values)) :]
        return spoilt, f"{node['type']}: {len(values)} values are left"
    if chance < 0.7:
        node["widgets_values"] = rng.choice((None, {}, [*values, *JUNK]))
        return spoilt, f"{node['type']}: values {node['widgets_values']!r:.40}"
    linked = [entry for entry in node.get("inputs", ()) if entry.get("link") is not None]
    if chance < 0.85 and linked:
        entry = rng.choice(linked)
        entry["link"] = rng.choice((None, 10**6, -1))
        return spoilt, f"{node['type']}: {entry['name']} has link {entry['link']}"
    link = rng.choice(spoilt["links"])
    link[2] = rng.choice((7, -9))
    return spoilt, f"link {link[0]} leaves slot {link[2]}"


def _widgets(prompt: dict, key: str, object_info: dict, *kinds: str) -> Iterator[tuple[str, list]]:
    node = prompt[key]
    for group in ("required", "optional"):
        for name, spec in object_info[node["class_type"]]["input"].get(group, {}).items():
            kind = "COMBO" if choices(spec) is not None else spec[0]
            if is_widget(spec) and name in node["inputs"] and kind in kinds:
                yield name, spec


def _one(rng: random.Random, entries: Iterator[Any]) -> Any:
    found = list(entries)
    return rng.choice(found) if found else None


def _number(rng: random.Random, prompt: dict, key: str, object_info: dict) -> str | None:
    """Beyond what the widget allows."""
    found = _one(rng, _widgets(prompt, key, object_info, "INT", "FLOAT"))
    if not found:
        return None
    name, spec = found
    beyond = [options(spec)["min"] - 1, options(spec)["max"] + 1, 10**30, -(10**30)]
    prompt[key]["inputs"][name] = value = rng.choice(beyond)
    return f"{name} is {value}"


def _junk(rng: random.Random, prompt: dict, key: str, object_info: dict) -> str | None:
    """Of another type."""
    found = _one(rng, _widgets(prompt, key, object_info, "INT", "FLOAT", "COMBO"))
    if not found:
        return None
    prompt[key]["inputs"][found[0]] = value = rng.choice(JUNK)
    return f"{found[0]} is {value!r:.40}"


def _text(rng: random.Random, prompt: dict, key: str, object_info: dict) -> str | None:
    found = _one(rng, _widgets(prompt, key, object_info, "STRING"))
    if not found:
        return None
    prompt[key]["inputs"][found[0]] = value = rng.choice(TEXTS)
    return f"{found[0]} is {value!r:.40}"


def _option(rng: random.Random, prompt: dict, key: str, object_info: dict) -> str | None:
    found = _one(rng, _widgets(prompt, key, object_info, "COMBO"))
    if not found:
        return None
    prompt[key]["inputs"][found[0]] = value = rng.choice(LOST)
    return f"{found[0]} is {value!r}"


def _wired(rng: random.Random, prompt: dict, key: str, object_info: dict) -> str | None:
    """A number that comes by a link, which no widget holds to its limits."""
    found = _one(rng, _widgets(prompt, key, object_info, "INT", "FLOAT"))
    if not found:
        return None
    name, spec = found
    low, high = options(spec)["min"], options(spec)["max"]
    value = rng.choice((low - 1, high + 1) if high <= 100 else (low - 1, -(10**6)))
    kind = "PrimitiveInt" if spec[0] == "INT" else "PrimitiveFloat"
    prompt["wired"] = {"class_type": kind, "inputs": {"value": value}}
    prompt[key]["inputs"][name] = ["wired", 0]
    return f"{name} is led {value}"


def _missing(rng: random.Random, prompt: dict, key: str, object_info: dict) -> str | None:
    required = object_info[prompt[key]["class_type"]]["input"].get("required", {})
    name = _one(rng, (name for name in required if name in prompt[key]["inputs"]))
    if not name:
        return None
    del prompt[key]["inputs"][name]
    return f"{name} is missing"


def _lost_link(rng: random.Random, prompt: dict, key: str, object_info: dict) -> str | None:
    name = _one(rng, (name for name, value in prompt[key]["inputs"].items() if isinstance(value, list)))
    if not name:
        return None
    link = prompt[key]["inputs"][name]
    prompt[key]["inputs"][name] = value = rng.choice((["no such", 0], [link[0], 99], [key, 0], [link[0]], [None, None]))
    return f"{name} comes from {value}"


def _wrong_type(rng: random.Random, prompt: dict, key: str, object_info: dict) -> str | None:
    name = _one(rng, (name for name, value in prompt[key]["inputs"].items() if isinstance(value, list)))
    if not name:
        return None
    prompt["other"] = {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler"}}
    prompt[key]["inputs"][name] = ["other", 0]
    return f"{name} is a SAMPLER"


def _unknown_node(rng: random.Random, prompt: dict, key: str, object_info: dict) -> str:
    prompt[key]["class_type"] += "Gone"
    return "its type is unknown"
