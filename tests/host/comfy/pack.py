"""The pack in this process, imported as ComfyUI imports it: as a package under a name of its own.

Its core is the `amadapter_core` that tests import by name (conftest.py sees to that), so classes are the same ones.

Call both functions inside tests and fixtures that ask for `comfy_modules`, since the nodes import ComfyUI.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import sys
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parents[3]
NAME = "comfyui_am_adapter"
T = TypeVar("T")


@cache
def load_pack() -> ModuleType:
    """The root package; its parts are found under it by relative names."""
    spec = importlib.util.spec_from_file_location(NAME, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    module = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = module
    spec.loader.exec_module(module)
    return module


def pack_module(name: str) -> ModuleType:
    """A part of the pack by its dotted name: `pack_module("nodes.label_maps")`."""
    load_pack()
    return importlib.import_module(f"{NAME}.{name}")


def pack_nodes() -> list[type]:
    """The nodes that ComfyUI is told of."""

    async def ask() -> list[type]:
        extension = await load_pack().comfy_entrypoint()
        return await extension.get_node_list()

    return finish(ask())


def finish(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, in a thread: a browser that tests drive has an event loop in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()
