"""Definitions of nodes as a file keeps them, and which changes of them break saved workflows. Needs no ComfyUI.

`python tests/host/comfy/definitions.py BEFORE.json NOW.json` names the breaking changes between two such files, and
the changed defaults; exit 1 if something breaks.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

# Of a node: its "inputs" and "outputs" in order. Of a node that was replaced: {"replaced_by": id}.
Definitions = dict[str, dict]

PUBLISHED = Path(__file__).with_name("definitions.json")
RULE = (
    "Saved workflows keep values and links by their place, so a node may only gain optional inputs or widgets after"
    " those it has, and outputs after its outputs. To rename, remove or reorder, make a node with a new id and map the"
    " old one to it with io.NodeReplace in nodes/replacements.py."
)


def read(path: Path = PUBLISHED) -> Definitions:
    return json.loads(path.read_text(encoding="utf-8"))


def text(definitions: Definitions) -> str:
    """The file's text: JSON with a line for each socket, so that a diff shows what changed."""
    nodes = []
    for node, sides in definitions.items():
        if "replaced_by" in sides:
            nodes.append(f' "{node}": {json.dumps(sides)}')
            continue
        lists = [
            f'  "{side}": [\n' + ",\n".join(f"   {json.dumps(entry)}" for entry in entries) + "\n  ]"
            for side, entries in sides.items()
        ]
        nodes.append(f' "{node}": {{\n' + ",\n".join(lists) + "\n }")
    return "{\n" + ",\n".join(nodes) + "\n}\n"


def breaks(before: Definitions, now: Definitions) -> list[str]:
    """Name what changed so that saved workflows break, one line for each node concerned."""
    found = []
    for node, former in before.items():
        present = now.get(node)
        if "replaced_by" in former:
            wrong = None if present == former else "its replacement is gone or another"
        elif present is None:
            wrong = "the node is gone"
        elif "replaced_by" in present:
            wrong = (
                None if present["replaced_by"] in now else f"there is no {present['replaced_by']}, which replaces it"
            )
        else:
            wrong = _broken_inputs(former["inputs"], present["inputs"]) or _broken_outputs(
                former["outputs"], present["outputs"]
            )
        if wrong:
            found.append(f"{node}: {wrong}. {RULE}")
    return found


def changed_defaults(before: Definitions, now: Definitions) -> list[str]:
    """Name the widgets whose default is another: new nodes give other pictures, saved ones do not."""
    return [
        f"{node}.{entry['id']}: {entry.get('default')!r} became {after.get('default')!r}"
        for node, former in before.items()
        for entry, after in zip(former.get("inputs", ()), now.get(node, {}).get("inputs", ()), strict=False)
        if entry["id"] == after["id"] and entry.get("default") != after.get("default")
    ]


def _broken_inputs(before: list[dict], now: list[dict]) -> str | None:
    for place, entry in enumerate(before):
        name = entry["id"]
        if place >= len(now) or now[place]["id"] != name:
            elsewhere = any(other["id"] == name for other in now)
            return f"input {place + 1} was {name}, which {'has moved' if elsewhere else 'is gone'}"
        after = now[place]
        if after["type"] != entry["type"]:
            return f"input {name} was of type {entry['type']} and is of {after['type']}"
        if entry.get("optional") and not after.get("optional"):
            return f"input {name} was optional and is required"
        if after.get("stored") != entry.get("stored"):
            return (
                f"input {name} stored {entry.get('stored', 0)} values in a workflow and stores {after.get('stored', 0)}"
            )
        lost = [option for option in entry.get("options", ()) if option not in after.get("options", ())]
        if lost:
            return f"input {name} no longer offers {', '.join(map(repr, lost))}"
    needed = [entry["id"] for entry in now[len(before) :] if not (entry.get("optional") or entry.get("stored"))]
    return f"new input {needed[0]} is required, which saved workflows do not connect" if needed else None


def _broken_outputs(before: list[dict], now: list[dict]) -> str | None:
    for place, entry in enumerate(before):
        if place >= len(now) or now[place] != entry:
            return f"output {place + 1} was {entry['id']} of type {entry['type']} and is another or gone"
    return None


def main() -> int:
    before, now = (read(Path(argument)) for argument in sys.argv[1:])
    found = breaks(before, now)
    for line in changed_defaults(before, now):
        sys.stdout.write(f"changed default, for CHANGELOG.md: {line}\n")
    for line in found:
        sys.stdout.write(f"breaks saved workflows: {line}\n")
    added = [node for node in now if node not in before]
    sys.stdout.write(f"{len(found)} nodes break, {len(added)} are new, of {len(now)}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
