"""clVAE number for number against the published code, where the golden set lies beside the checkout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from amadapter_core.parity.__main__ import main

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "goldens" / "clvae"


@pytest.mark.skipif(not FOLDER.is_dir(), reason="clVAE's golden set is not beside the checkout")
def test_codes_and_pictures_are_the_published_ones(capsys: pytest.CaptureFixture[str]) -> None:
    status = main([str(FOLDER)])
    lines = capsys.readouterr().out.splitlines()
    assert status == 0, "\n".join(line for line in lines if line.startswith("FAIL"))
    (folder,) = json.loads(lines[-1])["folders"]
    assert set(folder["files"]) == {"io_normal_256.safetensors", "io_more_512x256.safetensors"}
    assert all(entry["checks"] == 25 and entry["max_abs"] < 1e-5 for entry in folder["files"].values())
