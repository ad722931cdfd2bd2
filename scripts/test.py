"""Prepare the environment, then run ruff and pytest. Everything pytest understands is passed on to it.

Two processes share the test files between them, with half of the cores each; `-n 0` runs all in one, as a debugger
wants it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

import environment

PROCESSES = 2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--no-venv", action="store_true", help="use the current interpreter instead of .venv")
    options, pytest_arguments = parser.parse_known_args()

    prepared = environment.prepare(use_venv=not options.no_venv, extras=["test"])
    # Host tests find the same ComfyUI that was prepared here.
    threads = str(max(1, (os.cpu_count() or 1) // PROCESSES))
    variables = {"OMP_NUM_THREADS": threads, **os.environ, "COMFYUI_PATH": str(prepared.comfyui)}

    def tool(*arguments: str) -> int:
        command = [str(prepared.python), "-m", *arguments]
        return subprocess.run(command, cwd=environment.ROOT, env=variables).returncode

    # Both run even if the first complains: one run shows all there is to mend.
    lint = tool("ruff", "check", ".")
    shared = ["-n", str(PROCESSES), "--dist", "loadfile"]
    tests = tool("pytest", *shared, "--durations=10", *pytest_arguments)
    return lint or tests


if __name__ == "__main__":
    sys.exit(environment.run_command(main))
