"""What the training of iPOSE's two networks can be told; parts of a `config.Config`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class IPoseParts:
    """iPOSE's part network: its data, its sizes, its augmentation, as published.

    :param root: folder of the part data set with pictures of part ids, `24/*part.png` and so on by category.
    :param held_out: such a folder to validate on; None validates nothing.
    :param supports: a support pack; None takes the first `count` pictures of each category.
    :param count: supports of each category where there is no pack.
    :param random_supports: share of samples whose supports are other pictures of the category.
    :param rotate: largest turn of a shape in degrees.
    :param start: a part network to begin with.
    :param encoder: widths of a new network's encoders; decoder alike.
    """

    root: str | None = None
    held_out: str | None = None
    supports: str | None = None
    count: int = 3
    random_supports: float = 0.375
    rotate: float = 15.0
    start: str | None = None
    encoder: tuple[int, int, int, int] = (32, 64, 64, 96)
    decoder: tuple[int, int, int] = (64, 64, 32)


@dataclass(frozen=True)
class IPose:
    """iPOSE's generator and OASIS' discriminator: data set, sizes and weights of the losses, as published.

    :param data_set: "ade20k", "cityscapes", "coco", or a JSON file such as {"name": "mine", "classes": 12, "size":
        [256, 256], "by_class": {"3": 24, "5": 26}}, part category by label id; where the files of each lie under
        `data.root` is said in `ipose_data`.
    :param part_network: file of a trained part network, which does not learn here.
    :param supports: a support pack.
    :param start: a generator to begin with, spectral norms unbaked, such as a checkpoint of a run or `best_G.pth`.
    :param channels: width of a new generator's last block.
    :param z_channels: of its style noise.
    :param discriminator_width: channels of the discriminator's first levels; the last ones have four times as many.
    :param label_mix: weight of LabelMix; 10, for Cityscapes 5.
    :param global_hinge: weight of the hinge loss on the discriminator's verdict on places of 1/16; 0 is without.
    :param similarity: weight of the distance between CLIP's tokens of made and real pictures, where `clip` names it.
    :param clip: folder of CLIP ViT-B/32 as transformers saves it; None leaves that loss off.
    :param refresh: forward passes that give the averaged weights batch statistics of their own before an export.
    """

    data_set: str = "ade20k"
    part_network: str | None = None
    supports: str | None = None
    start: str | None = None
    channels: int = 64
    z_channels: int = 64
    discriminator_width: int = 128
    label_mix: float = 10.0
    global_hinge: float = 1.0
    similarity: float = 10.0
    clip: str | None = None
    refresh: int = 50
