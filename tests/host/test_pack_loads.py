"""A real ComfyUI server takes this folder as a custom-node pack."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.host


@pytest.mark.slow
def test_the_server_starts_and_loads_the_pack(comfyui_path: Path) -> None:
    check = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "run.py"), "--check", "--no-browser", "--no-venv"],
        env={**os.environ, "COMFYUI_PATH": str(comfyui_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        timeout=600,
    )
    assert check.returncode == 0, check.stdout
    assert "ComfyUI-AM-Adapter is loaded" in check.stdout


def test_nodes_by_its_bare_name_is_the_host_s(comfy_modules: Path) -> None:
    assert Path(importlib.util.find_spec("nodes").origin) == comfy_modules / "nodes.py"
