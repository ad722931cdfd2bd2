"""Lists of exemplars and targets as rows, and their results in a folder, executed as ComfyUI executes lists."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from amadapter_core.exemplar import Exemplar, Trajectory
from amadapter_core.label_maps import LabelMap, Palette
from amadapter_core.result_folder import ResultFolder
from tests.host.comfy.pack import finish, pack_module

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("comfy_modules")]

PALETTE = Palette.load("cityscapes19")
WIDGETS = {
    "folder": "batch",
    "pairing": "every exemplar with every target",
    "seed": 7,
    "seeds": "by row",
    "repeats": 1,
    "rows_at_once": 4,
    "save": "results",
}


def labels(*classes: int, size: tuple[int, int] = (8, 8)) -> LabelMap:
    """One plain label map per class."""
    return LabelMap(torch.stack([torch.full(size, i) for i in classes]), PALETTE)


def exemplar(name: str, label: int = 0, latent: float = 0.0) -> Any:
    trajectory = Trajectory(torch.tensor([0.0, 1.0]), torch.full((2, 4, 2, 2), latent))
    return pack_module("amadapter_core.hosts.comfy.exemplar").HostExemplar(
        Exemplar(trajectory, labels(label), name=name)
    )


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """ComfyUI's output folder; its input folder lies beside it."""
    import folder_paths

    for name in ("input", "output"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(folder_paths, f"{name}_directory", str(tmp_path / name))
    return tmp_path / "output"


def execute(node: str, **lists: Sequence[Any]) -> list[list[Any]]:
    """What a node's outputs hold after ComfyUI has mapped it over lists, as it does for every node."""
    import execution

    kind = getattr(pack_module("nodes.batch"), node)

    async def run() -> list[list[Any]]:
        kind.INPUT_TYPES()
        v3 = {"hidden_inputs": {}}
        returned = await execution._async_map_node_over_list("p", "1", kind, lists, kind.FUNCTION, v3_data=v3)
        return execution.get_output_from_returns(returned, kind)[0]

    return finish(run())


def pair(exemplars: list, targets: list, **widgets: Any) -> SimpleNamespace:
    connected = {name: widgets.pop(name) for name in list(widgets) if name.endswith(("_names", "_images"))}
    values = {name: [value] for name, value in (WIDGETS | widgets).items()}
    found = execute("AMAdapterPairExemplars", exemplars=exemplars, target_labels=targets, **values, **connected)
    names = ("exemplar", "target", "row_seed", "name", "row", "report")
    return SimpleNamespace(**dict(zip(names, found, strict=True)))


def result(value: float) -> Tensor:
    return torch.full((1, 8, 8, 3), value)


DAY, NIGHT = "day", "night"


def test_every_exemplar_meets_every_target_and_rows_keep_together(output: Path) -> None:
    exemplars = [exemplar(DAY), exemplar(NIGHT)]
    made = pair(exemplars, [labels(1), labels(2)], target_names=["x/a", "b"])
    assert made.name == ["day/x_a", "day/b", "night/x_a", "night/b"]
    assert made.exemplar == [exemplars[0]] * 2 + [exemplars[1]] * 2
    assert [int(target.ids[0, 0, 0]) for target in made.target] == [1, 2, 1, 2]
    assert len(set(made.row_seed)) == 4
    assert [row.seed for row in made.row] == made.row_seed
    assert made.report == ["4 rows, 0 finished, 4 now, 0 later"]


def test_batches_count_as_their_pictures_and_names_are_numbered(output: Path) -> None:
    made = pair([exemplar("exemplar"), exemplar("exemplar")], [labels(1, 2), labels(3)], rows_at_once=9)
    assert made.name[:3] == [f"exemplar_00001/target_0000{number}" for number in (1, 2, 3)]
    assert len(made.name) == 6 and all(target.batch == 1 for target in made.target)


def test_what_retrieval_found_is_paired_in_order(output: Path) -> None:
    found = [exemplar(name) for name in ("a", "b", "c", "a")]
    made = pair(found, [labels(1), labels(2)], pairing="in order")
    assert made.name == ["a/target_00001", "a/target_00002", "b/target_00001", "c/target_00002"]


def test_a_queue_run_takes_the_rows_that_have_no_result_yet(output: Path) -> None:
    inputs = [exemplar(DAY), exemplar(NIGHT)], [labels(1), labels(2), labels(3)]
    seen = []
    for now in (4, 2, 0):
        # Encoded anew, as after a restart: latents are rounded in another way then.
        inputs = [exemplar(DAY, latent=float(now)), exemplar(NIGHT)], inputs[1]
        made = pair(*inputs)
        assert made.report == [f"6 rows, {len(seen)} finished, {now} now, {6 - len(seen) - now} later"]
        if now:
            seen += made.name
            (files,) = execute("AMAdapterSaveBatch", result=[result(0.5)] * now, row=made.row)
            assert files == [f"batch/results/{name}.png" for name in made.name]
    assert len(set(seen)) == len(seen) == 6
    manifest = json.loads((output / "batch" / "manifest.json").read_text())
    assert [row["number"] for row in manifest["rows"]] == [1, 2, 3, 4, 5, 6]
    assert {(row["exemplar"], row["target"]) for row in manifest["rows"]} == {
        (e, f"target_0000{t}") for e in (DAY, NIGHT) for t in (1, 2, 3)
    }
    assert (manifest["done"], manifest["failed"]) == (6, 0)
    assert len(list((output / "batch" / "results").rglob("*.png"))) == 6


def test_when_all_are_finished_nothing_that_follows_runs(output: Path) -> None:
    made = pair([exemplar(DAY)], [labels(1)])
    execute("AMAdapterSaveBatch", result=[result(0.1)], row=made.row)
    made = pair([exemplar(DAY)], [labels(1)])
    assert made.report == ["1 rows, 1 finished, 0 now, 0 later"]
    before = (output / "batch" / "records.jsonl").read_text()
    assert type(made.row[0]).__name__ == "ExecutionBlocker" and made.row[0].message is None
    execute("AMAdapterSaveBatch", result=[result(0.9)], row=made.row)
    assert (output / "batch" / "records.jsonl").read_text() == before


def test_a_picture_that_was_taken_away_is_made_again_and_the_queue_notices(output: Path) -> None:
    node = pack_module("nodes.batch").AMAdapterPairExemplars
    states = [node.fingerprint_inputs(folder=["batch"])]
    made = pair([exemplar(DAY)], [labels(1)])
    execute("AMAdapterSaveBatch", result=[result(0.1)], row=made.row)
    states.append(node.fingerprint_inputs(folder=["batch"]))
    (output / "batch" / "results" / f"{made.name[0]}.png").unlink()
    states.append(node.fingerprint_inputs(folder=["batch"]))
    assert len(set(states)) == 3
    assert pair([exemplar(DAY)], [labels(1)]).name == made.name


def test_triplets_show_the_exemplar_and_lie_beside_the_results(output: Path) -> None:
    made = pair([exemplar(DAY)], [labels(1)], save="results and triplets", exemplar_images=[torch.ones(1, 8, 8, 3)])
    execute("AMAdapterSaveBatch", result=[result(0.5)], row=made.row)
    record = ResultFolder(output / "batch").summary({"name": made.name[0]})
    assert record["result"] == "results/day/target_00001.png"
    with (
        Image.open(output / "batch" / record["triplet"]) as drawn,
        Image.open(output / "batch" / record["result"]) as own,
    ):
        assert drawn.width > 4 * own.width
        assert np.array(own).min() == np.array(own).max() == 128


def test_pictures_carry_their_workflow(output: Path) -> None:
    batch = pack_module("amadapter_core.hosts.comfy.batch")
    (row,) = pair([exemplar(DAY)], [labels(1)]).row
    (file,) = batch.save_row(row, result(0.5), {"prompt": {"1": {}}})
    with Image.open(output / file) as picture:
        assert json.loads(picture.text["prompt"]) == {"1": {}}


@pytest.mark.parametrize(
    ("widgets", "told"),
    [
        ({"folder": "../x"}, "folder is '../x'; expected a name"),
        ({"folder": " "}, "folder is ' '; expected a name"),
        ({"save": "triplets"}, "connect exemplar_images, or save results alone"),
        ({"target_names": ["a", "b"]}, "2 target_names for 1 targets"),
        ({"exemplar_images": [torch.ones(2, 8, 8, 3)]}, "2 exemplar_images for 1 exemplars"),
    ],
)
def test_mistakes_are_told(output: Path, widgets: dict, told: str) -> None:
    with pytest.raises(ValueError, match="Pair Exemplars with Targets: ") as raised:
        pair([exemplar(DAY)], [labels(1)], **widgets)
    assert told in str(raised.value)


def test_other_inputs_under_the_same_names_and_several_pictures_of_a_row_are_refused(output: Path) -> None:
    made = pair([exemplar(DAY)], [labels(1)])
    with pytest.raises(ValueError, match="Save Batch Results: the row day/target_00001 has 2 results"):
        execute("AMAdapterSaveBatch", result=[torch.zeros(2, 8, 8, 3)], row=made.row)
    execute("AMAdapterSaveBatch", result=[result(0.1)], row=made.row)
    for other in ({"seed": 8}, {}):
        with pytest.raises(ValueError, match="results of other exemplars, targets or seeds under 1 of these names"):
            pair([exemplar(DAY)], [labels(1 if other else 2)], **other)


def test_folders_become_lists_of_pairs_with_their_names(output: Path) -> None:
    root = output.parent / "input"
    for number, name in enumerate(("b", "a", "c")):
        ids = Image.fromarray(np.full((8, 6), number, np.uint8))
        for place, picture in (
            ("set/images", Image.new("RGB", (6, 8), (255, 0, 0))),
            ("set/labels", ids),
            ("maps", ids),
        ):
            (root / place).mkdir(parents=True, exist_ok=True)
            picture.save(root / place / f"{name}.png")
    widgets = {"split": "", "palette": "cityscapes19", "reading": "ids", "first": 0, "count": 2}

    def load(**changed: Any) -> list[list[Any]]:
        return execute("AMAdapterLoadPairs", **{name: [value] for name, value in (widgets | changed).items()})

    images, maps, names = load(folder="set", kind="folder")
    assert names == ["a", "b"]
    assert [tuple(image.shape) for image in images] == [(1, 8, 6, 3)] * 2
    assert float(images[0][0, 0, 0, 0]) == 1 and [int(one.ids.max()) for one in maps] == [1, 0]
    assert load(folder=str(root / "set"), kind="folder", first=2, count=0)[2] == ["c"]
    images, maps, names = load(folder="maps", kind="label maps alone", count=0)
    assert names == ["a", "b", "c"] and torch.equal(images[0], maps[0].colours())
    for changed, told in (
        ({"folder": "", "kind": "folder"}, "folder is empty"),
        ({"folder": "set", "kind": "folder", "first": 3}, "has 3 pairs or label maps, none from number 3 on"),
        ({"folder": "maps", "kind": "label maps alone", "palette": "the data set's own"}, "choose the palette"),
        ({"folder": "gone", "kind": "folder"}, "no folder"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=f"Load Pairs from Folder: .*{told}"):
            load(**changed)
