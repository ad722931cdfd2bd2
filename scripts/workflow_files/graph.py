"""Nodes, links and groups, and the file that the frontend makes of them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from . import looks
from .downloads import DOWNLOADS
from .nodes import SCHEMAS
from .schema import Schema

PACK = "am-adapter"
CORE = "comfy-core"


@dataclass
class Node:
    """A node with the links that reach it.

    :param links: by the name of the socket; None where nothing is connected.
    :param driven: links that give a widget its value, with their types, by the widget's name.
    """

    id: int
    type: str
    title: str | None
    widgets: dict
    links: dict[str, int | None] = field(default_factory=dict)
    driven: dict[str, tuple[int, str]] = field(default_factory=dict)
    position: tuple[int, int] = (0, 0)

    @property
    def schema(self) -> Schema:
        return SCHEMAS[self.type]

    @property
    def size(self) -> tuple[int, int]:
        slots = max(len(self.schema.sockets), len(self.schema.results))
        height = slots * looks.SLOT + len(self.schema.widgets) * looks.WIDGET + looks.PADDING
        return looks.WIDE.get(self.type, looks.NODE_WIDTH), height + looks.TALL.get(self.type, 0)

    def __getitem__(self, output: str) -> tuple[Node, int]:
        return self, [name for name, _ in self.schema.results].index(output)

    @property
    def inputs(self) -> list[dict]:
        """As the frontend saves them: the sockets, and after them the widgets that a link drives."""
        sockets = [{"name": name, "type": kind, "link": self.links[name]} for name, kind in self.schema.sockets]
        return sockets + [
            {"name": name, "type": kind, "widget": {"name": name}, "link": link}
            for name, (link, kind) in self.driven.items()
        ]


@dataclass
class Group:
    title: str
    colour: str
    below: bool
    nodes: list[Node] = field(default_factory=list)

    @property
    def size(self) -> tuple[int, int]:
        heights = [node.size[1] + looks.TITLE for node in self.nodes]
        width = max(node.size[0] for node in self.nodes) + 2 * looks.MARGIN
        return width, looks.GROUP_TITLE + sum(heights) + looks.NODE_GAP * (len(heights) - 1) + looks.MARGIN


class Workflow:
    """Nodes, links and groups; a group is a column, or stands below the group before it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.nodes: list[Node] = []
        self.links: list[list] = []
        self.groups: list[Group] = []

    @contextmanager
    def group(self, title: str, colour: str, *, below: bool = False) -> Iterator[None]:
        self.groups.append(Group(title, looks.COLOURS[colour], below))
        yield

    def add(self, kind: str, title: str | None = None, /, **values: object) -> Node:
        """Add a node to the group at hand; `values` are widget values and, as `node["output"]`, links."""
        schema = SCHEMAS[kind]
        node = Node(len(self.nodes) + 1, kind, title, dict(schema.widgets))
        for slot, (name, socket) in enumerate(schema.sockets):
            source = values.pop(name, None)
            node.links[name] = None if source is None else self._link(source, node, slot, socket)
        unknown = set(values) - set(node.widgets)
        if unknown:
            raise ValueError(f"{kind} has no widget {', '.join(sorted(unknown))}")
        for name, value in values.items():
            if isinstance(value, tuple):
                node.driven[name] = self.drive(value, node)
            else:
                node.widgets[name] = value
        self.nodes.append(node)
        self.groups[-1].nodes.append(node)
        return node

    def drive(self, source: tuple[Node, int], target: Node) -> tuple[int, str]:
        """Link an output to a widget and return the link with its type."""
        kind = source[0].schema.results[source[1]][1]
        return self._link(source, target, len(target.links) + len(target.driven), kind), kind

    def _link(self, source: tuple[Node, int], target: Node, slot: int, socket: str) -> int:
        origin, output = source
        given = origin.schema.results[output][1]
        if given not in socket.split(","):
            raise ValueError(f"{origin.type} gives {given}, {target.type} wants {socket}")
        self.links.append([len(self.links) + 1, origin.id, output, target.id, slot, given])
        return len(self.links)

    def to_json(self) -> dict:
        bounds = self.place()
        return {
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{PACK}/{self.name}")),
            "revision": 0,
            "last_node_id": len(self.nodes),
            "last_link_id": len(self.links),
            "nodes": self.nodes_json(),
            "links": self.links,
            "groups": [
                {"id": i, "title": group.title, "bounding": bounds[i - 1], "color": group.colour, "flags": {}}
                for i, group in enumerate(self.groups, start=1)
            ],
            "config": {},
            "extra": {"ds": {"scale": 0.6, "offset": [60, 120]}},
            "version": 0.4,
        }

    def place(self) -> list[list[int]]:
        """Set every node's position and return the groups' bounds."""
        bounds = []
        x = y = column_width = 0
        for group in self.groups:
            width, height = group.size
            if not group.below:
                x, y = x + column_width + (looks.COLUMN_GAP if bounds else 0), 0
                column_width = 0
            column_width = max(column_width, width)
            bounds.append([x, y, width, height])
            at = y + looks.GROUP_TITLE + looks.TITLE
            for node in group.nodes:
                node.position = (x + looks.MARGIN, at)
                at += node.size[1] + looks.TITLE + looks.NODE_GAP
            y += height + looks.GROUP_GAP
        return bounds

    def nodes_json(self) -> list[dict]:
        return [self._node_json(node, order) for order, node in enumerate(self.nodes)]

    def _node_json(self, node: Node, order: int) -> dict:
        entry = {
            "id": node.id,
            "type": node.type,
            "pos": list(node.position),
            "size": list(node.size),
            "flags": {},
            "order": order,
            "mode": 0,
            "inputs": node.inputs,
            "outputs": [
                {"name": name, "type": kind, "slot_index": slot, "links": self._links_from(node, slot)}
                for slot, (name, kind) in enumerate(node.schema.results)
            ],
            "properties": properties(node),
            "widgets_values": list(node.widgets.values()),
        }
        return entry | ({"title": node.title} if node.title else {})

    def _links_from(self, node: Node, slot: int) -> list[int] | None:
        return [link[0] for link in self.links if link[1:3] == [node.id, slot]] or None


def properties(node: Node) -> dict:
    """Return what tells the frontend which pack a node needs and where its model can be downloaded."""
    if node.type == "MarkdownNote":
        return {}
    found = {"Node name for S&R": node.type, "cnr_id": PACK if node.type.startswith("AMAdapter") else CORE}
    models = [
        {"name": name, "url": DOWNLOADS[name][1], "directory": DOWNLOADS[name][0]}
        for name in node.widgets.values()
        if isinstance(name, str) and name in DOWNLOADS
    ]
    return found | ({"models": models} if models else {})
