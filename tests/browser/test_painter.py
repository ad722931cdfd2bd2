"""The Semantic Painter in ComfyUI's own frontend: painted, undone, saved, loaded again and queued."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

from amadapter_core.label_maps import LabelMap, Palette
from amadapter_core.painting import NOT_PAINTED, read_painting, write_painting

pytestmark = [pytest.mark.host, pytest.mark.slow]

STREET = Palette.load("cityscapes19")
SKY, ROAD, CAR = (STREET.id_of(name) for name in ("sky", "road", "car"))
SIDE = 64

FIND = "window.painterNode = app.graph.nodes.find(n => n.type === 'AMAdapterSemanticPainter')"
OPEN = f"async graph => {{ await app.loadGraphData(graph); {FIND}; }}"
READY = """() => {
    const painter = painterNode.widgets.find(w => w.name === "painting")?.painter;
    window.painter = painter;
    return painter?.element.isConnected && painter.element.querySelectorAll(".am-painter-list button").length > 0;
}"""
# Where a point of the painting, in parts of its size, lies on the screen.
POINT = """([x, y]) => {
    const canvas = painter.element.querySelector("canvas");
    const box = canvas.getBoundingClientRect();
    const zoom = box.width / canvas.clientWidth;
    const { width, height } = painter.painting.shown;
    const scale = zoom * Math.min((canvas.clientWidth - 16) / width, (canvas.clientHeight - 16) / height);
    const [middleX, middleY] = [box.left + box.width / 2, box.top + box.height / 2];
    return [middleX + (x - 0.5) * width * scale, middleY + (y - 0.5) * height * scale];
}"""
STATE = "() => [...painterNode.pos, ...painterNode.size, app.graph.nodes.length, app.canvas.ds.scale]"
RENDERER = "on => app.extensionManager.setting.set('Comfy.VueNodes.Enabled', on)"


def graph(*, start: str | None = None, painting: str = "", side: int = SIDE) -> dict:
    """A painter, behind it a node that saves, and before it a loader if there is a `start`."""

    def node(number: int, kind: str, at: tuple, size: tuple, values: list, inputs: list, outputs: list) -> dict:
        slots = {
            "inputs": [{"name": n, "type": t, "link": link} for n, t, link in inputs],
            "outputs": [{"name": n, "type": t, "links": links} for n, t, links in outputs],
        }
        return {"id": number, "type": kind, "pos": at, "size": size, "mode": 0, "widgets_values": values} | slots

    maps, image = "AM_LABEL_MAP", "IMAGE"
    painter_inputs = [("labels", maps, 2 if start else None)]
    nodes = [
        node(
            1,
            "AMAdapterSemanticPainter",
            (420, 60),
            (620, 660),
            ["cityscapes19", side, side, painting],
            painter_inputs,
            [("labels", maps, None), ("colours", image, [1])],
        ),
        node(2, "SaveImage", (1120, 60), (320, 320), ["painted"], [("images", image, 1)], []),
    ]
    links = [[1, 1, 1, 2, 0, image]]
    if start:
        values = [start, "cityscapes19", "auto", "error", 0.0, 0, "", "image"]
        outputs = [("labels", maps, [2]), ("colours", image, None)]
        nodes.append(node(3, "AMAdapterLoadLabelMap", (40, 60), (320, 480), values, [], outputs))
        links.append([2, 3, 0, 1, 0, maps])
    return {"last_node_id": 3, "last_link_id": 2, "nodes": nodes, "links": links, "groups": [], "version": 0.4}


def open_graph(page, described: dict) -> None:
    page.evaluate(OPEN, described)
    page.evaluate("() => { app.canvas.ds.scale = 1; app.canvas.ds.offset = [0, 40]; app.canvas.setDirty(true, true); }")
    page.wait_for_function(READY, timeout=30_000)
    page.wait_for_timeout(500)  # the widget is placed a frame or two later


def at(page, x: float, y: float) -> tuple[float, float]:
    return tuple(page.evaluate(POINT, [x, y]))


def stroke(page, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*at(page, *start))
    page.mouse.down()
    page.mouse.move(*at(page, *end), steps=5)
    page.mouse.up()


def pick(page, name: str) -> None:
    page.locator(".am-painter-list").get_by_role("radio", name=name, exact=True).click()


def saved(page) -> dict:
    """The workflow as ComfyUI would save it."""
    return page.evaluate("() => JSON.parse(JSON.stringify(app.graph.serialize()))")


def kept(workflow: dict) -> torch.Tensor | None:
    values = next(n["widgets_values"] for n in workflow["nodes"] if n["type"] == "AMAdapterSemanticPainter")
    return read_painting(values[3])


def run(page, host_server) -> LabelMap:
    """Queue what is open, and read the picture that it saves."""
    folder = host_server.base / "output"
    before = set(folder.glob("painted*.png"))
    page.evaluate("() => app.queuePrompt(0, 1)")
    end = time.monotonic() + 60
    while not (new := set(folder.glob("painted*.png")) - before):
        assert time.monotonic() < end, "the run saved no picture"
        page.wait_for_timeout(100)
    page.wait_for_timeout(500)  # the frontend hears of it, and the file is complete
    return LabelMap.from_colours(Image.open(new.pop()).convert("RGB"), STREET)


@pytest.fixture(scope="module")
def painter_page(session_page) -> Iterator:
    yield session_page
    session_page.evaluate(RENDERER, False)


@pytest.fixture(params=[False, True], ids=["litegraph", "nodes2"])
def either(request, painter_page):
    """The page with each of the two ways in which ComfyUI draws nodes."""
    painter_page.raised.clear()
    painter_page.evaluate(RENDERER, request.param)
    open_graph(painter_page, graph())
    return painter_page


@pytest.fixture
def page(painter_page):
    painter_page.raised.clear()
    painter_page.evaluate(RENDERER, False)
    return painter_page


def test_paint_undo_save_reload_and_queue(either, host_server, tmp_path: Path) -> None:
    before = either.evaluate(STATE)
    pick(either, "sky")
    either.keyboard.press("f")
    either.mouse.click(*at(either, 0.5, 0.5))
    pick(either, "car")
    either.keyboard.press("b")
    stroke(either, (0.3, 0.7), (0.6, 0.7))
    stroke(either, (0.1, 0.1), (0.9, 0.9))
    either.keyboard.press("Control+z")
    either.keyboard.press("Delete")
    either.wait_for_timeout(300)
    either.screenshot(path=tmp_path / "painted.png")
    # Nothing of that moved, resized, zoomed or removed a node, or was undone in the graph as well.
    assert either.evaluate(STATE) == before
    workflow = saved(either)
    codes = kept(workflow)
    assert set(codes.unique().tolist()) == {SKY, CAR}
    assert codes[int(0.7 * SIDE), int(0.45 * SIDE)] == CAR and codes[8, 8] == SKY

    open_graph(either, graph())
    assert kept(saved(either)) is None
    open_graph(either, workflow)
    either.wait_for_function("() => painter.painting.shown.codes[0] !== 65535")
    either.screenshot(path=tmp_path / "reloaded.png")
    assert torch.equal(kept(saved(either)), codes)
    assert torch.equal(run(either, host_server).ids[0], codes)
    assert either.raised == []


def test_the_pointer_meets_its_pixel_at_any_zoom_of_the_graph(either) -> None:
    pick(either, "car")
    either.evaluate("() => painter.tools.setSize(1)")
    for number, zoom in enumerate((0.6, 1.4)):
        either.evaluate("zoom => { app.canvas.ds.scale = zoom; app.canvas.setDirty(true, true); }", zoom)
        either.wait_for_timeout(500)
        point = (10.5 + number) / SIDE
        either.mouse.click(*at(either, point, point))
        assert kept(saved(either))[10 + number, 10 + number] == CAR
    assert int((kept(saved(either)) == CAR).sum()) == 2


def test_the_wheel_is_the_graph_s_until_the_painter_is_clicked(either) -> None:
    either.evaluate("() => document.activeElement?.blur()")
    zoom = "() => app.canvas.ds.scale"
    either.mouse.move(*at(either, 0.5, 0.5))
    either.mouse.wheel(0, -100)
    either.wait_for_function("() => app.canvas.ds.scale !== 1")
    either.wait_for_timeout(300)
    before = either.evaluate(zoom)
    either.mouse.click(*at(either, 0.5, 0.5))
    either.mouse.wheel(0, -100)
    either.wait_for_function("() => painter.view.zoomed")
    either.wait_for_timeout(300)
    assert either.evaluate(zoom) == before


def test_a_connected_label_map_is_shown_once_it_has_run_and_painted_over(page, host_server, tmp_path: Path) -> None:
    start = torch.full((48, 96), ROAD, dtype=torch.uint8)
    start[:24] = SKY
    Image.fromarray(start.numpy()).save(host_server.base / "input" / "painter_start.png")
    open_graph(page, graph(start="painter_start.png"))
    assert "Run the workflow once" in page.locator(".am-painter-status").inner_text()
    assert torch.equal(run(page, host_server).ids[0], start.long())
    page.wait_for_function("() => painter.painting.start?.width === 96")
    pick(page, "car")
    stroke(page, (0.4, 0.5), (0.6, 0.5))
    page.screenshot(path=tmp_path / "over.png")
    codes = kept(saved(page))
    assert set(codes.unique().tolist()) == {CAR, NOT_PAINTED}
    expected = torch.where(codes == NOT_PAINTED, start.long(), codes)
    assert torch.equal(run(page, host_server).ids[0], expected)
    page.evaluate("() => painterNode.disconnectInput(painterNode.inputs.findIndex(i => i.name === 'labels'))")
    assert page.evaluate("() => painter.painting.start") is None
    assert page.raised == []


def test_the_legend_and_the_size_follow_the_node_s_inputs(page, tmp_path: Path) -> None:
    text = write_painting(torch.tensor([[SKY, CAR], [ROAD, ROAD]]))
    open_graph(page, graph(painting=text))
    page.evaluate("""() => {
        const set = (name, value) => {
            const widget = painterNode.widgets.find(w => w.name === name);
            widget.value = value;
            widget.callback?.(value);
        };
        set("palette", "ade20k150");
        set("width", 128);
        app.canvas.setDirty(true, true);
    }""")
    page.wait_for_function("() => painter.element.querySelectorAll('.am-painter-list button').length === 151")
    page.screenshot(path=tmp_path / "ade.png")
    assert "128 × 64" in page.locator(".am-painter-status").inner_text()
    assert next(n for n in saved(page)["nodes"] if n["type"] == "AMAdapterSemanticPainter")["widgets_values"][3] == text


def test_a_picture_of_the_input_folder_can_be_the_start(page, host_server, tmp_path: Path) -> None:
    ids = torch.full((40, 80), ROAD, dtype=torch.uint8)
    ids[:10] = 255
    Image.fromarray(ids.numpy()).save(host_server.base / "input" / "painter_loaded.png")
    open_graph(page, graph())
    page.get_by_role("button", name="Load a label map").click()
    page.get_by_placeholder("Find a picture").fill("painter_lo")
    page.wait_for_selector(".am-painter-load .am-painter-list button")
    page.screenshot(path=tmp_path / "load.png")
    page.locator(".am-painter-load").get_by_role("button", name="painter_loaded.png").click()
    page.wait_for_function("() => painter.painting.shown.width === 80")
    assert page.evaluate("() => ['width', 'height'].map(n => painterNode.widgets.find(w => w.name === n).value)") == [
        80,
        40,
    ]
    assert torch.equal(run(page, host_server).ids[0], ids.long())
    assert page.raised == []


def test_the_graph_s_own_undo_takes_back_a_stroke(page) -> None:
    """Where the graph has the focus, a painting is undone as any other value of a widget."""
    open_graph(page, graph())
    pick(page, "sky")
    stroke(page, (0.2, 0.2), (0.8, 0.2))
    assert kept(saved(page)) is not None
    page.evaluate("() => document.activeElement?.blur()")
    page.keyboard.press("Control+z")
    page.wait_for_function(f"() => {{ {FIND}; return painterNode.widgets[3].value === ''; }}")


def test_the_example_workflow_is_painted_already(page, tmp_path: Path) -> None:
    path = Path(__file__).resolve().parents[2] / "workflows" / "paint_a_layout.json"
    open_graph(page, json.loads(path.read_text(encoding="utf-8")))
    page.wait_for_function("() => painter.painting.shown.codes.every(code => code !== 65535)")
    assert page.raised == []
