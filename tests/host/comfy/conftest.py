"""ComfyUI in this process, and a Stable Diffusion 1.5 in miniature to run it with."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

ROOT = Path(__file__).resolve().parents[3]


class SameCore:
    """Finds `<the pack>.amadapter_core.x` as the module `amadapter_core.x`, so that here each class exists once.

    Tests import the library by its name; the pack's nodes, loaded by `pack.py`, by its place in the pack.
    """

    def __init__(self) -> None:
        self.specs: dict[str, ModuleSpec] = {}

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        pack, _, rest = name.partition(".")
        ours = getattr(sys.modules.get(pack), "__file__", None) == str(ROOT / "__init__.py")
        return ModuleSpec(name, self) if ours and rest.partition(".")[0] == "amadapter_core" else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(spec.name.partition(".")[2])
        self.specs[module.__name__] = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.specs[module.__name__]


sys.meta_path.insert(0, SameCore())


@pytest.fixture(scope="session")
def tiny(comfy_modules: Path) -> Iterator[ModuleType]:
    """`tests/packs/tiny_sd15/models.py`: tiny.tiny_model(), tiny.tiny_clip() and so on, see there.

    It is loaded by its path, since ComfyUI has a package `tests` of its own. One thread computes: several are
    slower on networks of this size, many times so on a busy machine.
    """
    spec = importlib.util.spec_from_file_location("tiny_sd15_models", ROOT / "tests/packs/tiny_sd15/models.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield module
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model(tiny: ModuleType) -> Any:
    """A MODEL of the tiny UNet, one for each file of tests."""
    with torch.inference_mode():
        return tiny.tiny_model()


@pytest.fixture(scope="module")
def matcher(tiny: ModuleType) -> Any:
    """An AM_MATCHER for it."""
    with torch.inference_mode():
        return tiny.tiny_matcher_patcher()


@pytest.fixture
def inference() -> Iterator[None]:
    """Inference mode, in which ComfyUI runs its nodes."""
    with torch.inference_mode():
        yield


@pytest.fixture
def model_folder(comfy_modules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of models, which ComfyUI takes for its own during one test."""
    import folder_paths

    known = {
        name: ([str(tmp_path / name)], set(folder_paths.supported_pt_extensions))
        for name in ("controlnet", "diffusion_models")
    }
    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path))
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", known)
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    return tmp_path
