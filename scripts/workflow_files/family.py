"""The models that workflows run on."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from .places import ROOT


@dataclass(frozen=True)
class Family:
    """The models that a workflow runs on, and what goes with them.

    :param prefix: of the workflows' names; inputs that of the pictures'.
    :param palette: the colours of the label maps.
    :param side: of the pictures in pixels.
    :param positive: prompt by the light of the exemplar.
    :param sampling: values of the sampler, where they are not the usual ones.
    :param cars: of the exemplar, for the right and the left car of the target.
    :param about: a sentence for the notes.
    """

    prefix: str
    inputs: str
    palette: str
    side: int
    positive: dict[str, str]
    negative: str
    sampling: dict
    cars: tuple[str, str]
    about: str

    @property
    def stock(self) -> bool:
        """Whether it is Stable Diffusion 1.5."""
        return not self.prefix


SD15 = Family(
    prefix="",
    inputs="am_",
    palette="ade20k150",
    side=512,
    positive=dict.fromkeys(("day", "dusk"), "a street with houses, trees and cars, detailed"),
    negative="blurry, low quality, text",
    sampling={},
    cars=("white_car", "red_car"),
    about="",
)


def demonstration(side: int) -> Family:
    """The family that comes along.

    :param side: of the pictures it was trained on.
    """
    return Family(
        prefix="demo_",
        inputs="am_demo_",
        palette="cityscapes19",
        side=side,
        positive={"day": "a street by day in clear weather", "dusk": "a street at dusk under clouds"},
        negative="",
        sampling={"steps": 20, "cfg": 2.0},
        cars=("left_car", "right_car"),
        about="\n\nThis runs on the small model that comes with the pack, which knows drawn streets alone: nothing "
        "has to be downloaded.",
    )


def shipped_demonstration() -> Family | None:
    """The family that comes along, once all of its weights are there."""
    if str(ROOT) not in sys.path:  # scripts are no package; this one asks the library
        sys.path.append(str(ROOT))
    from amadapter_core.demo import files

    if not files.shipped():
        return None
    return demonstration(8 * files.Files().description["unet"]["sample_size"])
