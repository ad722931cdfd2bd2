"""Data sets of pictures and label maps in files, as they are unpacked.

`open_data_set` finds the pairs of BDD100K, Cityscapes, ADE20K, COCO-Stuff, NYU Depth v2, CelebAMask-HQ and of plain
folders, and reads them by index. `pictures_in` lists pictures that have no label maps.
"""

from __future__ import annotations

from .finding import PICTURES, pictures_in
from .opening import KINDS, open_data_set
from .pairs import Pair, PairedFiles

__all__ = ["KINDS", "PICTURES", "Pair", "PairedFiles", "open_data_set", "pictures_in"]
