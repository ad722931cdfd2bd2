"""What a user reads when something is wrong, on a real ComfyUI."""

from __future__ import annotations

import pytest
from PIL import Image

pytestmark = [pytest.mark.host, pytest.mark.slow]


def test_unknown_colours_stop_the_run_and_name_the_node(host_server) -> None:
    Image.new("RGB", (16, 16), (1, 2, 3)).save(host_server.base / "input" / "unknown_colours.png")
    widgets = {"palette": "cityscapes19", "reading": "colours", "unknown": "error"}
    widgets |= {"tolerance": 0.0, "offset": 0, "void": ""}
    prompt = {
        "7": {"class_type": "AMAdapterLoadLabelMap", "inputs": {"image": "unknown_colours.png", **widgets}},
        "8": {"class_type": "PreviewImage", "inputs": {"images": ["7", 1]}},
    }
    with pytest.raises(host_server.client.PromptError, match=r"node 7 \(AMAdapterLoadLabelMap\).*1, ?2, ?3") as error:
        host_server.client.run(host_server.url, prompt, timeout=60)
    assert error.value.node == "7"
