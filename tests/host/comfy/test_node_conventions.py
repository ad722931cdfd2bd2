"""What holds for every node of the pack."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from tests.host.comfy.pack import ROOT, pack_nodes

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("comfy_modules")]

HELP_PAGES = ROOT / "web" / "docs"


@pytest.fixture(scope="module")
def schemas(comfy_modules: Path) -> dict:
    """The schema of every node that ComfyUI is told of."""
    return {node: node.GET_SCHEMA() for node in pack_nodes()}


def test_ids_are_prefixed_and_unique(schemas: dict) -> None:
    ids = [schema.node_id for schema in schemas.values()]
    assert len(set(ids)) == len(ids)
    assert [node for node in ids if not node.startswith("AMAdapter")] == []
    assert [node.__name__ for node in schemas] == ids


def test_every_node_is_described_and_can_be_found(schemas: dict) -> None:
    for schema in schemas.values():
        assert schema.display_name and schema.display_name != schema.node_id, schema.node_id
        assert schema.category.split("/")[0] == "AM-Adapter", schema.node_id
        assert schema.description.endswith("."), schema.node_id
        assert "AM-Adapter" in schema.search_aliases, schema.node_id
    names = [schema.display_name for schema in schemas.values()]
    assert len(set(names)) == len(names)


def test_every_socket_and_widget_has_a_tooltip(schemas: dict) -> None:
    bare = [
        f"{schema.node_id}.{socket.id}"
        for schema in schemas.values()
        for socket in (*schema.inputs, *schema.outputs)
        if not socket.tooltip or len(socket.tooltip) < 15
    ]
    assert bare == []


def test_required_inputs_come_before_optional_ones(schemas: dict) -> None:
    for schema in schemas.values():
        optional = [entry.optional for entry in schema.inputs]
        assert optional == sorted(optional), schema.node_id


def test_every_node_has_a_help_page_that_names_its_inputs_and_outputs(schemas: dict) -> None:
    for schema in schemas.values():
        page = HELP_PAGES / f"{schema.node_id}.md"
        assert page.is_file(), page
        text = page.read_text(encoding="utf-8")
        assert text.startswith(f"# {schema.display_name}\n"), page
        missing = [socket.id for socket in (*schema.inputs, *schema.outputs) if socket.id not in text]
        assert missing == [], page


def test_no_help_page_is_left_without_a_node(schemas: dict) -> None:
    ids = {schema.node_id for schema in schemas.values()}
    assert {path.stem for path in HELP_PAGES.glob("*.md")} - ids == set()


def test_schemas_are_such_that_comfyui_takes_them(schemas: dict) -> None:
    for node, schema in schemas.items():
        schema.validate()
        assert node.GET_NODE_INFO_V1()["name"] == schema.node_id


def test_combos_are_checked_by_comfyui_itself(schemas: dict) -> None:
    """A combo named in `validate_inputs` is no longer looked up in its list."""
    for node, schema in schemas.items():
        if all("validate_inputs" not in vars(kind) for kind in node.__mro__[:2]):  # itself, and what it is made of
            continue
        parameters = inspect.signature(node.validate_inputs).parameters
        combos = {entry.id for entry in schema.inputs if entry.get_io_type() == "COMBO"}
        assert not combos & set(parameters), schema.node_id
        assert not any(p.kind is p.VAR_KEYWORD for p in parameters.values()), schema.node_id
