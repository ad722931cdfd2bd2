"""What a run leaves: tables that survive an interruption, plots, learning rates, averages, stores, chance."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from amadapter_core.training.config import Config, Data, Optimiser, Validation
from amadapter_core.training.feeding import feed, share
from amadapter_core.training.plots import plot_series
from amadapter_core.training.randomness import NOISE, draws, index_of, normal
from amadapter_core.training.records import Records, Table, read_table
from amadapter_core.training.schedule import Average, rate_at
from amadapter_core.training.store import fill_store, open_store, store_folder
from amadapter_core.training.task import Place


def test_a_table_goes_on_after_the_step_of_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "losses.csv"
    table = Table(path, 0)
    for step in (10, 20, 30):
        table.add(step, {"loss": 1 / step})
    table = Table(path, 20)
    table.add(30, {"loss": 0.5})
    assert [(row["step"], float(row["loss"])) for row in read_table(path)] == [("10", 0.1), ("20", 0.05), ("30", 0.5)]


def test_a_row_cut_off_by_a_crash_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "losses.csv"
    path.write_text("step,loss,rate\n10,0.5,1\n20,0.2")
    assert [row["step"] for row in Table(path, 50).rows] == ["10"]


def test_a_row_of_the_same_step_is_written_anew_and_new_columns_are_taken_in(tmp_path: Path) -> None:
    table = Table(tmp_path / "t.csv", 0)
    table.add(1, {"loss": 3.0})
    table.add(1, {"loss": 2.0})
    table.add(2, {"loss": 1.0, "share": 0.5})
    assert read_table(tmp_path / "t.csv") == [
        {"step": "1", "loss": "2", "share": ""},
        {"step": "2", "loss": "1", "share": "0.5"},
    ]
    assert table.series("share") == [(2, 0.5)]


def test_the_plot_shows_training_and_held_out(tmp_path: Path) -> None:
    from PIL import Image

    records = Records(tmp_path, 0, tensorboard=False)
    for step in range(1, 300):
        records.log(step, {"loss": 1 / step + 0.01 * (step % 7)})
    records.log_validation(100, {"psnr": 20.0})
    records.log_validation(200, {"psnr": 24.0})
    records.plot("psnr")
    with Image.open(tmp_path / "loss.png") as plot:
        colours = {colour for _, colour in plot.convert("RGB").getcolors(1 << 20)}
        assert plot.size == (720, 600)
    assert (31, 119, 180) in colours and len(colours) > 10


@pytest.mark.parametrize("values", [[], [1.0], [2.0, 2.0, 2.0], [1.0, float("nan"), float("inf"), 0.5], [1e-9, 1e9]])
def test_a_plot_of_few_or_odd_values_is_drawn(values: list[float]) -> None:
    assert plot_series({"loss": {"training": list(enumerate(values))}}).size == (720, 300)


def test_the_rate_rises_holds_and_falls() -> None:
    settings = Optimiser(rate=1.0, warmup=10, schedule="cosine", hold=0.5, floor=0.1)
    rates = [rate_at(step, 100, settings) for step in range(100)]
    assert rates[:3] == [0.1, 0.2, pytest.approx(0.3)] and rates[10] == rates[50] == 1.0
    assert rates[75] == pytest.approx(0.55) and 0.1 <= rates[99] < 0.102
    assert all(a >= b for a, b in zip(rates[10:], rates[11:], strict=False))
    assert rate_at(99, 100, Optimiser(rate=1.0, warmup=10)) == 1.0


def test_the_average_follows_the_weights_and_is_there_only_when_applied() -> None:
    network = nn.Linear(2, 1, bias=False)
    frozen = nn.Linear(2, 1).requires_grad_(False)
    both = nn.ModuleList([network, frozen])
    nn.init.zeros_(network.weight)
    average = Average(both, 0.9)
    nn.init.ones_(network.weight)
    average.update(0)
    with average.applied():
        assert torch.allclose(network.weight, torch.full((1, 2), 0.9))  # a young average forgets fast: 1/10
    assert torch.equal(network.weight, torch.ones(1, 2))
    for step in range(1000, 1010):
        average.update(step)
    assert torch.allclose(average.values["0.weight"], torch.full((1, 2), 1 - 0.1 * 0.9**10))
    assert list(average.values) == ["0.weight"]


def test_every_example_comes_once_per_epoch_in_another_order_each_time() -> None:
    epochs = [[index_of(slot, 7, 3) for slot in range(7 * e, 7 * e + 7)] for e in range(3)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_chance_depends_on_seed_purpose_and_place_alone() -> None:
    once = normal(draws(1, NOISE, 5), (2, 3))
    assert torch.equal(once, normal(draws(1, NOISE, 5), (2, 3))) and once.dtype == torch.float32
    assert not torch.equal(once, normal(draws(1, NOISE, 6), (2, 3)))
    assert not torch.equal(once, normal(draws(2, NOISE, 5), (2, 3)))


class Numbers:
    def __getitem__(self, slot: int) -> dict[str, int]:
        return {"slot": slot}


def slots(config: Config, ranks: int, step: int = 0) -> list[list[int]]:
    """The slots of each step, over all processes and parts."""
    micro = share(config, ranks)
    feeds = [iter(feed(Numbers(), config, micro, step, Place(rank, ranks))) for rank in range(ranks)]
    parts = range(config.accumulate)
    return [
        sorted(s for feeder in feeds for _ in parts for s in next(feeder)["slot"].tolist())
        for _ in range(step, config.steps)
    ]


@pytest.mark.parametrize(("ranks", "accumulate"), [(1, 1), (2, 1), (1, 3), (2, 3)])
def test_processes_and_parts_share_the_very_same_batches(ranks: int, accumulate: int) -> None:
    config = Config("segmenter", "run", 3, batch=12, accumulate=accumulate, workers=0)
    assert slots(config, ranks) == [list(range(12 * s, 12 * s + 12)) for s in range(3)]
    assert slots(config, ranks, step=2) == [list(range(24, 36))]


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(ValueError, match="a batch of 10 cannot be shared by 2 processes in 2 parts each; .* of 4"):
        share(Config("segmenter", "run", 3, batch=10, accumulate=2), 2)
    held_out = Validation(data=Data(), items=1)
    with pytest.raises(ValueError, match=r"validation\.items is 1, expected one per process \(2\)"):
        share(Config("segmenter", "run", 3, batch=10, validation=held_out), 2)


def test_a_store_is_filled_once_and_appears_whole(tmp_path: Path) -> None:
    folder, filled = store_folder(tmp_path, {"a": 1}), []

    def fill(arrays, rows) -> None:
        filled.extend(rows)
        for row in rows:
            assert not folder.exists()
            arrays["x"][row] = row

    shapes = {"x": ("float32", (5, 2))}
    first = fill_store(folder, shapes, fill, 5)
    again = fill_store(folder, shapes, fill, 5)
    assert filled == list(range(5)) and np.array_equal(first["x"], again["x"]) and first["x"][4, 1] == 4
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [folder.name]


def test_of_two_runs_that_want_a_store_one_fills_it_and_the_other_waits(tmp_path: Path) -> None:
    filled = []

    def fill(arrays, rows) -> None:
        filled.append(len(rows))
        time.sleep(0.2)
        arrays["x"][:] = 7

    folder = tmp_path / "store"
    with ThreadPoolExecutor(2) as runs:
        found = list(runs.map(lambda _: fill_store(folder, {"x": ("uint8", (2,))}, fill, 2), range(2)))
    assert filled == [2]
    assert all(arrays["x"].tolist() == [7, 7] for arrays in found)


def test_a_store_that_was_not_finished_is_made_anew(tmp_path: Path) -> None:
    folder = store_folder(tmp_path, "contents")

    def fill(arrays, rows) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill_store(folder, {"x": ("uint8", (2,))}, fill, 2)
    assert not folder.exists()
    fill_store(folder, {"x": ("uint8", (2,))}, lambda arrays, rows: arrays["x"].__setitem__(slice(None), 7), 2)
    assert open_store(folder)["x"].tolist() == [7, 7]


def test_other_contents_have_another_store(tmp_path: Path) -> None:
    assert store_folder(tmp_path, {"a": 1}) != store_folder(tmp_path, {"a": 2})
