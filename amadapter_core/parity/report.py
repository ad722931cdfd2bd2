"""What a comparison is, and how a golden folder is recognised and checked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor


@dataclass(frozen=True)
class Check:
    """One quantity against its record.

    :param absolute: max |ours - theirs|.
    :param relative: that over max |theirs|.
    :param tolerance: bound on `absolute`, or on `relative` where `by` says so.
    """

    file: str
    name: str
    absolute: float
    relative: float
    tolerance: float
    by: str = "absolute"

    @classmethod
    def of(cls, file: str, name: str, ours: Tensor, theirs: Tensor, tolerance: float, by: str = "absolute") -> Check:
        """:raises ValueError: when the shapes differ: a broadcast comparison would prove nothing."""
        if ours.shape != theirs.shape:
            raise ValueError(f"parity: {file} {name}: ours is {tuple(ours.shape)}, recorded {tuple(theirs.shape)}")
        difference = (ours.double() - theirs.double()).abs().max().item()
        return cls(file, name, difference, difference / max(theirs.abs().max().item(), 1e-30), tolerance, by)

    @property
    def passed(self) -> bool:
        """False for NaN as well."""
        return getattr(self, self.by) <= self.tolerance

    def __str__(self) -> str:
        verdict = "ok  " if self.passed else "FAIL"
        return (
            f"{verdict} {self.file:32s} {self.name:32s} abs {self.absolute:.2e}  rel {self.relative:.2e}  "
            f"({self.by} <= {self.tolerance:.0e})"
        )


@dataclass
class Report:
    """All checks of one golden folder."""

    folder: Path
    checks: list[Check] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether there are checks and all of them hold."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    def summary(self) -> dict[str, object]:
        """The largest errors by file, as JSON values."""
        files: dict[str, dict[str, float | int | bool]] = {}
        for check in self.checks:
            entry = files.setdefault(check.file, {"checks": 0, "max_abs": 0.0, "max_rel": 0.0, "passed": True})
            entry["checks"] += 1
            entry["max_abs"] = max(entry["max_abs"], check.absolute)
            entry["max_rel"] = max(entry["max_rel"], check.relative)
            entry["passed"] = bool(entry["passed"] and check.passed)
        return {"folder": self.folder.name, "passed": self.passed, "checks": len(self.checks), "files": files}


def check_folder(folder: str | Path) -> Iterator[Check]:
    """Check every file of a golden folder that is there.

    :raises FileNotFoundError: when there is no such folder.
    :raises ValueError: when nothing in it is known.
    """
    from . import amadapter, clvae, ipose, scadm

    checks = amadapter.CHECKS | clvae.CHECKS | ipose.CHECKS | scadm.CHECKS
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"parity: no folder {folder}; give the folder of a golden set")
    known = [(check, file.name) for pattern, check in checks.items() for file in sorted(folder.glob(pattern))]
    if not known:
        raise ValueError(f"parity: {folder} holds no golden set of a known layout (none of {', '.join(checks)})")
    for check, file in known:
        with torch.inference_mode():  # never around a yield: the mode would leak to whoever consumes it
            done = list(check(folder, file))
        yield from done


def tensors(path: Path) -> dict[str, Tensor]:
    """A golden file; fp16 entries are exact roundings that were used as fp32."""
    return {k: v.float() if v.dtype == torch.float16 else v for k, v in load_file(path).items()}


def metadata(path: Path) -> dict[str, str]:
    """The texts in the header of a safetensors file."""
    with safe_open(path, framework="pt") as file:
        return file.metadata() or {}
