"""AMAdapterPipeline: Stable Diffusion with an exemplar, two label maps, and everything diffusers brings along."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion import StableDiffusionPipelineOutput
from diffusers.utils.torch_utils import randn_tensor
from PIL import Image
from torch import Tensor

from ...controlnext import ControlNeXt
from ...exemplar import Banks, Exemplar, Trajectory
from ...label_maps import LabelMap, check_same_aspect, check_same_classes
from ...matcher import Matcher
from ...matching import Mode, PublishedMatching, Routing, SpatialMatching, Variant
from ...sites import Observer
from .augmentation import Augmentation, Source, invert_latent
from .control import LabelControl
from .noise import NoiseSchedule
from .published import PublishedLoop

logger = logging.getLogger(__name__)

_PUBLISHED_SIDE = 512
_Picture = Image.Image | Tensor | Any


class AMAdapterPipeline(StableDiffusionPipeline):
    """Exemplar-based semantic image synthesis on a stock Stable Diffusion pipeline (AM-Adapter, arXiv 2412.03150).

    Any scheduler of the family, LoRA, callbacks and generators work as in StableDiffusionPipeline, whose `__call__`
    does the sampling.

    :param controlnext: the label map's way into the UNet; without one (None) the target's layout comes from what
        else the pipeline has.
    :param matcher: for mode "learned".
    """

    model_cpu_offload_seq = "text_encoder->image_encoder->controlnext->matcher->unet->vae"
    _optional_components = [*StableDiffusionPipeline._optional_components, "controlnext", "matcher"]

    def __init__(
        self,
        vae: Any,
        text_encoder: Any,
        tokenizer: Any,
        unet: Any,
        scheduler: Any,
        safety_checker: Any = None,
        feature_extractor: Any = None,
        image_encoder: Any = None,
        controlnext: ControlNeXt | None = None,
        matcher: Matcher | None = None,
        requires_safety_checker: bool = False,
    ):
        super().__init__(
            vae,
            text_encoder,
            tokenizer,
            unet,
            scheduler,
            safety_checker,
            feature_extractor,
            image_encoder,
            requires_safety_checker,
        )
        self.register_modules(controlnext=controlnext, matcher=matcher)

    @torch.no_grad()
    def encode_exemplar(
        self,
        image: _Picture,
        labels: LabelMap,
        *,
        size: tuple[int, int] | None = None,
        method: str = "inversion",
        steps: int = 20,
        timesteps: Sequence[float] | None = None,
        prompt: str = "",
        exemplar_prompt: str | None = None,
        controlnext_scale: float = 0.0,
        generator: torch.Generator | None = None,
        name: str = "exemplar",
        progress: Callable[[int, int, Tensor], None] | None = None,
    ) -> Exemplar:
        """Make an exemplar of an image and its label map; use it for any number of targets, or save it.

        :param image: PIL image, or tensor [1, 3, H, W] or [3, H, W] in 0..1.
        :param labels: its label map, batch 1, any size of the same aspect.
        :param size: (H, W) to encode at; the image's own, rounded to the VAE's factor, unless told.
        :param method: "inversion" (DDIM) or "noise" (forward noise, cheap).
        :param steps: of the inversion, evenly over the schedule, unless `timesteps` are given.
        :param prompt: conditioning of the inversion; the published code inverts with the empty prompt.
        :param exemplar_prompt: conditioning of the exemplar's pass beside the target; None takes the target's.
        :param controlnext_scale: ControlNeXt of the exemplar's label map during inversion; published: none.
        :raises ValueError: when image and label map do not belong together.
        """
        if method not in ("inversion", "noise"):
            raise ValueError(f"encode_exemplar: method is {method!r}, expected 'inversion' or 'noise'")
        pixels = self._pixels(image, size)
        check_same_aspect("encode_exemplar: the image", pixels.shape[-2:], labels, self.vae_scale_factor)
        if labels.batch != 1:
            raise ValueError(f"encode_exemplar: label map of batch {labels.batch}, expected 1; encode one at a time")
        latent = self.vae.encode(pixels.to(self._execution_device, self.vae.dtype)).latent_dist.mode()
        latent = (latent * self.vae.config.scaling_factor).float()
        context = None if exemplar_prompt is None else self._embed(exemplar_prompt)
        if method == "noise":
            return Exemplar(Trajectory.forward_noise(latent, generator), labels, context, name)
        schedule = NoiseSchedule(self.scheduler)
        if timesteps is None:
            last = len(schedule.alphas)
            if not 1 <= steps <= last:
                raise ValueError(f"encode_exemplar: {steps} steps, expected 1 to {last}")
            timesteps = [1 + i * (last // steps) for i in range(steps)]  # published: "leading", 1, 51, ..., 951
        control = self._control(labels, pixels.shape[-2:], controlnext_scale) if controlnext_scale else None
        trajectory = invert_latent(
            self.unet, schedule, latent, self._embed(prompt), timesteps, control=control, progress=progress
        )
        return Exemplar(trajectory, labels, context, name)

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | list[str] | None = None,
        exemplar: Exemplar | Sequence[Exemplar] | _Picture = None,
        exemplar_labels: LabelMap | None = None,
        target_labels: LabelMap | None = None,
        height: int | None = None,
        width: int | None = None,
        *,
        mode: Mode | str = Mode.LEARNED,
        variant: Variant | str = Variant.SPATIAL,
        routing: Routing | None = None,
        keep_mass: bool = False,
        penalty: float = float("inf"),
        controlnext_scale: float = 1.0,
        exemplar_options: dict[str, Any] | None = None,
        banks: Banks | None = None,
        observer: Observer | None = None,
        num_inference_steps: int = 20,
        guidance_scale: float = 7.5,
        **kwargs: Any,
    ) -> StableDiffusionPipelineOutput | tuple:
        """Synthesise images with the layout of `target_labels` and the appearance of the exemplar.

        :param exemplar: one or more made by `encode_exemplar`, or an image, which needs `exemplar_labels`.
        :param target_labels: batch 1, or one per image; its size is the picture's unless height and width say so.
        :param mode: "implicit", "categorical" or "learned" (needs a matcher).
        :param variant: SPATIAL, or PUBLISHED for the authors' code number for number (one image, one exemplar
            given as an image, DDIM, always guided).
        :param routing: strengths, class pairs, region pairs, weights between exemplars.
        :param keep_mass: in mode categorical, keep the exemplars' share of the softmax.
        :param penalty: in mode categorical, the cost of a pair that does not agree.
        :param controlnext_scale: of the label maps' features, in both branches.
        :param exemplar_options: arguments of `encode_exemplar` when `exemplar` is an image; the inversion takes
            the sampler's own timesteps unless told.
        :param banks: keeps the exemplars' keys and values between calls (seed sweeps, many targets); yours to
            clear when the UNet's weights change, LoRA included.
        :param observer: sees what the target attends with (variant SPATIAL), see `Augmentation`.
        :param kwargs: everything else StableDiffusionPipeline takes (negative_prompt, num_images_per_prompt,
            generator, latents, prompt_embeds, callback_on_step_end, output_type ...).
        """
        if target_labels is None:
            raise ValueError("AMAdapterPipeline: target_labels is missing; it is the layout to be synthesised")
        factor = self.vae_scale_factor
        height, width = (
            given or side // factor * factor for given, side in zip((height, width), target_labels.size, strict=True)
        )
        if min(height, width) < factor:
            raise ValueError(
                f"AMAdapterPipeline: the target label map is {target_labels.size[0]} x {target_labels.size[1]} "
                f"(height x width), too small to set the picture's size; give height= and width="
            )
        check_same_aspect("AMAdapterPipeline: the picture", (height, width), target_labels, factor)
        mode, variant = Mode(mode), Variant(variant)
        if mode is Mode.LEARNED and self.matcher is None:
            raise ValueError("AMAdapterPipeline: mode 'learned' needs a matcher; give one, or use 'categorical'")
        if mode is Mode.LEARNED and self.matcher.variant not in (None, variant.value):
            logger.warning(
                "AM-Adapter: the matcher was trained in variant '%s' and runs in '%s'",
                self.matcher.variant,
                variant.value,
            )
        options = dict(exemplar_options or {})
        sampling = dict(num_inference_steps=num_inference_steps, guidance_scale=guidance_scale, **kwargs)
        if variant is Variant.PUBLISHED:
            if routing is not None or isinstance(exemplar, Exemplar):
                raise ValueError(
                    "AMAdapterPipeline: variant 'published' takes one exemplar as an image with its label map, and "
                    "no routing; use variant 'spatial'"
                )
            return self._published(
                prompt, exemplar, exemplar_labels, target_labels, (height, width), mode, controlnext_scale, **sampling
            )
        exemplars = self._exemplars(exemplar, exemplar_labels, options, num_inference_steps)
        for x in exemplars:
            check_same_classes(target_labels, x.labels, x.name)
        target = self._per_image(target_labels, prompt, kwargs)
        matching = SpatialMatching(
            target.ids,
            [x.labels.ids for x in exemplars],
            mode,
            routing=routing,
            matcher=self.matcher,
            keep_mass=keep_mass,
            penalty=penalty,
            ignore=target.ignore,
            parts=(target.part_ids, [x.labels.part_ids for x in exemplars]),
        )
        augmentation = Augmentation(
            self.unet,
            NoiseSchedule(self.scheduler),
            matching,
            [self._source(x, prompt, controlnext_scale, kwargs) for x in exemplars],
            target_control=self._control(target, (height, width), controlnext_scale),
            guided=guidance_scale > 1 and self.unet.config.time_cond_proj_dim is None,
            banks=banks,
            observer=observer,
        )
        with augmentation.attached():
            return super().__call__(prompt, height, width, **sampling)

    def _exemplars(self, exemplar: Any, labels: LabelMap | None, options: dict[str, Any], steps: int) -> list[Exemplar]:
        if isinstance(exemplar, Exemplar):
            return [exemplar]
        if isinstance(exemplar, (list, tuple)) and all(isinstance(x, Exemplar) for x in exemplar):
            if exemplar:
                return list(exemplar)
        if exemplar is None or labels is None or isinstance(exemplar, (list, tuple)):
            raise ValueError(
                "AMAdapterPipeline: give exemplar= as one or more Exemplar objects (encode_exemplar), or as one "
                "image together with exemplar_labels="
            )
        if options.get("method", "inversion") == "inversion" and not {"steps", "timesteps"} & options.keys():
            self.scheduler.set_timesteps(steps)
            options["timesteps"] = [float(t) for t in self.scheduler.timesteps]
        return [self.encode_exemplar(exemplar, labels, **options)]

    def _per_image(self, labels: LabelMap, prompt: Any, kwargs: dict[str, Any]) -> LabelMap:
        """Repeat what came per prompt for the images of each prompt; batch 1 serves all."""
        batch = _prompts(prompt, kwargs)
        images = kwargs.get("num_images_per_prompt", 1) or 1
        if labels.batch in (1, batch * images):
            return labels
        if labels.batch != batch:
            raise ValueError(
                f"AMAdapterPipeline: {labels.batch} target label maps cannot serve {batch} prompts x {images} images; "
                f"give 1, {batch} or {batch * images}"
            )
        return labels.changed(lambda ids: ids.repeat_interleave(images, dim=0))

    def _source(self, exemplar: Exemplar, prompt: Any, controlnext_scale: float, kwargs: dict[str, Any]) -> Source:
        context = exemplar.context
        if context is None:
            embeds = kwargs.get("prompt_embeds")
            first = prompt[0] if isinstance(prompt, (list, tuple)) else prompt
            context = embeds[:1] if embeds is not None else self._embed(first or "", kwargs.get("clip_skip"))
        size = tuple(side * self.vae_scale_factor for side in exemplar.size)
        return Source(exemplar, context, self._control(exemplar.labels, size, controlnext_scale))

    def _control(self, labels: LabelMap, size: tuple[int, int], scale: float) -> LabelControl | None:
        if self.controlnext is None or scale == 0:
            return None
        self.controlnext.to(self._execution_device)
        return LabelControl.of(self.controlnext, labels, tuple(size), scale)

    def _embed(self, prompt: str, clip_skip: int | None = None) -> Tensor:
        return self.encode_prompt(prompt, self._execution_device, 1, False, clip_skip=clip_skip)[0]

    def _pixels(self, image: _Picture, size: tuple[int, int] | None) -> Tensor:
        """[1, 3, H, W] in -1..1."""
        if size is None:
            w, h = image.size if isinstance(image, Image.Image) else (image.shape[-1], image.shape[-2])
            size = (
                max(h // self.vae_scale_factor, 1) * self.vae_scale_factor,
                max(w // self.vae_scale_factor, 1) * self.vae_scale_factor,
            )
        return self.image_processor.preprocess(image, *size)

    def _published(
        self,
        prompt: Any,
        image: Any,
        exemplar_labels: LabelMap | None,
        target_labels: LabelMap,
        size: tuple[int, int],
        mode: Mode,
        controlnext_scale: float,
        *,
        num_inference_steps: int,
        guidance_scale: float,
        negative_prompt: str | None = None,
        prompt_embeds: Tensor | None = None,
        negative_prompt_embeds: Tensor | None = None,
        generator: torch.Generator | None = None,
        latents: Tensor | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        callback_on_step_end: Callable | None = None,
    ) -> StableDiffusionPipelineOutput | tuple:
        """The published run, from one image and two label maps (the exemplar always at 512 x 512)."""
        if image is None or exemplar_labels is None:
            raise ValueError("AMAdapterPipeline: variant 'published' needs the exemplar image and exemplar_labels")
        device = self._execution_device
        positive, negative = self.encode_prompt(
            prompt, device, 1, True, negative_prompt, prompt_embeds, negative_prompt_embeds
        )
        if len(positive) != 1:
            raise ValueError(f"AMAdapterPipeline: variant 'published' makes one image at a time, got {len(positive)}")
        pixels = self._pixels(image, (_PUBLISHED_SIDE, _PUBLISHED_SIDE)).to(device, self.vae.dtype)
        encoded = self.vae.encode(pixels).latent_dist.sample(generator) * self.vae.config.scaling_factor
        shape = (1, self.unet.config.in_channels, *(side // self.vae_scale_factor for side in size))
        if latents is None:
            latents = randn_tensor(shape, generator, device, positive.dtype)
        maps = [x.picture(size).to(device, self.unet.dtype) for x in (target_labels, exemplar_labels)]
        matching = PublishedMatching.from_colours(*maps, mode, matcher=self.matcher)
        loop = PublishedLoop(self.unet, self.scheduler.config, num_inference_steps, guidance_scale, matching)
        controls = [None, None]
        if self.controlnext is not None and controlnext_scale:
            self.controlnext.to(device)
            controls = [LabelControl(self.controlnext, colours, controlnext_scale) for colours in maps]
        inverted = loop.invert(encoded.to(positive), self._embed(""))
        latent = latents.to(positive)
        steps = loop.denoise(latent, inverted[-1], torch.cat([negative, positive]), *controls)
        for i, step in enumerate(steps):
            latent = step.latent
            if callback_on_step_end is not None:
                callback_on_step_end(self, i, step.timestep, {"latents": latent})
        if output_type == "latent":
            images = latent
        else:
            decoded = self.vae.decode((latent / self.vae.config.scaling_factor).to(self.vae.dtype)).sample
            images = self.image_processor.postprocess(decoded, output_type=output_type)
        return StableDiffusionPipelineOutput(images, None) if return_dict else (images, None)


def _prompts(prompt: Any, kwargs: dict[str, Any]) -> int:
    if isinstance(prompt, (list, tuple)):
        return len(prompt)
    embeds = kwargs.get("prompt_embeds")
    return len(embeds) if embeds is not None else 1
