"""Stage 2: the matcher learns, everything else is frozen (AM-Adapter, arXiv 2412.03150).

An exemplar of the target's appearance is noised to the target's timestep and run through the frozen UNet; the
target's pass looks at it through the matcher's bias, and the plain diffusion loss of the target is all there is to
learn from. Every row of a batch has an exemplar and a timestep of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ..checkpoints import Kind, load_matcher, save
from ..matcher import Matcher
from ..matching import Matching, Mode, PublishedMatching, SpatialMatching, Variant
from ..resampling import Grid
from ..row_by_row import RowByRow
from ..sites import Look, Observer
from .checkpoint import metadata_of
from .config import Config
from .config import Matcher as Settings
from .correspondence import Correspondence
from .couples import Couples, HeldOutCouples
from .diffusion import DiffusionTask, at_timesteps
from .networks import MATCHER_FILE, Networks
from .prepared import tokens
from .sheets import sheet
from .starting import neutral
from .task import Batch, Part, Place, copy_model


class MatcherTask(DiffusionTask):
    """The matcher on the frozen networks of a stage 1 run."""

    def __init__(self, config: Config, place: Place, networks: Networks | None = None):
        from ..hosts.diffusers import Sites

        settings = config.matcher
        _check(settings)
        super().__init__(config, place, networks, settings.control, settings.latents)
        self.variant = Variant(settings.variant).value
        self.matcher = self._matcher()
        if settings.checkpointing:
            self.unet.enable_gradient_checkpointing()
        self.sites = Sites(self.unet)
        # For good: the sites do the stock computation whenever no branch is set.
        self._installed = self.sites.installed()
        self._installed.__enter__()
        self.samples = Couples(config, self.prepared(config.data), self.tokenizer, self.latent_shape)
        if config.validation.data is not None:
            held_out = self.prepared(config.validation.data)
            self.held_out = HeldOutCouples(config, held_out, self.tokenizer, self.latent_shape)

    def _matcher(self) -> Matcher:
        settings, heads = self.config.matcher, self.unet.config.attention_head_dim
        if settings.start is None:
            matcher = neutral(Matcher(heads=heads, by_block=settings.by_block))
        else:
            matcher = load_matcher(settings.start, heads=heads, dtype=torch.float32)
            matcher.by_block = settings.by_block
        matcher.variant = self.variant
        # Encoders that no block asks for would keep their random weights and count as learning.
        for number, encoder in enumerate(matcher.encoders):
            encoder.requires_grad_(settings.by_block or number == 0)
        return matcher

    @property
    def parts(self) -> dict[str, Part]:
        return {"matcher": Part(self.matcher, MATCHER_FILE, Kind.MATCHER)}

    def train(self, mode: bool = True) -> MatcherTask:
        """Only for the matcher; but gradient checkpointing takes place in training mode alone."""
        super().train(mode)
        for network in (self.vae, self.text_encoder, self.controlnext):
            network.eval()
        self.unet.train(mode and self.config.matcher.checkpointing)
        return self

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        latents, timesteps = self.latents(batch), batch["timestep"]
        seen = self._correspondence(batch) if self.config.matcher.matching else None
        x = self.noisy(latents, batch["noise"], timesteps)
        output = self._predict(x, timesteps, batch, self.matching(batch), observer=seen)
        diffusion = self.errors(output, latents, batch["noise"], timesteps).mean()
        if seen is None:
            return {"loss": diffusion}
        matching = seen.loss().mean()
        total = diffusion + self.config.matcher.matching * matching
        return {"loss": total, "diffusion": diffusion, "matching": matching, "share": seen.share().mean()}

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        latents, noise = self.latents(batch), batch["noise"]
        matching, errors, shares = self.matching(batch), {}, []
        for t in self.config.validation.timesteps:
            timesteps = torch.full((len(latents),), t, device=latents.device)
            seen = self._correspondence(batch) if "materials" in batch else None
            output = self._predict(self.noisy(latents, noise, timesteps), timesteps, batch, matching, observer=seen)
            errors[t] = self.errors(output, latents, noise, timesteps)
            shares += [] if seen is None else [seen.share()]
        return at_timesteps(errors) | ({"share": torch.stack(shares).mean(0)} if shares else {})

    def matching(self, batch: Batch, mode: Mode = Mode.LEARNED) -> Matching:
        """Who may look at whom in a batch, each row at its own exemplar."""
        matcher = self.matcher if mode is Mode.LEARNED else None
        if self.variant == Variant.SPATIAL.value:
            ignore = self.samples.prepared.pairs.palette.ignore
            return SpatialMatching(batch["ids"], [batch["exemplar_ids"]], mode, matcher=matcher, ignore=ignore)
        maps = [self.colour_maps(batch[name]) for name in ("ids", "exemplar_ids")]
        couples = zip(*(x.split(1) for x in maps), strict=True)
        return RowByRow([PublishedMatching.from_colours(y, x, mode, matcher=matcher) for y, x in couples])

    def _predict(
        self,
        x: Tensor,
        timesteps: Tensor,
        batch: Batch,
        matching: Matching | None,
        *,
        unconditional: int = 0,
        observer: Observer | None = None,
    ) -> Tensor:
        """The UNet's output on the target with its exemplars.

        :param x: [R, C, h, w]; the first `unconditional` rows see no exemplar and have the empty prompt.
        :param matching: None leaves the exemplars out.
        """
        from ..hosts.diffusers.branches import Structure
        from ..hosts.diffusers.control import controlled

        context = self.context(batch["tokens"])
        ids = batch["ids"]
        branch = None
        if matching is not None:
            bank, size = self._record(timesteps[unconditional:], batch, context)
            branch = Structure(Look(matching, [bank], tuple(x.shape[-2:]), [size]), unconditional, observer)
        if unconditional:
            empty = tokens(self.tokenizer, "").to(x.device).expand(unconditional, -1)
            context, ids = torch.cat([self.context(empty), context]), torch.cat([ids, ids])
        with controlled(self.unet, self.control(ids), timesteps):
            # Left in place: the backward pass of gradient checkpointing runs the sites once more.
            self.sites.branch = branch
            return self.unet(x, timesteps, encoder_hidden_states=context, return_dict=False)[0]

    @torch.no_grad()
    def _record(self, timesteps: Tensor, batch: Batch, context: Tensor) -> tuple[Any, Grid]:
        """Keys and values of each row's exemplar at its timestep, and the exemplars' latent size."""
        from ..hosts.diffusers.branches import Appearance
        from ..hosts.diffusers.control import controlled

        latents, noise = self.latents(batch, "exemplar_"), batch["exemplar_noise"]
        if self.config.matcher.noise == "inversion":
            x = self._inverted(latents, timesteps, batch, context)
        else:
            x = self.noisy(latents, noise, timesteps)
        branch = Appearance()
        with controlled(self.unet, self.control(batch["exemplar_ids"]), timesteps), self.sites.during(branch):
            self.unet(x, timesteps, encoder_hidden_states=context, return_dict=False)
        return branch.bank, tuple(x.shape[-2:])

    def _inverted(self, latents: Tensor, timesteps: Tensor, batch: Batch, context: Tensor) -> Tensor:
        """The exemplars' latents at their timesteps by DDIM inversion, linear in sigma between its nodes."""
        from ..exemplar import ddim_move
        from ..hosts.diffusers import NoiseSchedule
        from ..hosts.diffusers.control import controlled

        schedule, count = NoiseSchedule(self.scheduler), self.config.matcher.inversion_steps
        control = self.control(batch["exemplar_ids"])
        nodes = [1 + i * (len(self.alphas) // count) for i in range(count)]
        a = self.alphas[timesteps][:, None, None, None]
        wanted = ((1 - a) / a).sqrt()
        x, alpha, sigma, result = latents, 1.0, 0.0, latents
        with self.sites.during(None):
            for t in nodes:
                at = torch.full((len(x),), t, device=x.device)
                with controlled(self.unet, control, at):
                    output = self.unet(x, at, encoder_hidden_states=context, return_dict=False)[0]
                to = schedule.alpha(t)
                moved = ddim_move(x, schedule.noise(output.float(), x, t), alpha, to)
                upper = ((1 - to) / to) ** 0.5
                between = torch.lerp(x / alpha**0.5, moved / to**0.5, (wanted - sigma) / (upper - sigma))
                result = torch.where(wanted > sigma, between, result)  # above the last node its segment goes on
                x, alpha, sigma = moved, to, upper
        return result * a.sqrt()

    def _correspondence(self, batch: Batch) -> Correspondence:
        return Correspondence(batch["materials"], batch["exemplar_materials"])

    def picture(self) -> Image.Image | None:
        if self.held_out is None:
            return None
        settings, batch = self.config.validation, self.on_show()

        def predict_with(matching: Matching | None) -> Callable[[Tensor, Tensor], Tensor]:
            def predict(x: Tensor, timesteps: Tensor) -> Tensor:
                rows, times = torch.cat([x, x]), torch.cat([timesteps, timesteps])
                output = self._predict(rows, times, batch, matching, unconditional=len(x))
                without, with_prompt = output.chunk(2)
                return without + settings.guidance * (with_prompt - without)

            return predict

        rows = {"exemplar": self.pictures_of(batch, "exemplar_"), "label map": self.colour_maps(batch["ids"]) * 2 - 1}
        modes = {"no exemplar": None, "implicit": self.matching(batch, Mode.IMPLICIT), "learned": self.matching(batch)}
        rows |= {name: self.sample(predict_with(matching), batch["noise"]) for name, matching in modes.items()}
        return sheet(rows | {"truth": self.pictures_of(batch)})

    def export(self, folder: Path, step: int) -> None:
        if self.config.checkpoints.export == "all":
            copy_model(self.config.model, folder, without=[MATCHER_FILE])
        dtype = torch.float16 if self.config.checkpoints.half else None
        save(folder / MATCHER_FILE, self.matcher, Kind.MATCHER, metadata_of(self, step), dtype=dtype)


def _check(settings: Settings) -> None:
    if settings.exemplar == "view" and settings.latents is not None:
        raise ValueError(
            "training matcher: exemplar=view takes two crops of one picture, but encoded pairs have one only; set "
            "matcher.latents=null"
        )
    if settings.matching and settings.checkpointing:
        raise ValueError(
            "training matcher: the matching loss needs what gradient checkpointing throws away; set "
            "matcher.checkpointing=false or matcher.matching=0"
        )
