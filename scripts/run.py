"""Prepare the environment and start ComfyUI with this pack in it, in a base directory of its own."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import environment
import examples
import workflow
from environment import HOST_HOME, ROOT, Environment, SetupError
from host_client import ask

PACK = "ComfyUI-AM-Adapter"
BASE_FOLDERS = ("custom_nodes", "input", "output", "temp", "user", "models")
DEFAULT_PORT = 8188
# Of the base directory that stays; runs on a temporary one read these as well.
INPUTS = HOST_HOME / "base" / "input"
MODELS = HOST_HOME / "base" / "models"
# A busy two-core machine needed a minute.
START_TIMEOUT = 300.0
STOP_TIMEOUT = 15.0
LINES_SHOWN = 40


def main() -> int:
    options = parse_options()
    graph = workflow.read(options.once) if options.once else None
    prepared = environment.prepare(use_venv=not options.no_venv)
    port = choose_port(options)
    signal.signal(signal.SIGTERM, raise_interrupt)
    with base_directory(temporary=is_headless(options)) as base:
        link_pack(base / "custom_nodes" / PACK)
        examples.copy_inputs(INPUTS)
        MODELS.mkdir(parents=True, exist_ok=True)
        tiny = graph is not None and needs_tiny_model(graph, prepared)
        if tiny:
            link_pack(base / "custom_nodes" / examples.TINY_PACK.name, examples.TINY_PACK)
        print("starting ComfyUI ...", flush=True)
        command = host_command(prepared, base, options.listen, port)
        with Host(command, prepared.comfyui, echo=not is_headless(options)) as host:
            url = local_url(options.listen, port)
            host.wait_until_ready(url)
            report_pack(host.lines, url)
            if graph is not None:
                examples.make_picture(url, graph, options.output, tiny=tiny)
            if is_headless(options):
                return 0
            page = url + examples.offer_workflow(base, PACK)
            print(f"ComfyUI with {PACK}: {page} (Ctrl-C stops it)", flush=True)
            if not options.no_browser:
                webbrowser.open(page)
            return host.process.wait()


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--port", type=int, help=f"default {DEFAULT_PORT}; with --check and --once any free one")
    parser.add_argument("--listen", default="127.0.0.1", metavar="ADDRESS", help="default %(default)s")
    parser.add_argument("--no-browser", action="store_true", help="do not open the page")
    parser.add_argument("--no-venv", action="store_true", help="use the current interpreter instead of .venv")
    headless = parser.add_mutually_exclusive_group()
    headless.add_argument("--check", action="store_true", help="start, see that the pack is loaded, stop")
    headless.add_argument(
        "--once",
        type=Path,
        nargs="?",
        const=examples.DEFAULT_WORKFLOW,
        metavar="WORKFLOW",
        help=f"run a workflow, by default {examples.DEFAULT_WORKFLOW.name}, save its picture, stop;"
        " where its models are missing it runs on a tiny one with random weights",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("am_adapter.png"), metavar="PNG", help="of --once, default %(default)s"
    )
    return parser.parse_args()


def is_headless(options: argparse.Namespace) -> bool:
    return options.check or options.once is not None


def raise_interrupt(*_: object) -> None:
    """Let a polite kill end this script as Ctrl-C does, so that the server ends with it."""
    raise KeyboardInterrupt


# The base directory


@contextmanager
def base_directory(*, temporary: bool) -> Iterator[Path]:
    """Yield a ComfyUI base directory: the one that stays, or one that a check shares with no running host."""
    HOST_HOME.mkdir(exist_ok=True)
    base = Path(tempfile.mkdtemp(prefix="check-", dir=HOST_HOME)) if temporary else HOST_HOME / "base"
    for name in BASE_FOLDERS:
        (base / name).mkdir(parents=True, exist_ok=True)
    try:
        yield base
    finally:
        if temporary:
            for link in (base / "custom_nodes").iterdir():
                unlink_pack(link)
            shutil.rmtree(base, ignore_errors=True)


def link_pack(link: Path, pack: Path | None = None) -> None:
    """Make `link` lead to a pack, by default this checkout; where the system allows no link, put a copy there."""
    pack = pack or ROOT
    if os.path.realpath(link) == os.path.realpath(pack):
        return
    unlink_pack(link)
    for make_link in (make_symlink, make_junction):
        try:
            make_link(link, pack)
            return
        except (OSError, ImportError):
            continue
    print(f"no link can be made here: {link} is a copy, start again to refresh it", flush=True)
    shutil.copytree(pack, link, ignore=shutil.ignore_patterns(".git", ".venv", ".host", "__pycache__"))


def make_symlink(link: Path, target: Path) -> None:
    link.symlink_to(target, target_is_directory=True)


def make_junction(link: Path, target: Path) -> None:
    """Make the kind of link that Windows allows without a privilege; elsewhere there is no `_winapi`."""
    import _winapi

    _winapi.CreateJunction(str(target), str(link))


def unlink_pack(link: Path) -> None:
    """Remove a link or a copy that `link_pack` made, never what a link leads to."""
    if link.is_symlink():
        link.unlink()
    elif link.exists() and os.path.realpath(link) != os.path.abspath(link):
        os.rmdir(link)  # a junction: this takes the junction only
    elif link.exists():
        shutil.rmtree(link)


# Models


def model_folders(comfyui: Path) -> list[Path]:
    """Return the models folders there are: ours, and that of the ComfyUI that runs."""
    return [folder for folder in (MODELS, comfyui / "models") if folder.is_dir()]


def needs_tiny_model(graph: dict, prepared: Environment) -> bool:
    """Whether a workflow's models are missing; says so."""
    folders = model_folders(prepared.comfyui)
    missing = workflow.missing_files(graph, folders)
    if missing:
        print(
            f"not in {' nor in '.join(map(str, folders))}: {', '.join(missing)};"
            " running on a tiny model with random weights instead, the picture will be noise",
            flush=True,
        )
    return bool(missing)


# The server


def choose_port(options: argparse.Namespace) -> int:
    """Return the port to serve on, having seen that it is free."""
    if options.port is not None:
        return free_port(options.listen, options.port)
    return free_port(options.listen, 0 if is_headless(options) else DEFAULT_PORT)


def free_port(listen: str, wanted: int = 0) -> int:
    """Return the wanted port of an address, or with 0 any free one."""
    family = socket.AF_INET6 if ":" in listen else socket.AF_INET
    try:
        with socket.create_server((listen, wanted), family=family) as probe:
            return probe.getsockname()[1]
    except (OSError, OverflowError) as error:
        raise SetupError(
            f"cannot listen on {listen} port {wanted} ({error});"
            " stop the server that runs there, or pass another --port."
        ) from error


def local_url(listen: str, port: int) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listen, listen)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def host_command(prepared: Environment, base: Path, listen: str, port: int) -> list[str]:
    """Return the command that starts ComfyUI on our base directory, leaving the user's own data alone."""
    command = [str(prepared.python), str(prepared.comfyui / "main.py")]
    command += ["--listen", listen, "--port", str(port), "--base-directory", str(base)]
    command += ["--input-directory", str(INPUTS)]
    further = [folder for folder in model_folders(prepared.comfyui) if folder != base / "models"]
    if further:
        examples.write_model_folders(base / "model_folders.yaml", further)
        command += ["--extra-model-paths-config", str(base / "model_folders.yaml")]
    # The default database lies in ComfyUI's folder, whatever the base directory.
    command += ["--database-url", "sqlite:///:memory:"]
    command += ["--disable-auto-launch", "--disable-api-nodes", "--dont-print-server"]
    if not has_accelerator(prepared.python):
        command.append("--cpu")
    return command


def has_accelerator(python: Path) -> bool:
    code = "import sys, torch; sys.exit(not getattr(torch, 'accelerator', torch.cuda).is_available())"
    return environment.succeeds([python, "-c", code])


class Host:
    """A running ComfyUI, its output so far, and a clean end to it."""

    def __init__(self, command: list[str], folder: Path, *, echo: bool) -> None:
        self.lines: list[str] = []
        self.echo = echo
        # A group of its own: Ctrl-C reaches this script alone, which then ends the server once and waits.
        if os.name == "nt":
            group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        else:
            group = {"start_new_session": True}
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            **group,
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def __enter__(self) -> Host:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        self.stop()
        if kind is SetupError and not self.echo:
            print("\n".join(self.lines[-LINES_SHOWN:]), file=sys.stderr)

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if self.echo:
                print(line, end="", flush=True)

    def wait_until_ready(self, url: str) -> None:
        """Return when the server answers."""
        start = time.monotonic()
        while time.monotonic() - start < START_TIMEOUT:
            if self.process.poll() is not None:
                raise SetupError(f"ComfyUI ended with code {self.process.returncode} while starting.")
            try:
                ask(f"{url}/system_stats")
                print(f"ComfyUI answers after {time.monotonic() - start:.0f} s", flush=True)
                return
            except OSError:
                time.sleep(0.25)
        raise SetupError(f"ComfyUI did not answer on {url} within {START_TIMEOUT:.0f} s.")

    def stop(self) -> None:
        """End the server, politely first."""
        polite = signal.CTRL_BREAK_EVENT if os.name == "nt" else signal.SIGINT
        for end in (lambda: self.process.send_signal(polite), self.process.terminate, self.process.kill):
            if self.process.poll() is not None:
                break
            end()
            try:
                self.process.wait(STOP_TIMEOUT)
            except (subprocess.TimeoutExpired, KeyboardInterrupt):  # a second Ctrl-C is impatience
                continue
        self.reader.join(STOP_TIMEOUT)


# Whether the pack is loaded


def report_pack(lines: list[str], url: str) -> None:
    """Say how many of our nodes the host has, or raise: the host itself only logs a pack that fails."""
    nodes = ask(f"{url}/object_info")
    loaded = pack_loaded(lines)
    if loaded is None:
        raise SetupError(f"ComfyUI did not try to load {PACK}; its output has no line about it.")
    if not loaded:
        raise SetupError(f"ComfyUI could not load {PACK}; its output says why.")
    count = sum(node.get("python_module") == f"custom_nodes.{PACK}" for node in nodes.values())
    print(f"{PACK} is loaded: {count} of {len(nodes)} nodes are its own", flush=True)


def pack_loaded(lines: list[str]) -> bool | None:
    """Read the host's list of import times: loaded, failed, or (None) not mentioned."""
    for line in lines:
        entry = re.search(r"seconds( \(IMPORT FAILED\))?: (.+)$", line)
        if entry and re.split(r"[\\/]", entry[2].strip())[-1] == PACK:
            return entry[1] is None
    return None


if __name__ == "__main__":
    sys.exit(environment.run_command(main))
