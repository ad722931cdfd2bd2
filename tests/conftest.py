"""What tests of several folders share."""

from __future__ import annotations

import importlib.util
import sys
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
