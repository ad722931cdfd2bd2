"""What the frontend knows of every node that the workflows use."""

from __future__ import annotations

from . import nodes_of_core, nodes_of_data, nodes_of_generators, nodes_of_method
from .schema import Schema

SCHEMAS: dict[str, Schema] = (
    nodes_of_core.NODES | nodes_of_method.NODES | nodes_of_data.NODES | nodes_of_generators.NODES
)
