"""Finding ComfyUI from outside of it, for commands that run its parts in their own process."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch

_PACK = Path(__file__).resolve().parents[3]


def make_comfyui_importable(**options: Any) -> Path:
    """Put ComfyUI on the import path, and on the CPU where there is no GPU that it could take.

    :param options: of its command line, with underscores.
    :return: its folder: the one COMFYUI_PATH names, the one around this pack, or the one that scripts/run.py fetched.
    :raises FileNotFoundError: when there is none.
    """
    named = os.environ.get("COMFYUI_PATH")
    candidates = [Path(named)] if named else [_PACK.parents[1], *sorted(_PACK.glob(".host/ComfyUI-*"), reverse=True)]
    for folder in candidates:
        if (folder / "main.py").is_file() and (folder / "comfy").is_dir():
            sys.path.insert(0, str(folder))
            from comfy.cli_args import args  # before anything asks ComfyUI for its device

            vars(args).update(cpu=not torch.cuda.is_available(), **options)
            return folder
    raise FileNotFoundError(
        f"no ComfyUI at {', '.join(map(str, candidates))}; set COMFYUI_PATH to one, or run scripts/run.py once"
    )
