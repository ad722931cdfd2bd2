"""Draw the example workflows' input pictures: street scenes and their label maps, into `workflows/inputs`, and what is
painted in the one that has a painter, into `workflows/paintings`.

What they show lies in `drawn_streets`.
"""

from __future__ import annotations

from pathlib import Path

from drawn_streets.classes import class_colours
from drawn_streets.pictures import draw, draw_mask, draw_windows
from drawn_streets.scenes import LABEL_MAPS, MASKS, PICTURES, STREETS, WITH_WINDOWS
from drawn_streets.strokes import draw_painting

WORKFLOWS = Path(__file__).resolve().parents[1] / "workflows"
# The segmentation ControlNets for SD1.5 know ADE20K's colours, networks for driving scenes those of Cityscapes.
PALETTES = ("cityscapes19", "ade20k150")


def main() -> None:
    inputs, paintings = WORKFLOWS / "inputs", WORKFLOWS / "paintings"
    streets = inputs / "am_streets"
    for folder in (paintings, streets / "images", streets / "labels"):
        folder.mkdir(parents=True, exist_ok=True)
    pictures = {f"am_{name}": draw(scene) for name, scene in PICTURES.items()}
    pictures |= {f"am_{name}": draw_mask(scene, thing) for name, (scene, thing) in MASKS.items()}
    pictures |= {f"am_{name}_windows": draw_windows(PICTURES[name]) for name in WITH_WINDOWS}
    for palette in PALETTES:
        colours = class_colours(palette)
        pictures |= {f"am_{name}_{palette}": draw(scene, colours) for name, scene in LABEL_MAPS.items()}
        draw_painting(palette).save(paintings / f"street_{palette}.png", optimize=True)
    colours = class_colours("ade20k150")
    for name, scene in STREETS.items():
        pictures |= {f"am_streets/images/{name}": draw(scene), f"am_streets/labels/{name}": draw(scene, colours)}
    for name, picture in pictures.items():
        picture.save(inputs / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
