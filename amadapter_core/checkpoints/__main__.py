"""Look into weights files and convert them.

    python -m amadapter_core.checkpoints inspect FILE...
    python -m amadapter_core.checkpoints convert IN OUT.safetensors [--dtype fp16|bf16|fp32]
        [--variant published|spatial] [--expect controlnext|matcher|unet] [--overwrite]
    python -m amadapter_core.checkpoints convert GENERATOR OUT.safetensors [--dtype ...] [--overwrite]
        [--encoder FILE] [--size HxW] [--weights raw|ema]

The last line of the output is JSON. A file that cannot be used gives one line on the error stream and exit
code 1.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

import torch

from .errors import CheckpointError
from .kinds import OURS, UNETS, Kind
from .reading import VARIANTS, inspect
from .saving import convert

_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_EXPECTED = {"controlnext": (Kind.CONTROLNEXT,), "matcher": (Kind.MATCHER,), "unet": UNETS}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    :param arguments: as after the program's name; None takes the process's own.
    :return: exit code, 0 or 1.
    """
    options = _parser().parse_args(arguments)
    return _inspect(options.files) if options.command == "inspect" else _convert(options)


def _inspect(files: Sequence[str]) -> int:
    summaries: list[dict[str, Any]] = []
    for file in files:
        try:
            summary = inspect(file).summary()
        except (CheckpointError, OSError) as error:
            _complain(error)
            summary = {"path": file, "error": str(error)}
        else:
            _describe(summary)
        summaries.append(summary)
    print(json.dumps({"files": summaries}))
    return int(any("error" in summary for summary in summaries))


def _convert(options: argparse.Namespace) -> int:
    try:
        if inspect(options.source).kind is Kind.GENERATOR:
            return _convert_generator(options)
        summary = convert(
            options.source,
            options.destination,
            dtype=_DTYPES.get(options.dtype),
            variant=options.variant,
            wanted=_EXPECTED.get(options.expect, ()),
            overwrite=options.overwrite,
        )
    except (ValueError, OSError) as error:
        _complain(error)
        return 1
    _describe(summary)
    print(json.dumps(summary))
    return 0


def _convert_generator(options: argparse.Namespace) -> int:
    # The generators are built on this package.
    from ..generators.conversion import convert_generator, size_of

    choices = {"encoder": options.encoder, "size": options.size and size_of(options.size), "weights": options.weights}
    summary = convert_generator(
        options.source,
        options.destination,
        dtype=_DTYPES.get(options.dtype),
        overwrite=options.overwrite,
        **{name: value for name, value in choices.items() if value is not None},
    )
    for key, value in summary.items():
        print(f"  {key}: {f'{value:,}' if isinstance(value, int) else value}")
    print(json.dumps(summary))
    return 0


def _describe(summary: dict[str, Any]) -> None:
    print(summary["path"])
    print(f"  {Kind(summary['kind']).description}")
    # How a network was trained is a question for ours only.
    hidden = {"path", "kind", "metadata"} if Kind(summary["kind"]) in OURS else {"path", "kind", "metadata", "variant"}
    for key, value in summary.items():
        if key in hidden:
            continue
        print(f"  {key.replace('_', ' ')}: {f'{value:,}' if isinstance(value, int) else value}")
    for key, value in summary["metadata"].items():
        # Foreign files carry pages of metadata, and control characters.
        print(f"  metadata {textwrap.shorten(repr(key), 60)}: {textwrap.shorten(repr(value), 100)}")


def _complain(error: Exception) -> None:
    print(" ".join(str(error).split()), file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m amadapter_core.checkpoints", description="AM-Adapter weights files."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    look = commands.add_parser("inspect", help="say what files are, without reading their tensors")
    look.add_argument("files", nargs="+", metavar="FILE")
    change = commands.add_parser("convert", help="write a network as safetensors")
    change.add_argument("source", metavar="IN")
    change.add_argument("destination", metavar="OUT.safetensors")
    change.add_argument("--dtype", choices=_DTYPES, help="of the written weights; as in the file when not given")
    change.add_argument("--variant", choices=VARIANTS, help="behaviour the weights were trained with")
    change.add_argument("--expect", choices=_EXPECTED, help="refuse anything else")
    change.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    change.add_argument("--encoder", metavar="FILE", help="clVAE: the encoder's file, to go with the generator's")
    change.add_argument("--size", metavar="HxW", help="clVAE: size of the pictures, e.g. 256x512")
    change.add_argument("--weights", choices=("raw", "ema"), help="SCA-DM, iPOSE: which of its weights")
    return parser


if __name__ == "__main__":
    sys.exit(main())
