"""The exemplar: an image's latent as a function of noise level, with its label map; and its keys and values.

A `Trajectory` says where the exemplar's latent is at any sigma, in sigma space (x0 + sigma * noise; the UNet's
input is that divided by sqrt(1 + sigma^2)). DDIM inversion is Euler's method there, dx/dsigma = eps, so linear
interpolation in sigma between recorded nodes *is* the recorded ODE, and a sampler may ask for any sigma. The cheap
alternative, one noise added at every level, is a straight line: two nodes.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from .checkpoints import CheckpointError, save_tensors
from .checkpoints.formats import open_file
from .checkpoints.reading import check_finite
from .label_maps import LabelMap, Palette
from .resampling import Grid
from .text_files import parse_json

FORMAT = "am_adapter.exemplar.1"
_TENSORS = {"sigmas", "latents", "labels", "parts", "context", "pooled"}
FORWARD_NOISE_SIGMA = 1000.0
"""Where the straight line of a forward-noised trajectory ends; above any sampler's start."""


@dataclass(frozen=True)
class Trajectory:
    """The exemplar's latent over sigma.

    :param sigmas: [S] fp32, ascending, S >= 2; 0 is the clean latent.
    :param latents: [S, C, h, w] in sigma space.
    """

    sigmas: Tensor
    latents: Tensor

    def __post_init__(self) -> None:
        if self.sigmas.ndim != 1 or self.latents.ndim != 4:
            raise ValueError(
                f"Trajectory: sigmas are {list(self.sigmas.shape)}, latents {list(self.latents.shape)}; expected [S] "
                "and [S, C, h, w]"
            )
        if len(self.sigmas) < 2 or len(self.sigmas) != len(self.latents):
            raise ValueError(
                f"Trajectory: {len(self.sigmas)} sigmas for {len(self.latents)} latents; "
                "expected the same number, at least 2"
            )
        if not bool((self.sigmas.diff() > 0).all()):
            raise ValueError("Trajectory: sigmas must ascend strictly, from the clean latent to noise")

    def at(self, sigma: float) -> Tensor:
        """The latent at one noise level, [1, C, h, w] in sigma space.

        Linear between nodes; above the last node the last segment goes on, since samplers may start a little
        above it; below the first the first node stands.
        """
        sigma = max(float(sigma), float(self.sigmas[0]))
        high = int(torch.searchsorted(self.sigmas, torch.tensor(sigma, dtype=self.sigmas.dtype)))
        high = min(max(high, 1), len(self.sigmas) - 1)
        low, span = high - 1, self.sigmas[high] - self.sigmas[high - 1]
        weight = (sigma - self.sigmas[low]) / span
        return torch.lerp(self.latents[low], self.latents[high], weight.to(self.latents))[None]

    @classmethod
    def forward_noise(cls, latent: Tensor, generator: torch.Generator | None = None) -> Trajectory:
        """One noise at every level: x0 + sigma * noise.

        :param latent: [1, C, h, w] clean latent, scaled as the UNet expects.
        """
        device = "cpu" if generator is None else generator.device
        noise = torch.randn(latent.shape, generator=generator, device=device).to(latent)
        nodes = torch.cat([latent, latent + FORWARD_NOISE_SIGMA * noise])
        return cls(torch.tensor([0.0, FORWARD_NOISE_SIGMA]), nodes)


def ddim_move(x: Tensor, eps: Tensor, alpha: float, to: float) -> Tensor:
    """Deterministic DDIM from one cumulative alpha to another, in either direction.

    x0 = (x - sqrt(1 - a) eps) / sqrt(a);  x' = sqrt(a') x0 + sqrt(1 - a') eps

    :param x: [B, C, h, w], as `eps`.
    :param alpha: cumulative, of x; `to` of what is returned, in the same shape.
    """
    x0 = (x - (1 - alpha) ** 0.5 * eps) / alpha**0.5
    return to**0.5 * x0 + (1 - to) ** 0.5 * eps


def sigma_of(alpha: float | Tensor) -> float | Tensor:
    """Noise level sigma = sqrt((1 - a) / a) of a cumulative alpha."""
    return ((1 - alpha) / alpha) ** 0.5


def invert(
    latent: Tensor,
    predict_noise: Callable[[Tensor, float], Tensor],
    timesteps: Sequence[float],
    alphas: Sequence[float],
    progress: Callable[[int, int, Tensor], None] | None = None,
) -> Trajectory:
    """DDIM inversion: from the clean latent up through the given timesteps (DDIM, arXiv 2010.02502).

    The noise is predicted at the *arrival* timestep on the departure latent, so that the way back, which predicts
    it there too, meets the same values.

    :param latent: [1, C, h, w] clean latent.
    :param predict_noise: (x [1, C, h, w] scaled as the UNet takes it, timestep) to noise of the same shape.
    :param timesteps: ascending.
    :param alphas: cumulative alpha of each timestep.
    :param progress: called with (done, total, latent in sigma space) after each step.
    """
    x, alpha = latent, 1.0
    sigmas, nodes = [0.0], [latent]
    for i, (t, to) in enumerate(zip(timesteps, alphas, strict=True)):
        x = ddim_move(x, predict_noise(x, t), alpha, to)
        alpha = to
        sigmas.append(sigma_of(alpha))
        nodes.append(x / alpha**0.5)
        if progress is not None:
            progress(i + 1, len(timesteps), nodes[-1])
    return Trajectory(torch.tensor(sigmas, dtype=torch.float32), torch.cat(nodes))


@dataclass(frozen=True)
class Exemplar:
    """One exemplar, ready to be looked at.

    :param trajectory: its latent over sigma.
    :param labels: its label map, batch 1, any size.
    :param context: [1, T, C] text conditioning of its pass; None takes the target's.
    :param name: for messages and lists.
    :param pooled: [1, P] pooled text conditioning beside `context`, for UNets that take one (SDXL).
    """

    trajectory: Trajectory
    labels: LabelMap
    context: Tensor | None = None
    name: str = "exemplar"
    pooled: Tensor | None = None

    @property
    def size(self) -> Grid:
        """(h, w) of the latent."""
        return tuple(self.trajectory.latents.shape[-2:])

    def fingerprint(self) -> str:
        """A digest of all it holds. Its keys and values depend on this, and on the UNet and what controls it,
        which are the host's matter."""
        labels = [self.labels.ids] if self.labels.parts is None else [self.labels.ids, self.labels.part_ids]
        return digest(self.trajectory.sigmas, self.trajectory.latents, *labels, self.context, self.pooled)

    def save(self, path: str | Path) -> None:
        """Write one safetensors file: latents and sigmas, label map with its parts, conditioning, class table."""
        tensors = {
            "sigmas": self.trajectory.sigmas,
            "latents": self.trajectory.latents,
            "labels": self.labels.ids.to(torch.int32),
        }
        tensors |= {k: v for k, v in {"context": self.context, "pooled": self.pooled}.items() if v is not None}
        metadata = {"format": FORMAT, "name": self.name, "palette": json.dumps(self.labels.palette.to_dict())}
        if (parts := self.labels.parts) is not None:
            tensors["parts"] = parts.ids.to(torch.int32)
            metadata["parts_palette"] = json.dumps(parts.palette.to_dict())
        save_tensors(path, tensors, metadata)

    @classmethod
    def load(cls, path: str | Path) -> Exemplar:
        """Read a file that `save` wrote.

        :raises CheckpointError: when the file is something else or damaged.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"Exemplar.load: no file {path}")
        source = open_file(path)
        metadata, names = source.metadata, source.tensors.keys() & _TENSORS
        # The header tells; the weights of some large model are not read for nothing.
        if metadata.get("format") != FORMAT or not {"sigmas", "latents", "labels"} <= names:
            raise CheckpointError(
                f"Exemplar.load: {path} is no exemplar file (format {metadata.get('format')!r}, tensors "
                f"{', '.join(sorted(source.tensors)[:6]) or 'none'}); expected {FORMAT!r} as written by Exemplar.save"
            )
        tensors = source.fetch(names)
        check_finite(path, tensors, "Encode the exemplar again")
        try:
            parts = None
            if "parts" in tensors:
                parts = _labels(tensors["parts"], metadata["parts_palette"])
            labels = _labels(tensors["labels"], metadata["palette"], parts)
            made = cls(
                Trajectory(tensors["sigmas"], tensors["latents"]),
                labels,
                tensors.get("context"),
                metadata.get("name", path.stem),
                tensors.get("pooled"),
            )
            _check_form(made)
        except (ValueError, KeyError) as error:
            raise CheckpointError(f"Exemplar.load: {path} is damaged ({error}); encode the exemplar again") from error
        return made


def _labels(ids: Tensor, palette: str, parts: LabelMap | None = None) -> LabelMap:
    where = "its class table"
    return LabelMap(ids, Palette.from_dict(parse_json(palette, where), where), parts=parts)


def _check_form(exemplar: Exemplar) -> None:
    """:raises ValueError: a batch, or tensors of another form than `Exemplar` says."""
    trajectory = exemplar.trajectory
    forms = {
        "sigmas": (trajectory.sigmas, 1, len(trajectory.sigmas)),
        "latents": (trajectory.latents, 4, len(trajectory.sigmas)),
        "labels": (exemplar.labels.ids, 3, 1),
        "context": (exemplar.context, 3, 1),
        "pooled": (exemplar.pooled, 2, 1),
    }
    for name, (tensor, ndim, rows) in forms.items():
        if tensor is None:
            continue
        if tensor.ndim != ndim or len(tensor) != rows or 0 in tensor.shape:
            raise ValueError(f"{name} is {list(tensor.shape)}, expected {rows} rows in {ndim} dimensions")
        if name != "labels" and not tensor.is_floating_point():
            raise ValueError(f"{name} holds {tensor.dtype}, expected floating point numbers")


def digest(*tensors: Tensor | None) -> str:
    """SHA-256 over types, shapes and values, on any device; None counts as absent."""
    result = hashlib.sha256()
    for tensor in tensors:
        if tensor is None:
            result.update(b"absent")
        else:
            result.update(str((tensor.dtype, tuple(tensor.shape))).encode())
            result.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return result.hexdigest()


class KeysValues(NamedTuple):
    """One exemplar's keys and values at one attention site, [1, H, N, D] each."""

    k: Tensor
    v: Tensor


def rounded_as_published(hidden: Tensor) -> Tensor:
    """The published code moves its bank of normalised hidden states [R, N, C] between branches in fp16."""
    return hidden.to(torch.float16)


Bank = dict[str, KeysValues]
"""Keys and values by attention site, at one sigma."""


class Banks:
    """Banks by key, within a byte budget: the least recently used go first.

    A bank depends on the exemplar, its conditioning, the UNet's weights and sigma, and on nothing of the target,
    so one serves every seed and every target. The caller's key has to name what it depends on.

    :param budget: bytes kept at most; 0 keeps nothing.
    :param device: where banks wait; None leaves them where they were made.
    """

    def __init__(self, budget: int = 2 << 30, device: torch.device | str | None = None):
        self.budget = budget
        self.device = device
        self.bytes = 0
        self._banks: OrderedDict[Hashable, Bank] = OrderedDict()

    def __len__(self) -> int:
        return len(self._banks)

    def get(self, key: Hashable) -> Bank | None:
        """Return the bank of a key, the most recently used from now on; None if there is none."""
        if key not in self._banks:
            return None
        self._banks.move_to_end(key)
        return self._banks[key]

    def put(self, key: Hashable, bank: Bank) -> None:
        """Keep a bank, if the budget has room for it; others go for it, the least recently used first."""
        self.discard(key)
        size = _size(bank)
        if size > self.budget:
            return
        self._make_room(size)
        if self.device is not None:
            bank = {site: KeysValues(*(x.to(self.device) for x in kv)) for site, kv in bank.items()}
        self._banks[key] = bank
        self.bytes += size

    def keys(self) -> list[Hashable]:
        """The keys of what is kept, the least recently used first."""
        return list(self._banks)

    def shrink(self, budget: int) -> None:
        """Set another budget, letting go of what is above it."""
        self.budget = budget
        self._make_room(0)

    def _make_room(self, size: int) -> None:
        while self._banks and self.bytes + size > self.budget:
            self.discard(next(iter(self._banks)))

    def discard(self, key: Hashable) -> None:
        """Let go of one bank, if it is there."""
        if key in self._banks:
            self.bytes -= _size(self._banks.pop(key))

    def clear(self) -> None:
        """Let go of all banks."""
        self._banks.clear()
        self.bytes = 0


def _size(bank: Bank) -> int:
    return sum(x.numel() * x.element_size() for kv in bank.values() for x in kv)
