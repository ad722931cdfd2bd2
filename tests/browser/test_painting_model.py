"""The painter's modules in a bare page, without ComfyUI: rasters, history, their form as text, and the element."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from amadapter_core.label_resizing import resize_ids
from amadapter_core.painting import NOT_PAINTED, UNLABELLED, read_painting, write_painting
from amadapter_core.palettes import Palette

WEB = Path(__file__).resolve().parents[2] / "web"
ORIGIN = "http://painter.test"
KINDS = {".js": "text/javascript", ".css": "text/css", ".html": "text/html"}
STREET = Palette.load("cityscapes19")
SKY, ROAD, CAR = (STREET.id_of(name) for name in ("sky", "road", "car"))

PAGE = """<!doctype html><link rel="stylesheet" href="/js/painter/painter.css">
<body style="margin: 0"><div id="place" style="width: 700px; height: 560px"></div></body>"""
LOAD = """async () => {
    const names = ["raster", "painting", "png", "painter", "classes"];
    window.m = Object.fromEntries(await Promise.all(
        names.map(async name => [name, await import(`/js/painter/${name}.js`)])));
    window.rows = raster => Array.from({length: raster.height}, (_, y) =>
        [...raster.codes.subarray(y * raster.width, (y + 1) * raster.width)]);
    window.raster = rows => ({width: rows[0].length, height: rows.length, codes: Uint16Array.from(rows.flat())});
}"""
MAKE_PAINTER = """table => {
    window.events = [];
    const host = {
        changed: () => events.push("changed"),
        forward: event => events.push(event.type),
        palette: () => "cityscapes19",
        resize: (width, height) => { events.push([width, height]); painter.setSize(width, height); },
    };
    const server = {
        pictures: async () => ["a.png", "sub/street.png"],
        labelPicture: async (...asked) => { events.push(asked); return m.png.write(raster([[7, 10], [7, 0]])); },
    };
    window.painter = new m.painter.Painter(server, host, 64, 64);
    painter.setTable(table);
    document.querySelector("#place").replaceChildren(painter.element);
}"""


def serve(page) -> None:
    """Answer from this checkout, as modules cannot be loaded from files."""

    def answer(route) -> None:
        path = WEB / route.request.url.removeprefix(f"{ORIGIN}/")
        if path.is_file():
            route.fulfill(body=path.read_bytes(), content_type=KINDS[path.suffix])
        else:
            route.fulfill(body=PAGE, content_type=KINDS[".html"])

    page.route(f"{ORIGIN}/**", answer)
    page.goto(f"{ORIGIN}/")
    page.evaluate(LOAD)


@pytest.fixture(scope="module")
def bare(browser) -> Iterator:
    context = browser.new_context(device_scale_factor=2, viewport={"width": 800, "height": 600})
    page = context.new_page()
    page.raised = []
    page.on("pageerror", lambda error: page.raised.append(str(error)))
    serve(page)
    yield page
    assert page.raised == []
    context.close()


@pytest.fixture
def painter(bare):
    bare.evaluate(MAKE_PAINTER, STREET.to_dict())
    bare.wait_for_function("() => painter.element.querySelector('canvas').width > 300")
    return bare


def place(page, x: float, y: float) -> tuple[float, float]:
    """Where a point of the painting lies on the screen, both in parts of its size."""
    box = page.locator(".am-painter-stage").bounding_box()
    side = min(box["width"], box["height"]) - 16
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    return middle[0] + (x - 0.5) * side, middle[1] + (y - 0.5) * side


def stroke(page, start: tuple[float, float], end: tuple[float, float], button: str = "left") -> None:
    page.mouse.move(*place(page, *start))
    page.mouse.down(button=button)
    page.mouse.move(*place(page, *end), steps=4)
    page.mouse.up(button=button)


def value(page) -> torch.Tensor | None:
    return read_painting(page.evaluate("() => painter.value"))


class TestRasters:
    def test_codes_are_those_of_the_library(self, bare) -> None:
        assert bare.evaluate("() => [m.raster.NOT_PAINTED, m.raster.UNLABELLED]") == [NOT_PAINTED, UNLABELLED]

    def test_a_brush_of_one_pixel_paints_the_pixel_under_it(self, bare) -> None:
        painted = bare.evaluate("""() => {
            const r = m.raster.blank(3, 3);
            m.raster.drawLine(r, {x: 1.9, y: 0.1}, {x: 1.9, y: 0.1}, 1, 5);
            return rows(r).map(row => row.map(code => Number(code === 5)));
        }""")
        assert painted == [[0, 1, 0], [0, 0, 0], [0, 0, 0]]

    def test_a_brush_is_round_and_its_line_has_no_gaps(self, bare) -> None:
        painted = bare.evaluate("""() => {
            const r = m.raster.blank(9, 5);
            m.raster.drawLine(r, {x: 2.5, y: 2.5}, {x: 6.5, y: 2.5}, 4, 1);
            return rows(r).map(row => row.map(code => code === 1 ? "#" : ".").join(""));
        }""")
        assert painted == [
            "..#####..",
            ".#######.",
            "#########",
            ".#######.",
            "..#####..",
        ]

    def test_lines_beyond_the_border_are_cut_off_and_others_miss(self, bare) -> None:
        boxes = bare.evaluate("""() => {
            const r = m.raster.blank(8, 8);
            const line = (x, y) => m.raster.drawLine(r, {x: -4, y: -4}, {x, y}, 2, 1);
            return [line(1, 1), line(-4, 20), r.codes[0]];
        }""")
        assert boxes == [{"left": 0, "top": 0, "right": 3, "bottom": 3}, None, 1]

    def test_filling_stops_at_other_classes_and_does_not_pass_corners(self, bare) -> None:
        filled = bare.evaluate("""() => {
            const r = raster([[1, 1, 2, 1], [1, 2, 1, 1], [1, 1, 1, 2], [2, 2, 2, 1]]);
            const box = m.raster.fillRegion(r, 0, 0, 9, at => r.codes[at]);
            return [rows(r), box];
        }""")
        assert filled == [
            [[9, 9, 2, 9], [9, 2, 9, 9], [9, 9, 9, 2], [2, 2, 2, 1]],
            {"left": 0, "top": 0, "right": 4, "bottom": 3},
        ]

    @pytest.mark.parametrize("size", [(3, 5), (7, 4), (16, 16)])
    def test_sizes_change_as_in_the_library(self, bare, size: tuple[int, int]) -> None:
        ids = torch.arange(8 * 6).view(1, 8, 6)
        ours = bare.evaluate("([r, w, h]) => rows(m.raster.resized(raster(r), w, h))", [ids[0].tolist(), *size[::-1]])
        assert ours == resize_ids(ids, size)[0].tolist()


class TestText:
    def test_the_library_reads_what_the_page_writes(self, bare) -> None:
        torch.manual_seed(0)
        noise = torch.randint(0, 65536, (37, 53))
        blocks = torch.randint(0, 20, (8, 8)).repeat_interleave(40, 0).repeat_interleave(40, 1)
        for codes in (noise, blocks, torch.full((1, 1), NOT_PAINTED), torch.zeros(3, 700, dtype=torch.long)):
            text = bare.evaluate("r => m.png.write(raster(r))", codes.tolist())
            assert torch.equal(read_painting(text), codes)

    def test_the_page_reads_what_the_library_writes(self, bare) -> None:
        torch.manual_seed(1)
        smooth = (torch.arange(90)[:, None] * 300 + torch.arange(70) * 7) % 65536
        for codes in (torch.randint(0, 65536, (41, 29)), smooth, torch.full((5, 600), 7)):
            assert bare.evaluate("async t => rows(await m.png.read(t))", write_painting(codes)) == codes.tolist()

    def test_the_text_of_a_street_is_small(self, bare) -> None:
        codes = torch.full((512, 512), SKY)
        codes[256:] = ROAD
        for row in range(120):
            codes[300 + row, 100 + row // 2 : 300 - row // 3] = CAR
        assert len(bare.evaluate("r => m.png.write(raster(r))", codes.tolist())) < 8000

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("hello", "no PNG data URL"),
            ("data:image/png;base64,%%", "no base64"),
            ("data:image/png;base64,AAAA", "no PNG"),
            (write_painting(torch.randint(0, 99, (64, 64)))[:600], "damaged|less than"),
        ],
    )
    def test_other_text_is_refused(self, bare, text: str, message: str) -> None:
        told = bare.evaluate("t => m.png.read(t).then(() => '', error => error.message)", text)
        assert any(part in told for part in message.split("|")), told

    def test_a_small_text_that_promises_a_large_picture_is_refused(self, bare) -> None:
        wide = bare.evaluate("() => m.png.write({width: 5000, height: 1, codes: new Uint16Array(5000)})")
        assert "5000 x 1" in bare.evaluate("t => m.png.read(t).catch(error => error.message)", wide)


class TestHistory:
    def test_steps_are_taken_back_and_again(self, bare) -> None:
        states = bare.evaluate("""() => {
            const p = new m.painting.Painting(4, 2);
            const states = [];
            const letter = code => code === m.raster.NOT_PAINTED ? "." : code;
            const note = () => states.push(rows(p.shown).flat().map(letter).join(""));
            p.fill({x: 0, y: 0}, 1); note();
            p.begin(); p.line({x: 0.5, y: 0.5}, {x: 0.5, y: 0.5}, 1, 2); p.end(); note();
            p.clear(); note();
            p.undo(); note(); p.undo(); note(); p.undo(); note();
            p.redo(); note(); p.redo(); note();
            p.fill({x: 3, y: 1}, 3); note();
            states.push([p.canRedo, p.canUndo]);
            return states;
        }""")
        assert states == [
            "11111111",
            "21111111",
            "........",
            "21111111",
            "11111111",
            "........",
            "11111111",
            "21111111",
            "23333333",
            [False, True],
        ]

    def test_trying_sizes_loses_nothing_until_something_is_painted(self, bare) -> None:
        states = bare.evaluate("""() => {
            const p = new m.painting.Painting(4, 1);
            p.restore(raster([[1, 2, 3, 4]]));
            const states = [];
            const note = () => states.push([[...p.shown.codes], [...p.stored.codes]]);
            p.resize(2, 1); note();
            p.resize(4, 1); note();
            p.resize(2, 1); p.fill({x: 0, y: 0}, 9); note();
            p.undo(); note();
            p.resize(4, 1); note();
            p.redo(); note();
            return states;
        }""")
        small, full = [2, 4], [1, 2, 3, 4]
        assert states == [
            [small, full],
            [full, full],
            [[9, 4], [9, 4]],
            [small, full],
            [full, full],
            [[9, 9, 4, 4], [9, 4]],
        ]

    def test_what_lies_underneath_is_seen_and_not_stored(self, bare) -> None:
        result = bare.evaluate("""() => {
            const p = new m.painting.Painting(9, 9);
            p.setStart(raster([[1, 1, 2]]));
            const before = [p.shown.width, p.codeAt({x: 2.5, y: 0.5})];
            p.fill({x: 0, y: 0}, 5);
            const after = [[...p.stored.codes], p.codeAt({x: 0, y: 0}), p.codeAt({x: 2, y: 0})];
            p.setStart(null);
            return [before, after, p.shown.width];
        }""")
        assert result == [[3, 2], [[5, 5, NOT_PAINTED], 5, 2], 9]

    def test_painting_a_class_over_itself_is_no_step(self, bare) -> None:
        assert bare.evaluate("""() => {
            const p = new m.painting.Painting(2, 2);
            return [p.fill({x: 0, y: 0}, 1), p.fill({x: 0, y: 0}, 1), p.undo(), p.canUndo];
        }""") == [True, False, True, False]

    def test_a_stroke_that_is_called_off_leaves_no_trace(self, bare) -> None:
        assert bare.evaluate("""() => {
            const p = new m.painting.Painting(4, 4);
            p.begin(); p.line({x: 1, y: 1}, {x: 3, y: 3}, 2, 1); p.cancel();
            p.line({x: 1, y: 1}, {x: 3, y: 3}, 2, 1);
            return [m.raster.isBlank(p.shown), p.end(), p.canUndo];
        }""") == [True, False, False]


class TestElement:
    def test_the_legend_shows_the_table_and_picks(self, painter) -> None:
        shown = painter.locator(".am-painter-list button").all_inner_texts()
        assert shown == [*STREET.names, "unlabelled"]
        painter.get_by_placeholder("Find a class").fill("sk")
        assert painter.locator(".am-painter-legend button:visible").all_inner_texts() == ["sky"]
        painter.get_by_role("radio", name="sky").click()
        assert painter.evaluate("() => painter.tools.code") == SKY

    def test_painting_follows_the_pointer_on_a_fine_screen(self, painter, tmp_path: Path) -> None:
        assert (
            painter.evaluate("() => { const c = document.querySelector('canvas'); return c.width / c.clientWidth; }")
            == 2
        )
        painter.get_by_role("radio", name="sky").click()
        stroke(painter, (0.25, 0.25), (0.75, 0.25))
        painter.screenshot(path=tmp_path / "stroke.png")
        painted = (value(painter) == SKY).nonzero().float()
        assert painted.numel()
        top, left, bottom, right = [*painted.amin(0).tolist(), *painted.amax(0).tolist()]
        size = painter.evaluate("() => painter.tools.size")
        assert abs((top + bottom + 1) / 2 - 16) <= 1 and abs((left + right + 1) / 2 - 32) <= 1
        assert abs(right - left + 1 - (32 + size)) <= 2
        assert painter.evaluate("() => events") == ["changed"]

    def test_tools_by_keys(self, painter) -> None:
        painter.get_by_role("radio", name="road").click()
        painter.keyboard.press("f")
        painter.mouse.click(*place(painter, 0.5, 0.5))
        assert (value(painter) == ROAD).all()
        painter.get_by_role("radio", name="car").click()
        painter.keyboard.press("b")
        for key in ("[", "[", "]"):
            painter.keyboard.press(key)
        assert painter.evaluate("() => painter.tools.size") == 19  # 24, 19, 15, 19
        stroke(painter, (0.5, 0.5), (0.5, 0.5))
        painter.keyboard.press("i")
        painter.mouse.click(*place(painter, 0.9, 0.9))
        assert painter.evaluate("() => [painter.tools.code, painter.tools.name]") == [ROAD, "brush"]
        painter.mouse.click(*place(painter, 0.5, 0.5), button="right")
        assert painter.evaluate("() => painter.tools.code") == CAR
        painter.keyboard.press("e")
        stroke(painter, (0.1, 0.1), (0.1, 0.1))
        assert (value(painter) == NOT_PAINTED).any()
        painter.keyboard.press("Control+z")
        painter.keyboard.press("Control+z")
        assert (value(painter) == ROAD).all()
        painter.keyboard.press("Control+Shift+z")
        assert (value(painter) == CAR).any()
        painter.get_by_role("button", name="Clear").click()
        assert painter.evaluate("() => painter.value") == ""

    def test_zoom_by_wheel_keeps_the_point_under_the_pointer(self, painter) -> None:
        painter.locator(".am-painter").focus()
        at = place(painter, 0.25, 0.75)
        painter.mouse.move(*at)
        for _ in range(6):
            painter.mouse.wheel(0, -100)
        painter.wait_for_function("() => painter.view.zoomed")
        point = painter.evaluate("([x, y]) => painter.view.pointAt({clientX: x, clientY: y})", list(at))
        assert abs(point["x"] - 16) < 0.5 and abs(point["y"] - 48) < 0.5
        painter.keyboard.press("0")
        assert not painter.evaluate("() => painter.view.zoomed")
        assert painter.evaluate("() => events") == []

    def test_without_the_focus_the_wheel_and_the_middle_button_are_the_graph_s(self, painter) -> None:
        painter.evaluate("() => document.activeElement.blur()")
        painter.mouse.move(*place(painter, 0.5, 0.5))
        painter.mouse.wheel(0, -100)
        stroke(painter, (0.5, 0.5), (0.6, 0.6), button="middle")
        events = painter.evaluate("() => events")
        assert events[0] == "wheel" and events[1] == "pointerdown" and events[-1] == "pointerup"
        assert value(painter) is None

    def test_no_event_of_the_painter_reaches_the_page(self, painter) -> None:
        painter.evaluate("""() => {
            window.leaked = [];
            const note = event => leaked.push(event.type + (event.key ?? ""));
            const kinds = "keydown keyup pointerdown pointermove pointerup wheel contextmenu".split(" ");
            for (const kind of kinds) document.querySelector("#place").addEventListener(kind, note);
        }""")
        painter.locator(".am-painter").focus()
        stroke(painter, (0.2, 0.2), (0.4, 0.4))
        stroke(painter, (0.2, 0.2), (0.2, 0.2), button="right")
        painter.mouse.wheel(0, -100)
        for key in ("Delete", "b", "q", "Control+z", "Space"):
            painter.keyboard.press(key)
        assert set(painter.evaluate("() => leaked")) == {"keydownControl", "keyupControl"}
        painter.keyboard.press("Control+Enter")
        assert "keydownEnter" in painter.evaluate("() => leaked")

    def test_a_picture_can_be_the_start_and_be_taken_back(self, painter) -> None:
        painter.get_by_role("button", name="Load").click()
        painter.get_by_placeholder("Find a picture").fill("street")
        painter.get_by_role("button", name="sub/street.png").click()
        painter.wait_for_function("() => painter.value")
        assert value(painter).tolist() == [[7, 10], [7, 0]]
        assert painter.evaluate("() => events") == [["sub/street.png", "cityscapes19", "error"], [2, 2], "changed"]
        painter.keyboard.press("Control+z")
        painter.locator(".am-painter").press("Control+z")
        assert painter.evaluate("() => painter.value") == ""

    def test_another_table_changes_colours_and_keeps_ids(self, painter, tmp_path: Path) -> None:
        text = write_painting(torch.tensor([[SKY, 150], [UNLABELLED, ROAD]]))
        painter.evaluate("async text => { painter.value = text; await painter.ready; }", text)
        pixels = "table => [...m.classes && new m.classes.Classes(table).pixels()]"
        street = painter.evaluate(pixels, STREET.to_dict())
        ade = Palette.load("ade20k150")
        painter.evaluate("table => painter.setTable(table)", ade.to_dict())
        assert painter.evaluate("() => painter.value") == text
        assert "classes that this table does not have" in painter.locator(".am-painter-status").inner_text()
        assert painter.locator(".am-painter-list button").count() == 151
        other = painter.evaluate(pixels, ade.to_dict())
        assert street[SKY] != other[SKY] and street[UNLABELLED] == other[UNLABELLED] == 0xFF000000
        assert street[150] == 0xFFFF00FF and other[150] != street[150]
        assert street[NOT_PAINTED] == other[NOT_PAINTED] == 0

    def test_a_value_that_cannot_be_read_is_told_and_kept(self, painter) -> None:
        broken = "data:image/png;base64,AAAA"
        painter.evaluate("async text => { painter.value = text; await painter.ready; }", broken)
        assert "is no painting" in painter.locator(".am-painter-error").inner_text()
        assert painter.evaluate("() => painter.value") == broken
        painter.get_by_role("button", name="Clear").click()
        assert painter.evaluate("() => painter.value") == ""

    def test_errors_of_the_server_are_shown(self, painter) -> None:
        painter.evaluate("""() => {
            painter.server.labelPicture = async () => { throw new Error("colours that the palette does not have"); };
        }""")
        painter.get_by_role("button", name="Load").click()
        painter.get_by_role("button", name="a.png").click()
        assert "colours that the palette" in painter.locator(".am-painter-error").inner_text()

    def test_it_says_what_is_under_the_pointer(self, painter) -> None:
        text = write_painting(torch.full((64, 64), CAR))
        painter.evaluate("async text => { painter.value = text; await painter.ready; }", text)
        painter.mouse.move(*place(painter, 0.5, 0.5))
        assert painter.locator(".am-painter-status").inner_text().startswith("car at 3")


def test_tables_without_unlabelled_pixels_offer_none(bare) -> None:
    names = "table => new m.classes.Classes(table).entries.map(entry => entry.name)"
    faces = Palette.load("celebamaskhq19")
    assert bare.evaluate(names, json.loads(json.dumps(faces.to_dict()))) == list(faces.names)
