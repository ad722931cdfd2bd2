"""A ComfyUI custom node pack for test servers: a Stable Diffusion 1.5 in miniature, without any files.

Link this folder into `custom_nodes` beside the pack under test.
"""

from __future__ import annotations

import torch

from . import generators, models

SEED = {"required": {"seed": ("INT", {"default": 0, "min": 0, "max": 2**31})}}


class TinySD15Checkpoint:
    INPUT_TYPES = classmethod(lambda cls: SEED)
    RETURN_TYPES = ("MODEL", "CLIP", "VAE")
    FUNCTION = "load"
    CATEGORY = "testing"

    def load(self, seed: int) -> tuple:
        return models.tiny_model(seed), models.tiny_clip(seed), models.tiny_vae(seed)


class TinyControlNet:
    INPUT_TYPES = classmethod(lambda cls: SEED)
    RETURN_TYPES = ("CONTROL_NET",)
    FUNCTION = "load"
    CATEGORY = "testing"

    def load(self, seed: int) -> tuple:
        return (models.tiny_controlnet(seed),)


class TinyControlNeXt:
    INPUT_TYPES = classmethod(lambda cls: SEED)
    RETURN_TYPES = ("CONTROL_NET",)
    FUNCTION = "load"
    CATEGORY = "testing"

    def load(self, seed: int) -> tuple:
        return (models.tiny_label_map_control(seed),)


class TinyMatcher:
    INPUT_TYPES = classmethod(lambda cls: SEED)
    RETURN_TYPES = ("AM_MATCHER",)
    FUNCTION = "load"
    CATEGORY = "testing"

    def load(self, seed: int) -> tuple:
        return (models.tiny_matcher_patcher(seed),)


class TinyTransformer:
    """A MODEL without a UNet."""

    INPUT_TYPES = classmethod(lambda cls: SEED)
    RETURN_TYPES = ("MODEL",)
    FUNCTION = "load"
    CATEGORY = "testing"

    def load(self, seed: int) -> tuple:
        return (models.tiny_transformer(),)


class TinyGenerator:
    """A semantic generator of the system that a file's name speaks of."""

    INPUT_TYPES = classmethod(
        lambda cls: {
            "required": {**SEED["required"], "generator_name": ("STRING", {})},
            "optional": {"supports": ("AM_SUPPORTS",)},
        }
    )
    RETURN_TYPES = ("AM_GENERATOR", "STRING")
    FUNCTION = "load"
    CATEGORY = "testing"

    def load(self, seed: int, generator_name: str = "clvae", supports: object = None) -> tuple:
        generator = generators.stand_in(generator_name, seed)
        if supports is not None:
            generator.supports = supports
        hosted = models.core("hosts.comfy.generators").hosted(generator)
        return hosted, hosted.about


class TinySupports:
    INPUT_TYPES = classmethod(lambda cls: SEED)
    RETURN_TYPES = ("AM_SUPPORTS",)
    FUNCTION = "load"
    CATEGORY = "testing"

    def load(self, seed: int) -> tuple:
        return (generators.tiny_supports(24, 26, seed=seed),)


class TinySegmentation:
    """Light is sky, the rest houses above and road below: not where things are, but the same for the same picture."""

    INPUT_TYPES = classmethod(lambda cls: {"required": {**SEED["required"], "image": ("IMAGE",)}})
    RETURN_TYPES = ("AM_LABEL_MAP", "IMAGE")
    FUNCTION = "segment"
    CATEGORY = "testing"

    def segment(self, seed: int, image: torch.Tensor) -> tuple:
        maps, palettes = (models.core(name) for name in ("label_maps", "palettes"))
        table = palettes.Palette.load("ade20k150")
        sky, building, road = (table.id_of(name) for name in ("sky", "building", "road"))
        ids = torch.full(image.shape[:3], building)
        ids[:, image.shape[1] // 2 :] = road
        ids[image.mean(-1) > 0.7] = sky
        labels = maps.LabelMap.from_ids(ids, table)
        return labels, labels.colours()


NODE_CLASS_MAPPINGS = {
    node.__name__: node
    for node in (
        TinySD15Checkpoint,
        TinyControlNet,
        TinyControlNeXt,
        TinyMatcher,
        TinyTransformer,
        TinyGenerator,
        TinySupports,
        TinySegmentation,
    )
}
