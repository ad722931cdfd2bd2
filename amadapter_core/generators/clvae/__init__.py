"""clVAE: SPADE whose every layer sees, at each pixel, a latent code of the pixel's class.

One code per class and layer from a variational encoder, and one for the whole picture. Learned or drawn, they can be
exchanged for single classes and single layers. Endo and Kanamori, Diversifying Semantic Image Synthesis and Editing
via Class- and Layer-wise VAEs, 2020.
"""

from __future__ import annotations

from .configuration import Configuration
from .loading import load, pack
from .synthesis import ClassLatentGenerator

__all__ = ["ClassLatentGenerator", "Configuration", "load", "pack"]
