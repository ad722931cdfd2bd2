"""From a layout and an appearance to pixels."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .appearance import Appearance
from .layout import Layout
from .materials import CLASS_IDS, Material
from .sketch import ON_GROUND, frame

# How many times finer than the picture the shapes are painted, for small pictures and for larger ones.
_FINE, _COARSE, _LARGE = 3, 2, 192
_ROADWAY = [Material.ROAD, Material.MARKING]
_WALKWAY = [Material.PAVEMENT, Material.KERB]
# [M] whether shadows fall on it, and how much of what is wet mirrors.
_GROUND = np.isin(np.arange(len(Material)), [*_ROADWAY, *_WALKWAY, Material.GRASS])
_MIRRORS = np.zeros(len(Material), np.float32)
_MIRRORS[_ROADWAY] = 1.0
_MIRRORS[_WALKWAY] = 0.5
_PANES = [Material.WINDOW_0, Material.WINDOW_1]
_LIGHTS = {"head": ((1.0, 0.96, 0.82), 0.5), "tail": ((1.0, 0.1, 0.06), 0.35)}


def render(
    layout: Layout, appearance: Appearance, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Paint a scene.

    :param size: (H, W).
    :return: image [H, W, 3] uint8, class ids [H, W] uint8, instances [H, W] int32, materials [H, W] int16. The
        three maps depend on the layout only.
    """
    times = _FINE if min(size) < _LARGE else _COARSE
    fine = (size[0] * times, size[1] * times)
    numbers = layout.sketch.raster(fine)
    materials = np.asarray(layout.sketch.materials, np.int16)
    image = _paint(layout, appearance, numbers, materials)
    picture = Image.fromarray(_bytes(image)).reduce(times)
    image = np.asarray(picture, np.float32) / 255
    image = _shine(image, layout, appearance)
    image = _weather(image, appearance)
    # The pixel's own middle, never a mixture.
    seen = numbers[times // 2 :: times, times // 2 :: times]
    material_map = materials[seen]
    instances = np.asarray(layout.sketch.instances, np.int32)[seen]
    return _bytes(image), CLASS_IDS[material_map], instances, material_map


def _paint(layout: Layout, appearance: Appearance, numbers: np.ndarray, materials: np.ndarray) -> np.ndarray:
    """Colour the shapes, with haze, shadows and mirroring ground; [h, w, 3] float32 0..1."""
    sketch, camera, size = layout.sketch, layout.camera, numbers.shape
    side, _, top = frame(size)
    rows = (np.arange(size[0], dtype=np.float32) + 0.5 - top) / side
    horizon = camera.vanishing[1]
    # The first row of the ground; everything above has the depth of its shape, and the sky is only there.
    split = int(np.clip(np.searchsorted(rows, horizon), 0, size[0]))

    veil = np.asarray(appearance.sky[2], np.float32)
    depths = np.asarray(sketch.depths, np.float32)
    clear = np.exp(-appearance.haze * np.minimum(depths, 400.0))[:, None]
    table = veil + clear * (_shape_colours(layout, appearance, materials) - veil)
    image = np.take(table.astype(np.float32), numbers, axis=0)

    below = image[split:]
    if len(below):
        seen = numbers[split:]
        shade = 1 - appearance.shadow * _GROUND[materials][seen] * _shadows(layout, appearance, size, split)
        below *= shade[..., None]
        depth = camera.focal * camera.height / np.maximum(rows[split:] - horizon, 1e-3)
        row_clear = np.exp(-appearance.haze * np.minimum(depth, 400.0)).astype(np.float32)
        lost = (depths == ON_GROUND).astype(np.float32)[seen] * (1 - row_clear)[:, None]
        below += lost[..., None] * (veil - below)
    # Hills may leave a little sky below the horizon's row.
    above = min(split + side // 16, size[0])
    np.copyto(image[:above], _sky(appearance, size, horizon)[:above], where=(numbers[:above] == 0)[..., None])
    if appearance.wet and len(below):
        share = (appearance.wet * _MIRRORS)[materials][numbers[split:]]
        below += share[..., None] * (_reflection(image, rows[split:] - horizon, split) - below)
    return image


def _shape_colours(layout: Layout, appearance: Appearance, materials: np.ndarray) -> np.ndarray:
    """The colour of each shape close by, [S, 3] float32."""
    sketch = layout.sketch
    chances = np.asarray(sketch.chances, np.float32)
    shades = np.asarray(sketch.shades, np.float32) * appearance.sides[np.asarray(sketch.facings) + 1]
    # Windows that are not lit mirror more or less of the sky.
    shades = np.where(np.isin(materials, _PANES), shades * (0.86 + 0.28 * np.modf(7 * chances)[0]), shades)
    unlit = np.minimum(appearance.base[materials] * shades[:, None], 1)
    return np.where((chances < appearance.lit_share)[:, None], appearance.lit[materials], unlit)


def _sky(appearance: Appearance, size: tuple[int, int], horizon: float) -> np.ndarray:
    """Gradient, sun or moon, stars and clouds; [h, w, 3] float32. Softer than the shapes, so painted coarser."""
    h, w = size[0] // 2 + 1, size[1] // 2 + 1
    side, middle, top = (value / 2 for value in frame(size))
    up = (horizon - (np.arange(h, dtype=np.float32) + 0.5 - top) / side).astype(np.float32)
    knots = np.asarray(appearance.sky, np.float32)
    gradient = np.stack([np.interp(up, (0.0, 0.22, 0.55), knots[::-1, c]) for c in range(3)], -1)
    sky = np.repeat(gradient[:, None].astype(np.float32), w, 1)

    def box(x: float, y: float, rx: float, ry: float) -> list[float]:
        cx, cy = middle + side * x, top + side * (horizon - y)
        return [cx - side * rx, cy - side * ry, cx + side * rx, cy + side * ry]

    orb = appearance.orb
    if orb.radius:
        xs = (np.arange(w, dtype=np.float32) + 0.5 - middle) / side - orb.x
        squared = (xs[None] ** 2 + (up - orb.y)[:, None] ** 2).astype(np.float32)
        disc = np.clip((orb.radius - np.sqrt(squared)) * side + 0.5, 0, 1)
        halo = 0.45 * np.exp(-squared / (2 * (2.6 * orb.radius) ** 2))
        sky += np.maximum(disc, halo)[..., None] * (np.asarray(orb.colour, np.float32) - sky)
    if appearance.stars:
        mask = Image.new("L", (w, h))
        draw = ImageDraw.Draw(mask)
        for x, y in appearance.stars:
            draw.ellipse(box(x, y, 0.0035, 0.0035), fill=170)
        sky += np.asarray(mask, np.float32)[..., None] / 255 * (1 - sky)
    if appearance.clouds:
        mask = Image.new("L", (w, h))
        draw = ImageDraw.Draw(mask)
        for cloud in appearance.clouds:
            draw.ellipse(box(cloud.x, cloud.y, cloud.rx, cloud.ry), fill=255)
        soft = mask.filter(ImageFilter.BoxBlur(side * appearance.cloud_softness))
        cover = appearance.cloud_opacity * np.asarray(soft, np.float32)[..., None] / 255
        sky += cover * (np.asarray(appearance.cloud_colour, np.float32) - sky)
    return np.repeat(np.repeat(sky, 2, 0), 2, 1)[: size[0], : size[1]]


def _shadows(layout: Layout, appearance: Appearance, size: tuple[int, int], split: int) -> np.ndarray:
    """How much of the light is taken from the ground, from row `split` down; [h - split, w] float32 0..1."""
    h, w = size[0] - split, size[1]
    side, middle, top = frame(size)
    top -= split
    mask = Image.new("L", (w, h))
    draw = ImageDraw.Draw(mask)
    if appearance.cast:
        for house in layout.houses:
            # The sun shines over the houses of its side.
            if house.side != -appearance.sun_side:
                continue
            reach = house.front - min(1.0, house.height / 12) * (appearance.cast + house.front - layout.road_half)
            edge = layout.camera.strip(house.side * reach, house.side * house.front, house.near, house.far)
            draw.polygon([(round(middle + side * x), round(top + side * y)) for x, y in edge], fill=170)
    for shadow in layout.shadows:
        (x, y), (rx, ry) = shadow.centre, shadow.radius
        cx, cy = middle + side * x, top + side * y
        draw.ellipse([cx - side * rx, cy - side * ry, cx + side * rx, cy + side * ry], fill=255)
    small = mask.reduce(2).filter(ImageFilter.BoxBlur(side / 260)).resize((w, h), Image.Resampling.NEAREST)
    return np.asarray(small, np.float32) / 255


def _reflection(image: np.ndarray, below: np.ndarray, split: int) -> np.ndarray:
    """What stands above the horizon, upside down and blurred.

    :param below: [n] how far each row of the ground lies below the horizon.
    """
    pitch = below[1] - below[0] if len(below) > 1 else 1.0
    source = np.clip(split - 1 - np.round(below / pitch).astype(int), 0, len(image) - 1)
    soft = Image.fromarray(_bytes(image)).reduce((2, 8)).filter(ImageFilter.BoxBlur(1.5))
    soft = soft.resize((image.shape[1], image.shape[0]), Image.Resampling.BILINEAR)
    return np.asarray(soft, np.float32)[source] / 255


def _shine(image: np.ndarray, layout: Layout, appearance: Appearance) -> np.ndarray:
    """Let lamps glow, and light the ground below them."""
    if not appearance.glow:
        return image
    h, w = image.shape[:2]
    side, middle, top = frame((h, w))
    xs = ((np.arange(w) + 0.5) - middle).astype(np.float32) / side
    ys = ((np.arange(h) + 0.5) - top).astype(np.float32) / side
    for kind, (colour, strength) in {"lamp": (appearance.lamp_colour, 0.6), **_LIGHTS}.items():
        lights = [light for light in layout.lights if light.kind == kind]
        if not lights:
            continue
        across = np.stack([np.exp(-0.5 * ((xs - light.at[0]) / (0.5 * light.reach)) ** 2) for light in lights])
        down = np.stack([np.exp(-0.5 * ((ys - light.at[1]) / (0.5 * light.reach)) ** 2) for light in lights])
        glow = np.minimum(down.T @ across, 1.0) * strength * appearance.glow
        tint = np.asarray(colour, np.float32)
        # Light adds up, but never beyond white.
        image = image + glow[..., None] * tint * (1 - image)
    return image


def _weather(image: np.ndarray, appearance: Appearance) -> np.ndarray:
    """Let it snow or rain in front of the picture."""
    if not appearance.flakes and not appearance.streaks:
        return image
    h, w = image.shape[:2]
    side, middle, top = frame((h, w))
    mask = Image.new("L", (2 * w, 2 * h))
    draw = ImageDraw.Draw(mask)
    for x, y, r in appearance.flakes:
        cx, cy, r = 2 * (middle + side * x), 2 * (top + side * y), 2 * side * r
        draw.ellipse([cx - r, cy - r, cx + r, cy + r], fill=215)
    for x, y in appearance.streaks:
        cx, cy = 2 * (middle + side * x), 2 * (top + side * y)
        draw.line([cx, cy, cx - 0.03 * side, cy + 0.14 * side], fill=60, width=max(1, round(side / 90)))
    cover = np.asarray(mask.reduce(2), np.float32)[..., None] / 255
    return image + cover * (np.float32(0.96) - image)


def _bytes(image: np.ndarray) -> np.ndarray:
    return np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8)
