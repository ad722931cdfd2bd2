"""iPOSE: pictures of label maps whose objects have parts, learned from a few examples per category.

A part network finds the parts of each object's shape by looking at supports; its features guide a SPADE generator
inside objects, noise guides it elsewhere. CVPR 2023, "Inferring and Leveraging Parts from Object Shape for Improving
Semantic Image Synthesis".
"""

from __future__ import annotations

from .conventions import CONVENTIONS, Convention
from .instances import Instance, InstanceMap, from_instances, from_labels, from_rows, split_ade
from .loading import load, load_part_network, pack
from .part_maps import PartMaps
from .supports import Supports, load_supports, pack_supports
from .synthesis import PartGuidedGenerator

__all__ = [
    "CONVENTIONS",
    "Convention",
    "Instance",
    "InstanceMap",
    "PartGuidedGenerator",
    "PartMaps",
    "Supports",
    "from_instances",
    "from_labels",
    "from_rows",
    "load",
    "load_part_network",
    "load_supports",
    "pack",
    "pack_supports",
    "split_ade",
]
