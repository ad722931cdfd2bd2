"""Data sets as they are unpacked: pairs, ids, palettes, and what is wrong with which file."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from amadapter_core.datasets import KINDS, open_data_set, pictures_in
from amadapter_core.label_maps import Palette

SIZE = (6, 8)


def picture(path: Path, size: tuple[int, int] = SIZE, value: int = 90) -> Path:
    return save(path, np.full((*size, 3), value, dtype=np.uint8))


def save(path: Path, values: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


def ids(path: Path, *values: int, size: tuple[int, int] = SIZE) -> Path:
    """An 8-bit grey picture whose rows hold the values in turn."""
    rows = np.resize(np.array(values, dtype=np.uint8), size[0])
    return save(path, np.repeat(rows[:, None], size[1], axis=1))


def bdd100k(root: Path) -> None:
    for split in ("train", "val"):
        picture(root / f"images/10k/{split}/0a0a0b1a-7c39d841.jpg")
        ids(root / f"labels/sem_seg/masks/{split}/0a0a0b1a-7c39d841.png", 0, 13, 255)
        picture(root / f"labels/sem_seg/colormaps/{split}/0a0a0b1a-7c39d841.png")
    picture(root / "images/10k/test/ac6d4f42-00000000.jpg")


def bdd100k_first_release(root: Path) -> None:
    picture(root / "bdd100k/seg/images/train/0a0a0b1a-7c39d841.jpg")
    picture(root / "bdd100k/seg/images/test/ac6d4f42-00000000.jpg")
    ids(root / "bdd100k/seg/labels/train/0a0a0b1a-7c39d841_train_id.png", 0, 13, 255)
    picture(root / "bdd100k/seg/color_labels/train/0a0a0b1a-7c39d841_train_color.png")


def cityscapes(root: Path, kind: str, *values: int, labels: str = "gtFine", split: str = "train") -> None:
    name = "aachen_000000_000019"
    picture(root / f"leftImg8bit/{split}/aachen/{name}_leftImg8bit.png")
    for other in ("color", "instanceIds"):
        picture(root / f"{labels}/{split}/aachen/{name}_{labels}_{other}.png")
    ids(root / f"{labels}/{split}/aachen/{name}_{labels}_{kind}.png", *values)


def cityscapes_train_ids(root: Path) -> None:
    cityscapes(root, "labelTrainIds", 0, 13, 255)
    cityscapes(root, "labelIds", 7, 26, 4)


def cityscapes_label_ids(root: Path) -> None:
    cityscapes(root, "labelIds", 7, 26, 0)


def cityscapes_coarse(root: Path) -> None:
    cityscapes(root, "labelIds", 7, 26, 0, labels="gtCoarse", split="train_extra")


def ade20k(root: Path) -> None:
    root = root / "ADEChallengeData2016"
    for split, short in (("training", "train"), ("validation", "val")):
        picture(root / f"images/{split}/ADE_{short}_00000001.jpg")
        ids(root / f"annotations/{split}/ADE_{short}_00000001.png", 1, 21, 0)
    (root / "objectInfo150.txt").write_text("Idx\tRatio\tTrain\tVal\tName\n")


def cocostuff(root: Path) -> None:
    for split in ("train2017", "val2017"):
        picture(root / f"dataset/images/{split}/000000000139.jpg")
        indexed = Image.fromarray(
            np.resize(np.array([0, 181, 255], dtype=np.uint8), SIZE[0])[:, None].repeat(SIZE[1], 1)
        )
        indexed.putpalette([value for grey in range(256) for value in (grey,) * 3])
        (root / f"dataset/annotations/{split}").mkdir(parents=True)
        indexed.save(root / f"dataset/annotations/{split}/000000000139.png")


def cocostuff_beside_each_other(root: Path) -> None:
    picture(root / "val2017/000000000139.jpg")
    ids(root / "stuffthingmaps/val2017/000000000139.png", 0, 181, 255)


def nyu(root: Path) -> None:
    for split, number in (("train", 3), ("test", 1)):
        picture(root / f"{split}/rgb/{number:04d}.png")
        ids(root / f"{split}/labels_40/{number:04d}.png", 1, 40, 0)
        save(root / f"{split}/labels_894/{number:04d}.png", np.full(SIZE, 800, dtype=np.uint16))


def nyu_in_one_folder(root: Path) -> None:
    for number in (3, 1):
        picture(root / f"RGB/{number}.jpg")
        ids(root / f"Label/{number}.png", 1, 40, 0)
    (root / "train.txt").write_text("RGB/3.jpg\tLabel/3.png\n")
    (root / "test.txt").write_text("RGB/1.jpg\tLabel/1.png\n")


@pytest.mark.parametrize(
    ("kind", "make", "split", "palette", "expected"),
    [
        ("bdd100k", bdd100k, "train", "bdd100k19", (0, 13, 255)),
        ("bdd100k", bdd100k_first_release, "train", "bdd100k19", (0, 13, 255)),
        ("cityscapes", cityscapes_train_ids, "train", "cityscapes19", (0, 13, 255)),
        ("cityscapes", cityscapes_label_ids, "train", "cityscapes34", (7, 26, 0)),
        ("cityscapes", cityscapes_coarse, "train_extra", "cityscapes34", (7, 26, 0)),
        ("ade20k", ade20k, "val", "ade20k150", (1, 21, 0)),
        ("ade20k", ade20k, "validation", "ade20k150", (1, 21, 0)),
        ("cocostuff", cocostuff, "val", "cocostuff182", (1, 182, 0)),
        ("cocostuff", cocostuff_beside_each_other, "val2017", "cocostuff182", (1, 182, 0)),
        ("nyu", nyu, "test", "nyu40", (1, 40, 0)),
        ("nyu", nyu_in_one_folder, "test", "nyu40", (1, 40, 0)),
    ],
)
def test_a_data_set_is_read_as_unpacked(
    tmp_path: Path, kind: str, make, split: str, palette: str, expected: tuple[int, ...]
) -> None:
    make(tmp_path)
    found = open_data_set(kind, tmp_path, split=split)
    assert len(found) == 1 and found.palette == Palette.load(palette)
    image, labels = found.read(0)
    assert image.shape == (*SIZE, 3) and image.dtype == np.uint8
    assert labels.ids[0, :3, 0].tolist() == list(expected) and labels.ignore == expected[2]
    assert labels.names_present() == [labels.palette.name_of(i) for i in sorted(expected[:2])]


@pytest.mark.parametrize(
    ("kind", "make", "names"),
    [
        ("bdd100k", bdd100k, ["train/0a0a0b1a-7c39d841", "val/0a0a0b1a-7c39d841"]),
        ("cityscapes", cityscapes_train_ids, ["train/aachen/aachen_000000_000019"]),
        ("ade20k", ade20k, ["training/ADE_train_00000001", "validation/ADE_val_00000001"]),
        ("cocostuff", cocostuff, ["train2017/000000000139", "val2017/000000000139"]),
        ("nyu", nyu, ["train/0003", "test/0001"]),
        ("nyu", nyu_in_one_folder, ["1", "3"]),
    ],
)
def test_without_a_split_all_pictures_with_label_maps_are_taken(tmp_path: Path, kind: str, make, names) -> None:
    make(tmp_path)
    found = open_data_set(kind, tmp_path)
    assert [pair.name for pair in found.pairs] == names and found.alone == ()
    assert {found.labels(i).batch for i in range(len(found))} == {1}


def face(root: Path, number: int, parts: dict[str, tuple[int, int]], mode: str = "RGB") -> None:
    """A face of twice the masks' size, whose parts are rows from..to."""
    picture(root / f"CelebA-HQ-img/{number}.jpg", (12, 12))
    for part, (first, last) in parts.items():
        mask = np.zeros((6, 6), dtype=np.uint8)
        mask[first:last] = 255
        path = root / f"CelebAMask-HQ-mask-anno/{number // 2000}/{number:05d}_{part}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).convert(mode).save(path)


def test_the_part_masks_of_celebamaskhq_make_one_label_map_later_classes_over_earlier_ones(tmp_path: Path) -> None:
    root = tmp_path / "CelebAMask-HQ"
    face(root, 10, {"skin": (1, 5), "mouth": (4, 5), "hair": (0, 2)})
    face(root, 2, {"skin": (0, 6), "cloth": (5, 6), "neck": (4, 6)}, mode="L")
    face(root, 2001, {"skin": (0, 3)}, mode="P")
    found = open_data_set("celebamaskhq", tmp_path)
    assert [pair.name for pair in found.pairs] == ["2", "10", "2001"]
    palette = Palette.load("celebamaskhq19")
    rows = [[palette.name_of(i) for i in found.labels(n).ids[0, :, 0].tolist()] for n in range(3)]
    assert rows[0] == ["skin"] * 4 + ["neck", "cloth"]
    assert rows[1] == ["hair", "hair", "skin", "skin", "mouth", "background"]
    assert rows[2] == ["skin"] * 3 + ["background"] * 3
    image, labels = found.read(1)
    assert image.shape == (12, 12, 3) and labels.size == (12, 12)
    assert [palette.name_of(i) for i in labels.ids[0, ::2, 0].tolist()] == rows[1]


def test_the_split_of_celebamaskhq_is_that_of_celeba(tmp_path: Path) -> None:
    for number in range(3):
        face(tmp_path, number, {"skin": (0, 6)})
    rows = ["idx orig_idx orig_file", "0 119613 119614.jpg", "1 182637 182638.jpg", "2 182638 182639.jpg"]
    with pytest.raises(FileNotFoundError, match=r"CelebA-HQ-to-CelebA-mapping\.txt; it comes with CelebAMask-HQ"):
        open_data_set("celebamaskhq", tmp_path, split="train")
    (tmp_path / "CelebA-HQ-to-CelebA-mapping.txt").write_text("\n".join(rows))
    names = {
        s: [p.name for p in open_data_set("celebamaskhq", tmp_path, split=s).pairs] for s in ("train", "val", "test")
    }
    assert names == {"train": ["0"], "val": ["1"], "test": ["2"]}


def test_masks_put_together_beforehand_are_read_as_ids(tmp_path: Path) -> None:
    picture(tmp_path / "CelebA-HQ-img/7.jpg", (12, 12))
    ids(tmp_path / "CelebAMask-HQ-mask/7.png", 0, 1, 18, size=(6, 6))
    assert open_data_set("celebamaskhq", tmp_path).labels(0).ids[0, :3, 0].tolist() == [0, 1, 18]


def test_a_mask_of_an_unknown_part_is_named(tmp_path: Path) -> None:
    face(tmp_path, 0, {"skin": (0, 3), "beard": (0, 1)})
    with pytest.raises(ValueError, match=r"has masks of beard, which 'celebamaskhq19' does not"):
        open_data_set("celebamaskhq", tmp_path).labels(0)


def test_cityscapes_comes_in_the_palette_that_is_asked_for(tmp_path: Path) -> None:
    cityscapes(tmp_path, "labelIds", 7, 26, 4)
    found = open_data_set("cityscapes", tmp_path, palette=Palette.load("bdd100k19"))
    assert found.labels(0).ids[0, :3, 0].tolist() == [0, 13, 255]


def test_pictures_without_a_label_map_are_refused_or_listed(tmp_path: Path) -> None:
    for name in "ab":
        picture(tmp_path / f"images/{name}.jpg")
    ids(tmp_path / "labels/a.png", 0)
    palette = Palette.load("cityscapes19")
    with pytest.raises(ValueError, match=r"1 of 2 pictures .* have no label map .*: b\.jpg; add them, or remove"):
        open_data_set("folder", tmp_path, palette=palette)
    found = open_data_set("folder", tmp_path, palette=palette, strict=False)
    assert [pair.name for pair in found.pairs] == ["a"] and found.alone == (tmp_path / "images/b.jpg",)


def test_only_pictures_are_listed_and_hidden_files_are_not(tmp_path: Path) -> None:
    for name in ("b.jpg", "a/c.PNG", "._b.jpg"):
        picture(tmp_path / name)
    for name in ("Thumbs.db", "notes.txt"):
        (tmp_path / name).write_text("no picture")
    assert pictures_in(tmp_path) == [tmp_path / "a/c.PNG", tmp_path / "b.jpg"]


def pair(root: Path, labels: np.ndarray | Image.Image | bytes, image: bytes | None = None) -> None:
    """A plain folder of one picture and the label map a.png."""
    picture(root / "images/a.png")
    if image is not None:
        (root / "images/a.png").write_bytes(image)
    path = root / "labels/a.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(labels, bytes):
        path.write_bytes(labels)
    else:
        (labels if isinstance(labels, Image.Image) else Image.fromarray(labels)).save(path)


def png(tmp_path: Path, side: int = 64) -> bytes:
    noise = np.random.default_rng(0).integers(0, 19, (side, side), dtype=np.uint8)
    return save(tmp_path / "whole.png", noise).read_bytes()


def of_a_bomb() -> bytes:
    """The head of a PNG that says it has 60000 x 60000 pixels."""
    head = struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    packed = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


ZEROS = np.zeros(SIZE, dtype=np.uint8)


def with_alpha(value: int) -> Image.Image:
    values = np.zeros((*SIZE, 4), dtype=np.uint8)
    values[..., :3], values[..., 3] = (128, 64, 128), 255
    values[0, :2, 3] = value
    return Image.fromarray(values)


@pytest.mark.parametrize(
    ("labels", "colours", "message"),
    [
        (b"not a picture", False, r"labels.a\.png is no picture that can be read; save it as PNG"),
        (b"", False, r"labels.a\.png is no picture that can be read"),
        ("cut", False, r"labels.a\.png is damaged or not complete \(.*\); copy it again"),
        (of_a_bomb(), False, r"labels.a\.png is too large \(Image size \(3600000000 pixels\)"),
        (
            np.full(SIZE, 300, dtype=np.uint16),
            False,
            r"labels.a\.png: .*48 of 48 pixels hold 1 ids .*300 \(48 pixels\)",
        ),
        (
            with_alpha(255),
            False,
            r"labels.a\.png: .*one channel of integers .* got mode 'RGBA'; a colour picture is read",
        ),
        (with_alpha(254), True, r"labels.a\.png: .*2 of 48 pixels are transparent, so their class is not certain"),
        (ZEROS, True, r"labels.a\.png: .*expected a colour picture .*mode 'L'; a picture of ids is read"),
        (
            np.full((*SIZE, 3), 7, np.uint8),
            True,
            r"48 of 48 pixels have 1 colours .*\(7, 7, 7\) on 48 pixels, nearest is",
        ),
        (
            np.zeros((3, 4), dtype=np.uint8),
            False,
            r"images.a\.png is 6 x 8 and its label map .*a\.png 3 x 4 \(height x",
        ),
    ],
)
def test_what_is_wrong_with_a_label_map_is_said_with_the_file(tmp_path: Path, labels, colours: bool, message) -> None:
    pair(tmp_path, png(tmp_path)[:-700] if isinstance(labels, str) else labels)
    found = open_data_set("folder", tmp_path, palette=Palette.load("cityscapes19"), colours=colours)
    with pytest.raises(ValueError, match=f"^data set: .*{message}"):
        found.read(0)


@pytest.mark.parametrize(
    ("image", "message"),
    [(b"no", r"images.a\.png is no picture"), ("cut", r"images.a\.png is damaged or not complete")],
)
def test_what_is_wrong_with_a_picture_is_said_with_the_file(tmp_path: Path, image, message: str) -> None:
    pair(tmp_path, ZEROS, png(tmp_path)[:-700] if image == "cut" else image)
    with pytest.raises(ValueError, match=f"^data set: .*{message}"):
        open_data_set("folder", tmp_path, palette=Palette.load("cityscapes19")).read(0)


def test_ids_of_sixteen_bits_are_read(tmp_path: Path) -> None:
    pair(tmp_path, np.full(SIZE, 40000, dtype=np.uint16))
    palette = Palette.from_dict({"classes": [{"id": 40000, "name": "far out", "colour": [1, 2, 3]}]})
    assert open_data_set("folder", tmp_path, palette=palette).labels(0).ids.unique().tolist() == [40000]


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_folder_is_no_data_set(tmp_path: Path, kind: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"^data set: no "):
        open_data_set(kind, tmp_path, palette=Palette.load("cityscapes19"))


@pytest.mark.parametrize(
    ("kind", "file", "message"),
    [
        ("nyu", "nyu_depth_v2_labeled.mat", r"is not unpacked; export pictures to train/rgb"),
        ("ade20k", "index_ade20k.pkl", r"full ADE20K; its benchmark of 150 classes is ADEChallengeData2016\.zip"),
    ],
)
def test_another_form_of_the_data_set_is_told(tmp_path: Path, kind: str, file: str, message: str) -> None:
    (tmp_path / file).write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=message):
        open_data_set(kind, tmp_path)


def test_what_a_call_lacks_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="kind is 'cars', expected one of folder, bdd100k"):
        open_data_set("cars", tmp_path)
    with pytest.raises(ValueError, match="ade20k has files of ids; label maps in colours are for plain folders"):
        open_data_set("ade20k", tmp_path, colours=True)
    pair(tmp_path, ZEROS)
    with pytest.raises(ValueError, match="is a plain folder; say which palette its label maps follow"):
        open_data_set("folder", tmp_path)


FORMS = ("ids png", "ids png with colours", "ids 16 bit", "ids bmp", "colours png", "colours webp")


@pytest.mark.parametrize("name", Palette.builtin_names())
@pytest.mark.parametrize("form", FORMS)
def test_every_palette_survives_every_format(tmp_path: Path, name: str, form: str) -> None:
    """All classes and the ignored pixels are written as users' tools do and read again."""
    palette = Palette.load(name)
    values = [*palette.ids, *([] if palette.ignore is None else [palette.ignore])]
    written = np.array(values)[None].repeat(2, 0)
    picture(tmp_path / "images/a.png", written.shape)
    colours = [*palette.colours, *([] if palette.ignore is None else [palette.ignore_colour or (0, 0, 0)])]
    kind, ending = form.split(" ")[0], ".webp" if "webp" in form else ".bmp" if "bmp" in form else ".png"
    if kind == "colours":
        image = Image.fromarray(np.array(colours, dtype=np.uint8)[None].repeat(2, 0))
    else:
        image = Image.fromarray(written.astype(np.uint16 if "16" in form else np.uint8))
        if "with" in form:
            table = np.zeros((256, 3), dtype=np.uint8)
            table[values] = colours
            image.putpalette(table.flatten().tolist())
    (tmp_path / "labels").mkdir()
    image.save(tmp_path / f"labels/a{ending}", **({"lossless": True} if ending == ".webp" else {}))
    labels = open_data_set("folder", tmp_path, palette=palette, colours=kind == "colours").labels(0)
    expected = dict(zip(values, values, strict=True))
    if kind == "colours":
        # Of classes of one colour a picture cannot tell which; the first stands for all.
        first = {tuple(colour): label for colour, label in zip(*map(reversed, (colours, values)), strict=True)}
        if palette.ignore is not None and palette.ignore_colour is not None:
            first[palette.ignore_colour] = palette.ignore
        expected = {label: first[tuple(colour)] for label, colour in zip(values, colours, strict=True)}
    assert labels.ids[0, 1].tolist() == [expected[value] for value in values]
