"""What became of nodes that were renamed or lost: saved workflows open with what stands here.

Node ids and the order of widgets are frozen. A change that cannot be an added widget at the end of a node gets a
new node id, and an entry here that maps the old node's inputs.
"""

from __future__ import annotations

from comfy_api.v0_0_2 import io

REPLACEMENTS: tuple[io.NodeReplace, ...] = ()
