"""The nodes of the pack, as ComfyUI sees them."""

from __future__ import annotations

# The numbered API is what ComfyUI asks packs to use: `latest` may change under us.
from comfy_api.v0_0_2 import ComfyAPI, ComfyExtension, io
from typing_extensions import override

from ..amadapter_core.hosts.comfy import folders
from ..amadapter_core.hosts.comfy import painter as painter_routes
from . import (
    apply,
    batch,
    demo,
    exemplar,
    generators,
    generators_parts,
    generators_sampling,
    generators_styles,
    label_map_tools,
    label_map_views,
    label_maps,
    loaders,
    match_view,
    metrics,
    noise,
    painter,
    parts,
    pictures,
    retrieval,
    routing,
    training,
)
from .ranges import within_ranges
from .replacements import REPLACEMENTS

_FILES = (
    apply,
    exemplar,
    label_maps,
    label_map_views,
    painter,
    label_map_tools,
    retrieval,
    parts,
    routing,
    noise,
    match_view,
    pictures,
    metrics,
    batch,
    training,
    loaders,
    demo,
    generators,
    generators_sampling,
    generators_styles,
    generators_parts,
)


class AMAdapterExtension(ComfyExtension):
    """What ComfyUI loads."""

    @override
    async def on_load(self) -> None:
        folders.register()
        painter_routes.register()
        api = ComfyAPI()
        for replacement in REPLACEMENTS:
            await api.node_replacement.register(replacement)

    @override
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [within_ranges(node) for file in _FILES for node in file.NODES]
