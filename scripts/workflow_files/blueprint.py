"""Subgraph blueprints: a few nodes as one, in the form in which ComfyUI's frontend publishes them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from . import looks
from .graph import PACK, Node, Workflow
from .schema import Schema

INLET, OUTLET = -10, -20
"""Ids of the two ends of a subgraph, of every subgraph."""
END_WIDTH = 140


@dataclass(frozen=True)
class Inlet:
    """The inputs of a subgraph, which its nodes read like the outputs of another node."""

    schema: Schema
    id: int = INLET
    type: str = "the blueprint"

    def __getitem__(self, name: str) -> tuple[Inlet, int]:
        return self, [entry for entry, _ in self.schema.results].index(name)


class Blueprint(Workflow):
    """Nodes as one node.

    :param inputs: `name:TYPE` each, as in `Schema`.
    :param description: what the node library says about it.
    """

    def __init__(self, name: str, inputs: str, description: str) -> None:
        super().__init__(name)
        self.description = description
        self.inlet = Inlet(Schema("", {}, inputs))
        self.results: list[tuple[str, str, int]] = []
        self.widgets: set[str] = set()

    def show(self, node: Node, **inputs: str) -> None:
        """Make inputs of the whole the values of a node's widgets, which thereby show on the outside.

        :param inputs: the input's name by the widget's.
        """
        for widget, name in inputs.items():
            node.driven[widget] = self.drive(self.inlet[name], node)
            self.widgets.add(name)

    def give(self, **outputs: tuple) -> None:
        """Make outputs of nodes the outputs of the whole, by name."""
        for name, (node, slot) in outputs.items():
            kind = node.schema.results[slot][1]
            self.links.append([len(self.links) + 1, node.id, slot, OUTLET, len(self.results), kind])
            self.results.append((name, kind, len(self.links)))

    def to_json(self) -> dict:
        """The file of a workflow that holds nothing but the blueprint."""
        kind = self._identity("subgraph")
        given = [
            {"name": name, "type": type_, "link": None} | ({"widget": {"name": name}} if name in self.widgets else {})
            for name, type_ in self.inlet.schema.results
        ]
        node = {
            "id": len(self.nodes) + 1,
            "type": kind,
            "pos": [0, 0],
            "size": [looks.NODE_WIDTH, looks.PADDING + looks.WIDGET * max(len(given), len(self.results))],
            "flags": {},
            "order": 0,
            "mode": 0,
            "inputs": given,
            "outputs": [{"name": name, "type": type_, "links": []} for name, type_, _ in self.results],
            "properties": {"cnr_id": PACK},
            "widgets_values": [],
            "title": self.name,
        }
        return {
            "id": self._identity("workflow"),
            "revision": 0,
            "last_node_id": node["id"],
            "last_link_id": 0,
            "nodes": [node],
            "links": [],
            "groups": [],
            "definitions": {"subgraphs": [self._definition(kind)]},
            "config": {},
            "extra": {},
            "version": 0.4,
        }

    def _definition(self, kind: str) -> dict:
        bounds = self.place()
        right = max(x + width for x, _, width, _ in bounds) + looks.COLUMN_GAP
        inputs = self.inlet.schema.results
        read = [[link[0] for link in self.links if link[1:3] == [INLET, slot]] for slot in range(len(inputs))]
        keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
        return {
            "id": kind,
            "version": 1,
            "state": {
                "lastGroupId": 0,
                "lastNodeId": len(self.nodes),
                "lastLinkId": len(self.links),
                "lastRerouteId": 0,
            },
            "revision": 0,
            "config": {},
            "name": self.name,
            "inputNode": {"id": INLET, "bounding": self._end(-END_WIDTH - looks.COLUMN_GAP, len(inputs))},
            "outputNode": {"id": OUTLET, "bounding": self._end(right, len(self.results))},
            "inputs": [
                {"id": self._identity(f"in/{name}"), "name": name, "type": type_, "linkIds": links}
                for (name, type_), links in zip(inputs, read, strict=True)
            ],
            "outputs": [
                {"id": self._identity(f"out/{name}"), "name": name, "type": type_, "linkIds": [link]}
                for name, type_, link in self.results
            ],
            "widgets": [],
            "nodes": self.nodes_json(),
            "groups": [],
            "links": [dict(zip(keys, link, strict=True)) for link in self.links],
            "extra": {},
            "category": "AM-Adapter",
            "description": self.description,
        }

    def _end(self, x: int, slots: int) -> list[int]:
        return [x, looks.GROUP_TITLE, END_WIDTH, looks.GROUP_TITLE + looks.SLOT * slots]

    def _identity(self, part: str) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{PACK}/blueprint/{self.name}/{part}"))
