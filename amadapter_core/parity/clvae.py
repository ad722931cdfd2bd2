"""clVAE's golden set: codes of two pictures, and pictures of random and of given codes, for both kinds of grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from torch import Tensor

from ..generators.clvae import load
from ..generators.styles import StyleCodes, merged
from ..generators.system import System
from .report import Check, tensors

CODES = 1e-5
PICTURES = 1e-4


def synthesis(folder: Path, file: str) -> Iterator[Check]:
    """Compare codes of pictures, and the pictures made of them."""
    io = tensors(folder / file)
    ids, style_ids = (io[name][:, 0].long() for name in ("label", "label_style"))
    model = load(folder / file.replace("io_", "weights_"), size=tuple(ids.shape[-2:]))

    found = model.encoder(io["image"], ids)
    for name, ours, shared in (
        ("mu", found.mean, found.shared_mean),
        ("logvar", found.log_variance, found.shared_log_variance),
    ):
        for label, theirs in _by_class(io, name).items():
            yield Check.of(file, f"{name} class {label}", ours[:, label], theirs, CODES)
        yield Check.of(file, f"{name} global", shared, io[f"{name}.global"], CODES)
    for label, theirs in _by_class(io, "present").items():
        yield Check.of(file, f"present class {label}", found.present[:, label].float(), theirs.float(), 0.0)

    style = model.style((io["image_style"] + 1) / 2, style_ids)
    recorded = _by_class(io, "mu_style")
    if style.classes != tuple(recorded):
        raise ValueError(f"parity: {file} mu_style: ours has classes {style.classes}, recorded {tuple(recorded)}")
    for label, theirs in recorded.items():
        yield Check.of(file, f"style class {label}", style.codes[label][None], theirs, CODES)
    yield Check.of(file, "style global", style.shared[None], io["mu_style.global"], CODES)

    drawn = _style(io, "z_random")
    yield Check.of(file, "picture, random", model.generate(ids, drawn) * 2 - 1, io["out_random"], PICTURES)
    guided = model.generate(ids, merged(style, drawn)) * 2 - 1
    yield Check.of(file, "picture, style", guided, io["out_style"], PICTURES)


def _by_class(io: dict[str, Tensor], name: str) -> dict[int, Tensor]:
    classes = sorted(int(key.split(".")[1]) for key in io if key.startswith(f"{name}.") and key.split(".")[1].isdigit())
    return {label: io[f"{name}.{label}"] for label in classes}


def _style(io: dict[str, Tensor], name: str) -> StyleCodes:
    codes = {label: code[0] for label, code in _by_class(io, name).items()}
    return StyleCodes(System.CLVAE, codes, io[f"{name}.global"][0])


CHECKS: dict[str, Callable[[Path, str], Iterator[Check]]] = {"io_*.safetensors": synthesis}
"""What is checked for each file, by the pattern of its name."""
