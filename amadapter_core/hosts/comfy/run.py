"""One sampling run with its exemplars: all state there is, made when the run starts and gone when it ends."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ...label_maps import check_same_aspect
from ...matching import Bias, Grid, Matching, Mode, Variant
from ...sites import Look, Observer, Site
from . import bank_store
from .application import Application, Crop, match
from .passes import Passes
from .reading import Chunk, Reading
from .sites import Sites, sites_of

logger = logging.getLogger(__name__)

ROLES = "am_adapter_roles"


@dataclass(frozen=True)
class Roles:
    """What the conditionings of one denoiser call are.

    :param positive: for each list of conditionings, whether its rows look at the exemplars.
    :param crops: by uuid, the area that a conditioning covers; one that is not named covers everything.
    """

    positive: Sequence[bool]
    crops: dict[Any, Crop]


class Run:
    """:param guider: comfy.samplers.CFGGuider, at the start of its `outer_sample`.
    :param noise_shape: (B, C, h, w) of the run.
    :param observer: told what happens at every site.
    :raises ValueError: when a label map cannot serve this run.
    """

    def __init__(
        self,
        applications: Sequence[Application],
        guider: Any,
        noise_shape: Sequence[int],
        observer: Observer | None = None,
    ):
        self.applications, self.guider, self.observer = applications, guider, observer
        self.latent: Grid = tuple(noise_shape[-2:])
        patcher = guider.model_patcher
        self.sampling = patcher.get_model_object("model_sampling")
        self.sites: Sites = sites_of(patcher.get_model_object("diffusion_model"))
        replaced = guider.model_options["transformer_options"].get("patches_replace", {})
        self.lasting_patches = dict(replaced.get("attn1", {}))
        self._matchings: dict[Hashable, Matching] = {}
        self._levels: list[float] = []
        self._biases: dict[Hashable, tuple[int, Bias | None]] = {}
        self._warned: set[str] = set()
        self._by_layer = any(a.by_layer for a in applications)
        self.published = any(a.variant is Variant.PUBLISHED for a in applications)
        self._passes = Passes(applications, guider, self.sites, self.published)
        self._check(noise_shape[0])
        bank_store.fit_budget()

    def _check(self, batch: int) -> None:
        for a in self.applications:
            masks = 1 if a.mask is None else a.mask.reshape(-1, *a.mask.shape[-2:]).shape[0]
            for what, count in (("target label maps", a.target.batch), ("masks", masks)):
                if count not in (1, batch):
                    raise ValueError(
                        f"Apply AM-Adapter: {count} {what} cannot serve a batch of {batch} latents; give 1 or {batch}"
                    )
            picture = tuple(8 * side for side in self.latent)
            check_same_aspect("Apply AM-Adapter: the picture", picture, a.target, 8)

    def close(self) -> None:
        """Let go of what the exemplars' passes held."""
        self._passes.close()

    def strengths(self, sigma: float, block: str) -> tuple[float, ...]:
        """What each application counts at a noise level in a block."""
        return tuple(a.weight(block) if self._within(a, sigma) else 0.0 for a in self.applications)

    def _within(self, a: Application, sigma: float) -> bool:
        start, end = (self.sampling.percent_to_sigma(percent) for percent in (a.start, a.end))
        return end <= sigma <= start and a.start < a.end

    # One call of the UNet

    def options_for(self, model: Any, x: Tensor, t: Tensor, options: dict[str, Any]) -> dict[str, Any] | None:
        """What the target's call gets in place of its `transformer_options`; None where nothing is to be done.

        :param model: BaseModel.
        :param x: [R, C, h, w] rows of all conditionings; t [R] their sigma.
        """
        chunks = self._chunks(x, options)
        if not any(chunk.positive for chunk in chunks):
            return None
        shown = {self.latent if chunk.crop is None else chunk.crop[0][:2] for chunk in chunks}
        if shown != {tuple(x.shape[-2:])}:
            self.warn("something samples the picture in tiles and does not say where; the exemplar has no part in them")
            return None
        if self.published and any(chunk.crop for chunk in chunks):
            raise ValueError(
                "Apply AM-Adapter: variant 'published' knows no area conditioning; use variant 'spatial', or a "
                "conditioning that covers the whole picture"
            )
        sigma = float(t[0])
        blocks = {site.block for site in self.sites.by_key.values()}
        strengths = {block: self.strengths(sigma, block) for block in blocks}
        active = [i for i in range(len(self.applications)) if any(s[i] > 0 for s in strengths.values())]
        if not active:
            return None
        if sigma not in self._levels:
            self._levels.append(sigma)
        banks = {i: self._passes.shown(i, model, t[0]) for i in active}
        reading = Reading(self, chunks, tuple(x.shape[-2:]), strengths, banks)
        replaced = options.get("patches_replace", {})
        others = replaced.get("attn1", {})
        readers = {key: reader for key in self.sites.by_key if (reader := reading.reader(key, others)) is not None}
        return {**options, "patches_replace": {**replaced, "attn1": {**others, **readers}}}

    def _chunks(self, x: Tensor, options: dict[str, Any]) -> list[Chunk]:
        roles: Roles | None = options.get(ROLES)
        if roles is None:
            return []
        indices, uuids = options["cond_or_uncond"], options["uuids"]
        per = len(x) // len(indices)
        chunks = []
        for number, (index, uuid) in enumerate(zip(indices, uuids, strict=True)):
            rows = slice(number * per, (number + 1) * per)
            chunks.append(Chunk(rows, roles.positive[index], uuid, roles.crops.get(uuid)))
        return chunks

    def matching(self, strengths: tuple[float, ...], crop: Crop, site: Site) -> Matching:
        """The matching of the applications that count now, made once and kept for the run.

        :param strengths: of each application at this step, 0 where it is out of its window.
        :param crop: which part of the latent is sampled.
        :param site: the attention layer; it matters only where a rule holds in some layers.
        """
        layer = (site.block, site.level) if self._by_layer else None
        key = (strengths, crop, layer)
        if key not in self._matchings:
            self._matchings[key] = match(self.applications, strengths, crop, self.latent, layer)
        return self._matchings[key]

    def bias(
        self, look: Look, chunk: Chunk, site: Site, q: Tensor, keys: Sequence[Tensor], scale: float
    ) -> Bias | None:
        """The bias of a chunk at a site: made anew, or that of a step before where the applications allow it."""
        interval = min((a.interval for a in self.applications if a.mode is Mode.LEARNED), default=1)
        if interval == 1:
            return look.bias(site, q, keys, scale)
        key, now = (chunk.uuid, chunk.positive, site.name, len(q), id(look.matching), q.device), len(self._levels) - 1
        made = self._biases.get(key)
        if made is None or now - made[0] >= interval:
            self._biases[key] = made = (now, look.bias(site, q, keys, scale))
        return made[1]

    def warn(self, message: str) -> None:
        """Log once per run."""
        if message not in self._warned:
            self._warned.add(message)
            logger.warning("AM-Adapter: %s", message)
