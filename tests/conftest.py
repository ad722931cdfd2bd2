"""What tests of several folders share."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


def load_script(name: str) -> ModuleType:
    """Load `scripts/<name>.py`, which is no package, under a name that cannot meet another module's."""
    folder = ROOT / "scripts"
    if str(folder) not in sys.path:  # for its siblings; after everything else, since one is called `test`
        sys.path.append(str(folder))
    spec = importlib.util.spec_from_file_location(f"am_adapter_script_{name}", folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def environment_script() -> ModuleType:
    return load_script("environment")


@pytest.fixture(scope="session")
def run_script() -> ModuleType:
    return load_script("run")


@pytest.fixture(scope="session")
def make_workflows_script() -> ModuleType:
    return load_script("make_workflows")


@pytest.fixture(scope="session")
def make_example_inputs_script() -> ModuleType:
    return load_script("make_example_inputs")


@pytest.fixture(scope="session")
def make_locales_script() -> ModuleType:
    return load_script("make_locales")


@pytest.fixture(scope="session")
def comfyui_path(environment_script: ModuleType) -> Path:
    """The ComfyUI that `scripts/test.py` prepared; outside of it, one that happens to be ready."""
    host = environment_script.find_host()
    if host is None:
        pytest.skip("no ComfyUI: run python scripts/test.py, or set COMFYUI_PATH")
    requirements = environment_script.read_requirements(host / "requirements.txt")
    missing = [entry for entry in requirements if not environment_script.is_installed(entry)]
    if missing:
        pytest.skip(f"ComfyUI's packages are missing ({', '.join(missing)}): run python scripts/test.py")
    return host


@pytest.fixture(scope="session")
def comfy_modules(comfyui_path: Path) -> Path:
    """Make ComfyUI's modules importable in this process; import them inside the tests that ask for this.

    ComfyUI comes before this repository on the path: by its bare name, `nodes` is the host's.
    """
    sys.path.insert(0, str(comfyui_path))
    import torch
    from comfy.cli_args import args

    args.cpu = not torch.cuda.is_available()
    return comfyui_path


@dataclass(frozen=True)
class HostServer:
    """A running ComfyUI with this pack and the tiny test model in it.

    :param base: its base directory: `input`, `output`, `models` and so on.
    :param pid: its process.
    :param object_info: what it says about its nodes.
    :param client: `scripts/host_client.py`, to talk to it.
    :param workflow: `scripts/workflow.py`, to make prompts for it.
    """

    url: str
    base: Path
    pid: int
    object_info: dict
    client: ModuleType
    workflow: ModuleType

    def forget(self) -> None:
        """Make the server drop what earlier prompts left in its cache."""
        self.client.ask(f"{self.url}/free", {"free_memory": True, "unload_models": True})
        time.sleep(1)  # the server's worker does it in its own time, and nothing tells when it has


@pytest.fixture(scope="session")
def host_server(run_script: ModuleType, comfyui_path: Path) -> Iterator[HostServer]:
    """One ComfyUI for all tests that talk to one."""
    with started_server(run_script, comfyui_path) as server:
        yield server


@contextmanager
def started_server(run_script: ModuleType, comfyui_path: Path) -> Iterator[HostServer]:
    """A ComfyUI, started as `scripts/run.py` starts it, on a base of its own."""
    with pytest.MonkeyPatch.context() as patch, run_script.base_directory(temporary=True) as base:
        # Not those of the base directory that stays.
        patch.setattr(run_script, "INPUTS", base / "input")
        patch.setattr(run_script, "MODELS", base / "models")
        patch.setattr(run_script, "has_accelerator", lambda python: False)
        patch.setenv("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 2) // 2)))
        examples = run_script.examples
        run_script.link_pack(base / "custom_nodes" / run_script.PACK)
        run_script.link_pack(base / "custom_nodes" / examples.TINY_PACK.name, examples.TINY_PACK)
        examples.copy_inputs(base / "input")
        prepared = run_script.Environment(Path(sys.executable), comfyui_path)
        port = run_script.free_port("127.0.0.1")
        command = run_script.host_command(prepared, base, "127.0.0.1", port)
        with run_script.Host(command, comfyui_path, echo=False) as host:
            url = run_script.local_url("127.0.0.1", port)
            host.wait_until_ready(url)
            run_script.report_pack(host.lines, url)
            client, workflow = examples.host_client, examples.workflow
            yield HostServer(url, base, host.process.pid, client.ask(f"{url}/object_info"), client, workflow)
