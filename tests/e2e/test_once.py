"""`scripts/run.py --once` makes a picture from nothing but this checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.host, pytest.mark.slow]


def run_once(comfyui_path: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "run.py"), "--no-venv", "--once", *arguments],
        cwd=folder,
        env={**os.environ, "COMFYUI_PATH": str(comfyui_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        timeout=600,
    )


def test_it_writes_a_picture_and_says_where_it_comes_from(comfyui_path: Path, tmp_path: Path) -> None:
    finished = run_once(comfyui_path, tmp_path)
    assert finished.returncode == 0, finished.stdout
    assert "am_adapter.png after" in finished.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["am_adapter.png"]
    with Image.open(tmp_path / "am_adapter.png") as picture:
        assert picture.format == "PNG"
        assert any(low < high for low, high in picture.convert("RGB").getextrema())


def test_what_is_no_workflow_is_refused_before_anything_starts(comfyui_path: Path, tmp_path: Path) -> None:
    (tmp_path / "prompt.json").write_text('{"1": {"class_type": "KSampler", "inputs": {}}}')
    finished = run_once(comfyui_path, tmp_path, "prompt.json")
    assert finished.returncode == 2
    assert "error: prompt.json holds no nodes" in finished.stdout
    assert "starting" not in finished.stdout
