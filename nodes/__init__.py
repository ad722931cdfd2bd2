"""The nodes of the pack, as ComfyUI sees them."""

from __future__ import annotations

# The numbered API is what ComfyUI asks packs to use: `latest` may change under us.
from comfy_api.v0_0_2 import ComfyExtension, io
from typing_extensions import override


class AMAdapterExtension(ComfyExtension):
    """What ComfyUI loads. The pack has no nodes yet; the list is where they are announced."""

    @override
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return []
