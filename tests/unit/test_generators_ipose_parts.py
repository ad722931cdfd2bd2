"""iPOSE's way from a label map to part maps: instances, crops, supports, the part network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from amadapter_core.checkpoints import CheckpointError
from amadapter_core.generators.ipose import (
    CONVENTIONS,
    Convention,
    Instance,
    InstanceMap,
    Supports,
    from_instances,
    from_labels,
    from_rows,
    load_supports,
    pack_supports,
    split_ade,
)
from amadapter_core.generators.ipose.__main__ import main
from amadapter_core.generators.ipose.conventions import convention_for
from amadapter_core.generators.ipose.crops import cut, paste
from amadapter_core.generators.ipose.instances import MOST, box_of, connected
from amadapter_core.generators.ipose.part_maps import PartMaps, categories_of, predict, remember
from amadapter_core.generators.ipose.part_network import PARTS, SIDE, PartNetwork
from amadapter_core.label_maps import LabelMap
from amadapter_core.palettes import Palette

ADE, CITYSCAPES, COCO = (CONVENTIONS[name] for name in ("ade20k", "cityscapes", "coco"))
PERSON, CAR = 24, 26


def filled(size: tuple[int, int], *boxes: tuple[int, int, int, int, int]) -> torch.Tensor:
    """Zeros [H, W] with rectangles (top, bottom, left, right, value)."""
    ids = torch.zeros(size, dtype=torch.int64)
    for top, bottom, left, right, value in boxes:
        ids[top:bottom, left:right] = value
    return ids


# Instances


@pytest.mark.parametrize(
    ("rectangle", "box"),
    [
        ((2, 7, 3, 12), (2, 6, 3, 11)),  # the last row and column, 6 and 11, are the ends
        ((2, 6, 3, 11), (2, 6, 3, 11)),  # 3 rows and 7 columns are made even at the end
        ((0, 16, 0, 16), (0, 16, 0, 16)),
        ((4, 5, 2, 9), None),
        ((4, 6, 2, 9), (4, 6, 2, 8)),
    ],
)
def test_a_box_is_the_published_one(rectangle: tuple, box: tuple | None) -> None:
    assert box_of(filled((16, 16), (*rectangle, 1)) > 0) == box


def test_pieces_touch_at_corners_and_nowhere_else() -> None:
    rows = ["##...#", "..#..#", "#.....", "#.##.#", ".#..#."]
    mask = torch.tensor([[c == "#" for c in row] for row in rows])
    expected = [[1, 1, 0, 0, 0, 2], [0, 0, 1, 0, 0, 2], [3, 0, 0, 0, 0, 0], [3, 0, 3, 3, 0, 3], [0, 3, 0, 0, 3, 0]]
    assert connected(mask).tolist() == expected
    assert connected(torch.zeros(3, 3, dtype=torch.bool)).tolist() == [[0] * 3] * 3


def test_pieces_are_those_of_a_flood(seed: int = 0) -> None:
    mask = torch.rand(40, 37, generator=torch.Generator().manual_seed(seed)) < 0.4
    found = connected(mask)
    assert torch.equal(found > 0, mask) and int(found.max()) > 10
    flooded = torch.where(mask, torch.arange(1, mask.numel() + 1).view(mask.shape), 0).float()
    for _ in range(mask.numel()):
        spread = torch.nn.functional.max_pool2d(flooded[None, None], 3, 1, 1)[0, 0] * mask
        if torch.equal(spread, flooded):
            break
        flooded = spread
    pairs = {(int(a), int(b)) for a, b in zip(found[mask], flooded[mask], strict=True)}
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


def test_cityscapes_numbers_are_taken_as_they_stand() -> None:
    ids = filled((32, 64), (4, 20, 4, 12, 24), (4, 20, 30, 50, 26), (25, 30, 0, 10, 7))
    values = filled((32, 64), (4, 20, 4, 12, 24003), (4, 20, 30, 50, 26), (25, 30, 0, 10, 7000))  # 26: a crowd of cars
    found = from_instances(values, ids, CITYSCAPES, original=(375, 500))
    assert found.instances == (Instance(24003, (4, 20, 4, 12)),) and found.instances[0].category == PERSON
    assert torch.equal(found.mask(found.instances[0]), values == 24003)


def test_ade_takes_its_categories_from_the_red_channel_or_from_the_labels() -> None:
    ids = filled((32, 32), (2, 12, 2, 12, 13), (16, 28, 4, 20, 21))  # person, car
    red = filled((32, 32), (2, 12, 2, 12, 4), (16, 28, 4, 20, 65))  # person, van
    green = filled((32, 32), (2, 12, 2, 12, 9), (16, 28, 4, 20, 7))
    picture = Image.fromarray(torch.stack([red, green, red * 0], -1).byte().numpy())
    counts, kinds = split_ade(picture)
    assert torch.equal(counts, green) and torch.equal(kinds, red)
    by_red = from_instances(counts, ids, ADE, (375, 500), kinds)
    by_label = from_instances(counts, ids, ADE, (375, 500))
    assert [i.number for i in by_red.instances] == [24001, 39002]
    assert [i.number for i in by_label.instances] == [24001, 26002]
    assert {i.original for i in by_red.instances} == {(375, 500)}
    assert torch.equal(by_label.mask(by_label.instances[1]), ids == 21)
    with pytest.raises(ValueError, match="mode L"):
        split_ade(picture.convert("L"))


def test_a_count_of_coco_that_is_a_label_elsewhere_is_no_part_of_the_object() -> None:
    ids = filled((32, 32), (2, 12, 2, 12, 1), (2, 12, 12, 22, 1), (20, 32, 0, 32, 124))
    values = filled((32, 32), (2, 12, 2, 12, 1), (2, 12, 12, 22, 2), (20, 32, 0, 32, 2))
    found = from_instances(values, ids, COCO)
    assert [(i.number, i.box) for i in found.instances] == [(24001, (2, 12, 2, 12)), (24002, (2, 12, 12, 22))]
    assert not bool(found.mask(found.instances[1])[20:].any())
    assert found.numbers()[5, 15] == 24002 and found.of([CAR]).instances == ()


def test_without_an_instance_map_connected_pieces_are_instances() -> None:
    ids = filled((64, 64), (0, 20, 0, 20, 13), (30, 60, 4, 30, 21), (30, 60, 32, 60, 21), (5, 8, 40, 43, 21))
    found = from_labels(ids, ADE, original=(480, 640))
    assert [(i.number, i.box, i.original) for i in found.instances] == [
        (24001, (0, 20, 0, 20), (480, 640)),
        (26002, (30, 60, 4, 30), (480, 640)),
        (26003, (30, 60, 32, 60), (480, 640)),
    ]
    assert len(from_labels(ids, ADE, least_pixels=9).instances) == 4
    city = from_labels(torch.where(ids == 21, 26, 0), CITYSCAPES)
    assert [i.number for i in city.instances] == [26001, 26002] and city.values[40, 40] == 26002
    assert from_labels(ids * 0, ADE).instances == ()


def test_maps_that_do_not_belong_together_are_told() -> None:
    ids = torch.zeros(8, 8, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"instance map is \[8, 9\].*label map \[8, 8\]"):
        from_instances(torch.zeros(8, 9, dtype=torch.int64), ids, ADE)
    with pytest.raises(ValueError, match="instance map is .*float32"):
        from_instances(ids.float(), ids, ADE)
    values = torch.arange(32 * 32).view(32, 32)
    with pytest.raises(ValueError, match=rf"1023 instances in one picture, {MOST} can be numbered"):
        from_instances(values, torch.full((32, 32), 13), ADE)


@pytest.mark.parametrize("name", CONVENTIONS)
def test_a_convention_is_known_by_its_classes_and_survives_as_text(name: str) -> None:
    convention = CONVENTIONS[name]
    assert convention_for(convention.classes) is convention
    assert Convention.from_json(convention.to_json()) == convention
    with pytest.raises(ValueError, match="is no convention of a data set"):
        Convention.from_json(convention.to_json().replace("by_class", "classes_by"))
    assert all(0 <= label < convention.classes for label in convention.by_class)
    with pytest.raises(ValueError, match=rf"has 8 classes and {name} has {convention.classes}"):
        convention_for(8, name)


def test_conventions_name_the_classes_they_mean() -> None:
    ade, coco = Palette.load("ade20k150"), Palette.load("cocostuff182")
    named = {category: ade.name_of(label) for label, category in ADE.by_class.items()}
    assert [named[c] for c in (24, 26, 39, 36, 14, 20)] == ["person", "car", "van", "washer", "minibike", "television"]
    named = {category: coco.name_of(label) for label, category in COCO.by_class.items()}
    assert [named[c] for c in (24, 37, 40, 14, 20)] == ["person", "stop sign", "zebra", "motorcycle", "tv"]
    assert ADE.categories == tuple(sorted(ADE.by_instance_class.values()))
    with pytest.raises(ValueError, match="has 8 classes, which is none of the published"):
        convention_for(8)
    with pytest.raises(ValueError, match="unknown data set 'ade'"):
        convention_for(151, "ade")


# Crops


def alone(size: tuple[int, int], rectangle: tuple[int, int, int, int], original=(1, 1)) -> InstanceMap:
    return from_rows(filled(size, (*rectangle, 1)), torch.tensor([[24001, *rectangle, *original]]), whole_ids=False)


def test_a_crop_has_a_margin_and_is_padded_to_a_square() -> None:
    item = alone((64, 64), (10, 38, 20, 32))
    shape, crop = cut(item, item.instances[0])
    assert crop.box == (8, 40, 18, 34) and crop.long == 32 and crop.shift == 8 and not crop.stretched
    # 32 x 16 with 8 columns on either side, doubled.
    expected = torch.zeros(1, SIDE, SIDE)
    expected[:, 4:60, 2 * (8 + 2) : 2 * (8 + 14)] = 1
    assert torch.equal(shape, expected)


@pytest.mark.parametrize(
    ("rectangle", "box"),
    [
        ((0, 9, 0, 10), (0, 12, 0, 12)),  # 11 rows are made 12 at the end
        ((20, 32, 21, 32), (18, 32, 18, 32)),  # 13 columns cannot grow at the end
        ((1, 4, 5, 9), (0, 6, 3, 11)),
    ],
)
def test_a_crop_is_even_and_inside_the_picture(rectangle: tuple, box: tuple) -> None:
    item = alone((32, 32), rectangle)
    assert cut(item, item.instances[0])[1].box == box


@pytest.mark.parametrize(
    ("original", "long", "shift", "wide"),
    [
        ((1, 1), 32, 0, False),
        ((375, 500), 42, 5, True),  # 32 * 4/3 = 42.67
        ((640, 480), 42, 5, False),
        ((333, 500), 48, 8, True),  # 48.05
        ((478, 500), 33, 0, True),  # one column more than rows, and no row of padding: one off square
    ],
)
def test_the_aspect_is_restored_with_the_published_roundings(original, long: int, shift: int, wide: bool) -> None:
    item = alone((64, 64), (10, 38, 20, 48), original)
    shape, crop = cut(item, item.instances[0])
    assert (crop.long, crop.shift, crop.wide, crop.stretched) == (long, shift, wide, original != (1, 1))
    assert shape.shape == (1, SIDE, SIDE) and crop.size == (32, 32)
    canvas = torch.zeros(1, 64, 64)
    paste(canvas, torch.ones(1, SIDE, SIDE), shape, crop, "nearest")
    assert float((canvas - item.values).abs().mean()) < 0.06  # its own shape again, but for the roundings


def test_what_is_pasted_stays_in_its_shape_and_lies_above_what_was_there() -> None:
    item = alone((64, 64), (10, 38, 20, 48))
    shape, crop = cut(item, item.instances[0])
    canvas = torch.full((2, 64, 64), 5.0)
    paste(canvas, torch.stack([torch.full((SIDE, SIDE), 1.0), torch.full((SIDE, SIDE), 2.0)]), shape, crop, "bilinear")
    inside = item.values == 1
    assert canvas[0, inside].eq(1).all() and canvas[1, inside].eq(2).all() and canvas[:, ~inside].eq(5).all()


# Supports


@pytest.fixture
def part_data(tmp_path: Path) -> Path:
    """A part data set: persons, buses, horses and washers, three pictures each and one that is too many."""
    for category, highest in ((24, 8), (28, 5), (13, 3), (36, 4)):
        folder = tmp_path / "Full_Parts" / "support_shape" / "3" / str(category)
        folder.mkdir(parents=True)
        for number in range(4):
            ids = np.full((100, 80), number, dtype=np.uint8) if number < 3 else np.full((10, 10), 1, dtype=np.uint8)
            ids[:10] = highest
            Image.fromarray(ids).save(folder / f"{number}_part.png")
        Image.fromarray(ids).save(folder / "0_image.png")
    return tmp_path / "Full_Parts"


def test_support_pictures_are_packed_by_category(part_data: Path, tmp_path: Path, capsys) -> None:
    supports = pack_supports(part_data)
    # Buses serve both categories of buses, persons riders, too, horses zebras.
    assert supports.categories == (6, 13, 15, 24, 25, 28, 36, 40)
    assert supports.labels[24].shape == (3, SIDE, SIDE) and supports.labels[24].dtype == torch.uint8
    assert [labels[-1, 0].item() for labels in supports.labels[24]] == [0, 1, 2]
    assert supports.labels[24][0, 0, 0] == 8 and torch.equal(supports.labels[6], supports.labels[28])
    assert supports.labels[36].unique().tolist() == [0, 1, 4]  # 2 and 3 stand for 1 there
    assert supports.sources[25] == ["24/0_part.png", "24/1_part.png", "24/2_part.png"]
    for place in ("support_shape", "support_shape/3"):
        assert pack_supports(part_data / place).categories == supports.categories

    out = tmp_path / "supports.safetensors"
    assert main(["pack", str(part_data), str(out)]) == 0
    assert json.loads(capsys.readouterr().out)["categories"] == list(supports.categories)
    read = load_supports(out)
    assert read.categories == supports.categories and read.sources[6] == supports.sources[6]
    assert all(torch.equal(read.labels[c], supports.labels[c]) for c in read.categories)


def test_a_part_data_set_that_lacks_something_is_told(part_data: Path, tmp_path: Path, capsys) -> None:
    with pytest.raises(ValueError, match=r"lacks \*part.png pictures of 1 categories: 1 \(airplane\): 0 of 3 in .*3/1"):
        pack_supports(part_data, [1, 24])
    assert main(["pack", str(part_data), str(tmp_path / "s.safetensors"), "--data-set", "ade20k"]) == 1
    assert "categories" in capsys.readouterr().err
    with pytest.raises(
        FileNotFoundError, match=r"no pictures \*/\*part.png .* Searched: .*support_shape/3.*Full_Parts"
    ):
        pack_supports(tmp_path)
    with pytest.raises(FileNotFoundError, match="has 5 pictures"):
        pack_supports(part_data / "support_shape" / "3", count=5)
    picture = part_data / "support_shape" / "3" / "24" / "0_part.png"
    Image.fromarray(np.full((8, 8), 9, dtype=np.uint8)).save(picture)
    with pytest.raises(ValueError, match="0_part.png: part ids are 9 to 9, expected 0 to 8"):
        pack_supports(part_data)
    Image.new("RGB", (8, 8)).save(picture)
    with pytest.raises(ValueError, match="0_part.png is a picture of mode RGB"):
        pack_supports(part_data)


def test_other_files_are_no_support_packs(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"category.24": torch.zeros(3, SIDE, SIDE, dtype=torch.uint8)}, path)
    with pytest.raises(CheckpointError, match=r"is no support pack of iPOSE.*pack FOLDER"):
        load_supports(path)
    save_file({"category.24": torch.zeros(3, 5, 5)}, path, {"am_adapter.kind": "ipose_supports"})
    with pytest.raises(CheckpointError, match=r"is damaged.*24 \(person\)"):
        load_supports(path)
    with pytest.raises(CheckpointError, match=r"ends in \.safetensors"):
        Supports({}).save(tmp_path / "supports.pth")


# Part maps


def supports_of(*categories: int, seed: int = 0) -> Supports:
    generator = torch.Generator().manual_seed(seed)
    return Supports({c: torch.randint(0, PARTS, (2, SIDE, SIDE), generator=generator) for c in categories})


def parts_of(network: PartNetwork, items: list[InstanceMap], supports: Supports | None) -> PartMaps:
    return predict(network, items, remember(network, categories_of(items), supports))


@pytest.fixture(scope="module")
def network() -> PartNetwork:
    torch.manual_seed(0)
    return PartNetwork((3, 4, 5, 6), (6, 5, 4)).eval()


@pytest.fixture(scope="module")
def scene() -> InstanceMap:
    """A person, a car, and a second person in front of the first; of sizes that rounding leaves alone."""
    boxes = ((4, 32, 4, 32), (10, 38, 40, 68), (20, 48, 20, 32))
    values = filled((64, 96), *((*box, number) for number, box in enumerate(boxes, start=1)))
    rows = torch.tensor([[n, *box, 1, 1] for n, box in zip((24001, 26002, 24003), boxes, strict=True)])
    return from_rows(values, rows, whole_ids=False)


def test_parts_lie_in_their_instances(network: PartNetwork, scene: InstanceMap) -> None:
    parts = parts_of(network, [scene, scene.of([CAR])], supports_of(PERSON, CAR))
    assert parts.logits.shape == (2, PARTS, 64, 96) and parts.features.shape == (2, PARTS * 4, 64, 96)
    assert parts.size == (64, 96) and len(parts.instances) == 2
    for item, kept in ((0, scene), (1, scene.of([CAR]))):
        outside = kept.numbers() == 0
        assert not bool(parts.logits[item][:, outside].any()) and not bool(parts.features[item][:, outside].any())
        assert bool(parts.features[item][:, ~outside].any(0).float().mean() > 0.9)
    torch.testing.assert_close(parts.features[0][:, scene.values == 2], parts.features[1][:, scene.values == 2])
    assert torch.equal(parts.inside[:, 0] > 0, parts.ids > 0)


def test_each_shape_is_alone_with_its_supports(network: PartNetwork) -> None:
    labels = supports_of(PERSON, CAR).labels
    both = network.remember(torch.stack([labels[PERSON], labels[CAR]]))
    shapes = torch.rand(2, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1)) < 0.5
    logits, features = network(shapes, both)
    for i, category in enumerate((PERSON, CAR)):
        alone_logits, alone_features = network(shapes[i : i + 1], network.remember(labels[category][None]))
        torch.testing.assert_close(logits[i : i + 1], alone_logits)
        torch.testing.assert_close(features[i : i + 1], alone_features)


def test_the_order_of_parts_is_the_order_of_channels(network: PartNetwork) -> None:
    labels, shape = supports_of(PERSON).labels[PERSON][None], torch.ones(1, 1, SIDE, SIDE)
    order = torch.randperm(PARTS, generator=torch.Generator().manual_seed(3))
    plain, shuffled = (network(shape, network.remember(labels, o))[0] for o in (None, order[None]))
    torch.testing.assert_close(shuffled, plain[:, order])


def test_parts_are_edited_by_other_supports(network: PartNetwork, scene: InstanceMap) -> None:
    supports = supports_of(PERSON, CAR)
    edited = supports.replaced(CAR, torch.full((1, 30, 20), 4))
    assert edited.labels[CAR].shape == (1, SIDE, SIDE) and edited.sources[CAR] == ["edited"]
    assert supports.labels[CAR].shape[0] == 2  # the pack itself is as it was
    before, after = (parts_of(network, [scene], s) for s in (supports, edited))
    car = scene.values == 2
    assert torch.equal(before.features[0][:, ~car], after.features[0][:, ~car])
    assert float((before.logits - after.logits)[0][:, car].abs().max()) > 1e-3
    with pytest.raises(ValueError, match="part ids are 9 to 9"):
        supports.replaced(CAR, torch.full((1, 8, 8), 9))


def test_missing_supports_are_told_with_the_way_out(network: PartNetwork, scene: InstanceMap) -> None:
    with pytest.raises(ValueError, match=r"2 part categories occur and there are no supports.*pack Full_Parts"):
        parts_of(network, [scene], None)
    with pytest.raises(ValueError, match=r"no examples of category 26 \(car\); it has 24 \(person\)"):
        parts_of(network, [scene], supports_of(PERSON))
    empty = parts_of(network, [scene.of([])], None)
    assert not bool(empty.features.any()) and not bool(empty.inside.any())
    with pytest.raises(ValueError, match="one size"):
        parts_of(network, [scene, alone((64, 64), (2, 20, 2, 20))], None)


@pytest.fixture(scope="module")
def known() -> PartMaps:
    """Parts 0, 1, 8 in columns of 4 x 6 pixels."""
    ids = torch.tensor([0, 0, 1, 1, 8, 8]).expand(1, 4, 6)
    nothing = InstanceMap(torch.zeros(4, 6, dtype=torch.int64), ())
    logits = torch.nn.functional.one_hot(ids, PARTS).permute(0, 3, 1, 2).float()
    return PartMaps(logits, torch.zeros(1, 18, 4, 6), (nothing,))


def test_part_maps_are_drawn_in_nine_colours(known: PartMaps) -> None:
    picture = known.picture()
    assert picture.shape == (1, 4, 6, 3) and not bool(picture[:, :, :2].any())
    palette = known.label_map().palette
    assert len(set(palette.colours)) == PARTS and len({tuple(p.tolist()) for p in picture[0, 0]}) == 3


def test_where_features_guide_can_be_chosen(known: PartMaps) -> None:
    assert known.inside[0, 0, 0].tolist() == [0, 0, 1, 1, 1, 1]
    chosen = known.guided(torch.ones(1, 4, 6, dtype=torch.bool))
    assert bool(chosen.inside.all()) and chosen.logits is known.logits
    with pytest.raises(ValueError, match=r"mask is \[1, 4, 5\]"):
        known.guided(torch.ones(1, 4, 5))


def test_parts_make_classes_finer(known: PartMaps) -> None:
    labels = LabelMap(torch.zeros(1, 8, 12, dtype=torch.int64), Palette.load("cityscapes19"))
    finer = known.finer(labels)
    assert torch.equal(finer.ids, labels.ids) and torch.equal(finer.colours(), labels.colours())
    assert finer.part_ids[0, 0].tolist() == [-1] * 4 + [1] * 4 + [8] * 4
    assert known.finer(labels.crop(0, 0, 2, 12)).part_ids[0].tolist() == finer.part_ids[0, :2].tolist()
