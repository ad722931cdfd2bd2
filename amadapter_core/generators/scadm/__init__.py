"""SCA-DM: latent diffusion whose every pixel takes its style from the token of its class, and its layout by SPADE.

A style encoder makes the tokens of a picture, so that single parts can be exchanged, interpolated or left to chance.
https://arxiv.org/abs/2403.12743
"""

from __future__ import annotations

from .conditioning import Conditioning, NoisePredictor, Unconditional
from .configuration import Configuration
from .loading import Weights, load, pack
from .synthesis import ClassDiffusionGenerator

__all__ = [
    "ClassDiffusionGenerator",
    "Conditioning",
    "Configuration",
    "NoisePredictor",
    "Unconditional",
    "Weights",
    "load",
    "pack",
]
