"""The command: `python -m amadapter_core.batch plan | run`.

`plan` pairs the exemplars of one folder with the targets of another, or as retrieval found them. `run` makes a picture
of every row that a folder does not have yet; given again, it goes on where it stopped. JSON on the last line.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ..checkpoints import CheckpointError
from ..datasets import KINDS
from ..pairing import ALL, IN_ORDER, SAME, SEEDS
from ..result_folder import FAILED, RESULT, TRIPLET, ResultFolder, locked
from ..retrieval.published import read_retrieval
from ..training.interrupts import interruptible
from ..training.settings import build, override
from .making import MAPS, make_plan, side
from .model import DTYPES, Model
from .plan import Plan, Row, Settings
from .plan_files import read_plan, write_parquet, write_plan
from .running import Outcome, Pool, fill

PLAN = "plan.json"
_GIB = 1 << 30


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every row is finished, 1 when some are not, 2 when nothing was begun."""
    args = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        result = args.run(args)
    except (CheckpointError, ValueError, OSError, RuntimeError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(result))
    return 1 if result.get("failed") or result.get("left") else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m amadapter_core.batch", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    one = commands.add_parser("plan", help="pair exemplars with targets")
    one.set_defaults(run=_plan)
    one.add_argument("plan", type=Path, help="file to write: .json, .yaml or .parquet")
    one.add_argument("exemplars", type=Path, help="folder of a data set")
    one.add_argument("targets", type=Path, help="folder of a data set, or of label maps")
    one.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="of all rows: prompt='a street'"
    )
    for role, kinds in (("exemplar", KINDS), ("target", (*KINDS, MAPS))):
        one.add_argument(f"--{role}-kind", choices=kinds, default="folder", help="how it is unpacked")
        one.add_argument(f"--{role}-split", help="of the data set; all that have label maps if left out")
        one.add_argument(f"--{role}-palette", help="class table, instead of --palette")
        one.add_argument(f"--{role}s-first", type=int, metavar="N", help="take the first N only")
    one.add_argument("--palette", help="name or JSON file of the class table; a plain folder needs it")
    one.add_argument("--colours", action="store_true", help="label maps of plain folders hold colours, not ids")
    one.add_argument("--retrieval", type=Path, metavar="JSON", help="pair as found: {target: [exemplar, ...]}")
    one.add_argument("--count", type=int, help="exemplars for each target, of those found")
    one.add_argument("--in-order", action="store_true", help="the first with the first, and so on")
    one.add_argument("--repeats", type=int, default=1, help="rows of each pair, default %(default)s")
    one.add_argument("--seed", type=int, default=0, help="default %(default)s")
    one.add_argument("--seeds", choices=SEEDS, default=SAME, help="which rows share it, default: %(default)s")

    two = commands.add_parser("run", help="make the pictures of a plan")
    two.set_defaults(run=_run)
    two.add_argument("plan", type=Path)
    two.add_argument("out", type=Path, help="folder of results")
    two.add_argument("--model", help="folder of diffusers, of a demonstration set, or the word demo")
    two.add_argument("--controlnext", help="weights file; controlnext.safetensors of the folder unless told")
    two.add_argument("--matcher", help="weights file; matcher.safetensors of the folder unless told")
    two.add_argument("--dtype", choices=DTYPES, help="float16 on a GPU, else float32, unless told")
    two.add_argument("--device", help="cuda where there is one, else cpu, unless told")
    two.add_argument("--bank-memory", type=float, default=4.0, help="GiB of keys and values kept, default %(default)s")
    two.add_argument("--triplets", action="store_true", help="exemplar, target and result side by side as well")
    two.add_argument("--workers", type=int, help="with Ray: how many at once")
    two.add_argument("--address", help="of a running Ray cluster: auto, or HOST:PORT")
    two.add_argument("--gpus-per-worker", type=float, default=1.0, help="default %(default)s; 0.5 shares one")
    two.add_argument("--workflow", type=Path, help="run this in ComfyUI instead (exported in the API format)")
    two.add_argument("--server", action="append", help="of ComfyUI, default http://127.0.0.1:8188; may be repeated")
    two.add_argument("--retries", type=int, default=2, help="of a row that failed for no fault of its own")
    two.add_argument("--replace", action="store_true", help="make rows anew that were made in another way")
    two.add_argument("--parquet", action="store_true", help="write the manifest as Parquet as well (pyarrow)")
    return parser


def _plan(args: argparse.Namespace) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for text in args.set:
        if "=" not in text:
            raise ValueError(f"batch: {text!r} is no setting; write KEY=VALUE")
        override(values, text)
    settings = build(Settings, values, "batch: settings")
    sides = {}
    for role in ("exemplar", "target"):
        kind, root = getattr(args, f"{role}_kind"), getattr(args, f"{role}s")
        colours = args.colours and kind in ("folder", MAPS)
        palette = getattr(args, f"{role}_palette") or args.palette
        found = side(kind, root, split=getattr(args, f"{role}_split"), palette=palette, colours=colours)
        sides[role] = found.first(getattr(args, f"{role}s_first"))
    retrieved = None if args.retrieval is None else read_retrieval(args.retrieval)
    plan = make_plan(
        sides["exemplar"],
        sides["target"],
        settings,
        pairing=IN_ORDER if args.in_order else ALL,
        retrieved=retrieved,
        count=args.count,
        seed=args.seed,
        seeds=args.seeds,
        repeats=args.repeats,
    )
    write_plan(args.plan, plan)
    return {
        "plan": str(args.plan),
        "rows": len(plan.rows),
        "exemplars": len({row.same_exemplar for row in plan.rows}),
        "targets": len({row.target_labels for row in plan.rows}),
        "targets_left_out": len(sides["target"].names) - len({row.target_labels for row in plan.rows}),
    }


def _run(args: argparse.Namespace) -> dict[str, Any]:
    plan = read_plan(args.plan)
    plan.check_files()
    made_by, source, hire = _workers(args, plan)
    kinds = (RESULT, TRIPLET) if args.triplets else (RESULT,)
    with ExitStack() as stack:
        stack.enter_context(locked(args.out))
        results = ResultFolder(args.out)
        keys = plan.keys(made_by)
        if not args.replace and (clashes := results.clashes(keys)):
            raise ValueError(
                f"batch: {args.out} has {len(clashes)} results of these names that another model, plan or setting "
                f"made ({', '.join(clashes[:5])}{' ...' if len(clashes) > 5 else ''}); name another folder, or pass "
                "--replace"
            )
        write_plan(args.out / PLAN, plan)
        told = [row.told() for row in plan.rows]
        stack.callback(lambda: results.write_manifest(told, plan=PLAN, root=str(plan.root), **source))
        todo = [row for row in plan.rows if not results.is_finished(row.name, keys[row.name], kinds)]
        stopped = stack.enter_context(interruptible())
        print(f"{len(todo)} of {len(plan.rows)} rows to make", flush=True)
        pool = stack.enter_context(hire()) if todo else _Nobody()
        summary = fill(results, plan.rows, pool, keys, kinds=kinds, retries=args.retries, told=_tell, stopped=stopped)
    if args.parquet:
        write_parquet(args.out / "manifest.parquet", [results.summary(row) for row in told])
    failed = [row for row in map(results.summary, told) if row["state"] == FAILED]
    for row in failed[:20]:
        print(f"failed: {row['name']}: {row['message']}", file=sys.stderr)
    return {
        "rows": len(plan.rows),
        "done": summary.done,
        "skipped": summary.skipped,
        "failed": summary.failed,
        "left": summary.left,
        "retried": summary.retried,
        "seconds": round(summary.seconds, 2),
        "seconds_each": round(summary.seconds_each, 3),
        "pictures_per_minute": round(summary.per_minute, 2),
        "folder": str(args.out),
    }


def _tell(row: Row, outcome: Outcome, left: int) -> None:
    came = f"{outcome.seconds:.1f} s" if outcome.message is None else f"failed: {outcome.message}"
    print(f"{row.name}: {came}, {left} left", flush=True)


def _workers(args: argparse.Namespace, plan: Plan) -> tuple[str, dict[str, Any], Callable[[], Any]]:
    """What makes the pictures: a digest of it, what the manifest says of it, and how it is set to work."""
    if args.workflow is not None:
        return _comfy(args, plan)
    if args.model is None:
        raise ValueError("batch: pass --model FOLDER, or --workflow with a running ComfyUI")
    import torch

    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = args.dtype or ("float32" if device == "cpu" else "float16")
    folder = args.model if args.model == "demo" else str(Path(args.model).expanduser().absolute())
    own = (None if path is None else str(Path(path).absolute()) for path in (args.controlnext, args.matcher))
    model = Model(folder, *own, dtype)
    if not model.learned and (row := next((r for r in plan.rows if r.settings.mode == "learned"), None)):
        raise ValueError(f"batch: row {row.name} is of mode 'learned', but {args.model} has no matcher; pass --matcher")
    options = {"bank_bytes": int(args.bank_memory * _GIB), "triplets": args.triplets}

    @contextmanager
    def hire() -> Iterator[Pool]:
        if args.workers is None and args.address is None:
            from .synthesis import LocalPool, Synthesiser

            yield LocalPool(Synthesiser(model, device, plan.root, **options))
            return
        from .on_ray import RayPool, cluster

        count = args.workers or 1
        cpus = max(1, (os.cpu_count() or 1) // count) if args.address is None else 1
        gpus = 0 if device == "cpu" else args.gpus_per_worker
        with cluster(args.address, cpus * count):
            pool = RayPool(count, model, device, plan.root, gpus=gpus, cpus=cpus, **options)
            try:
                yield pool
            finally:
                pool.close()

    return model.made_by(), {"model": args.model, "dtype": dtype}, hire


def _comfy(args: argparse.Namespace, plan: Plan) -> tuple[str, dict[str, Any], Callable[[], Any]]:
    from .on_server import ServerPool, Workflow

    if args.triplets:
        raise ValueError("batch: --triplets are drawn on diffusers; let the workflow save a Triplet instead")
    if row := next((r for r in plan.rows if len(r.exemplar_labels) > 1 or len(r.target_labels) > 1), None):
        raise ValueError(f"batch: row {row.name} has a label map of several files, which no loader of a workflow reads")
    workflow = Workflow(args.workflow)

    @contextmanager
    def hire() -> Iterator[Pool]:
        pool = ServerPool(args.server or ["http://127.0.0.1:8188"], workflow, plan.root)
        try:
            yield pool
        finally:
            pool.close()

    return workflow.made_by(), {"workflow": args.workflow.name}, hire


class _Nobody:
    """A pool for plans that are finished: no model is loaded."""

    busy = 0

    def free(self) -> list[int]:
        return []


if __name__ == "__main__":
    sys.exit(main())
