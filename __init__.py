"""The ComfyUI custom-node pack AM-Adapter: the host imports this file and calls `comfy_entrypoint`."""

from __future__ import annotations

WEB_DIRECTORY = "./web"


async def comfy_entrypoint():
    """Return the extension that lists this pack's nodes.

    The import waits until the host asks: pytest imports this file too, where there is no host.
    """
    from .nodes import AMAdapterExtension

    return AMAdapterExtension()
