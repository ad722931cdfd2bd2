"""What saved workflows rely on: ids, sockets and the order of widgets. `definitions.json` is what was published.

A workflow stores widget values by their place, so a node may only gain inputs after those it has, and outputs after
its outputs. Anything else is a new node, and an entry in nodes/replacements.py for the old one.

After adding something: `python -m tests.host.comfy.test_definitions` writes the file anew.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.host.comfy.pack import finish, pack_module, pack_nodes

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("comfy_modules")]

PUBLISHED = Path(__file__).with_name("definitions.json")


def published() -> dict[str, dict[str, list[str]]]:
    return json.loads(PUBLISHED.read_text(encoding="utf-8")) if PUBLISHED.is_file() else {}


def definitions() -> dict[str, dict[str, list[str]]]:
    schemas = [node.GET_SCHEMA() for node in pack_nodes()]
    return {
        schema.node_id: {
            "inputs": [f"{entry.id}: {entry.get_io_type()}{' optional' * entry.optional}" for entry in schema.inputs],
            "outputs": [f"{entry.id}: {entry.get_io_type()}" for entry in schema.outputs],
        }
        for schema in schemas
    }


@pytest.fixture(scope="module")
def present(comfy_modules: Path) -> dict[str, dict[str, list[str]]]:
    return definitions()


@pytest.mark.parametrize("node", sorted(published()))
def test_published_nodes_stay_what_they_are(node: str, present: dict) -> None:
    former = published()[node]
    assert node in present
    for side in ("inputs", "outputs"):
        assert present[node][side][: len(former[side])] == former[side]


def test_every_node_is_published(present: dict) -> None:
    assert present == published()


async def load_with(replacements: tuple, monkeypatch: pytest.MonkeyPatch) -> list:
    nodes = pack_module("nodes")
    registered = []

    class Api:
        class node_replacement:
            @staticmethod
            async def register(replacement: object) -> None:
                registered.append(replacement)

    monkeypatch.setattr(nodes, "REPLACEMENTS", replacements)
    monkeypatch.setattr(nodes, "ComfyAPI", Api)
    await nodes.AMAdapterExtension().on_load()
    return registered


def test_loading_registers_replacements_and_the_model_folder(
    monkeypatch: pytest.MonkeyPatch, model_folder: Path
) -> None:
    import folder_paths
    from comfy_api.v0_0_2 import io

    old = io.NodeReplace(new_node_id="AMAdapterApply", old_node_id="AMAdapterApplyOld")
    assert finish(load_with((old,), monkeypatch)) == [old]
    assert folder_paths.folder_names_and_paths["am_adapter"][0] == [str(model_folder / "am_adapter")]


if __name__ == "__main__":
    from amadapter_core.hosts.comfy.locate import make_comfyui_importable

    make_comfyui_importable()
    PUBLISHED.write_text(json.dumps(definitions(), indent=1) + "\n", encoding="utf-8")
