"""The Semantic Painter, executed as ComfyUI does, and what its frontend asks the server for."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from amadapter_core.label_maps import LabelMap, Palette
from amadapter_core.painting import NOT_PAINTED, UNLABELLED, read_painting, write_painting
from tests.host.comfy.pack import finish, pack_module

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("comfy_modules", "model_folder")]

STREET = Palette.load("cityscapes19")
ROAD, SKY, CAR = (STREET.id_of(name) for name in ("road", "sky", "car"))
PAINTING = torch.tensor([[SKY, NOT_PAINTED], [CAR, UNLABELLED]])


def run(painting: str, labels: LabelMap | None = None, **values):
    node = pack_module("nodes.painter").AMAdapterSemanticPainter
    given = {"palette": "cityscapes19", "width": 2, "height": 2, "painting": painting} | values
    return node.execute(**given, labels=labels)


def test_what_is_painted_comes_out_as_a_label_map_and_in_its_colours() -> None:
    output = run(write_painting(PAINTING))
    labels, colours = output.args
    assert labels.ids.tolist() == [[[SKY, 255], [CAR, 255]]]
    assert (colours[0, 0, 0] * 255).round().tolist() == list(STREET.colours[SKY])
    assert output.ui is None


def test_a_connected_label_map_shows_through_and_is_sent_to_the_frontend() -> None:
    ade = Palette.load("ade20k150")
    start = LabelMap(torch.tensor([[[1, 2], [3, 0]], [[4, 4], [4, 4]]]), ade)
    output = run(write_painting(PAINTING), start, width=64)
    assert output.args[0].ids.tolist() == [[[SKY, 2], [CAR, 0]], [[SKY, 4], [CAR, 0]]]
    assert output.args[0].palette is ade
    assert read_painting(output.ui["start"][0]).tolist() == [[1, 2], [3, UNLABELLED]]
    assert output.ui["table"] == [ade.to_dict()]


def test_errors_name_the_node() -> None:
    with pytest.raises(ValueError, match="^Semantic Painter: the painting starts with 'hello'"):
        run("hello")
    with pytest.raises(ValueError, match="^Semantic Painter: 1 of 4 pixels are painted in 1 classes"):
        run(write_painting(torch.tensor([[99, 0], [0, 0]])))


def test_an_edited_palette_runs_the_node_anew(model_folder: Path) -> None:
    node = pack_module("nodes.painter").AMAdapterSemanticPainter
    own = model_folder / "am_adapter" / "palettes" / "own.json"
    own.parent.mkdir(parents=True)
    own.write_text('{"classes": [{"name": "a", "colour": [1, 2, 3]}]}')
    before = node.fingerprint_inputs("own.json")
    own.write_text('{"classes": [{"name": "b", "colour": [1, 2, 3]}]}')
    assert node.fingerprint_inputs("own.json") != before


class Routes(dict):
    """A server's routes, each callable with the query as keywords."""

    def get(self, path: str):
        return lambda handler: self.setdefault(path, handler)

    def ask(self, what: str, **query: str) -> tuple[int, str]:
        answer = finish(self[f"/am_adapter/{what}"](SimpleNamespace(query=query)))
        return answer.status, answer.text


@pytest.fixture
def routes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Routes:
    import folder_paths

    found = Routes()
    server = SimpleNamespace(PromptServer=SimpleNamespace(instance=SimpleNamespace(routes=found)))
    monkeypatch.setitem(sys.modules, "server", server)
    monkeypatch.setattr(folder_paths, "input_directory", str(tmp_path))
    pack_module("amadapter_core.hosts.comfy.painter").register()
    return found


def test_the_frontend_gets_tables_pictures_and_label_maps(routes: Routes, tmp_path: Path) -> None:
    ids = np.array([[ROAD, SKY], [CAR, 255]], dtype=np.uint8)
    Image.fromarray(ids).save(tmp_path / "map.png")
    assert json.loads(routes.ask("palette", name="nyu40")[1]) == Palette.load("nyu40").to_dict()
    assert json.loads(routes.ask("pictures")[1]) == ["map.png"]
    status, text = routes.ask("label_picture", image="map.png", palette="cityscapes19", unknown="error")
    assert status == 200
    assert read_painting(json.loads(text)).tolist() == [[ROAD, SKY], [CAR, UNLABELLED]]


@pytest.mark.parametrize(
    ("what", "query", "message"),
    [
        ("palette", {"name": "nothing"}, "there is no palette"),
        ("palette", {"name": "../../secret.json"}, "there is no palette"),
        ("palette", {}, "name"),
        ("label_picture", {"image": "gone.png", "palette": "nyu40"}, "no picture 'gone.png'"),
        ("label_picture", {"image": "../secret.png", "palette": "nyu40"}, "secret.png"),
        ("label_picture", {"image": "photo.png", "palette": "nyu40"}, "does not have|unknown"),
    ],
)
def test_what_cannot_be_answered_is_said(routes: Routes, tmp_path: Path, what: str, query: dict, message: str) -> None:
    (tmp_path / "secret.json").write_text('{"classes": [{"name": "a", "colour": [1, 2, 3]}]}')
    Image.new("RGB", (4, 4), (1, 2, 3)).save(tmp_path / "photo.png")
    status, text = routes.ask(what, **query)
    assert status == 400
    assert any(part in json.loads(text)["error"] for part in message.split("|")), text


def test_without_a_server_nothing_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    for server in (None, SimpleNamespace(PromptServer=SimpleNamespace())):
        monkeypatch.setitem(sys.modules, "server", server)
        pack_module("amadapter_core.hosts.comfy.painter").register()
