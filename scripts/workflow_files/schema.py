"""What the frontend knows of a node."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Schema:
    """A node as the frontend sees it.

    :param inputs: its sockets, `name:TYPE` each; widgets excluded.
    :param widgets: their values where a workflow gives none, in the order in which they are saved.
    :param outputs: `name:TYPE` each.
    """

    inputs: str
    widgets: dict
    outputs: str

    @cached_property
    def sockets(self) -> list[tuple[str, str]]:
        """Names and types of the inputs; a socket may take several types, separated by commas."""
        return _pairs(self.inputs)

    @cached_property
    def results(self) -> list[tuple[str, str]]:
        """Names and types of the outputs."""
        return _pairs(self.outputs)


def _pairs(text: str) -> list[tuple[str, str]]:
    return [tuple(entry.split(":")) for entry in text.split()]
