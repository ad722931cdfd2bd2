"""The nodes in a browser whose user reads Chinese."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LANGUAGE, BROWSER_LANGUAGE = "zh", "zh-CN"
READY = "() => window.LiteGraph?.registered_node_types?.AMAdapterApply && window.app?.graph"
# What the frontend calls a new node of each type, its sockets and widgets.
SHOWN = """names => Object.fromEntries(names.map(name => {
    const node = LiteGraph.createNode(name);
    const {description, category} = LiteGraph.registered_node_types[name].nodeData;
    return [name, {
        title: node.title,
        description,
        category,
        inputs: Object.fromEntries(node.inputs.map(socket => [socket.name, socket.label ?? socket.localized_name])),
        widgets: Object.fromEntries(node.widgets?.map(widget => [widget.name, widget.label]) ?? []),
        outputs: node.outputs.map(socket => socket.label ?? socket.localized_name),
    }];
}))"""

pytestmark = [pytest.mark.host, pytest.mark.slow]


@pytest.fixture(scope="module")
def chinese(browser, host_server) -> Iterator:
    """A page of its own: the frontend takes its language from the browser's until its user chooses one."""
    context = browser.new_context(locale=BROWSER_LANGUAGE)
    page = context.new_page()
    page.goto(host_server.url)
    page.wait_for_function(READY, timeout=120_000)
    yield page
    context.close()


def words(language: str, file: str) -> dict:
    return json.loads((ROOT / "locales" / language / f"{file}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("language", ["ja", "ko", "zh"])
def test_the_server_offers_every_language(host_server, language: str) -> None:
    offered = host_server.client.ask(f"{host_server.url}/i18n")[language]
    assert words(language, "nodeDefs").items() <= offered["nodeDefs"].items()
    assert words(language, "main")["nodeCategories"].items() <= offered["nodeCategories"].items()


def test_titles_sockets_widgets_and_categories_are_translated(chinese, host_server) -> None:
    definitions, categories = words(LANGUAGE, "nodeDefs"), words(LANGUAGE, "main")["nodeCategories"]
    shown = chinese.evaluate(SHOWN, sorted(definitions))
    for name, node in shown.items():
        told = definitions[name]
        assert (node["title"], node["description"]) == (told["display_name"], told["description"])
        assert node["outputs"] == [entry["name"] for entry in told["outputs"].values()], name
        named = {key: entry["name"] for key, entry in told["inputs"].items()}
        assert {key: node["inputs"].get(key, node["widgets"].get(key)) for key in named} == named
        assert {key: label for key, label in node["widgets"].items() if key in named}.items() <= named.items()
        parts = host_server.object_info[name]["category"].split("/")
        for part, label in zip(parts, node["category"].split("/"), strict=True):
            # What is not among ours the frontend has a word for.
            assert label == categories[part] if part in categories else label != part
