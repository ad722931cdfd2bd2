"""Building an index: each pair is read once, and again only when its files have changed."""

from __future__ import annotations

import hashlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from ..datasets.pairs import Pair, PairedFiles
from .index import DIGEST, Index, SpentIndex, relative
from .layouts import GRID, Layouts, grid_type
from .partial import Partial

logger = logging.getLogger(__name__)

SECONDS = 30.0
"""So much work is lost at most when the process is killed."""

_EMBEDDED_AT_ONCE = 16
T = TypeVar("T")


class Embedder(Protocol):
    """Says in a vector what a picture looks like.

    :param name: tells one network from another; vectors of one name can be compared.
    """

    name: str

    def pictures(self, pictures: Sequence[np.ndarray]) -> Tensor:
        """
        :param pictures: [H, W, 3] uint8 each, of any sizes.
        :return: [B, E] float, each of length 1.
        """


@dataclass(frozen=True)
class Built:
    """
    :param index: as it was written.
    :param read: how many pairs were described; the others were known.
    :param dropped: how many entries of the former index are no more.
    """

    index: Index
    read: int
    dropped: int


def build(
    path: str | Path,
    files: PairedFiles,
    root: str | Path,
    *,
    embedder: Embedder | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, count: None,
    seconds: float = SECONDS,
    broken: Mapping[str, str] | None = None,
) -> Built:
    """
    Write the index of a data set, or bring the one that is there up to date.

    An entry is taken over when the times and sizes of its files are as they were, or else their content is. Pairs that
    cannot be read are left out and listed. What is known is kept beside the index while the work goes on: broken off
    at any moment, the next call goes on there. The index itself is replaced in one step at the end.

    :param path: of the index, ends in .safetensors.
    :param files: the data set; pictures in `alone` are listed as broken.
    :param root: folder below which all of its files lie.
    :param embedder: adds what the pictures look like.
    :param workers: threads that read files.
    :param progress: called after each pair that had to be read, with how many are done of how many; may raise to
        break off.
    :param seconds: how often what is known is kept.
    :param broken: what is known to be broken, by its place below `root`, and why.
    :raises ValueError: files outside of `root`, or no pair that can be read.
    """
    path, root = Path(path), Path(root)
    if path.suffix != ".safetensors":
        raise ValueError(f"exemplar index: {path} should end in .safetensors")
    if workers < 1:
        raise ValueError(f"exemplar index: workers must be 1 or more, got {workers}")
    empty = _empty(files, root, embedder)
    partial, former = Partial(path), _former(path, empty)
    known = _Known(Index.join([former, *partial.read(empty)]))
    states, unreadable = _survey(files, root)
    broken = {**unreadable, **(broken or {})}
    found = {number: known.row(files.pairs[number], state=state) for number, state in states.items()}
    rows = {number: row for number, row in found.items() if row >= 0}
    waiting = [number for number in states if number not in rows]

    def read(number: int) -> int | str | _Entry:
        return _read(files, number, states[number], known)

    parts, fresh, count, last = [known.index], [], len(known.index), time.monotonic()
    try:
        with ThreadPoolExecutor(workers) as pool:
            results = _embedded(_ahead(pool, read, waiting, 4 * workers), embedder)
            for done, (number, result) in enumerate(zip(waiting, results, strict=True), 1):
                if isinstance(result, str):
                    broken[relative(files.pairs[number].picture, root)] = result
                elif isinstance(result, int):
                    rows[number] = result
                else:
                    rows[number] = count
                    fresh.append(result)
                    count += 1
                progress(done, len(waiting))
                if time.monotonic() - last >= seconds:
                    parts.append(_as_index(empty, fresh))
                    partial.write(parts[-1])
                    fresh, last = [], time.monotonic()
    except BaseException:
        partial.write(_as_index(empty, fresh))
        raise
    if not rows:
        raise ValueError(f"exemplar index: none of {len(files)} pairs in {root} can be read: {_some(broken)}")
    numbers = sorted(rows)
    index = Index.join([*parts, _as_index(empty, fresh)]).take([rows[number] for number in numbers])
    index = replace(index, states=_digests([states[number] for number in numbers]), broken=broken)
    index.save(path)
    partial.remove()
    if broken:
        logger.warning("exemplar index: %d left out: %s", len(broken), _some(broken))
    return Built(index, count - len(known.index), len(set(former.names) - set(index.names)))


@dataclass(frozen=True)
class _Entry:
    """What was read of a pair."""

    pair: Pair
    state: bytes
    content: bytes
    layout: Layouts
    picture: np.ndarray | None
    embedding: Tensor | None = None


class _Known:
    """What was known before, found by pair; later entries are the newer ones."""

    def __init__(self, index: Index):
        self.index = index
        self._rows = {_key(pair): row for row, pair in enumerate(index.files.pairs)}
        self._states, self._contents = (
            [row.tobytes() for row in digests.numpy()] for digests in (index.states, index.contents)
        )

    def row(self, pair: Pair, *, state: bytes | None = None, content: bytes | None = None) -> int:
        """The row of an entry that has this state or this content; -1 for none."""
        row = self._rows.get(_key(pair), -1)
        same = row >= 0 and (self._states[row] == state or self._contents[row] == content)
        return row if same else -1


def _survey(files: PairedFiles, root: Path) -> tuple[dict[int, bytes], dict[str, str]]:
    """States of the pairs by their number, and what is wrong with the others by their picture."""
    broken = {relative(picture, root): "it has no label map" for picture in files.alone}
    states, taken = {}, {}
    for number, pair in enumerate(files.pairs):
        places = [relative(file, root) for file in pair.files]
        if pair.name in taken:
            broken[places[0]] = f"it has the same name as {taken[pair.name]}"
            continue
        taken[pair.name] = places[0]
        try:
            stats = [file.stat() for file in pair.files]
        except OSError as error:
            broken[places[0]] = f"{error.filename}: {error.strerror}"
            continue
        told = [f"{place}:{stat.st_mtime_ns}:{stat.st_size}" for place, stat in zip(places, stats, strict=True)]
        states[number] = hashlib.blake2b("\n".join(told).encode(), digest_size=DIGEST).digest()
    return states, broken


def _read(files: PairedFiles, number: int, state: bytes, known: _Known) -> int | str | _Entry:
    """The row of a pair whose content is known, what was read of it, or why it cannot be read."""
    pair = files.pairs[number]
    try:
        content = _content(pair)
        row = known.row(pair, content=content)
        if row >= 0:
            return row
        picture, labels = files.read(number)
        layout = Layouts.of(labels)
    except (OSError, ValueError) as error:
        return str(error).removeprefix("data set: ")
    if not bool(layout.present().any()):
        return "its label map shows no class, all of its pixels are ignored"
    return _Entry(pair, state, content, layout, picture if known.index.embedder else None)


def _content(pair: Pair) -> bytes:
    digest = hashlib.blake2b(digest_size=DIGEST)
    for file in pair.files:
        content = file.read_bytes()
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.digest()


def _ahead(pool: ThreadPoolExecutor, job: Callable[[int], T], numbers: Iterable[int], count: int) -> Iterator[T]:
    """Results in order, at most `count` of them computed in advance."""
    futures: deque[Future[T]] = deque()
    for number in numbers:
        futures.append(pool.submit(job, number))
        if len(futures) >= count:
            yield futures.popleft().result()
    while futures:
        yield futures.popleft().result()


def _embedded(results: Iterator[int | str | _Entry], embedder: Embedder | None) -> Iterator[int | str | _Entry]:
    """The same results, entries with their embeddings, which are computed several at once."""
    if embedder is None:
        yield from results
        return
    while held := list(islice(results, _EMBEDDED_AT_ONCE)):
        entries = [one for one in held if isinstance(one, _Entry)]
        vectors = iter(embedder.pictures([one.picture for one in entries])) if entries else iter(())
        for one in held:
            yield replace(one, picture=None, embedding=next(vectors).half()) if isinstance(one, _Entry) else one


def _former(path: Path, empty: Index) -> Index:
    """The index that is there, if its entries are right in the new one."""
    if not path.is_file():
        return empty
    try:
        former = Index.load(path, empty.root)
    except SpentIndex as error:
        logger.warning("%s", error)
        return empty
    if former.settings() != empty.settings():
        logger.warning("exemplar index: %s was built with other settings; every pair is read again", path)
        return empty
    return former


def _empty(files: PairedFiles, root: Path, embedder: Embedder | None) -> Index:
    k = len(files.palette)
    layouts = Layouts(torch.zeros(0, GRID, GRID, dtype=grid_type(k)), torch.zeros(0, k, dtype=torch.half))
    bare = replace(files, pairs=(), alone=(), captions={})
    return Index(bare, root, layouts, _digests([]), _digests([]), "" if embedder is None else embedder.name)


def _as_index(empty: Index, entries: Sequence[_Entry]) -> Index:
    """An index of what was read."""
    if not entries:
        return empty
    layouts = Layouts.join([entry.layout for entry in entries])
    return replace(
        empty,
        files=replace(empty.files, pairs=tuple(entry.pair for entry in entries)),
        layouts=replace(layouts, areas=layouts.areas.half()),
        states=_digests([entry.state for entry in entries]),
        contents=_digests([entry.content for entry in entries]),
        embeddings=torch.stack([entry.embedding for entry in entries]) if empty.embedder else None,
    )


def _digests(digests: Sequence[bytes]) -> Tensor:
    """[N, DIGEST] uint8."""
    return torch.from_numpy(np.frombuffer(b"".join(digests), np.uint8).reshape(-1, DIGEST).copy())


def _key(pair: Pair) -> tuple[object, ...]:
    return pair.name, pair.files


def _some(broken: Mapping[str, str], count: int = 5) -> str:
    told = [f"{place}: {reason}" for place, reason in list(broken.items())[:count]]
    return "; ".join(told) + (f"; and {len(broken) - count} more" if len(broken) > count else "")
