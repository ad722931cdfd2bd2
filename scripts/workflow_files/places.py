"""Where things lie in this repository."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = ROOT / "workflows"
PAINTINGS = WORKFLOWS / "paintings"
SUBGRAPHS = ROOT / "subgraphs"
