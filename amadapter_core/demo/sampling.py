"""Batches of triples through the demonstration model, every row with the same noise and the same exemplar's passes.

A batch's items know nothing of each other: each looks at its own exemplar, as if it were sampled alone by
AMAdapterPipeline. The exemplar is inverted (DDIM) without ControlNeXt and with the empty prompt, as published.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..exemplar import Bank, ddim_move
from ..label_maps import LabelMap
from ..matcher import Matcher
from ..matching import Matching, Mode, Pairing, PublishedMatching, SpatialMatching, Variant
from ..metrics.matching import MatchShare
from ..routing import PairTable, Route
from ..row_by_row import RowByRow
from ..sites import Look, Observer
from .rows import Row
from .triples import Triples

TIMES = (100, 300, 500, 700, 850, 950)
"""Timesteps of the held-out loss."""


@dataclass(frozen=True)
class Sampled:
    """:param images: [B, 3, H, W] in 0..1.
    :param seconds: for one image, the exemplar's passes included.
    """

    images: Tensor
    seconds: float


@dataclass(frozen=True)
class Judged:
    """What single calls of the denoiser say, at the timesteps TIMES.

    :param losses: [B, T] mean squared error of v.
    :param class_share: [B] of the exemplar's attention mass, what lands in the right class; None without exemplar.
    :param object_share: [B] the same of the right object.
    :param exemplar_share: [B] of all attention mass, what goes to the exemplar.
    """

    losses: Tensor
    class_share: Tensor | None = None
    object_share: Tensor | None = None
    exemplar_share: Tensor | None = None


class Sampler:
    """:param pipeline: AMAdapterPipeline of the family, on the device that is to compute.
    :param matchers: by the variant they were trained with.
    :param guidance: scale of classifier-free guidance; 1 is none.
    """

    def __init__(self, pipeline: Any, matchers: Mapping[str, Matcher], *, steps: int = 20, guidance: float = 1.0):
        from ..hosts.diffusers import NoiseSchedule, Sites

        self.pipeline, self.unet, self.vae = pipeline, pipeline.unet, pipeline.vae
        self.matchers, self.guidance = dict(matchers), guidance
        self.schedule, self.sites = NoiseSchedule(pipeline.scheduler), Sites(pipeline.unet)
        pipeline.scheduler.set_timesteps(steps)
        self.timesteps = [int(t) for t in pipeline.scheduler.timesteps]

    @torch.no_grad()
    def sample(self, triples: Triples, rows: Sequence[Row]) -> dict[str, Sampled]:
        """A picture of every triple, by row."""
        scene = _Prepared(self, triples)
        clock = _Clock(self.unet.device)
        looks = any(row.mode is not None for row in rows)
        with clock.adding("exemplar"):
            states = self._invert(scene) if looks else {}
        matchings = {row.name: scene.matching(row) for row in rows}
        latents = {row.name: triples.noise[:, 0].to(scene.latent) for row in rows}
        with self.sites.installed():
            for t in self.timesteps:
                with clock.adding("exemplar"):
                    bank = scene.record(states[t], t) if looks else {}
                for row in rows:
                    with clock.adding(row.name):
                        v = self._guided(scene, latents[row.name], t, matchings[row.name], bank)
                        latents[row.name] = self.pipeline.scheduler.step(v, t, latents[row.name]).prev_sample
        results = {}
        for row in rows:
            with clock.adding(row.name):
                images = self.decode(latents[row.name])
            seconds = clock.seconds[row.name] + (clock.seconds["exemplar"] if row.mode is not None else 0.0)
            results[row.name] = Sampled(images, seconds / len(triples))
        return results

    @torch.no_grad()
    def judge(self, triples: Triples, rows: Sequence[Row]) -> dict[str, Judged]:
        """Held-out loss and matching of every triple, by row."""
        scene = _Prepared(self, triples)
        clean, (_, noise, exemplar_noise) = self.encode(triples.truth), triples.noise.to(scene.latent).unbind(1)
        losses: dict[str, list[Tensor]] = {row.name: [] for row in rows}
        matchings = {row.name: scene.matching(row) for row in rows}
        shares = {row.name: _match_share(triples) for row in rows if row.mode is not None}
        with self.sites.installed():
            for t in TIMES:
                a = self.schedule.alpha(t)
                x, wanted = a**0.5 * clean + (1 - a) ** 0.5 * noise, a**0.5 * noise - (1 - a) ** 0.5 * clean
                bank = scene.record(a**0.5 * scene.latent + (1 - a) ** 0.5 * exemplar_noise, t)
                for row in rows:
                    branch = scene.branch(matchings[row.name], bank, observer=shares.get(row.name))
                    v = self._predict(x, t, scene.context, scene.target_control, branch)
                    losses[row.name].append((v - wanted).square().mean((1, 2, 3)).cpu())
        found = {name: (x.class_share, x.object_share, x.exemplar_share) for name, x in shares.items()}
        return {row.name: Judged(torch.stack(losses[row.name], 1), *found.get(row.name, ())) for row in rows}

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] in 0..1 to scaled latents."""
        pixels = images.to(self.unet.device, self.vae.dtype) * 2 - 1
        return self.vae.encode(pixels).latent_dist.mode() * self.vae.config.scaling_factor

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Scaled latents to [B, 3, H, W] in 0..1, on the CPU."""
        decoded = self.vae.decode(latents / self.vae.config.scaling_factor).sample
        return (decoded.float() / 2 + 0.5).clamp(0, 1).cpu()

    def _invert(self, scene: _Prepared) -> dict[int, Tensor]:
        """The exemplars as the UNet takes them, by timestep."""
        states, x, alpha = {}, scene.latent, 1.0
        for t in sorted(self.timesteps):
            to = self.schedule.alpha(t)
            noise = self.schedule.noise(self._predict(x, t, scene.empty), x, t)
            x, alpha = ddim_move(x, noise, alpha, to), to
            states[t] = x
        return states

    def _guided(self, scene: _Prepared, x: Tensor, t: int, matching: Matching | None, bank: Bank) -> Tensor:
        if self.guidance == 1:
            return self._predict(x, t, scene.context, scene.target_control, scene.branch(matching, bank))
        both, branch = torch.cat([scene.empty, scene.context]), scene.branch(matching, bank, unconditional=len(x))
        negative, positive = self._predict(torch.cat([x, x]), t, both, scene.target_control, branch, True).chunk(2)
        return negative + self.guidance * (positive - negative)

    def _predict(
        self, x: Tensor, t: int, context: Tensor, control: Any = None, branch: Any = None, guided: bool = False
    ) -> Tensor:
        from ..hosts.diffusers.control import controlled

        with controlled(self.unet, control, t, guided), self.sites.during(branch):
            return self.unet(x, t, encoder_hidden_states=context, return_dict=False)[0]


class _Prepared:
    """What all passes of a batch share: conditioning, label maps, the exemplars' latents."""

    def __init__(self, sampler: Sampler, triples: Triples):
        from ..hosts.diffusers import LabelControl

        self.sampler, self.triples = sampler, triples
        pipeline, device = sampler.pipeline, sampler.unet.device
        self.size = tuple(triples.truth.shape[-2:])
        self.latent = sampler.encode(triples.exemplar)
        self.grid = tuple(self.latent.shape[-2:])
        self.context = pipeline.encode_prompt(triples.captions, device, 1, False)[0]
        self.empty = pipeline.encode_prompt("", device, 1, False)[0].expand_as(self.context)
        self.target_control, self.exemplar_control = (
            LabelControl.of(pipeline.controlnext, labels, self.size)
            for labels in (triples.target_labels, triples.exemplar_labels)
        )

    def matching(self, row: Row) -> Matching | None:
        """How a row's targets look at their exemplars.

        The published variant is taken as it is trained: its maximum spans the conditional half of one item.
        """
        if row.mode is None:
            return None
        target, exemplar = self.triples.target_labels, self.triples.exemplar_labels
        matcher = self.sampler.matchers[row.variant.value] if row.mode is Mode.LEARNED else None
        if row.variant is Variant.PUBLISHED:
            pictures = ([_item(x, i).picture(self.size) for x in (target, exemplar)] for i in range(len(self.triples)))
            return RowByRow([PublishedMatching.from_colours(*pair, row.mode, matcher=matcher) for pair in pictures])
        table = PairTable.build(target.ids, exemplar.ids, Route(strength=row.strength), target.ignore)
        return SpatialMatching.of([Pairing(table, row.mode, matcher)])

    def record(self, states: Tensor, t: int) -> Bank:
        """Keys and values of the exemplars at a timestep.

        :param states: [B, C, h, w] as the UNet takes them.
        """
        from ..hosts.diffusers.branches import Appearance

        branch = Appearance()
        self.sampler._predict(states, t, self.context, self.exemplar_control, branch)
        return branch.bank

    def branch(
        self, matching: Matching | None, bank: Bank, unconditional: int = 0, observer: Observer | None = None
    ) -> Any:
        """The target's pass, whose first `unconditional` rows look at no exemplar."""
        from ..hosts.diffusers.branches import Structure

        if matching is None:
            return None
        return Structure(Look(matching, [bank], self.grid, [self.grid]), unconditional, observer)


class _Clock:
    """Seconds by what they were spent on; on a CPU its own, which other work on the machine hardly changes."""

    def __init__(self, device: torch.device):
        self.device = device
        self.seconds: dict[str, float] = {"exemplar": 0.0}

    @contextmanager
    def adding(self, name: str) -> Iterator[None]:
        start = self._now()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + self._now() - start

    def _now(self) -> float:
        if self.device.type != "cuda":
            return time.process_time()
        torch.cuda.synchronize(self.device)
        return time.perf_counter()


def _match_share(triples: Triples) -> MatchShare:
    return MatchShare(
        triples.target_labels.ids,
        triples.exemplar_labels.ids,
        ignore=triples.target_labels.ignore,
        target_materials=triples.target_materials,
        exemplar_materials=triples.exemplar_materials,
    )


def _item(labels: LabelMap, index: int) -> LabelMap:
    return replace(labels, ids=labels.ids[index : index + 1])
