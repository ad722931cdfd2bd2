"""MODEL, CLIP, VAE and CONTROL_NET as the training package takes its networks.

The UNet is copied into diffusers' network, patches of its weights (LoRAs) included. ComfyUI's own VAE and CLIP are
called as they are: what is learned belongs to the very latents and contexts that sampling will have.
"""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import comfy.model_management as management
import comfy.model_sampling
import comfy.utils
import torch
from torch import Tensor, nn

from ...controlnext import ControlNeXt
from .control import LabelMapControl
from .sites import sites_of
from .training_progress import Cancel

_PREFIX = "diffusion_model."


def require(*packages: str) -> None:
    """:raises ValueError: when packages are missing that ComfyUI does without, with the command that brings them."""
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise ValueError(
            f"training needs the Python package{'s' * (len(missing) > 1)} {', '.join(missing)}; install with "
            f'"{sys.executable}" -m pip install {" ".join(missing)} and restart ComfyUI'
        )


class HostVAE(nn.Module):
    """ComfyUI's VAE in the words of diffusers, as far as training speaks them. It has no parameters of its own:
    ComfyUI keeps and moves the network.

    :param vae: VAE with latents of two dimensions.
    :param scale: by which the model multiplies latents.
    """

    dtype = torch.float32

    def __init__(self, vae: Any, scale: float, cancel: Cancel):
        super().__init__()
        self.vae, self.cancel = vae, cancel
        levels = 1 + round(math.log2(vae.spacial_compression_encode()))
        self.config = SimpleNamespace(
            scaling_factor=scale,
            latent_channels=vae.latent_channels,
            block_out_channels=(None,) * levels,  # training counts them and asks no more
        )

    def encode(self, images: Tensor) -> Any:
        """:param images: [B, 3, H, W] in -1..1."""
        pixels = (images.float() / 2 + 0.5).movedim(1, -1)
        latents = self._call(self.vae.encode, pixels)
        return SimpleNamespace(latent_dist=SimpleNamespace(mean=latents.to(images.device, torch.float32)))

    def decode(self, latents: Tensor) -> Any:
        """:param latents: [B, C, h, w], not scaled."""
        pixels = self._call(self.vae.decode, latents).to(latents.device, torch.float32)
        return SimpleNamespace(sample=pixels.movedim(-1, 1) * 2 - 1)

    def _call(self, function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        # Training may compute in half precision; ComfyUI has chosen the VAE's own.
        with torch.autocast(x.device.type, enabled=False):
            return self.cancel.held(lambda: function(x))


class Prompts:
    """A tokenizer for which every prompt is one token.

    :param texts: all that will be asked for.
    """

    model_max_length = 1

    def __init__(self, texts: Sequence[str]):
        self.numbers = {text: number for number, text in enumerate(texts)}

    def __call__(self, text: str, **_: Any) -> Any:
        return SimpleNamespace(input_ids=torch.tensor([[self.numbers[text]]]))


class Contexts(nn.Module):
    """The text encoder that goes with `Prompts`: what ComfyUI's CLIP made of each."""

    def __init__(self, clip: Any, texts: Sequence[str]):
        super().__init__()
        made = [clip.encode_from_tokens(clip.tokenize(text)).float().cpu() for text in texts]
        # Attention takes a context and the same context repeated for one and the same, as ComfyUI has it too.
        length = math.lcm(*(context.shape[1] for context in made))
        self.register_buffer("made", torch.cat([x.repeat(1, length // x.shape[1], 1) for x in made]))

    def forward(self, tokens: Tensor) -> tuple[Tensor]:
        """:param tokens: [B, 1] numbers of the prompts.
        :return: their contexts [B, N, C], in a tuple as transformers' encoders have it.
        """
        return (self.made[tokens[:, 0]],)


@dataclass(frozen=True)
class Given:
    """What a training begins from.

    :param networks: for `training.loop.Run`.
    :param identity: tells other weights from these.
    :param latents: the same of the VAE alone.
    """

    networks: Any
    identity: str
    latents: str
    cancel: Cancel = field(repr=False)


@torch.no_grad()
def gather(model: Any, clip: Any, vae: Any, control_net: Any, texts: Sequence[str], seed: int) -> Given:
    """Everything in fp32 on the CPU. ComfyUI's models are unloaded: they would be in the way.

    :param model: ModelPatcher of an SD1.5 type UNet.
    :param control_net: a CONTROL_NET with ControlNeXt, or None for a new one with weights drawn from the seed.
    :param texts: all prompts that will be asked for.
    :raises ValueError: when one of them cannot be trained with, or they do not belong together.
    """
    from ...training.given import digest, given_networks

    latent_format = model.get_model_object("latent_format")
    if getattr(vae, "latent_channels", None) != latent_format.latent_channels:
        raise ValueError(
            f"this VAE makes latents of {vae.latent_channels} channels, the model takes "
            f"{latent_format.latent_channels}; use the VAE that belongs to the model"
        )
    heads, prediction = _heads(model), _prediction(model)
    contexts, cancel = Contexts(clip, texts), Cancel()
    management.unload_all_models()  # what is loaded may have patched weights
    networks = given_networks(
        _unet_weights(model),
        heads,
        model.get_model_object("model_sampling").sigmas.cpu(),
        prediction,
        vae=HostVAE(vae, latent_format.scale_factor, cancel),
        text_encoder=contexts,
        tokenizer=Prompts(texts),
        controlnext=None if control_net is None else _controlnext(control_net),
        seed=seed,
    )
    channels, width = networks.unet.config.in_channels, networks.unet.config.cross_attention_dim
    if channels != latent_format.latent_channels:
        raise ValueError(f"this model takes {channels} channels, as inpainting models do; use a plain one")
    if contexts.made.shape[-1] != width:
        raise ValueError(
            f"this CLIP makes contexts of width {contexts.made.shape[-1]}, the model takes {width}; use the CLIP that "
            "belongs to the model"
        )
    latents = digest(vae.first_stage_model)
    identity = f"{digest(networks.unet, networks.controlnext, contexts)}-{latents}"
    return Given(networks, identity, latents, cancel)


def _unet_weights(model: Any) -> dict[str, Tensor]:
    """The UNet's weights as they sample, with diffusers' names, fp32."""
    names = comfy.utils.unet_to_diffusers(model.model.model_config.unet_config)
    present = model.model.diffusion_model.state_dict().keys()
    cpu = torch.device("cpu")
    return {
        theirs: model.patch_weight_to_device(_PREFIX + ours, cpu, return_weight=True).to(cpu, torch.float32, copy=True)
        for theirs, ours in names.items()
        if ours in present
    }


def _heads(model: Any) -> int:
    heads = sites_of(model.model.diffusion_model).heads
    if len(heads) > 1:
        raise ValueError(
            f"training works on models of SD1.5's kind, with one number of attention heads throughout; this one has "
            f"{', '.join(map(str, heads))}"
        )
    return heads[0]


def _prediction(model: Any) -> str:
    kinds = comfy.model_sampling
    sampling = model.get_model_object("model_sampling")
    discrete = isinstance(sampling, kinds.ModelSamplingDiscrete)
    if not discrete or not isinstance(sampling, kinds.EPS) or isinstance(sampling, (kinds.EDM, kinds.X0)):
        raise ValueError(
            f"training works on models that predict noise or v at discrete timesteps, as SD1.5 does; this one samples "
            f"as {', '.join(kind.__name__ for kind in type(sampling).__bases__)}"
        )
    return "v_prediction" if isinstance(sampling, kinds.V_PREDICTION) else "epsilon"


def _controlnext(control_net: Any) -> ControlNeXt:
    if not isinstance(control_net, LabelMapControl):
        raise ValueError(
            f"control_net is a {type(control_net).__name__}, expected ControlNeXt; connect Load ControlNeXt or Train "
            "Structure"
        )
    state = control_net.network.state_dict()
    return ControlNeXt.from_state_dict({k: v.to("cpu", torch.float32, copy=True) for k, v in state.items()})
