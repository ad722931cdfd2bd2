"""iPOSE number for number against the published code, where the golden set lies beside the checkout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from amadapter_core.parity.__main__ import main

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "goldens" / "ipose"


@pytest.mark.skipif(not FOLDER.is_dir(), reason="iPOSE's golden set is not beside the checkout")
def test_parts_and_pictures_are_the_published_ones(capsys: pytest.CaptureFixture[str]) -> None:
    status = main([str(FOLDER)])
    lines = capsys.readouterr().out.splitlines()
    assert status == 0, "\n".join(line for line in lines if line.startswith("FAIL"))
    (folder,) = json.loads(lines[-1])["folders"]
    assert {name: entry["checks"] for name, entry in folder["files"].items()} == {
        "partnet_io.safetensors": 4,
        "generator_io_city.safetensors": 11,
        "generator_io_ade_375x500.safetensors": 11,
    }
