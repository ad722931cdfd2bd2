"""SCA-DM number for number against the published code, where the golden set lies beside the checkout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from amadapter_core.parity.__main__ import main

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "goldens" / "scadm"


@pytest.mark.skipif(not FOLDER.is_dir(), reason="SCA-DM's golden set is not beside the checkout")
def test_tokens_noise_and_samples_are_the_published_ones(capsys: pytest.CaptureFixture[str]) -> None:
    status = main([str(FOLDER)])
    lines = capsys.readouterr().out.splitlines()
    assert status == 0, "\n".join(line for line in lines if line.startswith("FAIL"))
    (folder,) = json.loads(lines[-1])["folders"]
    assert folder["files"]["io.safetensors"]["checks"] == 21
    assert folder["files"]["io.safetensors"]["max_rel"] < 1e-4
