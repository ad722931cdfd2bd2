"""What the Semantic Painter's frontend asks the server for: tables of classes, and pictures read as label maps."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

from ...label_pictures import read_label_picture
from ...painting import codes_of, write_painting
from ...palettes import Palette
from .folders import load_palette, palettes
from .pictures import input_pictures, picture_path


def register() -> None:
    """Add the routes below /am_adapter/ to the server, where one runs."""
    # Importing it would start half of ComfyUI, and where it has not been imported nobody asks.
    instance = getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None)
    if instance is None:
        return
    from aiohttp import web

    def answering(answer: Callable[..., Any]) -> Callable[[web.Request], Any]:
        async def handler(request: web.Request) -> web.Response:
            try:
                return web.json_response(await asyncio.to_thread(answer, **request.query))
            except (ValueError, FileNotFoundError, TypeError) as error:
                return web.json_response({"error": str(error)}, status=400)

        return handler

    for name, answer in (("palette", palette), ("pictures", pictures), ("label_picture", label_picture)):
        instance.routes.get(f"/am_adapter/{name}")(answering(answer))


def palette(name: str) -> dict:
    """A table of classes, see `Palette.to_dict`."""
    return _listed_palette(name).to_dict()


def pictures() -> list[str]:
    """Names of the pictures in the input folder."""
    return input_pictures()


def label_picture(image: str, palette: str, unknown: str = "error") -> str:
    """A picture in the input folder as a painting.

    :param unknown: what to do with colours that the palette does not have, see `LabelMap.from_colours`.
    :raises ValueError: no label map of this palette, or one that is too large to paint on.
    """
    return write_painting(codes_of(read_label_picture(picture_path(image), _listed_palette(palette), unknown=unknown)))


def _listed_palette(name: str) -> Palette:
    # A name that comes from outside is not to lead to other files.
    if name not in palettes():
        raise ValueError(f"there is no palette {name!r}; there are {', '.join(palettes())}")
    return load_palette(name)
