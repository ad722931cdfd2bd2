"""Model folders: what is offered under which name, and where a name leads."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import save_file

from amadapter_core.exemplar import Exemplar, Trajectory
from amadapter_core.label_maps import LabelMap
from amadapter_core.palettes import Palette

pytestmark = pytest.mark.host

GARDEN = {"classes": [{"name": "lawn", "colour": [10, 200, 10]}, {"name": "path", "colour": [180, 170, 160]}]}


@pytest.fixture
def folders(model_folder: Path) -> ModuleType:
    from amadapter_core.hosts.comfy import folders

    return folders


def save_exemplar(path: Path) -> None:
    labels = LabelMap(torch.zeros(1, 16, 16, dtype=torch.int64), Palette.load("cityscapes19"))
    Exemplar(Trajectory.forward_noise(torch.zeros(1, 4, 2, 2)), labels).save(path)


def write(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_registering_twice_is_registering_once_and_keeps_the_user_s_paths(
    folders: ModuleType, model_folder: Path, tmp_path: Path
) -> None:
    import folder_paths

    folder_paths.add_model_folder_path("am_adapter", str(tmp_path / "elsewhere"))
    for _ in range(2):
        folders.register()
    assert folders.folders() == [model_folder / "am_adapter", tmp_path / "elsewhere"]


def test_only_weights_files_are_listed_and_exemplars_apart(folders: ModuleType, model_folder: Path) -> None:
    own = model_folder / "am_adapter"
    save_exemplar(own / "night.safetensors")
    save_exemplar(own / "streets" / "day.safetensors")
    save_file({"x": torch.zeros(1)}, own / "trained.safetensors")
    for name in ("old.pth", "readme.txt", "broken.safetensors", "palettes/garden.json"):
        write(own / name)
    assert folders.exemplars() == ["night.safetensors", os.path.join("streets", "day.safetensors")]
    assert folders.matchers() == ["broken.safetensors", "old.pth", "trained.safetensors"]


def test_a_file_that_becomes_an_exemplar_is_seen_as_one(folders: ModuleType, model_folder: Path) -> None:
    file = model_folder / "am_adapter" / "x.safetensors"
    write(file)
    assert folders.exemplars() == []
    save_exemplar(file)
    assert folders.exemplars() == ["x.safetensors"]


def test_no_folder_is_no_files(folders: ModuleType) -> None:
    assert folders.exemplars() == folders.matchers() == []
    assert folders.files("controlnet") == []


def test_a_name_leads_to_its_file_in_any_of_the_paths(folders: ModuleType, tmp_path: Path) -> None:
    import folder_paths

    folder_paths.add_model_folder_path("am_adapter", str(tmp_path / "elsewhere"))
    file = write(tmp_path / "elsewhere" / "sub" / "m.pth")
    assert folders.find("am_adapter", "sub/m.pth") == file


def test_a_missing_file_is_named_with_the_folders_searched(folders: ModuleType, model_folder: Path) -> None:
    with pytest.raises(FileNotFoundError) as error:
        folders.find("am_adapter", "gone.safetensors")
    assert "'gone.safetensors'" in str(error.value)
    assert str(model_folder / "am_adapter") in str(error.value)


def test_a_fingerprint_changes_with_the_file(folders: ModuleType, model_folder: Path) -> None:
    assert folders.fingerprint("controlnet", "c.pth") == ""
    write(model_folder / "controlnet" / "c.pth", "one")
    before = folders.fingerprint("controlnet", "c.pth")
    write(model_folder / "controlnet" / "c.pth", "other")
    assert before and folders.fingerprint("controlnet", "c.pth") != before


def test_palettes_are_the_built_in_ones_and_the_user_s_files(folders: ModuleType, model_folder: Path) -> None:
    write(model_folder / "am_adapter" / "palettes" / "garden.json", json.dumps(GARDEN))
    assert folders.palettes() == [*Palette.builtin_names(), "garden.json"]
    assert folders.load_palette("garden.json").names == ("lawn", "path")
    assert folders.load_palette("cityscapes19").name == "cityscapes19"


def test_an_unknown_palette_is_named_with_the_folders_searched(folders: ModuleType, model_folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match="'park.json' is neither a built-in palette") as error:
        folders.load_palette("park.json")
    assert str(model_folder / "am_adapter" / "palettes") in str(error.value)


def test_new_exemplars_are_counted_and_listed_under_the_name_returned(folders: ModuleType, model_folder: Path) -> None:
    names = []
    for _ in range(2):
        path, name = folders.new_file("streets/night")
        save_exemplar(path)
        names.append(name)
    assert names == [os.path.join("streets", f"night_0000{i}.safetensors") for i in (1, 2)]
    assert folders.exemplars() == names
    assert folders.find("am_adapter", names[0]) == model_folder / "am_adapter" / names[0]


def test_an_exemplar_is_not_saved_outside_the_folder(folders: ModuleType) -> None:
    with pytest.raises(ValueError, match="leaves"):
        folders.new_file("../../night")
