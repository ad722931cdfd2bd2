"""Intervals that hold what they promise, p values that are neither too small nor too large, tables."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest

from amadapter_core.metrics import Interval, as_json, bootstrap, markdown_table, paired
from amadapter_core.metrics.statistics import EXACT_UP_TO, sign_flip


def test_an_interval_holds_the_true_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    intervals = [bootstrap(rng.gamma(2.0, 1.5, size=64), resamples=1000, seed=trial) for trial in range(300)]
    held = np.mean([interval.low <= 3.0 <= interval.high for interval in intervals])
    assert 0.90 <= held <= 0.98  # three deviations around 0.95, less what the percentile method loses


def test_an_interval_of_many_items_is_the_normal_one() -> None:
    x = np.random.default_rng(1).normal(5, 2, size=4000)
    found = bootstrap(x, level=0.9)
    half = 1.645 * x.std() / math.sqrt(len(x))
    assert found.mean == pytest.approx(x.mean()) and found.n == 4000
    assert (found.low, found.high) == pytest.approx((x.mean() - half, x.mean() + half), abs=0.1 * half)


def test_resampling_is_seeded() -> None:
    x = np.random.default_rng(1).normal(size=40)
    assert bootstrap(x) == bootstrap(list(x)) != bootstrap(x, seed=1)


def test_items_without_a_figure_are_left_out_and_the_count_says_so() -> None:
    found = bootstrap([1.0, None, 3.0, math.nan])
    assert (found.mean, found.n) == (2.0, 2)
    nothing = bootstrap([None, math.nan])
    assert nothing.n == 0 and math.isnan(nothing.mean) and nothing.text() == "-"
    pair = paired([1.0, None, 3.0, 4.0], [2.0, 1.0, math.nan, 5.0])
    assert pair.difference.n == 2 and pair.difference.mean == -1


def test_pairing_finds_what_hides_in_the_spread_of_items() -> None:
    rng = np.random.default_rng(2)
    hard = rng.normal(25, 6, size=64)
    better = hard - 0.5 + rng.normal(0, 0.5, size=64)
    found = paired(better, hard)
    assert found.p < 0.001 and found.difference.high < 0
    assert found.wins + found.losses == 64 and found.wins > 45
    separate = bootstrap(better), bootstrap(hard)
    assert separate[0].high > separate[1].low  # side by side they overlap


def test_equal_sets_are_alike_and_sets_of_chance_rarely_differ() -> None:
    x = np.random.default_rng(3).normal(size=50)
    same = paired(x, x)
    assert same.p == 1 and same.ties == 50 and same.wins == same.losses == 0
    p = [
        paired(rng.normal(size=40), rng.normal(size=40), resamples=400).p
        for rng in map(np.random.default_rng, range(200))
    ]
    assert 0.01 <= np.mean(np.array(p) <= 0.05) <= 0.10 and 0.4 < np.mean(p) < 0.6


def test_few_items_are_counted_out_exactly() -> None:
    differences = [0.5, 1.0, -0.25, 2.0]
    sums = [abs(np.dot(signs, differences)) for signs in itertools.product((1, -1), repeat=4)]
    assert sign_flip(differences) == np.mean(np.array(sums) >= 3.25)
    assert sign_flip([1.0] * 6) == 2 / 64
    assert sign_flip([]) == sign_flip([0.0, 0.0]) == 1
    assert sign_flip([0.1] * 5 + [0.0] * 9) == 2 / 32  # what does not differ has no sign


def test_drawn_patterns_agree_with_all_of_them_and_never_give_zero() -> None:
    x = np.random.default_rng(4).normal(0.4, 1, size=EXACT_UP_TO)
    drawn = sign_flip(np.append(x, 1e-9), resamples=20_000)
    assert drawn == pytest.approx(sign_flip(x), abs=0.015)
    assert sign_flip([1.0] * 100, resamples=99) == 0.01


def test_a_win_is_what_the_measure_says_is_better() -> None:
    lower, higher = paired([1, 2, 3], [2, 2, 2]), paired([1, 2, 3], [2, 2, 2], higher=True)
    assert (lower.wins, lower.ties, lower.losses) == (higher.losses, higher.ties, higher.wins) == (1, 1, 1)
    assert lower.difference == higher.difference and lower.p == higher.p
    with pytest.raises(ValueError, match="3 items against 2"):
        paired([1, 2, 3], [1, 2])
    with pytest.raises(ValueError, match="level is 95"):
        bootstrap([1.0], level=95)


def test_tables_line_up() -> None:
    rows = [["a", 1.23456, Interval(2, 1.5, 2.5, 9)], ["longer", math.nan, "x"]]
    assert markdown_table(["name", "value", "mean"], rows).splitlines() == [
        "| name   | value |              mean |",
        "| ------ | ----: | ----------------: |",
        "| a      | 1.235 | 2.00 [1.50, 2.50] |",
        "| longer |     - |                 x |",
    ]
    with pytest.raises(ValueError, match="a row of 1 cells under 2 columns"):
        markdown_table(["a", "b"], [["c"]])


def test_json_knows_no_nan() -> None:
    plain = as_json({1: (math.nan, np.float64(2.0)), "pair": paired([1.0, 2.0], [2.0, 4.0])})
    assert json.loads(json.dumps(plain, allow_nan=False))["1"] == [None, 2.0]
    assert plain["pair"]["difference"]["mean"] == -1.5 and plain["pair"]["wins"] == 2
