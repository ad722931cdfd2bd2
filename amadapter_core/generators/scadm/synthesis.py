"""A loaded SCA-DM and all that can be done with it: codes of a picture, of no picture, pictures of both."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..noise import Seeds, noise_by_class, normal
from ..semantic import check_ids, fitted_pictures, one_hot, resize_nearest
from ..styles import StyleCodes, one_for_each
from ..system import System
from .conditioning import Conditioning, NoisePredictor, Unconditional
from .configuration import Configuration
from .diffusion import betas, ddim
from .first_stage import FirstStage
from .style_encoder import StyleEncoder
from .unet import UNet

Watch = Callable[[int, int, Tensor], None]


class ClassDiffusionGenerator:
    """Pictures of label maps by latent diffusion, with one style token per class.

    Layer 0 of a code is the coarsest scale, layer 4 the finest. The published modes, all by the style that is passed
    to `generate`:

    * by reference: `style` of a picture. The layout may be another one.
    * by reference with random parts: `styles.restricted` to the other classes; those without a code take the style of
      no picture, and the seed decides how they look.
    * by noise alone: no style at all.

    Parts of several pictures are put together with `styles.swapped`, and `styles.interpolated` goes from one to
    another, whole or by class or by layer.
    """

    system = System.SCADM

    def __init__(self, config: Configuration, unet: UNet, style_encoder: StyleEncoder, first_stage: FirstStage):
        self.config, self.unet, self.style_encoder, self.first_stage = config, unet, style_encoder, first_stage

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
        """How many scales a class's code has."""
        return self.style_encoder.scales

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, h, w)."""
        h, w = (side // self.first_stage.factor for side in self.size)
        return self.unet.channels, h, w

    @property
    def betas(self) -> Tensor:
        """[1000] fp64, for a host's samplers; see `predictor`."""
        return betas()

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.unet.device

    def to(self, device: torch.device | str) -> ClassDiffusionGenerator:
        """Move all three networks."""
        for network in (self.unet, self.style_encoder, self.first_stage):
            network.to(device)
        return self

    def style(self, image: Tensor, ids: Tensor) -> StyleCodes:
        """The style of one picture: the code of each class it shows.

        :param image: [1, 3, H, W] in 0..1.
        :param ids: [1, H, W] of its own size or another.
        :raises ValueError: for more than one picture, or label values without a class.
        """
        if image.shape[0] != 1:
            raise ValueError(f"SCA-DM: expected one picture for a style, got {image.shape[0]}; use styles for several")
        return self.styles(image, ids)[0]

    @torch.no_grad()
    def styles(self, images: Tensor, ids: Tensor) -> list[StyleCodes]:
        """The styles of a batch of pictures, one each; see `style`.

        :param images: [B, 3, H, W] in 0..1; resized to the model's size.
        :param ids: [B, H, W] of any size.
        """
        images = fitted_pictures(images, ids, self.size, self.device, "SCA-DM")
        ids = self._fitted(ids, "SCA-DM style")
        tokens = self.style_encoder(images * 2 - 1, one_hot(ids, self.classes))
        return [self._codes(item, labels.unique().tolist()) for item, labels in zip(tokens, ids, strict=True)]

    @torch.no_grad()
    def random_style(self, ids: Tensor, seed: int | Seeds = 0) -> StyleCodes:
        """The style of no picture for a label map: what is made with it, the noise alone decides.

        :param ids: [1, H, W].
        :param seed: makes no difference here, only in `generate`; the other systems draw codes with it.
        """
        ids = self._fitted(ids, "SCA-DM random style")
        if len(ids) != 1:
            raise ValueError(f"SCA-DM: the style of no picture depends on the label map; pass one, not {len(ids)}")
        return self._codes(self._empty(one_hot(ids, self.classes))[0], ids.unique().tolist())

    @torch.no_grad()
    def generate(
        self,
        ids: Tensor,
        style: StyleCodes | Sequence[StyleCodes] | None = None,
        seed: int | Seeds = 0,
        *,
        steps: int = 50,
        guidance: float = 1.0,
        eta: float = 0.0,
        unconditional: Unconditional = Unconditional.EMPTY_STYLE,
        quantise: bool = True,
        watch: Watch | None = None,
    ) -> Tensor:
        """Make pictures. Classes without a code take the style of no picture.

        :param ids: [B, H, W] in 0..K-1; maps of another size are resized to the model's, as its data set was.
        :param style: one for all, or one for each; None for none.
        :param seed: of the initial noise, in which every class has a draw of its own, see `noise.Seeds`; a new seed
            for one class keeps the noise of the others. Layers of noise there are none.
        :param steps: of DDIM, 1 to 500; see `diffusion.ddim_timesteps`.
        :param guidance: 1 is none and the published default; above, the style shows more strongly.
        :param eta: noise added on the way, 0 to 1.
        :param unconditional: what guidance leads away from.
        :param quantise: whether latents are decoded by way of the codebook, as published.
        :param watch: see `diffusion.ddim`.
        :return: [B, 3, H, W] in 0..1 of the model's size.
        :raises ValueError: for label values without a class, or styles of another number, system or shape.
        """
        seeds = Seeds.of(seed)
        conditional = self.conditioning(ids, style)
        without = self.unconditional(conditional, unconditional) if guidance != 1 else None
        predict = NoisePredictor(self.unet, conditional, without, guidance)
        noise = self.noise(ids, seeds)

        def draw(step: int) -> Tensor:
            return normal(noise.shape, seeds.seed, step).to(noise.device)

        latents = ddim(predict, noise, steps, eta=eta, draw=draw, watch=watch)
        return self.decode(latents, quantise)

    @torch.no_grad()
    def conditioning(self, ids: Tensor, style: StyleCodes | Sequence[StyleCodes] | None = None) -> Conditioning:
        """Style tokens [B, K, S] and one-hot label maps [B, K, H, W] of a batch; see `generate`."""
        ids = self._fitted(ids, "SCA-DM")
        batch, mask = len(ids), one_hot(ids, self.classes)
        context = self._empty(mask)
        for item, wanted in enumerate(one_for_each(style, batch, "SCA-DM")):
            for label, code in {} if wanted is None else self._checked(wanted).codes.items():
                context[item, label] = code.to(context).flatten()
        return Conditioning(context, mask)

    @torch.no_grad()
    def unconditional(self, conditional: Conditioning, kind: Unconditional = Unconditional.EMPTY_STYLE) -> Conditioning:
        """What guidance leads away from."""
        if Unconditional(kind) is Unconditional.PUBLISHED:
            return conditional.zeros()
        return Conditioning(self._empty(conditional.mask), conditional.mask)

    def noise(self, ids: Tensor, seed: int | Seeds = 0) -> Tensor:
        """Initial noise [B, C, h, w] for label maps [B, H, W]; see `generate`."""
        channels, *grid = self.latent_shape
        ids = resize_nearest(self._fitted(ids, "SCA-DM noise"), grid)
        return noise_by_class(ids, channels, Seeds.of(seed))

    @torch.no_grad()
    def decode(self, latents: Tensor, quantise: bool = True) -> Tensor:
        """Pictures [B, 3, H, W] in 0..1 of latents [B, C, h, w]."""
        return ((self.first_stage.decode(latents, quantise) + 1) / 2).clamp(0, 1)

    def _fitted(self, ids: Tensor, where: str) -> Tensor:
        return resize_nearest(check_ids(ids, self.classes, where).to(self.device), self.size)

    def _empty(self, mask: Tensor) -> Tensor:
        """Tokens [B, K, S] of the style of no picture."""
        grey = torch.zeros(len(mask), 3, *mask.shape[-2:], device=mask.device, dtype=mask.dtype)
        return self.style_encoder(grey, mask)

    def _codes(self, tokens: Tensor, labels: Sequence[int]) -> StyleCodes:
        """:param tokens: [K, S]."""
        codes = tokens.unflatten(1, (self.layers, -1)).cpu()
        return StyleCodes(self.system, {label: codes[label] for label in labels})

    def _checked(self, style: StyleCodes) -> StyleCodes:
        wanted = (self.layers, self.style_encoder.width)
        if style.system is not self.system or (style.codes and style.shape != wanted):
            raise ValueError(
                f"SCA-DM: the style is of {style.system.title} with codes {list(style.shape)}; this model takes "
                f"{list(wanted)}. Make the style with this model"
            )
        if beyond := [label for label in style.classes if label >= self.classes]:
            raise ValueError(
                f"SCA-DM: the style has a code for class {beyond[0]}; this model knows 0 to {self.classes - 1}. Make "
                "the style with this model"
            )
        return style
