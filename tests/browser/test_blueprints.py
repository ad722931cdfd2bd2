"""The subgraph blueprints in ComfyUI's own frontend: offered, placed, connected, queued."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLUEPRINTS = sorted(path.stem for path in (ROOT / "subgraphs").glob("*.json"))

pytestmark = [pytest.mark.host, pytest.mark.slow]

TYPING = "() => document.activeElement?.tagName === 'INPUT'"
SEARCH = "() => app.extensionManager.command.execute('Workspace.SearchBox.Toggle')"
TITLES = "() => app.graph.nodes.map(n => n.title)"
# From the tests' tiny loaders to a saved picture, by titles' first words.
CONNECT = """() => {
    const graph = app.graph;
    const add = type => { const node = LiteGraph.createNode(type); graph.add(node); return node; };
    const placed = word => graph.nodes.find(n => n.title.startsWith(word));
    const join = (from, output, to, input) => {
        if (!from.connect(from.findOutputSlot(output), to, to.findInputSlot(input ?? output)))
            throw new Error(`${from.title} ${output} does not connect to ${to.title}`);
    };
    const [checkpoint, control, text, latent, save] =
        ['TinySD15Checkpoint', 'TinyControlNet', 'CLIPTextEncode', 'EmptyLatentImage', 'SaveImage'].map(add);
    const [pair, hint, sampling] = ['Load', 'Label', 'Sample'].map(placed);
    join(checkpoint, 'CLIP', text, 'clip');
    join(text, 'CONDITIONING', pair, 'conditioning');
    for (const node of [pair, sampling]) {
        join(checkpoint, 'MODEL', node, 'model');
        join(checkpoint, 'VAE', node, 'vae');
    }
    for (const node of [pair, hint]) join(control, 'CONTROL_NET', node, 'control_net');
    for (const name of ['positive', 'negative']) {
        join(text, 'CONDITIONING', hint, name);
        join(hint, name, sampling);
    }
    join(pair, 'exemplar', sampling);
    join(hint, 'labels', sampling, 'target_labels');
    join(latent, 'LATENT', sampling, 'latent_image');
    join(sampling, 'image', save, 'images');
    sampling.widgets.find(w => w.name === 'seed').value = 5;
}"""


def place(page, name: str, x: int, y: int) -> None:
    """As a user does: the search box, the name, Enter, and a click where it shall stand."""
    there = page.evaluate("() => app.graph.nodes.length")
    page.evaluate(SEARCH)
    page.wait_for_function(TYPING, timeout=60_000)
    page.keyboard.type(name)
    page.get_by_text(name, exact=True).first.wait_for(timeout=60_000)
    page.keyboard.press("Enter")
    page.wait_for_function(f"() => !({TYPING})()", timeout=60_000)
    page.mouse.click(x, y)
    page.wait_for_function("count => app.graph.nodes.length > count", arg=there, timeout=60_000)


@pytest.fixture(scope="module")
def placed(fresh_page):
    """The page with all blueprints on an empty canvas."""
    fresh_page.evaluate("() => { app.graph.clear(); app.canvas.ds.reset(); }")
    for number, name in enumerate(BLUEPRINTS):
        place(fresh_page, name, 400 + 450 * number, 400)
    return fresh_page


def test_the_server_offers_them(host_server) -> None:
    offered = host_server.client.ask(f"{host_server.url}/global_subgraphs").values()
    own = {entry["name"] for entry in offered if entry["info"]["node_pack"] == "custom_nodes.ComfyUI-AM-Adapter"}
    assert own == set(BLUEPRINTS)


def test_each_is_found_in_the_search_box_and_placed(placed) -> None:
    assert sorted(placed.evaluate(TITLES)) == BLUEPRINTS
    assert placed.raised == []


def test_their_widgets_begin_with_what_the_nodes_in_them_hold(placed) -> None:
    values = placed.evaluate("() => app.graph.nodes.map(n => n.widgets.map(w => [w.name, w.value]))")
    shown = [(name, value) for widgets in values for name, value in widgets]
    for held in (("picture", "am_exemplar_day.png"), ("mode", "categorical"), ("steps", 30), ("cfg", 7.5)):
        assert held in shown, [value for name, value in shown if name == held[0]]


def test_connected_they_make_a_picture(placed, host_server, tmp_path: Path) -> None:
    placed.evaluate(CONNECT)
    placed.screenshot(path=tmp_path / "connected.png")
    prompt = placed.evaluate("async () => (await app.graphToPrompt()).output")
    by_type = {node["class_type"]: node["inputs"] for node in prompt.values()}
    assert by_type["KSampler"]["seed"] == 5
    entry = host_server.client.run(host_server.url, host_server.workflow.on_tiny_model(prompt), timeout=300)
    assert len(host_server.client.saved_pictures(entry)) == 1
    assert placed.raised == []
