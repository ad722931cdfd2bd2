"""The set-up behind `scripts/test.py` and `scripts/run.py`, without a network."""

from __future__ import annotations

import argparse
import io
import os
import socket
import subprocess
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import pytest

import amadapter_core

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def environment(environment_script, tmp_path, monkeypatch) -> ModuleType:
    """The set-up module in an empty checkout, recording the commands it would run."""
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    monkeypatch.setattr(environment_script, "ROOT", checkout)
    monkeypatch.setattr(environment_script, "VENV", checkout / ".venv")
    monkeypatch.setattr(environment_script, "HOST_HOME", checkout / ".host")
    return environment_script


@pytest.fixture
def installed(environment, monkeypatch) -> list[tuple[str, ...]]:
    """What pip was asked to install, in order."""
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr(environment, "pip", lambda python, title, command, *rest: calls.append(rest))
    return calls


def make_comfyui(path: Path) -> Path:
    (path / "comfy").mkdir(parents=True)
    (path / "main.py").touch()
    (path / "requirements.txt").write_text("aiohttp>=3  # the server\n\n# a comment\npyyaml\n")
    return path


def make_venv_folder(environment: ModuleType) -> Path:
    python = environment.venv_python()
    python.parent.mkdir(parents=True)
    python.touch()
    (environment.VENV / "pyvenv.cfg").write_text("version = 3.11.7\n")
    environment.write_stamp({})
    return python


class TestFindingTheHost:
    def test_comfyui_path_names_it(self, environment, tmp_path, monkeypatch):
        host = make_comfyui(tmp_path / "mine")
        monkeypatch.setenv("COMFYUI_PATH", str(host))
        assert environment.find_host() == host

    def test_a_wrong_comfyui_path_is_refused_with_the_path(self, environment, tmp_path, monkeypatch):
        monkeypatch.setenv("COMFYUI_PATH", str(tmp_path / "nowhere"))
        with pytest.raises(environment.SetupError, match="nowhere.*main.py and comfy/"):
            environment.find_host()

    def test_a_checkout_in_custom_nodes_belongs_to_that_comfyui(self, environment, tmp_path, monkeypatch):
        host = make_comfyui(tmp_path / "ComfyUI")
        monkeypatch.setattr(environment, "ROOT", host / "custom_nodes" / "any-name")
        assert environment.find_host() == host

    def test_one_that_was_fetched_before_is_used(self, environment):
        host = make_comfyui(environment.fetched_host())
        assert environment.find_host() == host

    def test_otherwise_there_is_none(self, environment):
        assert environment.find_host() is None


class TestUnpackingTheHost:
    def archive(self, folder: Path, *names: str, link: str | None = None) -> Path:
        path = folder / "source.tar.gz"
        with tarfile.open(path, "w:gz") as tar:
            for name in names:
                entry = tarfile.TarInfo(name)
                entry.size = 4
                tar.addfile(entry, io.BytesIO(b"text"))
            if link:
                entry = tarfile.TarInfo(link)
                entry.type, entry.linkname = tarfile.SYMTYPE, "/"
                tar.addfile(entry)
        return path

    def test_only_the_asked_folder_is_written(self, environment, tmp_path):
        archive = self.archive(tmp_path, "p-1/vendor/ComfyUI/a/b.py", "p-1/vendor/other.py", "p-1/setup.py")
        environment.unpack_subfolder(archive, ("vendor", "ComfyUI"), tmp_path / "out")
        written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
        assert written == [tmp_path / "out" / "a" / "b.py"]

    @pytest.mark.parametrize("climb", ["../../../../evil", "..\\evil", "C:evil"])
    def test_a_path_that_leads_outside_is_refused(self, environment, tmp_path, climb):
        archive = self.archive(tmp_path, f"p-1/vendor/ComfyUI/{climb}")
        with pytest.raises(environment.SetupError, match="outside"):
            environment.unpack_subfolder(archive, ("vendor", "ComfyUI"), tmp_path / "out")

    def test_links_are_left_out(self, environment, tmp_path):
        archive = self.archive(tmp_path, "p-1/vendor/ComfyUI/a.py", link="p-1/vendor/ComfyUI/root")
        environment.unpack_subfolder(archive, ("vendor", "ComfyUI"), tmp_path / "out")
        assert os.listdir(tmp_path / "out") == ["a.py"]

    def test_an_unknown_archive_is_refused_and_leaves_nothing(self, environment, monkeypatch):
        def download(python, title, command, *rest):
            folder = Path(rest[rest.index("--dest") + 1])
            self.archive(folder, "p-1/vendor/ComfyUI/main.py")

        monkeypatch.setattr(environment, "pip", download)
        with pytest.raises(environment.SetupError, match="COMFYUI_PATH"):
            environment.fetch_host(Path(sys.executable))
        assert os.listdir(environment.HOST_HOME) == []


class TestRequirements:
    def test_comments_and_blank_lines_ask_for_nothing(self, environment, tmp_path):
        host = make_comfyui(tmp_path / "ComfyUI")
        assert environment.read_requirements(host / "requirements.txt") == ["aiohttp>=3", "pyyaml"]

    def test_an_extra_brings_the_extras_it_names(self, environment):
        assert set(environment.read_extra("diffusers")) < set(environment.read_extra("train"))

    def test_no_extra_asks_for_the_pack_itself(self, environment):
        for extra in environment.read_pyproject()["project"]["optional-dependencies"]:
            assert not [entry for entry in environment.read_extra(extra) if entry.startswith("am-adapter")]

    def test_no_requirement_of_ours_pins_torch(self, environment):
        for extra in environment.read_pyproject()["project"]["optional-dependencies"]:
            assert not [entry for entry in environment.read_extra(extra) if entry.startswith("torch=")]

    def test_the_version_is_told_once(self, environment):
        assert environment.read_pyproject()["project"]["version"] == amadapter_core.__version__

    def test_the_link_name_is_the_pack_s_and_not_the_project_s(self, environment, run_script):
        assert "comfyui" not in environment.read_pyproject()["project"]["name"].lower()
        assert run_script.PACK == "ComfyUI-AM-Adapter"


class TestInstallingIntoTheVirtualEnvironment:
    GROUPS = [("host", ["aiohttp"]), ("test", ["pytest"])]

    @pytest.fixture(autouse=True)
    def no_torch_yet(self, environment, monkeypatch):
        monkeypatch.setattr(environment, "succeeds", lambda command: False)

    def test_torch_comes_first_then_each_group(self, environment, installed):
        python = make_venv_folder(environment)
        environment.install_into_venv(python, self.GROUPS)
        assert installed == [environment.TORCH_REQUIREMENTS, ("aiohttp",), ("pytest",)]

    def test_a_torch_that_works_stays(self, environment, installed, monkeypatch):
        monkeypatch.setattr(environment, "succeeds", lambda command: True)
        environment.install_into_venv(make_venv_folder(environment), self.GROUPS)
        assert installed == [("aiohttp",), ("pytest",)]

    def test_a_second_run_installs_nothing(self, environment, installed):
        python = make_venv_folder(environment)
        environment.install_into_venv(python, self.GROUPS)
        installed.clear()
        environment.install_into_venv(python, self.GROUPS)
        assert installed == []

    def test_a_changed_group_is_installed_again(self, environment, installed):
        python = make_venv_folder(environment)
        environment.install_into_venv(python, self.GROUPS)
        installed.clear()
        environment.install_into_venv(python, [self.GROUPS[0], ("test", ["pytest", "hypothesis"])])
        assert installed == [("pytest", "hypothesis")]

    def test_another_interpreter_installs_everything_again(self, environment, installed):
        python = make_venv_folder(environment)
        environment.install_into_venv(python, self.GROUPS)
        installed.clear()
        (environment.VENV / "pyvenv.cfg").write_text("version = 3.12.1\n")
        environment.install_into_venv(python, self.GROUPS)
        assert len(installed) == 3

    def test_what_failed_is_tried_again_and_what_was_done_is_not(self, environment, installed, monkeypatch):
        python = make_venv_folder(environment)

        def offline(python, title, command, *rest):
            if rest == ("pytest",):
                raise environment.SetupError("no network")
            installed.append(rest)

        with monkeypatch.context() as patched:
            patched.setattr(environment, "pip", offline)
            with pytest.raises(environment.SetupError):
                environment.install_into_venv(python, self.GROUPS)
        installed.clear()
        environment.install_into_venv(python, self.GROUPS)
        assert installed == [("pytest",)]

    def test_a_complete_environment_runs_no_command(self, environment, installed, tmp_path, monkeypatch):
        monkeypatch.setenv("COMFYUI_PATH", str(make_comfyui(tmp_path / "mine")))
        make_venv_folder(environment)
        environment.prepare(use_venv=True, extras=["test"])

        def refuse(*_, **__):
            raise AssertionError("a command was run")

        monkeypatch.setattr(environment.subprocess, "run", refuse)
        monkeypatch.setattr(environment, "pip", refuse)
        environment.prepare(use_venv=True, extras=["test"])


class TestUsingTheCurrentInterpreter:
    def test_what_is_there_is_left_alone_in_whatever_version(self, environment, installed):
        environment.complete_current_interpreter([("test", ["pytest>=9999", "numpy"])])
        assert installed == []

    def test_only_what_is_missing_is_added(self, environment, installed):
        environment.complete_current_interpreter([("test", ["pytest", "no-such-package-of-ours>=1"])])
        assert installed == [("no-such-package-of-ours>=1",)]

    def test_torch_is_never_chosen_for_the_user(self, environment, installed, monkeypatch):
        monkeypatch.setattr(environment, "TORCH_PACKAGES", ("torch", "no_such_vision"))
        with pytest.raises(environment.SetupError, match="no_such_vision.*leave out --no-venv"):
            environment.complete_current_interpreter([])
        assert installed == []


class TestFailing:
    def test_a_failed_stage_shows_the_last_lines_and_the_remedy(self, environment, capsys):
        code = "print('\\n'.join(f'line {i}' for i in range(99))); raise SystemExit(1)"
        with pytest.raises(environment.SetupError, match="^do this$"):
            environment.stage("working", [sys.executable, "-c", code], "do this")
        output = capsys.readouterr()
        assert output.out == "working ... failed\n"
        assert output.err.splitlines()[-1] == "line 98"
        assert len(output.err.splitlines()) == environment.PIP_LINES_SHOWN

    def test_a_script_answers_with_one_sentence_and_no_traceback(self, tmp_path):
        result = subprocess.run(
            [sys.executable, str(ROOT / "scripts" / "test.py")],
            env={**os.environ, "COMFYUI_PATH": str(tmp_path)},
            capture_output=True,
            text=True,
        )
        assert result.returncode == 2
        assert result.stderr.count("\n") == 1
        assert result.stderr.startswith("error: COMFYUI_PATH is ")


class TestRunningTheHost:
    def test_the_pack_is_linked_once_and_found_again(self, run_script, tmp_path):
        link = tmp_path / run_script.PACK
        run_script.link_pack(link)
        run_script.link_pack(link)
        assert (link / "pyproject.toml").samefile(ROOT / "pyproject.toml")

    def test_a_link_to_another_checkout_is_replaced(self, run_script, tmp_path, monkeypatch):
        other = tmp_path / "other"
        other.mkdir()
        link = tmp_path / run_script.PACK
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr(run_script, "ROOT", other)
            run_script.link_pack(link)
        run_script.link_pack(link)
        assert link.resolve() == ROOT
        assert other.is_dir()

    def test_removing_the_link_leaves_the_checkout(self, run_script, tmp_path):
        link = tmp_path / run_script.PACK
        run_script.link_pack(link)
        run_script.unlink_pack(link)
        assert not link.exists()
        assert (ROOT / "pyproject.toml").is_file()

    def test_a_taken_port_is_refused_with_its_number(self, run_script):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            options = argparse.Namespace(port=port, listen="127.0.0.1", check=False)
            with pytest.raises(run_script.SetupError, match=f"port {port} .*another --port"):
                run_script.choose_port(options)

    def test_a_check_takes_any_free_port(self, run_script):
        options = argparse.Namespace(port=None, listen="127.0.0.1", check=True)
        assert run_script.choose_port(options) > 0

    @pytest.mark.parametrize(
        ("line", "loaded"),
        [
            ("   0.0 seconds: /base/custom_nodes/ComfyUI-AM-Adapter", True),
            ("   0.1 seconds (IMPORT FAILED): /base/custom_nodes/ComfyUI-AM-Adapter", False),
            ("   0.0 seconds: C:\\base\\custom_nodes\\ComfyUI-AM-Adapter", True),
            ("   0.0 seconds: /base/custom_nodes/ComfyUI-AM-Adapter-fork", None),
            ("Adding extra search path /base/custom_nodes/ComfyUI-AM-Adapter", None),
        ],
    )
    def test_the_host_s_log_tells_whether_the_pack_loaded(self, run_script, line, loaded):
        assert run_script.pack_loaded(["Import times for custom nodes:", line]) is loaded
