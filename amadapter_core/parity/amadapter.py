"""AM-Adapter's golden set: modules, single attention calls, one transformer block, whole two-branch runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor

from ..attention import augmented_attention
from ..controlnext import ControlNeXt, cross_normalise
from ..matcher import BLOCKS, Matcher
from ..matching import Bias, Mode, PublishedMatching
from .report import Check, metadata, tensors

MODULE = 2e-5
RUN = 2e-3
_WEIGHTS = "controlnext_weights.safetensors"
_MATCHER = "matcher_weights.safetensors"


def controlnext(folder: Path, file: str) -> Iterator[Check]:
    """Compare features at the recorded timesteps, and the injection."""
    net = ControlNeXt.from_state_dict(tensors(folder / _WEIGHTS))
    io = tensors(folder / file)
    colours = io["seg_u8"].float() / 255
    for t in json.loads(metadata(folder / file)["timesteps"]):
        ours, theirs = net(colours, torch.tensor([t])), io[f"out_t{t}"]
        yield Check.of(file, f"feature t={t}", ours[:, :: ours.shape[1] // theirs.shape[1]], theirs, MODULE)
    control, sample = io["out_t500"], io["inj_sample"]
    yield Check.of(file, "injection", cross_normalise(sample, control), io["inj_out_scale1"], MODULE)
    half = cross_normalise(sample, control, 0.5)[:, ::4]
    yield Check.of(file, "injection, scale 0.5", half, io["inj_out_scale05"], MODULE)
    odd = cross_normalise(io["inj_sample_13x11"], control)
    yield Check.of(file, "injection, 13 x 11", odd, io["inj_out_13x11"], MODULE)


def matcher(folder: Path, file: str) -> Iterator[Check]:
    """Compare refinements and their maxima, by size of grid and block."""
    weights, io = tensors(folder / _MATCHER), tensors(folder / file)
    by_block, as_published = (Matcher.from_state_dict(weights, by_block=choose) for choose in (True, False))
    for size in (key.removeprefix("corr_") for key in io if key.startswith("corr_")):
        cost = io[f"corr_{size}"]
        for block in BLOCKS:
            ours, theirs = by_block(cost, block), io[f"out_{size}_{block}"]
            view = ours if ours.shape == theirs.shape else ours[:, :, ::3, ::5]  # how the larger ones were thinned
            yield Check.of(file, f"{size} {block}", view, theirs, MODULE)
            yield Check.of(file, f"{size} {block} maximum", ours.amax()[None], io[f"out_{size}_{block}_max"], MODULE)
            published = as_published(cost, block).amax()[None]
            theirs = io[f"out_{size}_{block}_positional_max"]
            yield Check.of(file, f"{size} {block} as called", published, theirs, MODULE)


def match_attention(folder: Path, file: str) -> Iterator[Check]:
    """Compare single attention calls with a matcher, grid by grid."""
    io, info = tensors(folder / file), metadata(folder / file)
    weights = tensors(folder / _MATCHER)
    grids = sorted(int(key[1:].split(".")[0]) for key in io if key.endswith(".hidden"))
    for n in grids:
        for name, ours, theirs in _attention(io, n, weights, int(info["heads"]), info["blocks_attr"]):
            yield Check.of(file, f"g{n} {name}", ours, theirs, MODULE)


def _attention(
    io: dict[str, Tensor], n: int, weights: dict[str, Tensor], heads: int, block: str
) -> Iterator[tuple[str, Tensor, Tensor]]:
    golden = {key.removeprefix(f"g{n}."): value for key, value in io.items() if key.startswith(f"g{n}.")}
    hidden, exemplar = golden["hidden"], golden["exemplar"]
    q, k, v, ek, ev = (
        (x @ golden[f"w.to_{name}.weight"].T).unflatten(-1, (heads, -1)).transpose(1, 2)
        for x, name in ((hidden, "q"), (hidden, "k"), (hidden, "v"), (exemplar, "k"), (exemplar, "v"))
    )
    grid, scale = (n, n), q.shape[-1] ** -0.5

    def out(x: Tensor) -> Tensor:
        x = x.transpose(1, 2).flatten(2) @ golden["w.to_out.0.weight"].T + golden["w.to_out.0.bias"]
        return x[:, :: n * n // golden["out"].shape[1]]

    def matching(mode: Mode, by_block: bool = False) -> PublishedMatching:
        net = Matcher.from_state_dict(weights, by_block=by_block)
        return PublishedMatching(io["tgt_ids"][..., None], io["app_ids"][..., None], mode, matcher=net)

    def bias(of: PublishedMatching, item: slice = slice(None)) -> Bias:
        return of.bias(q[item], [ek[item]], grid, [grid], block, scale)

    def attend(biased: Bias, item: slice) -> Tensor:
        return augmented_attention(q[item], k[item], v[item], ek[item], ev[item], biased)

    uncond, cond = slice(0, 1), slice(1, 2)
    plain_concat = augmented_attention(q, k, v, ek, ev)
    yield "no matcher", out(plain_concat), golden["out_nomatch"]
    yield "plain", out(augmented_attention(q[uncond], k[uncond], v[uncond])), golden["out_plain_self_uncond"]
    learned = bias(matching(Mode.LEARNED))
    ours = torch.cat([plain_concat[uncond], attend(learned.item(cond), cond)])
    yield "matcher", out(ours), golden["out"]
    fixed = bias(matching(Mode.LEARNED, by_block=True)).item(cond)
    yield "matcher by block", out(torch.cat([plain_concat[uncond], attend(fixed, cond)])), golden["out_blockfix"]
    if "out_hard" in golden:
        yield "hard mask", out(attend(bias(matching(Mode.CATEGORICAL)), slice(None))), golden["out_hard"]
    if "out_cond_only_batch1" in golden:
        alone = bias(matching(Mode.LEARNED), cond)
        yield "conditional alone", out(attend(alone, cond)), golden["out_cond_only_batch1"]
    part = learned.learned[0]
    maxima = torch.stack([r.amax() for r in part.refined])
    yield "matcher maxima", maxima, golden["matcher_max_per_batch"]
    yield "joint maximum", part.offset[1][None] * 4, golden["matcher_max"]
    side = part.target.coarse_grid[0]
    refined = torch.stack(list(part.refined)).transpose(1, 2).unflatten(2, (side, side)).unflatten(4, (side, side))
    step, fine = side // 4, max(1, side // 8)
    yield "matcher output", refined[:, :, ::step, ::step, ::fine, ::fine], golden["matcher_out_sample"]
    rows = range(0, n * n, n * n // 4)
    logits = q[1] @ torch.cat([k, ek], 2)[1].transpose(-1, -2) * scale
    before = logits[:, :: n * n // 4]
    added = torch.cat([learned.item(cond).rows(i, i + 1, q.dtype)[0] for i in rows], dim=1)
    after = torch.cat([before[..., : n * n], before[..., n * n :] + added], dim=-1)
    stride = 2 * n * n // golden["logits_before_row_cond"].shape[-1]
    yield "logits before", before[..., ::stride], golden["logits_before_row_cond"]
    yield "logits after", after[..., ::stride], golden["logits_after_row_cond"]


def block(folder: Path, file: str) -> Iterator[Check]:
    """Compare whole transformer blocks, by way of diffusers' own."""
    from diffusers.models.attention import BasicTransformerBlock

    from ..hosts.diffusers.branches import PublishedStructure
    from ..hosts.diffusers.sites import Site, SiteProcessor

    io, weights = tensors(folder / file), tensors(folder / _MATCHER)
    info = metadata(folder / file)
    dim, heads, width, context, side = (
        int(info[key]) for key in ("dim", "heads", "dim_head", "cross_attention_dim", "grid")
    )
    module = BasicTransformerBlock(dim, heads, width, cross_attention_dim=context, activation_fn="geglu").eval()
    module.load_state_dict({key[2:]: value for key, value in io.items() if key.startswith("w.")}, strict=True)
    current = SimpleNamespace(branch=None)
    site = Site("attn1", "up_blocks", 0)
    module.attn1.processor = SiteProcessor(site, current)

    def forward() -> Tensor:
        return module(io["hidden"], encoder_hidden_states=io["context"])

    yield Check.of(file, "plain", forward(), io["plain_forward"], MODULE)
    bank = module.norm1(io["exemplar_hidden"]).half()
    yield Check.of(file, "bank", bank.float(), io["bank_fp16"], 0.0)
    for name, mode, by_block, golden in (
        ("read, implicit", Mode.IMPLICIT, False, "read_sa_aug_sdpa"),
        ("read, learned", Mode.LEARNED, False, "read_ours"),
        ("read, learned by block", Mode.LEARNED, True, "read_ours_blockfix"),
    ):
        net = Matcher.from_state_dict(weights, by_block=by_block)
        matching = PublishedMatching(io["tgt_ids"][..., None], io["app_ids"][..., None], mode, matcher=net)
        current.branch = PublishedStructure(matching, {"attn1": bank}, (side, side), (side, side))
        ours, theirs = forward(), io[golden]
        yield Check.of(file, name, ours[:, :: ours.shape[1] // theirs.shape[1]], theirs, MODULE)


def run(folder: Path, file: str) -> Iterator[Check]:
    """Compare runs of both branches through a small UNet, step by step."""
    from diffusers import UNet2DConditionModel

    from ..hosts.diffusers.control import LabelControl
    from ..hosts.diffusers.published import PublishedLoop

    io, info = tensors(folder / file), metadata(folder / file)
    weights = tensors(folder / "run_unet_weights.safetensors")
    unet = UNet2DConditionModel.from_config(json.loads(info["unet_config"])).eval()
    unet.load_state_dict({k.removeprefix("unet."): v for k, v in weights.items() if k.startswith("unet.")}, strict=True)
    control_weights = tensors(folder / _WEIGHTS)
    control_weights |= {k.removeprefix("controlnext."): v for k, v in weights.items() if k.startswith("controlnext.")}
    control = ControlNeXt.from_state_dict(control_weights)
    target, exemplar = (
        (io["palette"][io[f"{name}_seg_ids"].long()].float() / 255).permute(2, 0, 1)[None] for name in ("tgt", "app")
    )
    flags = PublishedMatching.from_colours(target, exemplar, Mode.IMPLICIT)
    table = flags.rows[0][:, None] == flags.columns[0][None]
    yield Check.of(file, "flags per row", table.sum(1).float(), io["seg_corr_rowsum"].float(), 0.0)
    yield Check.of(file, "flags per column", table.sum(0).float(), io["seg_corr_colsum"].float(), 0.0)

    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    context = torch.cat([io["negative_prompt_embeds"], io["prompt_embeds"]])
    for name, mode in (("sa_aug", Mode.IMPLICIT), ("ours", Mode.LEARNED)):
        net = Matcher.from_state_dict(tensors(folder / _MATCHER))
        matching = PublishedMatching.from_colours(target, exemplar, mode, matcher=net)
        loop = PublishedLoop(unet, betas, int(info["steps"]), float(info["guidance"]), matching)
        inverted = loop.invert(io["exemplar_latent"], io["empty_embeds"])
        if mode is Mode.IMPLICIT:
            for i, (ours, theirs) in enumerate(zip(inverted, io["inversion"], strict=True)):
                yield Check.of(file, f"inversion {i}", ours[0], theirs, RUN, "relative")
        controls = LabelControl(control, target), LabelControl(control, exemplar)
        recorded = int(info["denoise_steps_recorded"])
        for i, step in enumerate(loop.denoise(io["init_noise"], inverted[-1], context, *controls)):
            for key, ours in (
                ("latents", step.latent),
                ("exemplar_latents", step.exemplar_latent),
                ("noise_pred", step.noise),
                ("exemplar_noise_pred", step.exemplar_noise),
            ):
                yield Check.of(file, f"{name} {key} {i}", ours[0], io[f"{name}.{key}"][i], RUN, "relative")
            if i + 1 == recorded:
                break


CHECKS: dict[str, Callable[[Path, str], Iterator[Check]]] = {
    "controlnext_io.safetensors": controlnext,
    "matcher_io.safetensors": matcher,
    "match_attention.safetensors": match_attention,
    "block_read.safetensors": block,
    "run_lat*.safetensors": run,
}
"""What is checked for each file, by the pattern of its name."""
