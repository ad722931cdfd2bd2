"""The published definitions of nodes: what may change in them, and that the example workflows fit them."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.host.comfy.definitions import PUBLISHED, RULE, Definitions, breaks, changed_defaults, read, text

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / "workflows").glob("*.json"))


def sides(node: str, side: str) -> Callable[[Definitions], list]:
    return lambda definitions: definitions[node][side]


inputs, outputs = sides("AMAdapterApply", "inputs"), sides("AMAdapterLoadLabelMap", "outputs")


def find(definitions: Definitions, name: str) -> dict:
    return next(entry for entry in inputs(definitions) if entry["id"] == name)


BREAKING = {
    "a widget is removed": lambda d: inputs(d).remove(find(d, "keep_mass")),
    "two widgets change places": lambda d: inputs(d).insert(4, inputs(d).pop(5)),
    "a widget is put between others": lambda d: inputs(d).insert(4, {"id": "x", "type": "INT", "stored": 1}),
    "an input is renamed": lambda d: find(d, "strength").update(id="weight"),
    "an input's type is another": lambda d: find(d, "strength").update(type="INT"),
    "an optional input is required": lambda d: find(d, "mask").pop("optional"),
    "a widget becomes a socket": lambda d: find(d, "strength").pop("stored"),
    "a widget stores one value more": lambda d: find(d, "matcher_interval").update(stored=2),
    "an option is gone": lambda d: find(d, "mode")["options"].remove("implicit"),
    "a required socket is added": lambda d: inputs(d).append({"id": "x", "type": "MODEL"}),
    "a node is gone": lambda d: d.pop("AMAdapterApply"),
    "a node is replaced by one that is not there": lambda d: d.update(AMAdapterApply={"replaced_by": "Nowhere"}),
    "an output is gone": lambda d: outputs(d).pop(),
    "two outputs change places": lambda d: outputs(d).reverse(),
}
HARMLESS = {
    "nothing": lambda d: None,
    "a widget is added at the end": lambda d: inputs(d).append({"id": "x", "type": "INT", "stored": 1, "default": 0}),
    "an optional socket is added": lambda d: inputs(d).append({"id": "x", "type": "MASK", "optional": True}),
    "an option is added": lambda d: find(d, "mode")["options"].insert(0, "another"),
    "an output is added": lambda d: outputs(d).append({"id": "x", "type": "MASK"}),
    "a node is added": lambda d: d.update(AMAdapterNew={"inputs": [], "outputs": []}),
    "a node is replaced": lambda d: d.update(
        AMAdapterApply={"replaced_by": "AMAdapterNew"}, AMAdapterNew={"inputs": [], "outputs": []}
    ),
}


def changed(change: Callable[[Definitions], object]) -> Definitions:
    definitions = copy.deepcopy(read())
    change(definitions)
    return definitions


@pytest.mark.parametrize("change", BREAKING.values(), ids=BREAKING)
def test_what_breaks_saved_workflows_is_told_with_the_node_and_the_rule(change: Callable) -> None:
    (message,) = breaks(read(), changed(change))
    assert message.startswith(("AMAdapterApply: ", "AMAdapterLoadLabelMap: "))
    assert message.endswith(RULE)
    assert "after those it has" in RULE and "NodeReplace" in RULE


@pytest.mark.parametrize("change", HARMLESS.values(), ids=HARMLESS)
def test_what_is_appended_or_replaced_breaks_nothing(change: Callable) -> None:
    assert breaks(read(), changed(change)) == []


def test_no_input_or_output_of_any_node_can_go_or_move_unseen() -> None:
    published = read()
    for node, definition in published.items():
        for side in ("inputs", "outputs"):
            entries = definition[side]
            for place, entry in enumerate(entries):
                without = entries[:place] + entries[place + 1 :]
                for others in (without, [entry, *without], [*without, entry]):
                    if others == entries:
                        continue
                    (message,) = breaks(published, published | {node: definition | {side: others}})
                    assert message.startswith(f"{node}: ")


def test_a_replaced_node_stays_replaced() -> None:
    replaced = changed(HARMLESS["a node is replaced"])
    assert breaks(replaced, replaced) == []
    assert len(breaks(replaced, read())) == 2  # the old one is back in its place, the new one is gone


def test_a_changed_default_is_told_and_breaks_nothing() -> None:
    other = changed(lambda d: find(d, "strength").update(default=0.7))
    assert changed_defaults(read(), other) == ["AMAdapterApply.strength: 1.0 became 0.7"]
    assert breaks(read(), other) == []


def test_the_file_is_written_as_it_is_read() -> None:
    assert text(read()) == PUBLISHED.read_text(encoding="utf-8")
    replaced = changed(HARMLESS["a node is replaced"])
    assert json.loads(text(replaced)) == replaced


def test_the_command_compares_two_files(tmp_path: Path) -> None:
    other = tmp_path / "now.json"
    other.write_text(text(changed(BREAKING["a widget is removed"])), encoding="utf-8")
    command = [sys.executable, str(PUBLISHED.with_suffix(".py"))]
    same = subprocess.run([*command, PUBLISHED, PUBLISHED], capture_output=True, text=True)
    assert (same.returncode, same.stdout[:13]) == (0, "0 nodes break")
    broken = subprocess.run([*command, PUBLISHED, other], capture_output=True, text=True)
    assert broken.returncode == 1
    assert "AMAdapterApply: input 8 was keep_mass, which is gone" in broken.stdout


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_an_example_stores_as_many_values_as_its_nodes_have_widgets(path: Path) -> None:
    published = read()
    ours = [node for node in json.loads(path.read_text(encoding="utf-8"))["nodes"] if node["type"] in published]
    assert ours
    for node in ours:
        expected = sum(entry.get("stored", 0) for entry in published[node["type"]]["inputs"])
        assert len(node.get("widgets_values", [])) == expected, node["type"]
