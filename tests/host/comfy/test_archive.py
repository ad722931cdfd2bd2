"""The registry's archive in ComfyUI: its metadata as ComfyUI reads it, its nodes from a copy of it."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

from tests.archive import ROOT, archived_files
from tests.host.comfy.definitions import read
from tests.host.comfy.pack import finish

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("comfy_modules")]

NAME = "archived_am_adapter"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A copy of the archive; what is large, the demonstration's weights, as links."""
    folder = tmp_path / "am-adapter"
    for name in archived_files():
        copy = folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".safetensors"):
            copy.symlink_to(ROOT / name)
        else:
            shutil.copyfile(ROOT / name, copy)
    return folder


def test_comfyui_reads_what_pyproject_means(comfy_modules: Path) -> None:
    from comfy_config.config_parser import extract_node_configuration

    config = extract_node_configuration(str(ROOT))
    project, comfy = config.project, config.tool_comfy
    assert (project.name, comfy.publisher_id, comfy.display_name) == ("am-adapter", "am-adapter", "AM-Adapter")
    assert project.description.startswith("Exemplar-based semantic image synthesis") and len(project.description) < 200
    assert (project.requires_python, project.supported_comfyui_version) == (">=3.10", ">=0.30.0")
    assert (project.license.file, project.license.text) == ("LICENSE", "")
    assert project.dependencies == []
    # One classifier that the parser does not know would empty the list.
    assert project.supported_os == ["OS Independent"]
    assert project.supported_accelerators == []  # measured on CPUs so far
    assert project.supported_comfyui_frontend_version == ""
    # The pack names its folder of scripts in `WEB_DIRECTORY`; a second name would load them twice.
    assert comfy.web is None
    assert (comfy.includes, comfy.models) == ([], [])


def test_the_archive_has_every_node_with_what_it_shows(archive: Path) -> None:
    spec = importlib.util.spec_from_file_location(
        NAME, archive / "__init__.py", submodule_search_locations=[str(archive)]
    )
    package = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = package
    try:
        spec.loader.exec_module(package)
        extension = finish(package.comfy_entrypoint())
        nodes = finish(extension.get_node_list())
        assert [node.GET_SCHEMA().node_id for node in nodes] == [name for name, d in read().items() if "inputs" in d]
        loaded = [module for name, module in sys.modules.items() if name.startswith(f"{NAME}.")]
        assert len(loaded) > 50
        assert {Path(module.__file__).is_relative_to(archive) for module in loaded} == {True}
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == NAME]:
            del sys.modules[name]
    web = archive / package.WEB_DIRECTORY
    assert all((web / "docs" / f"{node}.md").is_file() for node, sides in read().items() if "inputs" in sides)
    assert list((web / "js").glob("*.js")) and list((archive / "workflows").glob("*.json"))
