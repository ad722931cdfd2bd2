"""The command: `python -m amadapter_core.bench`.

Without arguments: one attention call at SD1.5's widest site against the literal formula, SCA-DM's masked
cross-attention against its literal formula, then one guided step of a full-size SD1.5 UNet against the plain one.
Random weights, no download. JSON on the last line.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable

import torch

from . import attention, comfy_step, gather, step
from .measure import Measurement

LATENT = 64
"""Side of the latent of SCA-DM's 256 x 256 pictures."""
PARTS = ("attention", "gather", "step")


def main(arguments: list[str] | None = None) -> int:
    """Run the command and print its figures; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m amadapter_core.bench", description=__doc__)
    parser.add_argument("--host", choices=["comfy", "diffusers"], default="diffusers", help="which host runs the step")
    parser.add_argument("--only", choices=PARTS, help="one part alone")
    parser.add_argument("--size", type=int, default=512, help="side of the step's picture in pixels")
    parser.add_argument("--grid", type=int, nargs="+", default=[64, 96], help="sides of the attention grids")
    parser.add_argument("--steps", type=int, default=3, help="runs of each case after a warm-up; the median counts")
    parser.add_argument("--dtype", choices=["fp32", "fp16", "bf16"], help="fp16 on a GPU, fp32 elsewhere, unless told")
    args = parser.parse_args(arguments)
    if args.size % 8 or args.size < 64:
        parser.error(f"--size {args.size}: expected a multiple of 8, at least 64")
    if args.steps < 1 or min(args.grid) < 1:
        parser.error("--steps and --grid take numbers from 1")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = args.dtype or ("fp16" if device.type == "cuda" else "fp32")
    dtype = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[name]
    result: dict[str, object] = {"device": _device_name(device), "dtype": name, "threads": torch.get_num_threads()}
    if args.only in (None, "attention"):
        for side in args.grid:
            print(f"one attention call, {side} x {side} tokens, 8 heads of 40, {name}")
            grid = (side, side)
            result[f"attention {side}"] = _table(attention.bench(grid, device, dtype, args.steps), memory="inputs")
    if args.only in (None, "gather"):
        print(f"16 masked cross-attentions of SCA-DM, latent {LATENT} x {LATENT}, batch {gather.BATCH}, {name}")
        result["gather"] = _table(gather.bench((LATENT, LATENT), device, dtype, args.steps), memory="inputs")
    if args.only in (None, "step"):
        print(f"one guided step of an SD1.5 UNet with ControlNeXt, {args.size} x {args.size}, {name}, {args.host}")
        size = (args.size, args.size)
        host = comfy_step if args.host == "comfy" else step
        result[f"step {args.size} {args.host}"] = _table(host.bench(size, device, dtype, args.steps), memory="plain")
    print(json.dumps(result))
    return 0


def _table(cases: Iterable[tuple[str, Measurement]], memory: str) -> dict[str, dict[str, float]]:
    """Print the cases as they come; the first is what the others are compared with."""
    rows: dict[str, dict[str, float]] = {}
    plain: Measurement | None = None
    print(f"  {'case':26s} {'seconds':>9s} {'cpu s':>9s} {'ratio':>7s} {'peak MB over ' + memory:>24s}")
    for name, measured in cases:
        plain = plain or measured
        base = plain.peak_bytes if memory == "plain" else 0
        row = {
            "seconds": round(measured.seconds, 4),
            "cpu_seconds": round(measured.cpu_seconds, 4),
            "ratio": round(_cost(measured) / _cost(plain), 3),
            "peak_mb": round((measured.peak_bytes - base) / 1e6, 1),
        }
        rows[name] = row
        print("  {:26s} {:9.3f} {:9.3f} {:7.2f} {:24.1f}".format(name, *row.values()), flush=True)
    return rows


def _cost(measured: Measurement) -> float:
    """Processor time counts, which other work on the machine hardly changes; on a GPU the wall time."""
    return measured.seconds if torch.cuda.is_available() else measured.cpu_seconds


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


if __name__ == "__main__":
    sys.exit(main())
