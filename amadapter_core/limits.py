"""How large files of any origin may be: far above all real use, and low enough to be refused before memory is gone.

What a file declares is checked before anything of that size is made of it: pixels before a picture is decoded, bytes
before a text is parsed, rows before a table is read.
"""

from __future__ import annotations

PIXELS = 1 << 26
"""Of a picture or label map: 8192 x 8192. Its ids take 512 MiB."""
PAINTING_SIDE = 4096
"""Height and width of a painting, in pixels; web/js/painter/raster.js has it too."""
PAINTING_CHARACTERS = 1 << 26
"""A painting of the largest size that nothing can compress is shorter."""

CLASSES = 4096
"""Rows of a class table: routing compares each class with each."""
RULES_CHARACTERS = 1 << 20
"""Of the rules of one node."""

TEXT_BYTES = 1 << 26
"""Of a JSON or CSV file, a list of names or a workflow; parsed, it may take thirty times as much."""
YAML_BYTES = 1 << 22
"""Of a YAML file."""
TEXT_VALUES = 100_000
"""Values in a YAML file, whose parser is slow, its aliases written out: a few lines of them can stand for billions."""
TEXT_DEPTH = 100
"""Levels in a YAML file."""
RECORDS_BYTES = 1 << 28
"""Of the records of a result folder, which are read line by line."""
PLAN_ROWS = 200_000
"""Pictures that one plan asks for."""

HEADER_BYTES = 1 << 24
"""Of a safetensors header. Those of large checkpoints take a few hundred KiB."""
PICKLE_BYTES = 1 << 26
"""Of the pickle in a torch file, its tensors apart."""
TENSORS = 200_000
"""Tensors and other entries of a weights file: far above any network."""
INDEX_BYTES = 1 << 32
"""Of an exemplar index, which is read at once."""
INDEX_ENTRIES = 2_000_000
"""Pairs in an exemplar index."""


class TooLarge(ValueError):
    """Something is larger than is read."""


def check_limit(what: str, number: int, limit: int, unit: str, remedy: str) -> None:
    """Refuse what is too large.

    :param what: the file, and what of it, for the message.
    :param unit: of both numbers, in the plural.
    :param remedy: what to do, a clause without full stop.
    :raises TooLarge: when the number is above the limit; tells both.
    """
    if number > limit:
        raise TooLarge(f"{what} has {number:,} {unit}, at most {limit:,} are read; {remedy}")
