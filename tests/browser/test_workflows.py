"""The example workflows in ComfyUI's own frontend."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / "workflows").glob("*.json"))
BYPASS = 4  # a node's mode in a saved workflow
MINIMAL = ROOT / "workflows" / "minimal_exemplar_synthesis.json"

pytestmark = [pytest.mark.host, pytest.mark.slow]

UNREGISTERED = "() => app.graph.nodes.filter(n => !LiteGraph.registered_node_types[n.type]).map(n => n.type)"
TO_PROMPT = "async () => (await app.graphToPrompt()).output"
# Each node with its title bar: name, left, top, right, bottom.
BOXES = """() => app.graph.nodes.map(n => {
    const [width, height] = [0, 1].map(i => Math.max(n.size[i], n.computeSize()[i]));
    return [n.title, n.pos[0], n.pos[1] - 30, n.pos[0] + width, n.pos[1] + height];
})"""
PICTURES_SHOWN = """() => app.graph.nodes.every(n => n.imgs?.length
    || !['LoadImage', 'LoadImageMask', 'AMAdapterLoadLabelMap'].includes(n.type))"""
SHOW_ALL = """() => {
    const boxes = app.graph.groups.map(g => [g.pos[0], g.pos[1], g.pos[0] + g.size[0], g.pos[1] + g.size[1]]);
    const [left, top] = [0, 1].map(i => Math.min(...boxes.map(b => b[i])));
    const [right, bottom] = [2, 3].map(i => Math.max(...boxes.map(b => b[i])));
    const view = app.canvas.ds;
    view.scale = Math.min((window.innerWidth - 120) / (right - left), (window.innerHeight - 120) / (bottom - top));
    view.offset[0] = 80 / view.scale - left;
    view.offset[1] = 80 / view.scale - top;
    app.canvas.setDirty(true, true);
}"""


def open_workflow(page, path: Path) -> None:
    page.evaluate("graph => app.loadGraphData(graph)", json.loads(path.read_text(encoding="utf-8")))
    page.wait_for_function(PICTURES_SHOWN, timeout=60_000)  # they arrive after the nodes
    page.evaluate(SHOW_ALL)


@pytest.fixture(scope="module", params=WORKFLOWS, ids=lambda path: path.stem)
def opened(request: pytest.FixtureRequest, session_page, tmp_path_factory) -> Iterator:
    """The page with an example workflow open, which is opened once for all that is asked of it."""
    session_page.raised.clear()
    session_page.path = request.param
    open_workflow(session_page, request.param)
    session_page.screenshot(path=tmp_path_factory.mktemp("opened") / f"{request.param.stem}.png")
    yield session_page


def executed(prompt: dict) -> dict:
    """A prompt without the titles, which only people read."""
    return {key: {"class_type": node["class_type"], "inputs": node["inputs"]} for key, node in prompt.items()}


def test_the_first_start_opens_the_minimal_workflow(page, run_script) -> None:
    wanted = json.loads(run_script.examples.DEFAULT_WORKFLOW.read_text(encoding="utf-8"))["nodes"]
    assert sorted(page.opened) == sorted(node["type"] for node in wanted)


def test_later_starts_leave_the_user_s_own_workflow_alone(page, host_server, run_script) -> None:
    assert run_script.examples.offer_workflow(host_server.base, run_script.PACK) == ""


def test_it_opens_without_errors_or_missing_nodes(opened) -> None:
    assert opened.evaluate(UNREGISTERED) == []
    assert opened.raised == []


def test_no_node_covers_another(opened) -> None:
    """As large as the frontend makes them."""
    boxes = opened.evaluate(BOXES)
    for i, (name, left, top, right, bottom) in enumerate(boxes):
        for other, *box in boxes[:i]:
            apart = right <= box[0] or box[2] <= left or bottom <= box[1] or box[3] <= top
            assert apart, f"{name} covers {other}"


def test_the_frontend_queues_what_our_converter_makes(opened, host_server) -> None:
    """Which the end-to-end tests run."""
    ours = host_server.workflow.to_prompt(host_server.workflow.read(opened.path), host_server.object_info)
    assert executed(opened.evaluate(TO_PROMPT)) == executed(ours)


def test_bypassing_the_node_hands_the_plain_model_on(page, host_server) -> None:
    """As our converter has it, by which a bypassed node is compared with a removed one."""
    open_workflow(page, MINIMAL)
    page.evaluate("mode => { app.graph.nodes.find(n => n.type === 'AMAdapterApply').mode = mode; }", BYPASS)
    graph = host_server.workflow.read(MINIMAL)
    next(node for node in graph["nodes"] if node["type"] == "AMAdapterApply")["mode"] = BYPASS
    ours = host_server.workflow.to_prompt(graph, host_server.object_info)
    assert executed(page.evaluate(TO_PROMPT)) == executed(ours)


def test_a_run_on_the_tiny_model_shows_its_picture(page, host_server, tmp_path: Path) -> None:
    graph = host_server.workflow.read(MINIMAL)
    prompt = host_server.workflow.on_tiny_model(host_server.workflow.to_prompt(graph, host_server.object_info))
    # The cache of an earlier test would answer without a run.
    host_server.forget()
    page.evaluate("prompt => app.loadApiJson(prompt, 'tiny')", prompt)
    page.wait_for_timeout(1000)
    page.evaluate("() => app.queuePrompt(0, 1)")
    shown = "() => app.graph.nodes.some(n => n.type === 'SaveImage' && n.imgs?.[0]?.naturalWidth > 0)"
    page.wait_for_function(shown, timeout=180_000)
    page.screenshot(path=tmp_path / "result.png")
    assert page.raised == []
