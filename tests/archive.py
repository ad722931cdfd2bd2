"""What the registry's archive of the pack holds."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
IGNORED = ROOT / ".comfyignore"


def archived_files() -> list[str]:
    """The files that git tracks, or would after the next commit, less those that `.comfyignore` names.

    The registry's tool reads the rules as git does, so git applies them here.
    """
    files = _list_files("--cached", "--others", "--exclude-standard")
    ignored = set(_list_files("--cached", "--others", "--ignored", f"--exclude-from={IGNORED}"))
    return [name for name in files if name not in ignored and (ROOT / name).is_file()]


def _list_files(*options: str) -> list[str]:
    command = ["git", "-C", str(ROOT), "ls-files", "-z", *options]
    try:
        found = subprocess.run(command, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("the archive is made of what git tracks: this is no git clone, or there is no git")
    return sorted(name for name in found.stdout.decode().split("\0") if name)
