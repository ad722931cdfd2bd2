"""A loaded clVAE and all that can be done with it: codes of a picture, random codes, pictures of both."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..noise import Seeds, normal
from ..semantic import check_ids, fitted_pictures, resize_nearest
from ..styles import StyleCodes, merged, one_for_each
from ..system import System
from .configuration import LAYERS, Configuration
from .networks import Encoder, Generator

_SHARED_PLACE = -1
"""Where the class stands among the numbers that a draw depends on, the shared code has this one."""


class ClassLatentGenerator:
    """Pictures of label maps, with a style of its own for each class and layer.

    Layer 0 is the finest (half the picture's size), layer 4 the coarsest (1/32). Single classes or layers of a style
    are edited with `styles.swapped` and `styles.interpolated`, or drawn anew with `random_style`.

    :param encoder: None where only the generator was loaded: there are random styles then, but none of pictures.
    """

    system = System.CLVAE

    def __init__(self, generator: Generator, encoder: Encoder | None = None):
        self.generator, self.encoder = generator, encoder

    @property
    def config(self) -> Configuration:
        """Sizes of the networks, as read from their weights."""
        return self.generator.config

    @property
    def classes(self) -> int:
        """K: label ids are 0..K-1."""
        return self.config.classes

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the pictures it makes."""
        return self.config.size

    @property
    def layers(self) -> int:
        """How many codes a class has, one for each layer."""
        return LAYERS

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.generator.conv_img.weight.device

    def to(self, device: torch.device | str) -> ClassLatentGenerator:
        """Move both networks."""
        self.generator.to(device)
        if self.encoder is not None:
            self.encoder.to(device)
        return self

    def style(self, image: Tensor, ids: Tensor) -> StyleCodes:
        """The style of one picture: the mean code of each class it shows, and the shared code.

        :param image: [1, 3, H, W] in 0..1.
        :param ids: [1, H, W] of its own size or another.
        :raises ValueError: when there is no encoder, more than one picture, or label values without a class.
        """
        if image.shape[0] != 1:
            raise ValueError(f"clVAE: expected one picture for a style, got {image.shape[0]}; use styles for several")
        return self.styles(image, ids)[0]

    @torch.no_grad()
    def styles(self, images: Tensor, ids: Tensor) -> list[StyleCodes]:
        """The styles of a batch of pictures, one each; see `style`.

        :param images: [B, 3, H, W] in 0..1.
        :param ids: [B, H, W] of any size.
        """
        if self.encoder is None:
            raise ValueError(
                "clVAE: only the generator was loaded, so there are no styles of pictures; pass the encoder's file "
                "(latest_net_E.pth) to the loader, or use random styles"
            )
        # Fitted to the generator's size first, as its training had them; the encoder makes squares of that.
        images = fitted_pictures(images, ids, self.size, self.device, "clVAE")
        ids = check_ids(ids, self.classes, "clVAE style").to(self.device)
        found = self.encoder(images * 2 - 1, resize_nearest(ids, self.size))
        return [
            StyleCodes(
                self.system,
                {label: found.mean[item, label].cpu() for label in found.visible[item].nonzero().flatten().tolist()},
                found.shared_mean[item].cpu(),
            )
            for item in range(images.shape[0])
        ]

    def random_style(self, ids: Tensor, seed: int | Seeds = 0) -> StyleCodes:
        """Normal codes for every class of a label map; each class and each layer is a draw of its own.

        :param ids: [B, H, W]; the classes of all its items.
        :param seed: one for all, or Seeds with others for single classes and layers.
        """
        seeds = Seeds.of(seed)
        labels = check_ids(ids, self.classes, "clVAE random style").unique().tolist()
        codes = {label: seeds.code(label, LAYERS, self.config.local) for label in labels}
        return StyleCodes(self.system, codes, normal((self.config.shared,), seeds.seed, _SHARED_PLACE))

    @torch.no_grad()
    def generate(
        self, ids: Tensor, style: StyleCodes | Sequence[StyleCodes] | None = None, seed: int | Seeds = 0
    ) -> Tensor:
        """Make pictures. Classes without a code, and the shared code where the style has none, are drawn at random.

        :param ids: [B, H, W] in 0..K-1; maps of another size are resized to the model's, as its data set was.
        :param style: one for all, or one for each; None draws everything.
        :param seed: of what is drawn, for all alike; give each a `random_style` to have them differ.
        :return: [B, 3, H, W] in 0..1 of the model's size.
        :raises ValueError: for label values without a class, or styles of another number, system or shape.
        """
        ids = check_ids(ids, self.classes, "clVAE").to(self.device)
        batch = ids.shape[0]
        ids = resize_nearest(ids, self.size)
        codes = torch.zeros(batch, self.classes, LAYERS, self.config.local)
        shared = torch.zeros(batch, self.config.shared)
        for item, wanted in enumerate(one_for_each(style, batch, "clVAE")):
            drawn = self.random_style(ids[item : item + 1], seed)
            whole = drawn if wanted is None else merged(self._checked(wanted), drawn)
            for label in drawn.classes:
                codes[item, label] = whole.codes[label]
            shared[item] = whole.shared
        made = self.generator(ids, codes.to(self.device), shared.to(self.device))
        return (made + 1) / 2

    def _checked(self, style: StyleCodes) -> StyleCodes:
        wanted = (LAYERS, self.config.local)
        width = None if style.shared is None else len(style.shared)
        fits = (not style.codes or style.shape == wanted) and width in (None, self.config.shared)
        if style.system is not self.system or not fits:
            raise ValueError(
                f"clVAE: the style is of {style.system.title} with codes {list(style.shape)} and shared {width}; this "
                f"model takes {list(wanted)} and {self.config.shared}. Make the style with this model"
            )
        return style
