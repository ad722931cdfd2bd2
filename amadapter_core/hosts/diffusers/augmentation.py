"""The method on any pipeline around a stock UNet: while attached, each call of the UNet runs the exemplars first.

The sampler, the guidance, LoRA, ControlNet, img2img or inpainting around the UNet need not know: within
`Augmentation.attached()` the UNet's `forward` has one hook before and one after, its attn1 sites one processor
each, and on leaving all of it is gone.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from ...exemplar import Bank, Banks, Exemplar, Trajectory, digest, invert, sigma_of
from ...matching import Matching
from ...sites import Look, Observer
from .branches import Appearance, Structure
from .control import LabelControl, controlled
from .noise import NoiseSchedule
from .sites import Sites


@dataclass(frozen=True)
class Source:
    """One exemplar as the UNet is to see it.

    :param exemplar: trajectory and label map.
    :param context: [1, T, C] text conditioning of its pass.
    :param control: its label map through ControlNeXt, if there is one.
    """

    exemplar: Exemplar
    context: Tensor
    control: LabelControl | None = None


class Augmentation:
    """One target's way of looking at its exemplars, on one UNet.

    :param schedule: of the scheduler that will call the UNet.
    :param matching: who may look at whom; its exemplars are `sources`, in order.
    :param target_control: the target's label map through ControlNeXt, if there is one.
    :param guided: whether batches are [unconditional, conditional] halves (classifier-free guidance).
    :param banks: where keys and values are kept between calls; the caller clears it when the UNet's weights
        change (LoRA included). None keeps them for this augmentation alone.
    :param observer: sees what the target's conditional rows attend with, at every site of every call.
    """

    def __init__(
        self,
        unet: UNet2DConditionModel,
        schedule: NoiseSchedule,
        matching: Matching,
        sources: Sequence[Source],
        *,
        target_control: LabelControl | None = None,
        guided: bool = True,
        banks: Banks | None = None,
        observer: Observer | None = None,
    ):
        if matching.exemplars != len(sources):
            raise ValueError(f"Augmentation: matching of {matching.exemplars} exemplars with {len(sources)} sources")
        self.unet, self.schedule, self.matching = unet, schedule, matching
        self.sources = [sources[i] for i in matching.active]
        self.target_control, self.guided, self.observer = target_control, guided, observer
        self.banks = Banks() if banks is None else banks
        self.sites = Sites(unet)
        self._keys = [_key(source) for source in self.sources]
        self._within = False
        self._pass: ExitStack | None = None

    @contextmanager
    def attached(self) -> Iterator[Augmentation]:
        """While inside, every call of the UNet is augmented.

        With gradient checkpointing the backward pass has to be inside as well, before the next call: it runs the
        sites once more.
        """
        with self.sites.installed(), ExitStack() as hooks:
            hooks.callback(self._end)
            before = self.unet.register_forward_pre_hook(self._before, with_kwargs=True)
            hooks.callback(before.remove)
            after = self.unet.register_forward_hook(self._after, always_call=True)
            hooks.callback(after.remove)
            yield self

    def _before(self, unet: UNet2DConditionModel, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._within:
            return
        self._end()
        call = dict(zip(("sample", "timestep", "encoder_hidden_states"), args, strict=False)) | kwargs
        timestep = float(torch.as_tensor(call["timestep"]).flatten()[0])
        sample = call["sample"]
        self._within = True
        try:
            banks = [self._bank(i, timestep, call) for i in range(len(self.sources))]
        finally:
            self._within = False
        self._pass = ExitStack()
        self._pass.enter_context(controlled(unet, self.target_control, timestep, self.guided))
        if banks:
            unconditional = len(sample) // 2 if self.guided else 0
            sizes = [source.exemplar.size for source in self.sources]
            look = Look(self.matching, banks, tuple(sample.shape[-2:]), sizes)
            branch = Structure(look, unconditional, self.observer)
            self._pass.enter_context(self.sites.during(branch))

    def _after(self, *_: Any) -> None:
        if not self._within and not (torch.is_grad_enabled() and self.unet.is_gradient_checkpointing):
            self._end()

    def _end(self) -> None:
        """Close the present pass, if there is one."""
        if self._pass is not None:
            self._pass.close()
            self._pass = None

    def _bank(self, index: int, timestep: float, call: dict[str, Any]) -> Bank:
        """Keys and values of one exemplar at one timestep, recorded or remembered."""
        source = self.sources[index]
        lora_scale = (call.get("cross_attention_kwargs") or {}).get("scale")
        key = (self._keys[index], timestep, lora_scale)
        bank = self.banks.get(key)
        if bank is None:
            extra: dict[str, Any] = {}
            if lora_scale is not None:
                extra["cross_attention_kwargs"] = {"scale": lora_scale}
            if call.get("added_cond_kwargs") is not None:
                extra["added_cond_kwargs"] = _last_row(call["added_cond_kwargs"])
            with torch.no_grad():
                bank = record(self.unet, self.sites, self.schedule, source, timestep, **extra)
            self.banks.put(key, bank)
        return bank


def record(
    unet: UNet2DConditionModel, sites: Sites, schedule: NoiseSchedule, source: Source, timestep: float, **extra: Any
) -> Bank:
    """Run one exemplar through the UNet at a timestep and keep what its attention sites see.

    :param extra: further arguments of the UNet's call (SDXL's `added_cond_kwargs`, the LoRA scale).
    """
    alpha = schedule.alpha(timestep)
    x = source.exemplar.trajectory.at(sigma_of(alpha)) * alpha**0.5
    branch = Appearance()
    with controlled(unet, source.control, timestep), sites.during(branch):
        _call(unet, x, timestep, source.context, **extra)
    return branch.bank


def invert_latent(
    unet: UNet2DConditionModel,
    schedule: NoiseSchedule,
    latent: Tensor,
    context: Tensor,
    timesteps: Sequence[float],
    *,
    control: LabelControl | None = None,
    progress: Any = None,
) -> Trajectory:
    """DDIM inversion of a clean latent with this UNet, conditional noise alone, no hooks left behind.

    :param latent: [1, C, h, w], scaled as the UNet expects.
    :param context: [1, T, C].
    :param timesteps: in any order; used ascending, each once.
    :param control: ControlNeXt during inversion; the published code has none.
    """
    timesteps = sorted({float(t) for t in timesteps})

    def predict(x: Tensor, t: float) -> Tensor:
        with controlled(unet, control, t):
            output = _call(unet, x, t, context)
        return schedule.noise(output.to(x), x, t)

    with torch.no_grad():
        return invert(latent, predict, timesteps, [schedule.alpha(t) for t in timesteps], progress=progress)


def _call(unet: UNet2DConditionModel, x: Tensor, timestep: float, context: Tensor, **extra: Any) -> Tensor:
    parameter = next(unet.parameters())
    x, context = x.to(parameter), context.to(parameter)
    return unet(x, timestep, encoder_hidden_states=context, return_dict=False, **extra)[0]


def _last_row(value: Any) -> Any:
    """The last batch row (a conditional one) of every tensor in a nest of dicts and lists."""
    if isinstance(value, Tensor):
        return value[-1:]
    if isinstance(value, dict):
        return {key: _last_row(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_last_row(item) for item in value]
    return value


def _key(source: Source) -> Hashable:
    """What a bank depends on besides weights and timestep."""
    control = None
    if source.control is not None:
        control = (id(source.control.network), source.control.scale, digest(source.control.colours))
    return source.exemplar.fingerprint(), control, digest(source.context)
