"""SCA-DM's golden set: style tokens, single UNet calls, the first stage, and four steps of DDIM."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from ..generators.scadm import ClassDiffusionGenerator, NoisePredictor, Unconditional
from ..generators.scadm.diffusion import alphas_cumprod, ddim, ddim_timesteps
from ..generators.scadm.layout import Form, Layout
from ..generators.scadm.loading import FIRST_STAGE, STYLE_ENCODER, UNET, assembled
from ..generators.semantic import one_hot
from ..generators.styles import swapped
from .report import Check, tensors

STYLE = 1e-5
CALL = 1e-4
PICTURES = 1e-4
SAMPLING = 1e-3
_WEIGHTS = {
    UNET: "unet_weights_*.safetensors",
    STYLE_ENCODER: "style_encoder_weights_*.safetensors",
    FIRST_STAGE: "vq_weights_*.safetensors",
}
_SWAPPED = (1, 3)
"""Classes of `style_mix` that come from the reference."""


def synthesis(folder: Path, file: str) -> Iterator[Check]:
    """Compare style codes, the autoencoder, and latents after guided steps."""
    io = tensors(folder / file)
    model = _model(folder, tuple(io["image"].shape[-2:]))
    ids, other = io["label"].long(), io["label_ref"].long()
    mask, other_mask = (one_hot(x, model.classes) for x in (ids, other))
    for name, image, of in (
        ("style_src", io["image"], mask),
        ("style_ref", io["image_ref"], other_mask),
        ("style_empty", torch.zeros_like(io["image"]), mask),
    ):
        yield Check.of(file, name, model.style_encoder(image, of), io[name], STYLE)
    own, reference = (model.style((image + 1) / 2, of) for image, of in ((io["image"], ids), (io["image_ref"], other)))
    conditional = model.conditioning(ids, swapped(own, reference, _SWAPPED))
    yield Check.of(file, "style_mix", conditional.context, io["style_mix"], STYLE)

    x, t, mixed = io["x"], io["t"], io["style_mix"]
    nothing = torch.zeros_like(mask)
    for form in (Form.GATHER, Form.LITERAL):
        for name, context, of in (
            ("eps", mixed, mask),
            ("eps_uncond", torch.zeros_like(mixed), nothing),
            ("eps_context_zero_y", mixed, nothing),
        ):
            yield Check.of(file, f"{name}, {form.value}", model.unet(x, t, context, Layout(of, form)), io[name], CALL)
    layout = Layout(mask, Form.PLAIN, record=True)
    yield Check.of(file, "eps_no_mask_attn", model.unet(x, t, mixed, layout), io["eps_no_mask_attn"], CALL)
    yield Check.of(file, "attn0_sim, mean", layout.scores[0][1], io["attn0_sim"].mean(0, keepdim=True), CALL)

    latent = model.first_stage.encode(io["image"])
    yield Check.of(file, "z", latent, io["z"], PICTURES)
    indices = model.first_stage.quantize.indices(io["z"]).flatten()
    yield Check.of(file, "vq_indices", indices.float(), io["vq_indices"].float(), 0.0)
    yield Check.of(file, "rec", model.first_stage.decode(io["z"]), io["rec"], PICTURES)
    yield Check.of(file, "rec_noquant", model.first_stage.decode(io["z"], quantise=False), io["rec_noquant"], PICTURES)

    steps, shares = ddim_timesteps(len(io["ddim4_steps"])), alphas_cumprod().float()
    yield Check.of(file, "ddim4_steps", steps.float(), io["ddim4_steps"].float(), 0.0)
    yield Check.of(file, "ddim4_alphas", shares[steps], io["ddim4_alphas"], STYLE)
    before = torch.cat([shares[:1], shares[steps[:-1]]])
    yield Check.of(file, "ddim4_alphas_prev", before, io["ddim4_alphas_prev"], STYLE)
    zeros = model.unconditional(conditional, Unconditional.PUBLISHED)
    for guidance in (1, 2):
        predict = NoisePredictor(model.unet, conditional, zeros, guidance)
        ours = ddim(predict, io["x_T"], len(steps))
        yield Check.of(file, f"ddim4_scale{guidance}", ours, io[f"ddim4_scale{guidance}"], SAMPLING)


def _model(folder: Path, size: tuple[int, int]) -> ClassDiffusionGenerator:
    networks = {}
    for prefix, pattern in _WEIGHTS.items():
        if (path := next(folder.glob(pattern), None)) is None:
            raise FileNotFoundError(f"parity: {folder} has no {pattern}; a golden set of SCA-DM has it")
        networks[prefix] = tensors(path)
    return assembled(networks, folder, size)


CHECKS: dict[str, Callable[[Path, str], Iterator[Check]]] = {"io.safetensors": synthesis}
"""What is checked for each file, by the pattern of its name."""
