"""A folder of results, one per row of a plan, that may be filled in several goes.

`results/NAME.png` and `triplets/NAME.png` are the pictures, `records.jsonl` has a line for every row that was tried,
`manifest.json` sums them up. Pictures appear whole or not at all, and a row counts as finished only when its record
was written after them; what a killed process leaves behind is made anew and takes the same place.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .limits import RECORDS_BYTES, check_limit
from .whole_files import write_whole

logger = logging.getLogger(__name__)

FORMAT = "am_adapter.batch.1"
RESULT, TRIPLET = "result", "triplet"
"""The pictures of a row; each kind lies in a folder of its own, in the plural."""
DONE, FAILED, OPEN = "done", "failed", "open"
"""States of a row."""

RECORDS, MANIFEST, LOCK = "records.jsonl", "manifest.json", ".lock"

_FORBIDDEN = re.compile(r'[<>:"|?*\\\x00-\x1f\x7f]')
_LONGEST = 200


def check_name(name: str) -> str:
    """A row's name, which may have folders in it ("day/0001"), as every system takes it for a file.

    :raises ValueError: for another, such as one that would leave the folder.
    """
    parts = name.split("/")
    bad = any(not part or part.startswith(".") or part[-1] in ". " or _FORBIDDEN.search(part) for part in parts)
    if bad or len(name) > _LONGEST:
        raise ValueError(
            f"{name[: _LONGEST + 1]!r} is no name for a result; use letters, digits, - and _, with / between folders, "
            f"at most {_LONGEST} of them"
        )
    return name


class ResultFolder:
    """
    :param folder: made when something is written.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.records: dict[str, dict[str, Any]] = {record["name"]: record for record in self._read()}

    def is_finished(self, name: str, key: str, kinds: Collection[str] = (RESULT,)) -> bool:
        """Whether a row has its pictures; one that was taken away, or cut off by a power failure, is wanted again.

        :param key: of all that decides how the pictures look.
        :param kinds: of pictures that are wanted.
        """
        record = self.records.get(name)
        if record is None or record["state"] != DONE or record["key"] != key:
            return False
        files = record["files"]
        return all(kind in files and self._has(*files[kind]) for kind in kinds)

    def clashes(self, keys: Mapping[str, str]) -> list[str]:
        """Names under which results lie that were made in another way.

        :param keys: by name.
        """
        return [
            name
            for name, key in keys.items()
            if (record := self.records.get(name)) is not None and record["state"] == DONE and record["key"] != key
        ]

    def keep(self, name: str, key: str, pictures: Mapping[str, bytes], **told: Any) -> dict[str, Any]:
        """Write the pictures of a row, then its record.

        :param pictures: PNG files by kind.
        :param told: what the manifest is to say besides; plain values.
        :return: the record.
        """
        files = {}
        for kind, content in pictures.items():
            place = f"{kind}s/{check_name(name)}.png"
            write_whole(self.folder / place, content)
            files[kind] = [place, len(content)]
        return self._add({"name": name, "key": key, "state": DONE, "files": files, **told})

    def fail(self, name: str, key: str, message: str, **told: Any) -> dict[str, Any]:
        """Record that a row could not be made; the next go tries it again."""
        return self._add({"name": check_name(name), "key": key, "state": FAILED, "message": message, **told})

    def write_manifest(self, rows: Sequence[Mapping[str, Any]] | None = None, **told: Any) -> Path:
        """Sum up the folder in `manifest.json`.

        :param rows: what is known of each row besides its record, its `name` at least, in the order of the plan; None
            takes what was recorded.
        :param told: what is to be said of all of them.
        """
        listed = [self.summary(row) for row in (self.records.values() if rows is None else rows)]
        states = [row["state"] for row in listed]
        counts = {state: states.count(state) for state in (DONE, FAILED, OPEN)}
        content = {"format": FORMAT, **counts, **told, "rows": listed}
        path = self.folder / MANIFEST
        write_whole(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
        return path

    def summary(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """What the manifest says of a row: plain values under names, the files by their places in the folder."""
        known = {"state": OPEN, **row, **self.records.get(row["name"], {})}
        files = known.pop("files", {})
        return known | {kind: place for kind, (place, _) in files.items()}

    def _has(self, place: str, size: int) -> bool:
        try:
            return (self.folder / place).stat().st_size == size
        except (OSError, ValueError):
            return False

    def _read(self) -> Iterator[dict[str, Any]]:
        path = self.folder / RECORDS
        if not path.is_file():
            return
        check_limit(str(path), path.stat().st_size, RECORDS_BYTES, "bytes", "go on in another folder")
        with open(path, encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, 1):
                try:
                    yield _checked(json.loads(line))
                # Cut off when its process was killed, or damaged since.
                except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                    logger.warning("%s: line %d is not complete; its row is made again", path, number)

    def _add(self, record: dict[str, Any]) -> dict[str, Any]:
        path = self.folder / RECORDS
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a+b") as file:
            line = json.dumps(record, ensure_ascii=False).encode() + b"\n"
            if file.tell() and not _ends_a_line(file):
                line = b"\n" + line
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self.records[record["name"]] = record
        return record


def _checked(record: dict[str, Any]) -> dict[str, Any]:
    """A record of a file that `_add` wrote; an error of some kind for anything else."""
    check_name(record["name"])
    files = record["files"] if record["state"] == DONE else record.get("files", {})
    known = record["state"] in (DONE, FAILED) and isinstance(record["key"], str)
    if not known or not all(isinstance(place, str) and isinstance(size, int) for place, size in files.values()):
        raise ValueError("no record")
    return record


@contextmanager
def locked(folder: str | Path) -> Iterator[None]:
    """Keep other batches out of a folder; the system gives the lock back when a process dies.

    :param folder: made if it is missing.
    :raises ValueError: when one is at work in it.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / LOCK, "a+b") as file:
        try:
            _lock(file.fileno())
        except OSError as error:
            raise ValueError(f"{folder} is being filled by another process; wait, or stop that one") from error
        yield


def _ends_a_line(file: Any) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def _lock(descriptor: int) -> None:
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
