"""Number for number against recorded tensors of the published code.

The full set lies beside the checkout, in ../shared/goldens; where it does not, a small copy of the quick ones
stands in, so that these tests always compare with the published code.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from amadapter_core.parity.__main__ import main
from amadapter_core.parity.report import Check

ROOT = Path(__file__).resolve().parents[2]
SMALL = Path(__file__).parent / "goldens" / "amadapter"
FULL = ROOT.parent / "shared" / "goldens" / "amadapter"


def test_the_quick_goldens(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(SMALL)]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["folders"][0]["checks"] == 31
    assert all(entry["max_abs"] <= 5e-6 for entry in summary["folders"][0]["files"].values())


@pytest.mark.slow
@pytest.mark.skipif(not FULL.is_dir(), reason="the full golden set is not beside the checkout")
def test_the_full_goldens(capsys: pytest.CaptureFixture[str]) -> None:
    status = main([str(FULL)])
    lines = capsys.readouterr().out.splitlines()
    assert status == 0, "\n".join(line for line in lines if line.startswith("FAIL"))
    files = json.loads(lines[-1])["folders"][0]["files"]
    assert set(files) == {
        "controlnext_io.safetensors",
        "matcher_io.safetensors",
        "match_attention.safetensors",
        "block_read.safetensors",
        "run_lat32.safetensors",
        "run_lat64.safetensors",
    }


def test_a_wrong_number_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("matcher_weights.safetensors", "matcher_io.safetensors"):
        tensors = load_file(SMALL / name)
        if name == "matcher_io.safetensors":
            tensors["out_n8_mid_block"][0, 0, 0, 0, 0, 0] += 1e-3
        save_file(tensors, tmp_path / name)
    assert main([str(tmp_path)]) == 1
    failures = [line for line in capsys.readouterr().out.splitlines() if line.startswith("FAIL")]
    assert len(failures) == 1 and "n8 mid_block" in failures[0]


def test_a_folder_without_goldens_fails_with_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), str(tmp_path / "absent")]) == 1
    told = capsys.readouterr().err
    assert "holds no golden set of a known layout" in told and "no folder" in told


def test_a_comparison_of_different_shapes_or_of_nan_is_no_pass() -> None:
    with pytest.raises(ValueError, match="ours is"):
        Check.of("file", "name", torch.zeros(1), torch.zeros(3), 1.0)
    assert not Check.of("file", "name", torch.tensor([float("nan")]), torch.zeros(1), 1.0).passed
