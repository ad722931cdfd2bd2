"""What a build that was broken off leaves for the next: indexes of its parts, in a folder beside the index."""

from __future__ import annotations

import logging
import secrets
import shutil
from pathlib import Path

from .index import Index

logger = logging.getLogger(__name__)


class Partial:
    """The parts of an index that is being built.

    :param path: of the index.
    """

    def __init__(self, path: Path):
        self.folder = path.with_name(f".{path.stem}.building")

    def read(self, like: Index) -> list[Index]:
        """The parts that have the settings of `like`; others, and damaged ones, are worth nothing."""
        parts = []
        for path in sorted(self.folder.glob("*.safetensors")):
            try:
                part = Index.load(path, like.root)
            except (ValueError, FileNotFoundError) as error:  # another process may have finished and cleared up
                logger.warning("%s; its pairs are read again", error)
                continue
            if part.settings() == like.settings():
                parts.append(part)
        return parts

    def write(self, part: Index) -> None:
        """Keep a part; several processes may do so at once."""
        if len(part):
            part.save(self.folder / f"{secrets.token_hex(8)}.safetensors")

    def remove(self) -> None:
        """Delete the folder, once the index is whole."""
        shutil.rmtree(self.folder, ignore_errors=True)
