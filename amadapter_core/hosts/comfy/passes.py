"""The exemplars' passes of one sampling run: what each shows at a noise level, made once or remembered."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

from ...exemplar import Banks, digest
from . import bank_store
from .application import Application
from .recording import Conditions, record, record_published
from .sites import Sites

_NOT_FOR_THE_EXEMPLAR = {
    "area", "mask", "mask_strength", "strength", "control", "hooks", "gligen", "model_conds", "concat_latent_image",
    "concat_mask", "timestep_start", "timestep_end", "start_percent", "end_percent", "noise_concat",
}  # fmt: skip


class Passes:
    """:param guider: comfy.samplers.CFGGuider of the run; its conditionings are read when the first pass is made.
    :param published: record as the published code does, guided and rounded; nothing is kept beyond a noise level.
    """

    def __init__(self, applications: Sequence[Application], guider: Any, sites: Sites, published: bool):
        self.applications, self.guider, self.sites, self.published = applications, guider, sites, published
        self._weights = bank_store.weights_key(guider.model_patcher)
        self._own_banks = Banks()
        self._latest: dict[tuple[int, torch.device], tuple[Hashable, Any]] = {}
        self._conditions: dict[tuple[int, torch.device], tuple[Conditions, Hashable]] = {}
        self._controls: dict[int, Any] = {}

    def close(self) -> None:
        """Let go of what the ControlNets held."""
        for control in self._controls.values():
            control.cleanup()

    def shown(self, index: int, model: Any, sigma: Tensor) -> Any:
        """What an exemplar shows at a noise level: recorded now, earlier in this run, or in a run before.

        :param index: of its application.
        :param model: BaseModel, loaded.
        :param sigma: scalar tensor on the device of the call.
        :return: a bank, or with `published` what `record_published` gives.
        """
        conditions, digests = self._encoded(index, model, sigma.device)
        hooks = model.current_patcher.current_hooks
        key = (digests, float(sigma), hooks, self._weights)
        held, bank = self._latest.get((index, sigma.device), (None, None))
        if held != key:
            bank = self._remembered(index, key)
            if bank is None:
                make = record_published if self.published else record
                trajectory = self.applications[index].exemplar.exemplar.trajectory
                bank = make(model, self.sites, trajectory, sigma, conditions, self._control(index, model))
                self._remember(index, key, bank)
            self._latest[index, sigma.device] = (key, bank)
        return bank

    def _lasts(self, key: Hashable) -> bool:
        """Whether the next run may use it: no scheduled LoRA, and weights that have a name."""
        *_, hooks, weights = key
        return hooks is None and weights is not None

    def _remembered(self, index: int, key: Hashable) -> Any:
        if self.published:
            return None
        if self._lasts(key):
            return bank_store.get(self.applications[index].exemplar, key)
        return self._own_banks.get((index, key))

    def _remember(self, index: int, key: Hashable, bank: Any) -> None:
        if self.published:
            return
        if self._lasts(key):
            bank_store.put(self.applications[index].exemplar, key, bank)
        else:
            self._own_banks.put((index, key), bank)

    def _control(self, index: int, model: Any) -> Any:
        control = self.applications[index].exemplar.control
        if control is not None and index not in self._controls:
            control = control.copy()
            control.pre_run(model, model.model_sampling.percent_to_sigma)
            self._controls[index] = control
        return self._controls.get(index)

    def _encoded(self, index: int, model: Any, device: torch.device) -> tuple[Conditions, Hashable]:
        key = (index, device)
        if key not in self._conditions:
            conditions = self._encode(index, model, device, "positive")
            if self.published and self.guider.conds.get("negative"):
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
