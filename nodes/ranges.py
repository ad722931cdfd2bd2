"""Numbers that come by a link are held to their widget's range, as ComfyUI holds those that are typed."""

from __future__ import annotations

from typing import Any

from comfy_api.v0_0_2 import io

from .errors import naming


def within_ranges(node: type[io.ComfyNode]) -> type[io.ComfyNode]:
    """The same node, which refuses numbers outside the ranges of its widgets before it computes anything."""

    def execute(cls: type[io.ComfyNode], **inputs: Any) -> io.NodeOutput:
        with naming(cls):
            for entry in (cls.SCHEMA or cls.define_schema()).inputs:
                if isinstance(entry, (io.Int.Input, io.Float.Input)) and entry.id in inputs:
                    given = inputs[entry.id]
                    for number in given if isinstance(given, list) else [given]:
                        _check(entry, number)
        return super(checked, cls).execute(**inputs)

    checked = type(node.__name__, (node,), {"execute": classmethod(execute), "__module__": node.__module__})
    return checked


def _check(entry: io.Int.Input | io.Float.Input, number: float | None) -> None:
    """:raises ValueError: outside the range, or not a number at all."""
    low = float("-inf") if entry.min is None else entry.min
    high = float("inf") if entry.max is None else entry.max
    # "not within" rather than "outside": NaN is neither.
    if number is not None and not low <= number <= high:
        raise ValueError(f"{entry.id} is {number}, expected {low} to {high}; change what is linked to it")
