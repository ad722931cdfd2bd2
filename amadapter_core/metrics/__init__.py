"""Whether a result has the exemplar's appearance and the target's layout, in figures; also a command.

Pictures are [B, 3, H, W] float in 0..1, label maps [B, H, W] integer label ids.

* `appearance`: colour and texture, class by class; `layout`: agreement with the label map through a `segmenter`;
* `matching`: where attention looks; `quality`: FID, KID, LPIPS, CLIP, DINO, through optional packages;
* `statistics`: intervals, paired comparison, tables; `scoring`: all of it for pictures with label maps.

`python -m amadapter_core.metrics` measures folders. Names are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PLACES = {
    "appearance": ("Appearance", "ClassAppearance", "compare_appearance"),
    "colour": ("lab",),
    "layout": ("Confusion", "Layout", "SegmentsImages", "compare_layout"),
    "matching": ("MatchShare",),
    "pretrained": ("PretrainedSegmenter", "load_segmenter"),
    "quality": ("Clip", "Dino", "fid", "inception", "kid", "lpips"),
    "scoring": ("Score", "compare", "report", "score", "summarise"),
    "segmenter": ("NO_CLASS", "Segmenter"),
    "statistics": ("Interval", "Paired", "as_json", "bootstrap", "markdown_table", "paired"),
}
_PLACE_OF = {name: place for place, names in _PLACES.items() for name in names}

__all__ = sorted(_PLACE_OF)


def __getattr__(name: str) -> Any:
    if name not in _PLACE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_PLACE_OF[name]}", __name__), name)
