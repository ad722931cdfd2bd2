"""Stage 1: the UNet and ControlNeXt learn to make pictures that follow a label map (plain diffusion loss)."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ..checkpoints import Kind, save
from .checkpoint import metadata_of
from .config import Config
from .diffusion import DiffusionTask, at_timesteps
from .networks import CONTROLNEXT_FILE, Networks
from .prepared import Prepared, tokens
from .randomness import AUGMENT, NOISE, VALIDATION, diffusion_noise, draws, index_of, normal
from .sheets import sheet
from .task import Batch, Part, Place, copy_model

LORA_TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
LORA_FILE = "unet_lora.safetensors"


class Singles:
    """Training pairs by slot.

    :param shape: (C, h, w) of the latents.
    :param steps: timesteps of the noise schedule.
    """

    def __init__(self, config: Config, prepared: Prepared, tokenizer: Any, shape: tuple[int, int, int], steps: int):
        self.config, self.prepared, self.tokenizer, self.shape, self.steps = config, prepared, tokenizer, shape, steps

    def __getitem__(self, slot: int) -> Batch:
        config, rng = self.config, draws(self.config.seed, AUGMENT, slot)
        example, batch = self.prepared(self.index(slot), rng, self.prepared.change(rng))
        dropped = rng.random() < config.structure.prompt_dropout
        drawn = diffusion_noise(draws(config.seed, NOISE, slot), self.shape, (0, self.steps))
        return batch | drawn | {"tokens": tokens(self.tokenizer, "" if dropped else example.caption)}

    def index(self, slot: int) -> int:
        """Which pair a slot of the shuffled data set shows."""
        return index_of(slot, len(self.prepared.pairs), self.config.seed)

    def name_of(self, slot: int) -> str:
        """The name of that pair, for messages."""
        return self.prepared.pairs[self.index(slot)].name


class HeldOutSingles:
    """Validation pairs by index, each with noise of its own.

    :param shape: (C, h, w) of the latents.
    """

    def __init__(self, prepared: Prepared, tokenizer: Any, shape: tuple[int, int, int]):
        self.prepared, self.tokenizer, self.shape = prepared, tokenizer, shape

    def __getitem__(self, index: int) -> Batch:
        example, batch = self.prepared.plain(index % len(self.prepared.pairs))
        noise = normal(draws(0, VALIDATION, index), self.shape)
        return batch | {"noise": noise, "tokens": tokens(self.tokenizer, example.caption)}


class StructureTask(DiffusionTask):
    """UNet and ControlNeXt, all of the UNet or part of it."""

    def __init__(self, config: Config, place: Place, networks: Networks | None = None):
        settings = config.structure
        super().__init__(config, place, networks, settings.control, settings.latents)
        self.controlnext.requires_grad_(True)
        self._choose(settings.train, settings.rank)
        if settings.text_encoder:
            self.text_encoder.requires_grad_(True)
        if settings.checkpointing:
            self.unet.enable_gradient_checkpointing()
        prepared, shape = self.prepared(config.data), self.latent_shape
        self.samples = Singles(config, prepared, self.tokenizer, shape, len(self.alphas))
        if config.validation.data is not None:
            self.held_out = HeldOutSingles(self.prepared(config.validation.data), self.tokenizer, shape)

    def _choose(self, train: str, rank: int) -> None:
        """What of the UNet learns."""
        if train == "all":
            self.unet.requires_grad_(True)
        elif train == "attention":
            for name, module in self.unet.named_modules():
                if name.endswith((".attn1", ".attn2")):
                    module.requires_grad_(True)
        elif train == "lora":
            from peft import LoraConfig

            self.unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=list(LORA_TARGETS)))

    @property
    def parts(self) -> dict[str, Part]:
        parts = {"controlnext": Part(self.controlnext, "model.safetensors", Kind.CONTROLNEXT)}
        train = self.config.structure.train
        if train == "lora":
            parts["unet"] = Part(self.unet, LORA_FILE, whole=False)
        elif train != "controlnext":
            parts["unet"] = Part(self.unet, "model_1.safetensors", Kind.UNET_DIFFUSERS)
        if self.config.structure.text_encoder:
            parts["text_encoder"] = Part(self.text_encoder, "text_encoder.safetensors")
        return parts

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        latents, noise, timesteps = self.latents(batch), batch["noise"], batch["timestep"]
        output = self._predict(self.noisy(latents, noise, timesteps), timesteps, batch["tokens"], batch["ids"])
        return {"loss": self.errors(output, latents, noise, timesteps).mean()}

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        latents, noise = self.latents(batch), batch["noise"]
        errors = {}
        for t in self.config.validation.timesteps:
            timesteps = torch.full((len(latents),), t, device=latents.device)
            output = self._predict(self.noisy(latents, noise, timesteps), timesteps, batch["tokens"], batch["ids"])
            errors[t] = self.errors(output, latents, noise, timesteps)
        return at_timesteps(errors)

    def _predict(self, x: Tensor, timesteps: Tensor, tokens: Tensor, ids: Tensor) -> Tensor:
        from ..hosts.diffusers.control import controlled

        context = self.context(tokens)
        with controlled(self.unet, self.control(ids), timesteps):
            return self.unet(x, timesteps, encoder_hidden_states=context, return_dict=False)[0]

    def picture(self) -> Image.Image | None:
        if self.held_out is None:
            return None
        settings, batch = self.config.validation, self.on_show()
        empty = tokens(self.tokenizer, "").to(self.place.device).expand_as(batch["tokens"])

        def predict(x: Tensor, timesteps: Tensor) -> Tensor:
            with_prompt = self._predict(x, timesteps, batch["tokens"], batch["ids"])
            without = self._predict(x, timesteps, empty, batch["ids"])
            return without + settings.guidance * (with_prompt - without)

        made = self.sample(predict, batch["noise"])
        label_maps = self.colour_maps(batch["ids"]) * 2 - 1
        return sheet({"label map": label_maps, "made": made, "truth": self.pictures_of(batch)})

    def export(self, folder: Path, step: int) -> None:
        settings, metadata = self.config.structure, metadata_of(self, step)
        dtype = torch.float16 if self.config.checkpoints.half else torch.float32
        learned = ["unet"] if settings.train != "controlnext" else []
        learned += ["text_encoder"] if settings.text_encoder else []
        if self.config.checkpoints.export == "all":
            copy_model(self.config.model, folder, without=[*learned, CONTROLNEXT_FILE])
        save(folder / CONTROLNEXT_FILE, self.controlnext, Kind.CONTROLNEXT, metadata, dtype=dtype)
        if "unet" in learned:
            self._export_unet(folder, dtype)
        if "text_encoder" in learned:
            copy.deepcopy(self.text_encoder).to(dtype).save_pretrained(folder / "text_encoder")

    def _export_unet(self, folder: Path, dtype: torch.dtype) -> None:
        lora = self.config.structure.train == "lora"
        if lora:
            from diffusers import StableDiffusionPipeline
            from peft import get_peft_model_state_dict

            StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=get_peft_model_state_dict(self.unet))
            if self.config.checkpoints.export == "trained":
                return  # the adapters are all that is new
        unet = copy.deepcopy(self.unet).cpu().to(memory_format=torch.contiguous_format)
        if lora:
            unet.fuse_lora()
            unet.unload_lora()
        unet.to(dtype).save_pretrained(folder / "unet")
