"""Settings of a training run: what is read, what is refused, and what the message says."""

from __future__ import annotations

from pathlib import Path

import pytest

from amadapter_core.training.config import BUILT_IN, Config, load

pytest.importorskip("yaml")

SMALL = "task: segmenter\noutput: run\nsteps: 10\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", sorted(BUILT_IN.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_built_in_configuration_reads(path: Path) -> None:
    config = load(path.stem)
    assert config.steps > 0 and config.output == f"runs/{path.stem}"


def test_the_recipe_of_the_paper_trains_the_matcher_for_25000_steps() -> None:
    config = load("sd15_bdd100k_stage2")
    assert (config.steps, config.task, config.matcher.variant, config.data.size) == (
        25000,
        "matcher",
        "published",
        (512, 512),
    )


def test_settings_have_their_types_and_defaults(tmp_path: Path) -> None:
    text = SMALL + "optimiser: {rate: 1e-3, betas: [0.5, 1]}\ndata: {size: [64, 96]}\nprecision: no\n"
    config = load(written(tmp_path, text))
    assert config.optimiser.rate == 1e-3 and config.optimiser.betas == (0.5, 1.0)
    assert config.data.size == (64, 96) and config.precision == "no"
    assert config.batch == Config("segmenter", "run", 10).batch


def test_overrides_reach_any_depth(tmp_path: Path) -> None:
    overrides = ["optimiser.rate=2e-4", "validation.data.first=7", "data.cache=null", "output=a=b", "resume=false"]
    config = load(written(tmp_path, SMALL + "data: {cache: here}\n"), overrides)
    assert config.optimiser.rate == 2e-4 and config.validation.data.first == 7
    assert config.data.cache is None and config.output == "a=b" and config.resume is False


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("setps: 3", r"unknown setting setps; did you mean steps\?"),
        ("optimiser: {lr: 1}", r"unknown setting optimiser\.lr; there are rate, betas"),
        (
            "validation: {data: {kinds: folder}}",
            r"unknown setting validation\.data\.kinds; did you mean kind\? There are .* colour$",
        ),
        ("batch: 1.5", r"batch is 1\.5 \(float\); expected a whole number"),
        ("batch: true", r"batch is True \(bool\); expected a whole number"),
        ("resume: 1", r"resume is 1 \(int\); expected true or false"),
        ("optimiser: {rate: fast}", r"optimiser\.rate is 'fast' \(str\); expected a number"),
        ("optimiser: 3", r"optimiser is 3 \(int\); expected settings: rate,"),
        ("data: {size: [64]}", r"data\.size is \[64\] \(list\); expected a list \[int, int\]"),
        ("data: {size: [64, wide]}", r"data\.size\[1\] is 'wide'"),
        ("data: {root: 3}", r"data\.root is 3 \(int\); expected text, or null"),
        ("precision: bfloat16", r"precision is 'bfloat16'; did you mean bf16\?"),
        ("batch: 0", r"batch is 0, expected 1 or more"),
        ("optimiser: {ema: 1.0}", r"optimiser\.ema is 1\.0, expected 0 to below 1"),
    ],
)
def test_a_wrong_setting_is_named_with_what_was_expected(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(written(tmp_path, SMALL + text + "\n"))


def test_a_missing_setting_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"run\.yaml: the setting output is missing; expected text"):
        load(written(tmp_path, "task: segmenter\nsteps: 3\n"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("steps", "is no override; write key=value"),
        ("steps.deep=3", "steps holds 10 .int., no settings"),
        ("data.size=[1", "data.size=.1.: not YAML"),
    ],
)
def test_a_wrong_override_is_named(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(written(tmp_path, SMALL), [override])


def test_a_file_that_is_not_there_is_reported_with_the_built_in_names() -> None:
    with pytest.raises(FileNotFoundError, match=r"none of the built-in ones \(.*demo_autoencoder, .*demo_structure"):
        load("demo_autoencodr")


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [1\n"])
def test_a_file_that_holds_no_settings_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"run\.yaml"):
        load(written(tmp_path, text))
