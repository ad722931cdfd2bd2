"""What the pack shows of itself where it is published: metadata, version, art, archive, GitHub workflows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path, PurePosixPath
from types import ModuleType

import numpy as np
import pytest
import yaml
from PIL import Image

import amadapter_core
from tests.archive import archived_files
from tests.conftest import load_script

ROOT = Path(__file__).resolve().parents[2]
GITHUB = ROOT / ".github" / "workflows"
WORKFLOW_FILES = sorted(GITHUB.glob("*.yml"))


@pytest.fixture(scope="module")
def pyproject(environment_script: ModuleType) -> dict:
    return environment_script.read_pyproject()


@pytest.fixture(scope="module")
def make_art() -> ModuleType:
    return load_script("make_art")


@pytest.fixture(scope="module")
def files() -> list[str]:
    return archived_files()


class TestMetadata:
    def test_the_name_is_one_the_registry_takes(self, pyproject: dict) -> None:
        name = pyproject["project"]["name"]
        assert re.fullmatch(r"[A-Za-z](?:[-_.]?[A-Za-z0-9])*", name) and len(name) < 100
        assert "comfy" not in name.lower()

    def test_the_version_is_the_newest_entry_of_the_changelog(self, pyproject: dict) -> None:
        version = pyproject["project"]["version"]
        changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
        entries = re.findall(r"^## (.+)$", changelog, re.MULTILINE)
        assert re.fullmatch(r"\d+\.\d+\.\d+", version)
        assert entries[0] in (version, f"{version} (unreleased)")
        assert version == amadapter_core.__version__
        numbers = [tuple(map(int, entry.split()[0].split("."))) for entry in entries]
        assert numbers == sorted(set(numbers), reverse=True)
        assert not [entry for entry in entries[1:] if "unreleased" in entry]

    def test_the_licence_is_a_table_and_its_file_is_there(self, pyproject: dict) -> None:
        licence = (ROOT / pyproject["project"]["license"]["file"]).read_text(encoding="utf-8")
        assert "Apache License" in licence

    def test_the_floor_is_the_version_the_scripts_fetch(self, pyproject: dict, environment_script: ModuleType) -> None:
        assert pyproject["tool"]["comfy"]["requires-comfyui"] == f">={environment_script.HOST_VERSION}"

    def test_icon_and_banner_are_named_with_the_repository_they_lie_in(self, pyproject: dict) -> None:
        repository = pyproject["project"]["urls"].get("Repository", "")
        comfy = pyproject["tool"]["comfy"]
        if not repository:
            assert "Icon" not in comfy and "Banner" not in comfy
            return
        place = repository.replace("https://github.com/", "https://raw.githubusercontent.com/")
        assert place != repository
        for key, file in (("Icon", "art/icon.png"), ("Banner", "art/banner.png")):
            assert comfy[key].startswith(place + "/") and comfy[key].endswith("/" + file)


class TestArt:
    def test_sizes_are_the_registry_s(self, make_art: ModuleType) -> None:
        with Image.open(make_art.ART / "icon.png") as icon, Image.open(make_art.ART / "banner.png") as banner:
            assert icon.format == banner.format == "PNG"
            assert icon.width == icon.height <= 400
            assert banner.width * 9 == banner.height * 21
        assert sum(path.stat().st_size for path in make_art.ART.iterdir()) < 300_000

    @pytest.mark.parametrize("name", ["icon", "banner"])
    def test_the_files_are_what_the_script_draws(self, make_art: ModuleType, name: str) -> None:
        drawn = np.asarray(getattr(make_art, name)()).astype(int)
        with Image.open(make_art.ART / f"{name}.png") as file:
            stored = np.asarray(file.convert("RGB")).astype(int)
        assert drawn.shape == stored.shape
        # Edges may be smoothed a little otherwise by another version of Pillow.
        differing = (np.abs(drawn - stored).max(-1) > 12).mean()
        assert differing < 0.003, "run python scripts/make_art.py"


class TestArchive:
    def test_everything_of_the_pack_is_in_it(self, files: list[str]) -> None:
        parts = ("amadapter_core", "nodes", "web", "workflows", "locales", "subgraphs")
        wanted = {
            path.relative_to(ROOT).as_posix()
            for part in parts
            for path in (ROOT / part).rglob("*")
            if path.is_file() and path.suffix != ".pyc"
        }
        assert wanted - set(files) == set()
        of_root = {"__init__.py", "pyproject.toml", "requirements.txt", "LICENSE", "README.md", "CHANGELOG.md"}
        assert of_root <= set(files)

    def test_nothing_for_developers_is_in_it(self, files: list[str]) -> None:
        tops = {PurePosixPath(name).parts[0] for name in files}
        assert (
            tops & {".ci", ".github", ".gitignore", ".host", ".venv", "art", "models", "runs", "scripts", "tests"}
            == set()
        )

    def test_it_is_small_enough_to_load_without_thinking(self, files: list[str]) -> None:
        megabytes = sum((ROOT / name).stat().st_size for name in files) / 1e6
        weights = sum((ROOT / name).stat().st_size for name in files if name.endswith(".safetensors")) / 1e6
        assert weights < 30, f"{weights:.1f} MB of weights"
        assert megabytes - weights < 8, f"{megabytes - weights:.1f} MB besides the weights"


class TestGitHubWorkflows:
    @pytest.fixture(params=WORKFLOW_FILES, ids=lambda path: path.stem)
    def workflow(self, request: pytest.FixtureRequest) -> dict:
        return yaml.safe_load(request.param.read_text(encoding="utf-8"))

    def test_tests_publish_and_definitions_are_there(self) -> None:
        assert {path.stem for path in WORKFLOW_FILES} >= {"test", "publish", "definitions"}

    def test_each_reads_only_unless_a_job_asks_for_more(self, workflow: dict) -> None:
        assert workflow["permissions"] == {"contents": "read"}
        for job in workflow["jobs"].values():
            assert "write-all" not in str(job.get("permissions", ""))
            assert job.get("permissions", {}).get("contents", "read") == "read"

    def test_what_each_uses_is_a_version(self, workflow: dict) -> None:
        for job in workflow["jobs"].values():
            assert {"uses", "steps"} & set(job)
            used = [job.get("uses"), *(step.get("uses") for step in job.get("steps", ()))]
            for action in filter(None, used):
                if action.startswith("./"):
                    assert (ROOT / action).is_file()
                else:
                    assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+(\.\d+)*", action), action

    def test_what_each_runs_is_there(self, workflow: dict) -> None:
        for job in workflow["jobs"].values():
            for step in job.get("steps", ()):
                for word in re.findall(r"\S+\.(?:py|json|yml|toml)\b", step.get("run", "")):
                    name = word.split(":")[-1].removeprefix("base/")
                    assert (ROOT / name).is_file(), word

    def test_the_jobs_they_wait_for_are_there(self, workflow: dict) -> None:
        for job in workflow["jobs"].values():
            assert job.get("needs") is None or job["needs"] in workflow["jobs"]

    def test_the_oldest_comfyui_is_the_floor(self, environment_script: ModuleType) -> None:
        workflow = yaml.safe_load((GITHUB / "test.yml").read_text(encoding="utf-8"))
        versions = workflow["jobs"]["comfyui"]["strategy"]["matrix"]["comfyui"]
        assert versions == [f"v{environment_script.HOST_VERSION}", "master"]

    @pytest.mark.skipif(not (shutil.which("bash") and shutil.which("git")), reason="the step is a bash script on git")
    @pytest.mark.parametrize(
        ("event", "before", "changed"),
        [
            ("push", "HEAD~1", "true"),  # 0.1.0 became 0.2.0
            ("push", "HEAD", "false"),
            ("push", "0" * 40, "false"),  # a new branch
            ("workflow_dispatch", "", "true"),
        ],
    )
    def test_a_new_version_is_told(self, tmp_path: Path, event: str, before: str, changed: str) -> None:
        def git(*arguments: str) -> None:
            identity = ["-c", "user.name=name", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
            subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

        git("init", "-q")
        ours = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        version = re.search(r'^version = "(.+)"$', ours, re.MULTILINE)[0]
        for text in (ours.replace(version, 'version = "0.0.1"'), ours):
            (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
            git("add", "pyproject.toml")
            git("commit", "-qm", "version")
        workflow = yaml.safe_load((GITHUB / "publish.yml").read_text(encoding="utf-8"))
        (step,) = [step for step in workflow["jobs"]["version"]["steps"] if step.get("id") == "compare"]
        output = tmp_path / "output"
        variables = {**os.environ, "BEFORE": before, "EVENT": event, "GITHUB_OUTPUT": str(output)}
        subprocess.run(["bash", "-e", "-c", step["run"]], cwd=tmp_path, env=variables, check=True)
        assert output.read_text(encoding="utf-8") == f"changed={changed}\n"
