"""Label maps, palettes and tables between them, for any sizes, batches and class tables."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from amadapter_core.label_maps import LabelMap, Palette, resize_ids
from amadapter_core.mappings import mapping_from_dict
from amadapter_core.painting import NOT_PAINTED, codes_of, painted_over
from amadapter_core.remapping import Remapping

colours = st.tuples(*[st.integers(0, 255)] * 3)
names = st.text(min_size=1, max_size=8).filter(str.strip)
quiet = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def palettes(draw: st.DrawFn, low: int = 0, high: int = 60_000) -> Palette:
    """Any class table whose colours differ."""
    listed = draw(st.lists(names, min_size=1, max_size=8, unique=True))
    count = len(listed)
    ids = draw(st.lists(st.integers(low, high), min_size=count + 1, max_size=count + 1, unique=True))
    shown = draw(st.lists(colours, min_size=count + 1, max_size=count + 1, unique=True))
    ignored = draw(st.booleans())
    return Palette(
        "p",
        "",
        tuple(listed),
        tuple(ids[:count]),
        tuple(shown[:count]),
        ids[count] if ignored else None,
        ignore_colour=shown[count] if ignored else None,
    )


@st.composite
def label_maps(draw: st.DrawFn, palette: Palette, most: int = 3) -> LabelMap:
    """Any label map of a palette, ignored pixels included."""
    shape = draw(st.tuples(st.integers(1, most), st.integers(1, 9), st.integers(1, 9)))
    known = torch.tensor([*palette.ids, *([] if palette.ignore is None else [palette.ignore])])
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1 << 30)))
    return LabelMap(known[torch.randint(len(known), shape, generator=generator)], palette)


@quiet
@given(st.data())
def test_what_is_drawn_in_colours_is_read_again(data: st.DataObject) -> None:
    labels = data.draw(palettes().flatmap(label_maps))
    assert torch.equal(LabelMap.from_colours(labels.colours(), labels.palette).ids, labels.ids)


@quiet
@given(st.data())
def test_ids_in_files_are_read_again_whatever_their_width(data: st.DataObject) -> None:
    high = data.draw(st.sampled_from([255, 60_000]))
    labels = data.draw(palettes(high=high).flatmap(lambda palette: label_maps(palette, most=1)))
    values, file = labels.ids[0].numpy(), io.BytesIO()
    Image.fromarray(values.astype(np.uint8 if high == 255 else np.uint16)).save(file, "PNG")
    with Image.open(file) as picture:
        assert torch.equal(LabelMap.from_ids(picture, labels.palette).ids, labels.ids)


@quiet
@given(st.data(), st.integers(1, 20), st.integers(1, 20), st.sampled_from(["nearest", "majority"]))
def test_resizing_makes_no_class_up_and_treats_each_picture_alone(
    data: st.DataObject, height: int, width: int, method: str
) -> None:
    labels = data.draw(palettes().flatmap(label_maps))
    small = resize_ids(labels.ids, (height, width), method, ignore=labels.ignore)
    assert tuple(small.shape) == (labels.batch, height, width)
    for item in range(labels.batch):
        alone = resize_ids(labels.ids[item : item + 1], (height, width), method, ignore=labels.ignore)
        assert torch.equal(alone[0], small[item])
        assert set(alone.unique().tolist()) <= set(labels.ids[item].unique().tolist())


@quiet
@given(st.data(), st.integers(1, 5), st.integers(1, 5), st.sampled_from(["nearest", "majority"]))
def test_a_multiple_of_the_size_and_back_is_the_same(data: st.DataObject, down: int, across: int, method: str) -> None:
    labels = data.draw(palettes().flatmap(label_maps))
    height, width = labels.size
    large = resize_ids(labels.ids, (down * height, across * width), method, ignore=labels.ignore)
    assert torch.equal(large, labels.ids.repeat_interleave(down, 1).repeat_interleave(across, 2))
    assert torch.equal(resize_ids(large, labels.size, method, ignore=labels.ignore), labels.ids)


@quiet
@given(palettes(low=-5))
def test_a_palette_is_its_json(palette: Palette) -> None:
    assert Palette.from_dict(json.loads(json.dumps(palette.to_dict()))) == palette


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
_FIELDS = st.sampled_from(["name", "title", "source", "ignore", "ignore_colour", "notes", "classes", "color"])
_CLASS = st.fixed_dictionaries(
    {"name": names | json_values, "colour": colours.map(list) | json_values},
    optional={"id": st.integers() | json_values},
)
tables = st.dictionaries(_FIELDS, json_values | st.lists(_CLASS, max_size=4)) | json_values


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tables)
def test_any_json_is_a_palette_that_works_or_is_refused_by_its_name(table: Any) -> None:
    try:
        palette = Palette.from_dict(table, "garden.json")
    except ValueError as error:
        assert str(error).startswith("garden.json") or "garden.json" in str(error)
        return
    labels = LabelMap(torch.tensor([[list(palette.ids)]]), palette)
    assert labels.colours().shape == (1, 1, len(palette), 3)
    palette.reading_table()
    assert [palette.id_of(name) for name in palette.names] == list(palette.ids)


@quiet
@given(st.data())
def test_every_pixel_becomes_what_the_table_says(data: st.DataObject) -> None:
    source, target = data.draw(palettes()), data.draw(palettes())
    labels = data.draw(label_maps(source))
    counterparts = st.sampled_from([*target.ids, None])
    classes = {label: data.draw(counterparts) for label in source.ids}
    named = {name: classes[label] for name, label in zip(source.names, source.ids, strict=True)}
    assume(len({name.casefold() for name in source.names}) == len(source.names))
    assume(not any(name.lstrip("-").isdigit() for name in (*source.names, *target.names)))
    read = mapping_from_dict({"classes": named}, source, target)
    assert dict(read.classes) == classes
    expected = [classes.get(label) for label in labels.ids.flatten().tolist()]
    if target.ignore is None and None in expected:
        with pytest.raises(ValueError, match="pixels have no class"):
            Remapping(source, target, classes)(labels)
        return
    found = Remapping(source, target, classes)(labels)
    assert found.palette is target and found.ids.shape == labels.ids.shape
    assert found.ids.flatten().tolist() == [target.ignore if label is None else label for label in expected]


@quiet
@given(st.data())
def test_painting_changes_what_is_painted_and_nothing_else(data: st.DataObject) -> None:
    labels = data.draw(palettes().flatmap(label_maps))
    painting = data.draw(label_maps(labels.palette, most=1)).resize(*labels.size)
    mask = torch.rand(labels.size, generator=torch.Generator().manual_seed(data.draw(st.integers(0, 99)))) < 0.5
    made = painted_over(labels, codes_of(painting).masked_fill(~mask, NOT_PAINTED))
    assert torch.equal(made.ids, torch.where(mask, painting.ids[0], labels.ids))
