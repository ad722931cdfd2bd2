"""The command: `python -m amadapter_core.training CONFIG [key=value ...]`, or `bench CONFIG [key=value ...]`.

CONFIG is a YAML file or the name of a built-in one. Several processes:
`torchrun --nproc_per_node N -m amadapter_core.training CONFIG` on CPUs, `accelerate launch -m ...` on GPUs and
machines. Running the same command again goes on from the last checkpoint. `bench` takes a few steps and prints
seconds and peak memory as JSON.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys

from .config import load

BENCH = "bench"


def main(arguments: list[str] | None = None) -> int:
    """Run the training or the measurement that the arguments name; return the exit status."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    measuring = arguments[:1] == [BENCH]
    parser = argparse.ArgumentParser(prog="python -m amadapter_core.training", description=__doc__)
    parser.add_argument("config", help="YAML file, or the name of a built-in configuration")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings, e.g. optimiser.rate=1e-4")
    if measuring:
        parser.add_argument("--count", type=int, default=3, help="steps that are measured, after one that is not")
        parser.add_argument(
            "--random", action="store_true", help="SD1.5's shapes with random weights, on scenes: needs no files"
        )
    args = parser.parse_intermixed_args(arguments[1:] if measuring else arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        config = load(args.config, args.overrides)
        if measuring:
            from .measuring import bench

            print(json.dumps(bench(config, args.count, args.random)))
            return 0
        from .loop import TrainingError, train

        try:
            print(train(config))
        except TrainingError as error:
            print(f"Error: {error}", file=sys.stderr)
            return 1
    except (ValueError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
