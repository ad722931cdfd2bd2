"""One sampling run with its exemplars: all state there is, made when the run starts and gone when it ends."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from comfy.ldm.modules.attention import optimized_attention
from torch import Tensor

from ...attention import augmented_attention
from ...exemplar import Bank, Banks, digest
from ...label_maps import check_same_aspect
from ...matching import Bias, Grid, Matching, Mode, Variant
from ...sites import Look, Site
from . import bank_store
from .application import Application, Crop, match
from .recording import Conditions, merge_heads, record, record_published, split_heads
from .sites import Key, Sites, sites_of

logger = logging.getLogger(__name__)

Observer = Callable[[Site, Look, Tensor, Tensor, Sequence[Tensor], "Bias | None", float], None]
"""(site, look, q [B, H, Nq, D], own keys, keys of each exemplar, bias, scale) of every site a target passes."""

_NOT_FOR_THE_EXEMPLAR = {
    "area", "mask", "mask_strength", "strength", "control", "hooks", "gligen", "model_conds", "concat_latent_image",
    "concat_mask", "timestep_start", "timestep_end", "start_percent", "end_percent", "noise_concat",
}  # fmt: skip


@dataclass(frozen=True)
class Chunk:
    """The rows of one conditioning in a call of the UNet.

    :param crop: the area it covers, None for the whole latent.
    """

    rows: slice
    positive: bool
    uuid: Any
    crop: Crop


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
        self._weights = bank_store.weights_key(patcher)
        self._own_banks = Banks()
        self._latest: dict[tuple[int, torch.device], tuple[Hashable, Any]] = {}
        self._matchings: dict[Hashable, Matching] = {}
        self._conditions: dict[Hashable, tuple[Conditions, Hashable]] = {}
        self._controls: dict[int, Any] = {}
        self._levels: list[float] = []
        self._biases: dict[Hashable, tuple[int, Bias | None]] = {}
        self._warned: set[str] = set()
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
        for control in self._controls.values():
            control.cleanup()

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
        sigma = float(t[0])
        blocks = {site.block for site in self.sites.by_key.values()}
        strengths = {block: self.strengths(sigma, block) for block in blocks}
        active = [i for i in range(len(self.applications)) if any(s[i] > 0 for s in strengths.values())]
        if not active:
            return None
        if sigma not in self._levels:
            self._levels.append(sigma)
        banks = {i: self._bank(i, model, t[0]) for i in active}
        call = _Call(self, chunks, tuple(x.shape[-2:]), strengths, banks)
        replaced = options.get("patches_replace", {})
        others = replaced.get("attn1", {})
        readers = {key: reader for key in self.sites.by_key if (reader := call.reader(key, others)) is not None}
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

    def matching(self, strengths: tuple[float, ...], crop: Crop) -> Matching:
        key = (strengths, crop)
        if key not in self._matchings:
            self._matchings[key] = match(self.applications, strengths, crop, self.latent)
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

    # The exemplars' passes

    def _bank(self, index: int, model: Any, sigma: Tensor) -> Any:
        """What an exemplar shows at a noise level: recorded now, in this run, or in one before."""
        a = self.applications[index]
        published = a.variant is Variant.PUBLISHED
        conditions, digests = self._exemplar_conditions(index, model, sigma.device, published)
        hooks = model.current_patcher.current_hooks
        key = (digests, float(sigma), hooks, self._weights, sigma.device if published else None)
        held, bank = self._latest.get((index, sigma.device), (None, None))
        if held == key:
            return bank
        shared = self._weights is not None and hooks is None and not published
        bank = None
        if shared:
            bank = bank_store.get(a.exemplar, key)
        elif not published:
            bank = self._own_banks.get((index, key))
        if bank is None:
            make = record_published if published else record
            trajectory, control = a.exemplar.exemplar.trajectory, self._control(index, model)
            bank = make(model, self.sites, trajectory, sigma, conditions, control)
            if shared:
                bank_store.put(a.exemplar, key, bank)
            elif not published:
                self._own_banks.put((index, key), bank)
        self._latest[index, sigma.device] = (key, bank)
        return bank

    def _control(self, index: int, model: Any) -> Any:
        control = self.applications[index].exemplar.control
        if control is not None and index not in self._controls:
            control = control.copy()
            control.pre_run(model, model.model_sampling.percent_to_sigma)
            self._controls[index] = control
        return self._controls.get(index)

    def _exemplar_conditions(
        self, index: int, model: Any, device: torch.device, both: bool
    ) -> tuple[Conditions, Hashable]:
        key = (index, device)
        if key not in self._conditions:
            conditions = self._encode(index, model, device, "positive")
            if both and self.guider.conds.get("negative"):
                conditions = self._encode(index, model, device, "negative").stacked(conditions)
            arguments = conditions.arguments
            self._conditions[key] = conditions, digest(*(arguments[name] for name in sorted(arguments)))
        return self._conditions[key]

    def _encode(self, index: int, model: Any, device: torch.device, role: str) -> Conditions:
        """The model's arguments for an exemplar's row, as the sampler makes them for the target's."""
        exemplar = self.applications[index].exemplar.exemplar
        first = self.guider.conds[role][0]
        given = {key: value for key, value in first.items() if key not in _NOT_FOR_THE_EXEMPLAR}
        if exemplar.context is not None:
            given |= {"cross_attn": exemplar.context, "pooled_output": exemplar.pooled}
        clean = exemplar.trajectory.latents[:1].to(device)
        h, w = exemplar.size
        given |= {"device": device, "noise": torch.zeros_like(clean), "prompt_type": role}
        given |= {"latent_image": clean, "width": 8 * w, "height": 8 * h}
        # An inpainting model sees the exemplar as a picture in which nothing is to be painted.
        given["denoise_mask"] = torch.zeros_like(clean[:, :1])
        encoded = model.extra_conds(**given)
        return Conditions({name: cond.process_cond(batch_size=1, area=None).cond for name, cond in encoded.items()})


@dataclass(frozen=True)
class Roles:
    """What the conditionings of one denoiser call are.

    :param positive: for each list of conditionings, whether its rows look at the exemplars.
    :param crops: by uuid, the area that a conditioning covers; one that is not named covers everything.
    """

    positive: Sequence[bool]
    crops: dict[Any, Crop]


ROLES = "am_adapter_roles"


class _Call:
    """One call of the UNet with the target's rows."""

    def __init__(
        self,
        run: Run,
        chunks: Sequence[Chunk],
        target: Grid,
        strengths: dict[str, tuple[float, ...]],
        banks: dict[int, Bank],
    ):
        self.run, self.chunks, self.target = run, chunks, target
        self.strengths, self.banks = strengths, banks

    def reader(self, key: Key, others: dict) -> Callable | None:
        """What replaces the self-attention of a site; None leaves it to what is there."""
        site = self.run.sites.by_key[key]
        if not any(self.strengths[site.block]):
            return None
        patch = next((others[k] for k in (key, key[:2]) if k in others), None)
        lasting = next((self.run.lasting_patches[k] for k in (key, key[:2]) if k in self.run.lasting_patches), None)
        if patch is not None and patch is not lasting:
            return None  # made for this call alone (perturbed attention guidance): it wants the site to itself
        published = any(a.variant is Variant.PUBLISHED for a in self.run.applications)
        attend = self._attend_published if published else self._attend

        def read(q: Tensor, k: Tensor, v: Tensor, extra: dict[str, Any]) -> Tensor:
            tokens = site.grid(self.target)
            if len(q) != len(k) or q.shape[1] != k.shape[1] or q.shape[1] != tokens[0] * tokens[1]:
                self.run.warn(
                    f"another patch cuts up the tokens of block {key[:2]} (HyperTile, ToMe, downscaling); "
                    "the exemplar has no part there"
                )
                return _plain(q, k, v, extra) if patch is None else patch(q, k, v, extra)
            return attend(key, q, k, v, extra, patch)

        return read

    def _attend(self, key: Key, q: Tensor, k: Tensor, v: Tensor, extra: dict[str, Any], patch: Any) -> Tensor:
        site, heads = self.run.sites.by_key[key], extra["n_heads"]
        if patch is not None:
            out = patch(q, k, v, extra).clone()
        else:
            out = torch.empty_like(q)
        for chunk in self.chunks:
            r = chunk.rows
            if not chunk.positive:
                if patch is None:
                    out[r] = _plain(q[r], k[r], v[r], extra)
                continue
            mine = [split_heads(x[r], heads) for x in (q, k, v)]
            out[r] = merge_heads(self._look(site, chunk, *mine, scale=extra["dim_head"] ** -0.5))
        return out

    def _look(self, site: Site, chunk: Chunk, q: Tensor, k: Tensor, v: Tensor, *, scale: float) -> Tensor:
        run = self.run
        matching = run.matching(self.strengths[site.block], chunk.crop)
        sizes = [run.applications[i].exemplar.exemplar.size for i in matching.active]
        look = Look(matching, [self.banks[i] for i in matching.active], self.target, sizes)
        if not look.banks:
            return augmented_attention(q, k, v, scale=scale)
        keys, values = look.keys_values(site, q)
        bias = run.bias(look, chunk, site, q, keys, scale)
        if run.observer is not None:
            run.observer(site, look, q, k, keys, bias, scale)
        return look.attend_with(q, k, v, keys, values, bias, scale)

    def _attend_published(self, key: Key, q: Tensor, k: Tensor, v: Tensor, extra: dict[str, Any], patch: Any) -> Tensor:
        """All rows at once, since they share the matcher's maximum; the others are then computed by themselves."""
        run, site, heads = self.run, self.run.sites.by_key[key], extra["n_heads"]
        scale = extra["dim_head"] ** -0.5
        module, hidden = run.sites.modules[key], self.banks[0][key].to(q)
        ek, ev = (split_heads(project(hidden), heads) for project in (module.to_k, module.to_v))
        row_of = [len(hidden) - 1 if c.positive else 0 for c in self.chunks for _ in range(c.rows.stop - c.rows.start)]
        whole = [split_heads(x, heads) for x in (q, k, v)]
        grids = site.grid(self.target), [site.grid(run.applications[0].exemplar.exemplar.size)]
        matching = run.matching(self.strengths[site.block], None)
        bias = matching.bias(whole[0], [ek[row_of]], *grids, site.block, scale)
        out = torch.empty_like(q)
        for chunk in self.chunks:
            r = chunk.rows
            if chunk.positive:
                mine = [x[r] for x in (*whole, ek[row_of], ev[row_of])]
                share = None if bias is None else bias.item(r)
                out[r] = merge_heads(augmented_attention(*mine, share, scale=scale))
            else:
                out[r] = _plain(q[r], k[r], v[r], extra) if patch is None else patch(q, k, v, extra)[r]
        return out


def _plain(q: Tensor, k: Tensor, v: Tensor, extra: dict[str, Any]) -> Tensor:
    """What the site does without us."""
    return optimized_attention(
        q, k, v, extra["n_heads"], attn_precision=extra["attn_precision"], transformer_options=extra
    )
