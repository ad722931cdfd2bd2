"""The demonstration: pictures of held-out scenes, or another command.

`python -m amadapter_core.demo` makes a contact sheet; `evaluate` measures every way of looking at the exemplar;
`choose-k` finds the strengths that it compares with; `retrieval` measures what a fitting exemplar brings. `init` and
`pack` are for training: a model folder with random weights, and the flat set of a trained one; `unpack` is the way
back. `inputs` draws the pictures of the example workflows. JSON on the last line.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..checkpoints import CheckpointError
from ..whole_files import write_whole

OUT = Path("demo_output")


def main(arguments: list[str] | None = None) -> int:
    """Run a command and print its result as JSON; return the exit status."""
    args = _parser().parse_args(arguments)
    try:
        print(json.dumps(args.run(args)))
    except (CheckpointError, ValueError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m amadapter_core.demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], dict], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added

    _add_pictures(parser)
    parser.set_defaults(run=_pictures)
    _add_pictures(command("pictures", _pictures, "make a contact sheet (what happens without a command)"))

    evaluate = command("evaluate", _evaluate, "measure every way of looking at the exemplar on held-out triples")
    evaluate.add_argument("--n", type=int, default=256, help="triples, default %(default)s")
    evaluate.add_argument("--weights", type=Path, action="append", help="a flat set; may be given several times")
    evaluate.add_argument(
        "--k", type=_strength, action="append", metavar="ROW=K", help="a log strength to compare with"
    )
    _add_settings(evaluate)

    choose = command("choose-k", _choose, "choose the constant strengths on validation triples; written to the set")
    choose.add_argument("--n", type=int, default=48, help="triples, default %(default)s")
    choose.add_argument("--weights", type=Path, help="a flat set; the one that is shipped unless told")
    choose.add_argument("--candidates", type=float, nargs="+", help="log strengths to choose from")
    _add_settings(choose)

    retrieval = command("retrieval", _retrieval, "measure retrieved against random exemplars on held-out targets")
    retrieval.add_argument("--n", type=int, default=64, help="targets, default %(default)s")
    retrieval.add_argument("--gallery", type=int, default=24, help="exemplars to choose from, default %(default)s")
    retrieval.add_argument("--row", default="learned spatial", help="way of looking, default %(default)s")
    retrieval.add_argument("--weights", type=Path, help="a flat set; the one that is shipped unless told")
    _add_settings(retrieval)

    init = command("init", _init, "write a model folder with random weights, to be trained")
    init.add_argument("folder", type=Path)
    init.add_argument("--seed", type=int, default=0)

    pack = command("pack", _pack, "make the flat fp16 set of a trained model folder")
    pack.add_argument("folder", type=Path)
    pack.add_argument("--out", type=Path, help="folder of the set; where it is shipped unless told")
    pack.add_argument("--matcher", type=Path, action="append", default=[], help="one file per variant")
    pack.add_argument("--segmenter", type=Path)
    pack.add_argument("--size", type=int, help="side of the pictures it was trained on, where the configs do not say")
    pack.add_argument("--incomplete", action="store_true", help="do without matchers or segmenter")

    unpack = command("unpack", _unpack, "make a model folder of a flat set, to train something on it")
    unpack.add_argument("folder", type=Path)
    unpack.add_argument("--weights", type=Path, help="a flat set; the one that is shipped unless told")

    inputs = command("inputs", _inputs, "draw the input pictures of the example workflows")
    inputs.add_argument("folder", type=Path)
    inputs.add_argument("--size", type=int, help="side in pixels; as the shipped weights were trained unless told")
    return parser


def _add_pictures(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--scenes", type=int, default=4, help="lines of the sheet, default %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="number of the first held-out triple, default %(default)s")
    parser.add_argument("--weights", type=Path, help="a flat set; the one that is shipped unless told")
    _add_settings(parser)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=OUT, metavar="DIR", help="default %(default)s")
    parser.add_argument("--size", type=int, help="side of the pictures in pixels; as trained unless told")
    parser.add_argument("--steps", type=int, default=20, help="of inversion and sampling, default %(default)s")
    parser.add_argument("--guidance", type=float, default=1.0, help="of the prompt, 1 is none, default %(default)s")
    parser.add_argument("--no-prompts", action="store_true", help="empty prompts instead of the scenes' captions")
    parser.add_argument("--batch", type=int, default=8, help="triples at once, default %(default)s")
    parser.add_argument(
        "--workers", type=int, help="processes on a CPU; as many as it has cores, at most 4, unless told"
    )
    parser.add_argument("--device", help="cuda where there is one, else cpu, unless told")


def _strength(text: str) -> tuple[str, float]:
    from .rows import BOOSTED

    name, _, value = text.rpartition("=")
    if name not in BOOSTED.values():
        raise argparse.ArgumentTypeError(f"{text!r}: expected ROW=K with one of {', '.join(BOOSTED.values())}")
    return name, float(value)


def _settings(args: argparse.Namespace, folder: Path | None) -> Any:
    from .evaluate import trained_size
    from .measuring import Settings

    size = (args.size, args.size) if args.size else trained_size(folder)
    if size[0] % 8 or size[0] < 32:
        raise ValueError(f"demo: --size {size[0]}, expected a multiple of 8 from 32")
    return Settings(size, args.steps, args.guidance, not args.no_prompts)


def _device(args: argparse.Namespace) -> str:
    import torch

    return args.device or ("cuda" if torch.cuda.is_available() else "cpu")


def _work(args: argparse.Namespace) -> dict[str, Any]:
    device = _device(args)
    workers = args.workers or (min(4, os.cpu_count() or 1) if device == "cpu" else 1)
    return {"batch": args.batch, "workers": workers, "device": device}


def _pictures(args: argparse.Namespace) -> dict[str, Any]:
    import torch

    from .measuring import Bench
    from .pictures import grid

    bench = Bench(args.weights, _settings(args, args.weights), torch.device(_device(args)))
    page = grid(bench, range(args.seed, args.seed + args.scenes))
    content = io.BytesIO()
    page.save(content, format="PNG", optimize=True)
    path = args.out / "demo.png"
    write_whole(path, content.getvalue())
    return {"picture": str(path), "scenes": args.scenes}


def _evaluate(args: argparse.Namespace) -> dict[str, Any]:
    from .evaluate import evaluate

    folders = args.weights or [None]
    strengths = dict(args.k) if args.k else None
    settings = _settings(args, folders[0])
    return evaluate(folders, settings, args.out, count=args.n, strengths=strengths, **_work(args))


def _choose(args: argparse.Namespace) -> dict[str, Any]:
    from .evaluate import CANDIDATES, choose_strengths

    settings, candidates = _settings(args, args.weights), args.candidates or CANDIDATES
    return choose_strengths(args.weights, settings, args.out, count=args.n, candidates=candidates, **_work(args))


def _retrieval(args: argparse.Namespace) -> dict[str, Any]:
    import torch

    from .measuring import Bench
    from .retrieved import compare_exemplars
    from .rows import rows

    bench = Bench(args.weights, _settings(args, args.weights), torch.device(_device(args)))
    known = {row.name: row for row in rows({}, bench.matchers) if row.mode is not None}
    if args.row not in known:
        raise ValueError(f"demo retrieval: --row {args.row!r}, expected one of {', '.join(known)}")

    def tell(done: int, total: int) -> None:
        print(f"{done} of {total} targets", file=sys.stderr, flush=True)

    return compare_exemplars(bench, known[args.row], args.n, gallery=args.gallery, batch=args.batch, progress=tell)


def _init(args: argparse.Namespace) -> dict[str, int]:
    from .family import init

    return init(args.folder, args.seed)


def _pack(args: argparse.Namespace) -> dict[str, int]:
    from .weights import pack

    return pack(
        args.folder,
        args.out,
        matchers=args.matcher,
        segmenter=args.segmenter,
        side=args.size,
        incomplete=args.incomplete,
    )


def _unpack(args: argparse.Namespace) -> dict[str, Any]:
    from .weights import unpack

    return {"folder": str(args.folder), "parts": unpack(args.weights, args.folder)}


def _inputs(args: argparse.Namespace) -> dict[str, Any]:
    from .evaluate import trained_size
    from .inputs import write_inputs

    size = (args.size, args.size) if args.size else trained_size(None)
    return {"folder": str(args.folder), "pictures": write_inputs(args.folder, size)}


if __name__ == "__main__":
    sys.exit(main())
