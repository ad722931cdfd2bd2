"""What saved workflows rely on: ids, sockets, the order of widgets. `definitions.json` is what was published.

After adding something: `python -m tests.host.comfy.test_definitions` writes the file anew. `definitions.py` says what
may change, and tests/unit/test_definitions.py tests that it does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.host.comfy.definitions import PUBLISHED, Definitions, breaks, read, text
from tests.host.comfy.pack import finish, pack_module, pack_nodes

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("comfy_modules")]

WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
# The frontend puts a choice of what becomes of the number behind these, unless the node says otherwise.
SEEDS = ("seed", "noise_seed")
WRITE_ANEW = (
    "the nodes are not those of definitions.json. If what changed is meant to, run"
    " python -m tests.host.comfy.test_definitions and say it in CHANGELOG.md: "
)


@contextmanager
def empty_folders() -> Iterator[None]:
    """No model file and no table of the user's own, so that a node's choices are those it comes with."""
    import folder_paths

    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        known = {name: ([folder], set()) for name in folder_paths.folder_names_and_paths}
        patch.setattr(folder_paths, "models_dir", folder)
        patch.setattr(folder_paths, "folder_names_and_paths", known)
        patch.setattr(folder_paths, "filename_list_cache", {})
        yield


def definitions() -> Definitions:
    """The nodes there are, and those that were replaced."""
    with empty_folders():
        schemas = [node.GET_SCHEMA() for node in pack_nodes()]
    found = {
        schema.node_id: {
            "inputs": [input_definition(entry) for entry in schema.inputs],
            "outputs": [{"id": entry.id, "type": entry.get_io_type()} for entry in schema.outputs],
        }
        for schema in schemas
    }
    for replacement in pack_module("nodes.replacements").REPLACEMENTS:
        found[replacement.old_node_id] = {"replaced_by": replacement.new_node_id}
    return found


def input_definition(entry: object) -> dict:
    """Of a widget also its default, its options and how many values a workflow stores for it."""
    found = {"id": entry.id, "type": entry.get_io_type()}
    if entry.optional:
        found["optional"] = True
    if found["type"] not in WIDGETS or getattr(entry, "force_input", None):
        return found
    control = getattr(entry, "control_after_generate", None)
    has_control = found["type"] == "INT" and entry.id in SEEDS if control is None else bool(control)
    upload = getattr(entry, "upload", None)
    found["stored"] = 1 + has_control + bool(upload)
    if entry.default is not None:
        found["default"] = entry.default
    if found["type"] == "COMBO" and not upload:  # what can be uploaded lists the user's files
        found["options"] = list(entry.options)
    return found


@pytest.fixture(scope="module")
def present(comfy_modules: Path) -> Definitions:
    return definitions()


@pytest.mark.parametrize("node", sorted(read()))
def test_published_nodes_stay_what_they_are(node: str, present: Definitions) -> None:
    assert breaks({node: read()[node]}, present) == []


def test_every_node_is_published_as_it_is(present: Definitions) -> None:
    published = read()
    changed = sorted(node for node in {*present, *published} if present.get(node) != published.get(node))
    assert changed == [], WRITE_ANEW + ", ".join(changed)
    assert list(present) == list(published), WRITE_ANEW + "the order of nodes"


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
    PUBLISHED.write_text(text(definitions()), encoding="utf-8")
