"""Plans: who meets whom, under which name and seed; as files; and the folder that results are put in."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from amadapter_core.batch.__main__ import main
from amadapter_core.batch.dealing import Dealer
from amadapter_core.batch.plan import Plan, Row, Settings
from amadapter_core.batch.plan_files import read_plan, write_plan
from amadapter_core.label_reading import Reading
from amadapter_core.pairing import BY_ROW, BY_TARGET, IN_ORDER, file_names, meetings
from amadapter_core.result_folder import RECORDS, RESULT, TRIPLET, ResultFolder, check_name, locked

DAY_AND_NIGHT, CROSSINGS = ["day", "night"], ["a", "b", "c"]


def pairs(*arguments, **options) -> list[tuple[int, int]]:
    return [(met.exemplar, met.target) for met in meetings(*arguments, **options)]


def row(exemplar: str = "day", target: str = "a", seed: int = 0, **settings) -> Row:
    return Row(
        f"{exemplar}/{target}", f"{exemplar}.jpg", (f"{exemplar}.png",), (f"{target}.png",), seed, Settings(**settings)
    )


class TestPairing:
    def test_every_exemplar_meets_every_target_exemplar_by_exemplar(self) -> None:
        met = meetings(DAY_AND_NIGHT, CROSSINGS)
        assert [(m.exemplar, m.target) for m in met] == [(e, t) for e in range(2) for t in range(3)]
        assert [m.name for m in met] == ["day/a", "day/b", "day/c", "night/a", "night/b", "night/c"]

    def test_in_order_each_target_has_its_share(self) -> None:
        assert pairs(["x", "y"], ["a", "b"], pairing=IN_ORDER) == [(0, 0), (1, 1)]
        # x was retrieved for both targets: its rows stand together.
        assert pairs(["x", "y", "z", "x"], ["a", "b"], pairing=IN_ORDER) == [(0, 0), (3, 1), (1, 0), (2, 1)]
        with pytest.raises(ValueError, match="3 exemplars cannot be shared out among 2 targets"):
            meetings(["x", "y", "z"], ["a", "b"], pairing=IN_ORDER)

    def test_published_retrieval_decides_and_may_leave_out_folders_and_endings(self) -> None:
        found = {"b": ["val/night.jpg", "day"], "a.png": ["day"], "elsewhere": ["gone"]}
        assert pairs(["train/day", "train/night"], ["val/a", "val/b"], retrieved=found) == [(0, 0), (0, 1), (1, 1)]
        assert pairs(["day", "night"], ["a", "b"], retrieved=found, count=1) == [(0, 0), (1, 1)]
        with pytest.raises(ValueError, match="no exemplar is called 'day'"):
            meetings(["night"], ["a"], retrieved=found)
        with pytest.raises(ValueError, match="none of the 1 targets"):
            meetings(["day"], ["z"], retrieved=found)

    def test_a_seed_stays_when_others_are_added(self) -> None:
        few = {m.name: m.seed for m in meetings(["night"], ["c"], seed=5, seeds=BY_ROW)}
        many = {m.name: m.seed for m in meetings(DAY_AND_NIGHT, CROSSINGS, seed=5, seeds=BY_ROW)}
        assert few.items() <= many.items()
        assert len(set(many.values())) == 6

    def test_targets_may_share_their_seed_and_repeats_have_the_next(self) -> None:
        met = meetings(DAY_AND_NIGHT, CROSSINGS, seed=5, seeds=BY_TARGET, repeats=2)
        seeds = {m.name: m.seed for m in met}
        assert seeds["day/a-1"] == seeds["night/a-1"] != seeds["day/b-1"]
        assert seeds["day/a-2"] == seeds["day/a-1"] + 1
        assert {m.seed for m in meetings(DAY_AND_NIGHT, CROSSINGS, seed=5)} == {5}

    def test_names_are_fit_for_files_and_stay_apart(self) -> None:
        names = ["val/a b", "val_a_b", "VAL_A_B", "../x", "???", "val/a b"]
        assert file_names(names) == ["val_a_b", "val_a_b-2", "VAL_A_B-3", "x", "unnamed", "val_a_b"]
        with pytest.raises(ValueError, match="1 pairs come more than once: day with a"):
            meetings(["day", "day"], ["a"])
        with pytest.raises(ValueError, match="0 exemplars and 1 targets"):
            meetings([], ["a"])


class TestPlanFiles:
    @pytest.mark.parametrize("ending", [".json", ".yaml", ".parquet"])
    def test_what_is_written_is_read(self, tmp_path: Path, ending: str) -> None:
        if ending == ".parquet":
            pytest.importorskip("pyarrow")
        faces = Reading("celebamaskhq19", "parts")
        rows = (
            row("day", "a", 7, prompt="a street", strength=0.5),
            row("day", "b", 8, prompt="a street", target_reading=faces),
            replace(row("night", "b", prompt="a street"), target_labels=("b_hair.png", "b_skin.png")),
        )
        write_plan(tmp_path / f"plan{ending}", Plan(rows, tmp_path))
        read = read_plan(tmp_path / f"plan{ending}")
        assert read == Plan(rows, tmp_path)

    def test_shared_settings_are_written_once_and_paths_stay_with_the_file(self, tmp_path: Path) -> None:
        plan = Plan((row("day", "a", steps=3), row("day", "b", steps=3, mode="implicit")), tmp_path / "data")
        write_plan(tmp_path / "data" / "plan.json", plan)
        content = json.loads((tmp_path / "data" / "plan.json").read_text())
        assert content["settings"] == {"steps": 3}
        assert content["rows"][0]["exemplar"] == "day.jpg" and content["rows"][1]["mode"] == "implicit"
        write_plan(tmp_path / "elsewhere" / "plan.json", plan)
        assert read_plan(tmp_path / "elsewhere" / "plan.json").rows[0].exemplar == str(tmp_path / "data" / "day.jpg")

    def test_a_plan_by_hand_needs_little(self, tmp_path: Path) -> None:
        path = tmp_path / "plan.json"
        path.write_text(
            json.dumps(
                {
                    "root": "data",
                    "settings": {"steps": 5, "reading": {"palette": "bdd100k19"}},
                    "rows": [
                        {"exemplar": "in/day.jpg", "exemplar_labels": "day.png", "target_labels": ["a.png"]},
                        {
                            "name": "second",
                            "exemplar": "day.jpg",
                            "exemplar_labels": "day.png",
                            "target_labels": "a.png",
                            "strength": 1,
                            "reading.holds": "ids",
                        },
                    ],
                }
            )
        )
        plan = read_plan(path)
        assert [r.name for r in plan.rows] == ["day/a", "second"]
        assert plan.root == tmp_path / "data"
        assert plan.rows[0].settings == Settings(steps=5, reading=Reading("bdd100k19"))
        assert plan.rows[1].settings == Settings(steps=5, reading=Reading("bdd100k19", "ids"))

    @pytest.mark.parametrize(
        ("rows", "told"),
        [
            ([{"exemplar": "x"}], "row 1: the setting exemplar_labels is missing"),
            ([{}, {"stepz": 3}], "row 1: the setting exemplar is missing"),
            (["x"], "row 1: expected names with values"),
            ([{"stepz": 3}], "row 1: unknown setting stepz; did you mean steps?"),
            ([{"mode": "learnt"}], "row 1: mode is 'learnt'; did you mean learned?"),
            ([{"name": "../x"}], "row 1: '../x' is no name for a result"),
            ([{"name": "x"}, {"name": "X"}], "rows 1 and 2 are both called 'X'"),
            ([{"target_labels": []}], "row 1: target_labels names no file"),
            ([], "holds no rows"),
        ],
    )
    def test_mistakes_are_told_by_row(self, tmp_path: Path, rows: list, told: str) -> None:
        usual = {"name": "x", "exemplar": "x", "exemplar_labels": "x", "target_labels": "x"}
        if "missing" not in told:
            rows = [usual | given if isinstance(given, dict) else given for given in rows]
        (tmp_path / "plan.json").write_text(json.dumps(rows))
        with pytest.raises(ValueError, match=re.escape(told)):
            read_plan(tmp_path / "plan.json")

    def test_what_is_no_plan_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="no plan"):
            read_plan(tmp_path / "plan.json")
        (tmp_path / "plan.json").write_text("{")
        with pytest.raises(ValueError, match="plan.json: not a JSON file"):
            read_plan(tmp_path / "plan.json")
        (tmp_path / "plan.txt").write_text("")
        with pytest.raises(ValueError, match=r"plan\.txt is no plan"):
            read_plan(tmp_path / "plan.txt")

    def test_missing_files_are_listed_with_their_rows(self, tmp_path: Path) -> None:
        for name in ("day.jpg", "day.png", "a.png"):
            (tmp_path / name).touch()
        plan = Plan((row("day", "a"), row("day", "b"), row("night", "b")), tmp_path)
        assert plan.missing() == [
            "rows 2, 3: target_labels: no file b.png",
            "row 3: exemplar: no file night.jpg",
            "row 3: exemplar_labels: no file night.png",
        ]
        with pytest.raises(FileNotFoundError, match="3 files of the plan are missing .*nothing was computed"):
            plan.check_files()


def test_own_palettes_lie_with_the_plan_and_are_looked_for_before_anything(tmp_path: Path) -> None:
    usual = {"exemplar": "x.jpg", "exemplar_labels": "x.png", "target_labels": "x.png"}
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({"settings": {"reading.palette": "mine.json"}, "rows": [usual]}))
    plan = read_plan(path)
    assert plan.rows[0].settings.reading.palette == str(tmp_path / "mine.json")
    with pytest.raises(FileNotFoundError, match=r"mine\.json' is neither a built-in palette"):
        plan.check_files()


def test_keys_follow_everything_that_decides_the_picture(tmp_path: Path) -> None:
    for name in ("day.jpg", "day.png", "a.png"):
        (tmp_path / name).write_text(name)
    plan = Plan((row(),), tmp_path)
    (key,) = plan.keys("model").values()
    moved = Plan((replace(row(), exemplar=str(tmp_path / "day.jpg")),), tmp_path)
    assert moved.keys("model") == {"day/a": key}
    others = [Plan((r,), tmp_path).keys("model") for r in (row(seed=1), row(steps=3), row(reading=Reading("nyu40")))]
    others.append(plan.keys("other model"))
    (tmp_path / "a.png").write_text("changed")
    others.append(plan.keys("model"))
    assert len({key, *(k for found in others for k in found.values())}) == 6


class TestDealing:
    ROWS = [row(e, t, prompt=p) for t in CROSSINGS for p, e in zip(("x", "y"), DAY_AND_NIGHT, strict=True)]

    def test_one_worker_goes_exemplar_by_exemplar(self) -> None:
        dealer = Dealer(self.ROWS)
        dealt = [dealer.deal(0) for _ in range(6)]
        assert [r.exemplar for r in dealt] == ["day.jpg"] * 3 + ["night.jpg"] * 3
        assert dealer.deal(0) is None and len(dealer) == 0

    def test_rows_of_one_exemplar_that_share_its_banks_stand_together(self) -> None:
        rows = [row("day", t, prompt=p) for t in CROSSINGS for p in ("x", "y")]
        dealer = Dealer(rows)
        assert [dealer.deal(0).settings.prompt for _ in rows] == ["x"] * 3 + ["y"] * 3

    def test_workers_have_exemplars_of_their_own_and_help_at_the_end(self) -> None:
        dealer = Dealer(self.ROWS)
        assert {dealer.deal(worker).exemplar for worker in (0, 1)} == {"day.jpg", "night.jpg"}
        assert [dealer.deal(1).exemplar for _ in range(2)] == ["night.jpg"] * 2
        assert dealer.deal(1).exemplar == "day.jpg"
        assert dealer.deal(0).exemplar == "day.jpg"
        assert dealer.deal(0) is dealer.deal(1) is None

    def test_what_came_back_is_dealt_again(self) -> None:
        dealer = Dealer(self.ROWS)
        first = dealer.deal(0)
        dealer.back(first)
        assert len(dealer) == 6
        assert first in [dealer.deal(0) for _ in range(6)]


class TestResultFolder:
    def test_a_row_is_finished_when_its_pictures_and_its_record_are_there(self, tmp_path: Path) -> None:
        results = ResultFolder(tmp_path)
        results.keep("day/a", "key", {RESULT: b"picture"}, seed=3)
        for folder in (results, ResultFolder(tmp_path)):
            assert folder.is_finished("day/a", "key")
            assert not folder.is_finished("day/a", "other")
            assert not folder.is_finished("day/a", "key", (RESULT, TRIPLET))
            assert not folder.is_finished("day/b", "key")
        assert folder.clashes({"day/a": "other", "day/b": "key"}) == ["day/a"]
        (tmp_path / "results" / "day" / "a.png").write_bytes(b"cut")
        assert not folder.is_finished("day/a", "key")

    def test_a_failed_row_is_not_finished_and_says_why_until_it_is_made(self, tmp_path: Path) -> None:
        results = ResultFolder(tmp_path)
        results.fail("a", "key", "broken")
        assert not results.is_finished("a", "key")
        assert results.summary({"name": "a"})["message"] == "broken"
        results.keep("a", "key", {RESULT: b"x"})
        assert ResultFolder(tmp_path).summary({"name": "a"}) == {
            "name": "a",
            "state": "done",
            "key": "key",
            "result": "results/a.png",
        }

    def test_what_a_killed_process_leaves_does_no_harm(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        results = ResultFolder(tmp_path)
        results.keep("a", "key", {RESULT: b"x"})
        with open(tmp_path / RECORDS, "ab") as file:
            file.write(b'{"name": "b", "key": "key", "state": "do')
        (tmp_path / "results" / "b.png").write_bytes(b"whole, but not recorded")
        (tmp_path / "results" / ".c.png.0.part").write_bytes(b"half")
        with caplog.at_level(logging.WARNING):
            again = ResultFolder(tmp_path)
        assert "line 2 is not complete" in caplog.text
        assert again.is_finished("a", "key") and not again.is_finished("b", "key")
        again.keep("b", "key", {RESULT: b"anew"})
        assert ResultFolder(tmp_path).is_finished("b", "key")
        assert (tmp_path / "results" / "b.png").read_bytes() == b"anew"

    def test_the_manifest_lists_the_rows_of_the_plan_in_its_order(self, tmp_path: Path) -> None:
        results = ResultFolder(tmp_path)
        results.keep("b", "key", {RESULT: b"x"}, seconds=1.5)
        results.fail("a", "key", "broken")
        results.write_manifest(
            [{"name": "a", "seed": 1}, {"name": "b", "seed": 2}, {"name": "c", "seed": 3}], model="m"
        )
        manifest = json.loads((tmp_path / "manifest.json").read_text())
        assert [(r["name"], r["state"], r["seed"]) for r in manifest["rows"]] == [
            ("a", "failed", 1),
            ("b", "done", 2),
            ("c", "open", 3),
        ]
        assert (manifest["done"], manifest["failed"], manifest["open"], manifest["model"]) == (1, 1, 1, "m")

    @pytest.mark.parametrize(
        "name", ["", "/x", "x/", "../x", "a/../b", ".x", "a\\b", "c:x", "x ", "x.", "a\nb", "x" * 201]
    )
    def test_names_that_leave_the_folder_or_are_no_files_are_refused(self, name: str, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="is no name for a result"):
            check_name(name)
        with pytest.raises(ValueError, match="is no name for a result"):
            ResultFolder(tmp_path / "in").keep(name, "key", {RESULT: b"x"})
        assert list(tmp_path.iterdir()) == []

    def test_one_process_at_a_time(self, tmp_path: Path) -> None:
        with locked(tmp_path), pytest.raises(ValueError, match="being filled by another process"), locked(tmp_path):
            pass
        with locked(tmp_path):
            pass


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """A plain folder of exemplars, and one of target label maps alone."""
    for name in DAY_AND_NIGHT:
        for folder, picture in (("images", Image.new("RGB", (8, 8))), ("labels", Image.new("L", (8, 8)))):
            path = tmp_path / "exemplars" / folder / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path)
    for name in CROSSINGS:
        path = tmp_path / "targets" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(path)
    return tmp_path


class TestThePlanCommand:
    def plan(self, folders: Path, *options: str) -> Plan:
        arguments = ["plan", *(str(folders / name) for name in ("plan.json", "exemplars", "targets"))]
        assert main([*arguments, "--target-kind", "maps", "--palette", "cityscapes19", *options]) == 0
        return read_plan(folders / "plan.json")

    def test_it_pairs_folders(self, folders: Path, capsys: pytest.CaptureFixture) -> None:
        plan = self.plan(folders, "--seed", "4", "--set", "prompt=a street", "steps=3")
        told = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert (told["rows"], told["exemplars"], told["targets"]) == (6, 2, 3)
        first = plan.rows[0]
        assert (first.name, first.exemplar, first.target_labels) == (
            "day/a",
            "exemplars/images/day.png",
            ("targets/a.png",),
        )
        assert (first.seed, first.settings.prompt, first.settings.steps) == (4, "a street", 3)
        assert first.settings.reading == Reading("cityscapes19", "ids")
        plan.check_files()

    def test_it_reads_published_retrieval(self, folders: Path, capsys: pytest.CaptureFixture) -> None:
        (folders / "found.json").write_text(json.dumps({"b": ["night", "day"], "a": ["day"]}))
        plan = self.plan(folders, "--retrieval", str(folders / "found.json"), "--count", "1")
        assert [r.name for r in plan.rows] == ["day/a", "night/b"]
        assert json.loads(capsys.readouterr().out.splitlines()[-1])["targets_left_out"] == 1

    def test_mistakes_are_told_and_nothing_is_written(self, folders: Path, capsys: pytest.CaptureFixture) -> None:
        arguments = ["plan", str(folders / "plan.json"), str(folders / "exemplars"), str(folders / "targets")]
        for options, told in (
            (["--set", "stepz=3"], "did you mean steps?"),
            (["--set", "steps"], "write KEY=VALUE"),
            ([], "say which palette"),
            (["--palette", "cityscapes19"], "no folder"),
        ):
            assert main([*arguments, *options]) == 2
            assert told in capsys.readouterr().err
        assert not (folders / "plan.json").exists()
