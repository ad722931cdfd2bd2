"""Weights files: read, recognise, check, convert, save; also as `python -m amadapter_core.checkpoints`.

A file is recognised by its keys and shapes, never by its name. See `kinds` for what is known, `recognition`
for how it is told, `formats` for how files are opened and what is refused, `reading` for files and folders,
`loading` for networks made of them, `saving` for what is written.
"""

from __future__ import annotations

from .errors import CheckpointError
from .kinds import OURS, UNETS, Kind
from .loading import load_controlnext, load_matcher, load_unet_state_dict
from .reading import Checkpoint, Pair, find_pair, inspect, read, read_pair
from .recognition import Recognition, recognise
from .saving import convert, save, save_tensors

__all__ = [
    "OURS",
    "UNETS",
    "Checkpoint",
    "CheckpointError",
    "Kind",
    "Pair",
    "Recognition",
    "convert",
    "find_pair",
    "inspect",
    "load_controlnext",
    "load_matcher",
    "load_unet_state_dict",
    "read",
    "read_pair",
    "recognise",
    "save",
    "save_tensors",
]
