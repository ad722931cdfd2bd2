"""The nodes of the pack, as ComfyUI sees them."""

from __future__ import annotations

# The numbered API is what ComfyUI asks packs to use: `latest` may change under us.
from comfy_api.v0_0_2 import ComfyAPI, ComfyExtension, io
from typing_extensions import override

from ..amadapter_core.hosts.comfy import folders
from . import apply, demo, exemplar, label_maps, loaders, match_view, metrics, pictures, routing, training
from .replacements import REPLACEMENTS

_FILES = (apply, exemplar, label_maps, routing, match_view, pictures, metrics, training, loaders, demo)


class AMAdapterExtension(ComfyExtension):
    """What ComfyUI loads."""

    @override
    async def on_load(self) -> None:
        folders.register()
        api = ComfyAPI()
        for replacement in REPLACEMENTS:
            await api.node_replacement.register(replacement)

    @override
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [node for file in _FILES for node in file.NODES]
