"""The command: `python -m amadapter_core.scenes`.

Write a folder of scenes in the layout of BDD100K or Cityscapes, or draw a contact sheet: a row for each appearance, a
column for each layout, colour maps at the end. A folder that was left unfinished is continued. JSON on the last line.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from ..picture_files import write_picture
from .folders import FORMATS, write_folder
from .sheet import contact_sheet


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m amadapter_core.scenes", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="where to write; missing folders are made")
    parser.add_argument("--count", type=int, default=100, help="scenes the folder should hold in the end")
    parser.add_argument("--size", type=int, nargs="+", help="side, or height and width, in pixels; 256, on a sheet 128")
    parser.add_argument("--format", choices=FORMATS, default="bdd100k", help="names of folders and files")
    parser.add_argument("--layouts-per-appearance", type=int, default=4, help="scenes that share an appearance")
    parser.add_argument("--seed", type=int, default=0, help="of the first layout and the first appearance")
    parser.add_argument("--sheet", type=Path, metavar="OUT.png", help="draw a contact sheet instead")
    parser.add_argument("--rows", type=int, default=6, help="appearances on the sheet")
    parser.add_argument("--columns", type=int, default=6, help="layouts on the sheet")
    args = parser.parse_args(arguments)
    if (args.folder is None) == (args.sheet is None):
        parser.error("name a FOLDER to write, or --sheet OUT.png")
    size = args.size or [256 if args.sheet is None else 128]
    if len(size) > 2:
        parser.error(f"--size takes one or two numbers, got {len(size)}")
    height, width = size[0], size[-1]
    start = time.perf_counter()
    try:
        result = _sheet(args, (height, width)) if args.sheet else _folder(args, (height, width))
    except ValueError as error:
        parser.error(str(error))
    print(json.dumps({**result, "size": [height, width], "seconds": round(time.perf_counter() - start, 2)}))
    return 0


def _folder(args: argparse.Namespace, size: tuple[int, int]) -> dict[str, object]:
    def progress(done: int, count: int) -> None:
        if done % 100 == 0 or done == count:
            print(f"{done} of {count} scenes", flush=True)

    drawn = write_folder(
        args.folder,
        args.count,
        size,
        args.format,
        layouts_per_appearance=args.layouts_per_appearance,
        seed=args.seed,
        progress=progress,
    )
    return {"folder": str(args.folder), "format": args.format, "count": args.count, "drawn": drawn}


def _sheet(args: argparse.Namespace, size: tuple[int, int]) -> dict[str, object]:
    layouts, appearances = (range(args.seed, args.seed + n) for n in (args.columns, args.rows))
    write_picture(contact_sheet(layouts, appearances, size), args.sheet)
    return {"sheet": str(args.sheet), "count": args.rows * args.columns}


if __name__ == "__main__":
    sys.exit(main())
