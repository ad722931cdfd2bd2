"""Every writer of the pack, in one table: what it writes as version n, and which version lies there."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from amadapter_core.batch.plan import Plan, Row
from amadapter_core.batch.plan_files import read_plan, write_plan
from amadapter_core.checkpoints import save_tensors
from amadapter_core.checkpoints.formats import open_file
from amadapter_core.exemplar import Exemplar, Trajectory
from amadapter_core.generators.ipose import Supports, load_supports
from amadapter_core.generators.styles import StyleCodes, load_styles, save_styles
from amadapter_core.generators.system import System
from amadapter_core.label_maps import LabelMap
from amadapter_core.picture_files import open_picture, write_picture
from amadapter_core.result_folder import MANIFEST, ResultFolder
from amadapter_core.retrieval.index import Index
from amadapter_core.retrieval.published import read_retrieval, write_retrieval
from amadapter_core.training.records import Table
from amadapter_core.training.store import fill_store, open_store
from amadapter_core.whole_files import write_whole

from . import runs
from .readers import PALETTE, ids

SIZE = 1 << 18
"""Numbers in a file, so that half of one can be told from all of it."""


@dataclass(frozen=True)
class Writer:
    """Something that is written again and again.

    :param write: version n, 1 or more, into a folder that holds version n - 1, or nothing when n is 1.
    :param version: which one lies in the folder, 0 for none; an error when it is half of one.
    """

    name: str
    write: Callable[[Path, int], None]
    version: Callable[[Path], int]


def _only(values: torch.Tensor | np.ndarray) -> int:
    """The number that all of an array's are."""
    found = set(np.asarray(values).ravel().tolist())
    if len(found) != 1:
        raise ValueError(f"a mixture of {len(found)} versions")
    return int(found.pop())


def _once(file: str, read: Callable[[Path], int]) -> Callable[[Path], int]:
    return lambda folder: read(folder / file) if (folder / file).exists() else 0


def _read_text(path: Path) -> int:
    numbers = path.read_text().split()
    if len(numbers) != SIZE // 8:
        raise ValueError(f"{len(numbers)} numbers of {SIZE // 8}")
    return _only(np.array(numbers, int))


def _exemplar(folder: Path, n: int) -> None:
    trajectory = Trajectory(torch.tensor([0.0, 1.0]), torch.full((2, 4, 64, 64), float(n)))
    Exemplar(trajectory, LabelMap(torch.from_numpy(ids())[None], PALETTE), name=str(n)).save(folder / "e.safetensors")


def _read_exemplar(path: Path) -> int:
    exemplar = Exemplar.load(path)
    return _only(torch.tensor([_only(exemplar.trajectory.latents), int(exemplar.name)]))


def _supports(folder: Path, n: int) -> None:
    Supports({24: torch.full((40, 64, 64), n % 9)}, {24: [str(n)]}).save(folder / "p.safetensors")


def _read_supports(path: Path) -> int:
    supports = load_supports(path)
    n = int(supports.sources[24][0])
    if _only(supports.labels[24]) != n % 9:
        raise ValueError("labels and sources are of two versions")
    return n


def _styles(folder: Path, n: int) -> None:
    save_styles(folder / "s.safetensors", StyleCodes(System.CLVAE, {1: torch.full((64, 512), float(n))}))


def _index(folder: Path, n: int) -> None:
    runs.index(folder, n).save(folder / "i.safetensors")


def _read_index(path: Path) -> int:
    index = Index.load(path)
    return _only(torch.tensor([len(index), _only(index.states)]))


def _same_step(folder: Path, n: int) -> None:
    runs.checkpoint(folder, step=7, value=n, keep=1)


def _read_run(folder: Path) -> int:
    if not any(folder.iterdir()):
        return 0
    try:
        _, value = runs.resume(folder)
    except IndexError:  # there is no checkpoint yet
        return 0
    return int(value)


def _results(folder: Path, n: int) -> None:
    results = ResultFolder(folder)
    results.keep(f"r/{n}", "key", {"result": b"%08d" % n * (SIZE // 8)})
    results.write_manifest()


def _read_results(folder: Path) -> int:
    results, n = ResultFolder(folder), 0
    while results.is_finished(f"r/{n + 1}", "key"):
        n += 1
        content = (folder / f"results/r/{n}.png").read_bytes()
        if content != b"%08d" % n * (SIZE // 8):
            raise ValueError(f"row {n} counts as finished, and its picture is not whole")
    if (folder / MANIFEST).exists():
        json.loads((folder / MANIFEST).read_text())
    return n


def _retrieved(folder: Path, n: int) -> None:
    write_retrieval(folder / "r.json", {f"t/{i}": [f"e/{n}"] for i in range(2000)})


def _read_retrieved(path: Path) -> int:
    found = read_retrieval(path)
    if len(found) != 2000:
        raise ValueError(f"{len(found)} of 2000 targets")
    return _only(np.array([int(names[0][2:]) for names in found.values()]))


def _plan(file: str) -> Callable[[Path, int], None]:
    def write(folder: Path, n: int) -> None:
        write_plan(
            folder / file, Plan(tuple(Row(f"r{i}", "e.png", ("l.png",), ("t.png",), n) for i in range(200)), folder)
        )

    return write


def _read_plan(path: Path) -> int:
    return _only(np.array([row.seed for row in read_plan(path).rows]))


def _losses(folder: Path, n: int) -> None:
    Table(folder / "losses.csv", n - 1).add(n, {"loss": float(n)})


def _read_losses(path: Path) -> int:
    series = Table(path, 1 << 40).series("loss")
    if [(step, int(value)) for step, value in series] != [(n, n) for n in range(1, len(series) + 1)]:
        raise ValueError("rows are missing or cut off")
    return len(series)


def _picture(n: int) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 255, (256, 256, 3)).astype(np.uint8)  # that does not compress
    noise[..., 0] = n % 256
    return Image.fromarray(noise)


def _read_picture(path: Path) -> int:
    return _only(np.array(open_picture(path))[..., 0])


def _store(folder: Path, n: int) -> None:
    def fill(arrays: dict[str, np.ndarray], rows: range) -> None:
        for row in rows:
            arrays["latents"][row] = n

    fill_store(folder / f"store{n:05}", {"latents": ("<f4", (16, SIZE // 64))}, fill, 16)


def _read_store(folder: Path) -> int:
    stores = sorted(folder.glob("store*"))
    if not stores:
        return 0
    return _only(np.array([_only(open_store(stores[-1])["latents"]), int(stores[-1].name[5:])]))


WRITERS = (
    Writer(
        "any file (write_whole)",
        lambda d, n: write_whole(d / "f.txt", f"{n:7} ".encode() * (SIZE // 8)),
        _once("f.txt", _read_text),
    ),
    Writer(
        "weights (save_tensors)",
        lambda d, n: save_tensors(d / "w.safetensors", {"a": torch.full((SIZE,), float(n))}, {}),
        _once("w.safetensors", lambda p: _only(open_file(p).fetch(["a"])["a"])),
    ),
    Writer("exemplar", _exemplar, _once("e.safetensors", _read_exemplar)),
    Writer("exemplar index", _index, _once("i.safetensors", _read_index)),
    Writer("style codes", _styles, _once("s.safetensors", lambda p: _only(load_styles(p).codes[1]))),
    Writer("part supports", _supports, _once("p.safetensors", _read_supports)),
    Writer("training checkpoint", lambda d, n: runs.checkpoint(d, step=n), _read_run),
    Writer("training checkpoint, same step", _same_step, _read_run),
    Writer("losses of a training run", _losses, _once("losses.csv", _read_losses)),
    Writer("prepared pairs", _store, _read_store),
    Writer("results, records, manifest", _results, _read_results),
    Writer("retrieved exemplars", _retrieved, _once("r.json", _read_retrieved)),
    Writer("plan, JSON", _plan("p.json"), _once("p.json", _read_plan)),
    Writer("plan, Parquet", _plan("p.parquet"), _once("p.parquet", _read_plan)),
    Writer(
        "picture, scene, contact sheet",
        lambda d, n: write_picture(_picture(n), d / "p.png"),
        _once("p.png", _read_picture),
    ),
)

ELSEWHERE = {
    "an index that is being built": "tests/unit/test_retrieval_index.py",
    "a batch on several workers": "tests/host/test_batch.py",
    "a training run": "tests/host/test_training.py",
}
"""Killed in tests of their own."""
