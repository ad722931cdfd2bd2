"""What the training of SCA-DM can be told; part of a `config.Config`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ScaDM:
    """SCA-DM: its sizes and its recipe, as published.

    :param first_stage: file of the first stage, VQ-f4 of latent diffusion, which does not learn here; None takes that
        of `start`.
    :param start: an SCA-DM to begin with; None makes new networks of the sizes below.
    :param style_dropout: share of pictures zeroed before the style encoder, so that there is a style of no picture.
    :param attention: weight of the loss that draws the cross-attention's raw scores to the label map; 0 is without.
        The scores matter to pixels of several classes alone, so queries and keys learn nothing without it.
    :param checkpointing: gradient checkpointing: less memory, about a third more time.
    :param width: channels of the UNet's finest level.
    :param factors: channels of each level over `width`, finest first.
    :param blocks: residual blocks per level.
    :param transformers: levels with transformers, 0 the finest.
    :param head_width: channels of an attention head.
    :param features: channels per class of the style encoder's first layer.
    :param scales: codes per class.
    :param code: width of a code.
    """

    first_stage: str | None = None
    start: str | None = None
    style_dropout: float = 0.5
    attention: float = 0.0
    checkpointing: bool = False
    width: int = 224
    factors: tuple[int, ...] = (1, 2, 3, 4)
    blocks: int = 2
    transformers: tuple[int, ...] = (1, 2, 3)
    head_width: int = 32
    features: int = 4
    scales: int = 5
    code: int = 256
