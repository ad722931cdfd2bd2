"""Batches on diffusers: broken input, a killed process, many workers; on the demonstration family, random weights."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from amadapter_core.batch import on_ray
from amadapter_core.batch.__main__ import main
from amadapter_core.batch.model import Model
from amadapter_core.batch.plan import Plan, Row, Settings
from amadapter_core.batch.plan_files import read_plan, write_plan
from amadapter_core.batch.running import fill
from amadapter_core.batch.synthesis import LocalPool, Synthesiser
from amadapter_core.label_maps import LabelMap, Palette
from amadapter_core.label_reading import Reading
from amadapter_core.pairing import BY_ROW, meetings
from amadapter_core.result_folder import RESULT, ResultFolder
from tests.host.conftest import labels

ROOT = Path(__file__).resolve().parents[2]
FAST = Settings(prompt="a street", mode="learned", steps=2, encoding_steps=2, reading=Reading("cityscapes19", "ids"))
EXEMPLARS, TARGETS = ["day", "night"], ["a", "b", "c"]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model(demo_flat: Path) -> Model:
    return Model(str(demo_flat))


@pytest.fixture(scope="module")
def synthesiser(model: Model) -> Synthesiser:
    return Synthesiser(model, "cpu", Path())


def save_labels(path: Path, rows: list[list[int]]) -> LabelMap:
    made = labels(rows)
    Image.fromarray(made.ids[0].byte().numpy()).save(path)
    return made


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Two exemplars and three targets, as files; `plan.json` pairs them."""
    noise = np.random.default_rng(0)
    for number, name in enumerate(EXEMPLARS):
        save_labels(tmp_path / f"{name}.png", [[0, 1 + number, 2], [0, 0, 2], [10, 10, 2]])
        Image.fromarray(noise.integers(0, 255, (48, 48, 3), np.uint8)).save(tmp_path / f"{name}.jpg")
    for number, name in enumerate(TARGETS):
        save_labels(tmp_path / f"{name}.png", [[0, 0, 2, 2], [0, number, 2, 2], [10, 10, 2, 0]])
    rows = tuple(
        Row(m.name, f"{e}.jpg", (f"{e}.png",), (f"{TARGETS[m.target]}.png",), m.seed, FAST)
        for m in meetings(EXEMPLARS, TARGETS, seeds=BY_ROW)
        for e in [EXEMPLARS[m.exemplar]]
    )
    made = Plan(rows, tmp_path)
    write_plan(tmp_path / "plan.json", made)
    return made


def pictures(out: Path, folder: str = "results") -> dict[str, bytes]:
    root = out / folder
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*.png"))}


def run(plan: Plan, out: str, demo_flat: Path, *options: str) -> int:
    return main(["run", str(plan.root / "plan.json"), str(plan.root / out), "--model", str(demo_flat), *options])


def told(capsys: pytest.CaptureFixture) -> dict[str, Any]:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def counts(capsys: pytest.CaptureFixture) -> dict[str, int]:
    summary = told(capsys)
    return {key: summary[key] for key in ("done", "failed", "skipped")}


def test_a_row_is_what_the_pipeline_makes_of_its_files(plan: Plan, synthesiser: Synthesiser) -> None:
    row = plan.rows[3]
    synthesiser.root = plan.root
    made = np.array(Image.open(BytesIO(synthesiser.make(row)[RESULT])))
    palette = Palette.load("cityscapes19")
    exemplar, target = (LabelMap.from_ids(plan.root / path, palette) for path in ("night.png", "a.png"))
    pipeline = synthesiser.pipeline
    encoded = pipeline.encode_exemplar(Image.open(plan.root / "night.jpg"), exemplar, steps=2)
    expected = pipeline(
        "a street",
        encoded,
        target_labels=target,
        mode="learned",
        num_inference_steps=2,
        generator=torch.Generator().manual_seed(row.seed),
    ).images[0]
    assert made.shape == (48, 64, 3)
    assert np.array_equal(made, np.array(expected))


def test_rows_do_not_depend_on_those_before_and_share_what_is_computed(
    plan: Plan, synthesiser: Synthesiser, monkeypatch: pytest.MonkeyPatch
) -> None:
    synthesiser.root = plan.root
    synthesiser._forget()
    encoded = []
    encode = synthesiser.pipeline.encode_exemplar
    monkeypatch.setattr(
        synthesiser.pipeline, "encode_exemplar", lambda *a, **k: encoded.append(k["name"]) or encode(*a, **k)
    )
    last = plan.rows[2]
    alone = synthesiser.make(last)
    results = ResultFolder(plan.root / "out")
    fill(results, plan.rows[:3], LocalPool(synthesiser), plan.keys(""))
    assert encoded == ["day.jpg"]
    assert pictures(plan.root / "out")["day/c.png"] == alone[RESULT]


def test_the_shorter_side_may_be_told(plan: Plan, synthesiser: Synthesiser) -> None:
    synthesiser.root = plan.root
    settings = Settings(mode="implicit", steps=1, encoding="noise", side=64, reading=FAST.reading)
    row = plan.rows[0]
    made = synthesiser.make(Row(row.name, row.exemplar, row.exemplar_labels, row.target_labels, 0, settings))
    assert Image.open(BytesIO(made[RESULT])).size == (88, 64)


def test_broken_input_marks_its_rows_and_mended_it_is_made_alone(
    plan: Plan, demo_flat: Path, capsys: pytest.CaptureFixture
) -> None:
    good = (plan.root / "day.jpg").read_bytes()
    (plan.root / "day.jpg").write_bytes(good[:300])
    Image.fromarray(np.full((8, 8), 77, np.uint8)).save(plan.root / "c.png")
    assert run(plan, "out", demo_flat, "--triplets") == 1
    assert counts(capsys) == {"done": 2, "failed": 4, "skipped": 0}
    manifest = json.loads((plan.root / "out" / "manifest.json").read_text())
    failed = {row["name"]: row["message"] for row in manifest["rows"] if row["state"] == "failed"}
    assert sorted(failed) == ["day/a", "day/b", "day/c", "night/c"]
    assert "day.jpg is damaged" in failed["day/a"] and "c.png" in failed["night/c"] and "77" in failed["night/c"]
    first = pictures(plan.root / "out") | pictures(plan.root / "out", "triplets")
    (plan.root / "day.jpg").write_bytes(good)
    assert run(plan, "out", demo_flat, "--triplets") == 1
    assert counts(capsys) == {"done": 2, "failed": 2, "skipped": 2}
    assert len(pictures(plan.root / "out", "triplets")) == 4
    assert first.items() <= (pictures(plan.root / "out") | pictures(plan.root / "out", "triplets")).items()


def test_nothing_is_computed_when_the_order_is_wrong(
    plan: Plan, demo_flat: Path, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    (plan.root / "b.png").unlink()
    assert run(plan, "out", demo_flat) == 2
    assert "rows 2, 5: target_labels: no file b.png" in capsys.readouterr().err
    save_labels(plan.root / "b.png", [[0]])
    assert run(plan, "out", plan.root) == 2
    assert "is no model folder" in capsys.readouterr().err
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in demo_flat.iterdir():
        if not path.name.startswith("matcher"):
            (flat / path.name).symlink_to(path)
    assert run(plan, "out", flat) == 2
    assert "mode 'learned', but" in capsys.readouterr().err
    assert not (plan.root / "out").exists()


def test_results_of_other_settings_are_not_replaced_unasked(
    plan: Plan, demo_flat: Path, capsys: pytest.CaptureFixture
) -> None:
    results, keys = ResultFolder(plan.root / "out"), plan.keys("another model")
    results.keep("day/a", keys["day/a"], {RESULT: b"theirs"})
    assert run(plan, "out", demo_flat) == 2
    assert "1 results of these names that another model" in capsys.readouterr().err
    assert pictures(plan.root / "out") == {"day/a.png": b"theirs"}


def test_a_model_folder_of_diffusers_will_do(plan: Plan, demo_folder: Path, demo_flat: Path) -> None:
    model = Model(str(demo_folder))
    assert model.learned and model.made_by() != Model(str(demo_flat)).made_by()
    made = Synthesiser(model, "cpu", plan.root, triplets=True).attempt(plan.rows[0])
    assert made.message is None and set(made.pictures) == {"result", "triplet"}


@pytest.mark.slow
def test_a_killed_batch_goes_on_where_it_was(plan: Plan, demo_flat: Path, capsys: pytest.CaptureFixture) -> None:
    out = plan.root / "out"
    arguments = [str(plan.root / "plan.json"), str(out), "--model", str(demo_flat), "--device", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    process = subprocess.Popen(
        [sys.executable, "-m", "amadapter_core.batch", "run", *arguments], cwd=ROOT, env=environment
    )
    end = time.monotonic() + 300
    while len(pictures(out)) < 2:
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before, recorded = pictures(out), set(ResultFolder(out).records)
    assert 2 <= len(before) < 6
    assert not (out / "manifest.json").exists()
    assert main(["run", *arguments]) == 0
    summary = told(capsys)
    # Nothing that was recorded is made again; a picture that was not yet recorded may be, and is the same.
    assert (summary["skipped"], summary["done"]) == (len(recorded), 6 - len(recorded)) and recorded
    after = pictures(out)
    assert before.items() <= after.items()
    assert sorted(after) == sorted(f"{row.name}.png" for row in plan.rows)
    manifest = json.loads((out / "manifest.json").read_text())
    assert [(row["name"], row["state"], row["seed"]) for row in manifest["rows"]] == [
        (row.name, "done", row.seed) for row in plan.rows
    ]
    assert read_plan(out / "plan.json").keys("") == plan.keys("")
    assert not list(out.rglob("*.part"))


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason='ray is not installed: pip install "ray>=2.9"')
def test_workers_of_ray_make_the_same_pictures_and_one_may_die(
    plan: Plan, demo_flat: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(plan, "alone", demo_flat, "--device", "cpu") == 0
    killed = []
    attempt = on_ray.RayPool._result

    def losing_one(pool: on_ray.RayPool, reference: Any) -> Any:
        """Before the first result is fetched, the other worker is killed at its row."""
        mine = pool._running[reference][0]
        others = [worker for worker, _ in pool._running.values() if worker != mine]
        if not killed and others:
            killed.append(others[0])
            pool._ray.kill(pool._workers[others[0]])
        return attempt(pool, reference)

    monkeypatch.setattr(on_ray.RayPool, "_result", losing_one)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    capsys.readouterr()
    assert run(plan, "together", demo_flat, "--device", "cpu", "--workers", "2") == 0
    summary = told(capsys)
    assert killed and summary["retried"] == 1
    assert (summary["done"], summary["failed"], summary["left"]) == (6, 0, 0)
    assert summary["pictures_per_minute"] > 0
    assert pictures(plan.root / "together") == pictures(plan.root / "alone")
    assert len(ResultFolder(plan.root / "together").records) == 6


def test_without_ray_workers_are_refused_with_the_remedy(
    plan: Plan, demo_flat: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert run(plan, "out", demo_flat, "--workers", "2") == 2
    assert 'pip install "ray>=2.9"' in capsys.readouterr().err
