/**
 * Grids of codes, without any DOM: `{width, height, codes}`, `codes` a Uint16Array row by row.
 *
 * A code is the id of a class or one of the two below; amadapter_core/painting.py has the same ones.
 * A box is `{left, top, right, bottom}` in pixels, right and bottom beyond the last pixel.
 */

export const NOT_PAINTED = 0xffff;
export const UNLABELLED = 0xfffe;
export const MAX_SIDE = 4096;

export function blank(width, height) {
  return { width, height, codes: new Uint16Array(width * height).fill(NOT_PAINTED) };
}

export function isBlank(raster) {
  return raster.codes.every((code) => code === NOT_PAINTED);
}

export function sameSize(a, b) {
  return a.width === b.width && a.height === b.height;
}

export function wholeOf({ width, height }) {
  return { left: 0, top: 0, right: width, bottom: height };
}

/** The smallest box around two, either of which may be null. */
export function union(a, b) {
  if (!a || !b) return a ?? b;
  return {
    left: Math.min(a.left, b.left),
    top: Math.min(a.top, b.top),
    right: Math.max(a.right, b.right),
    bottom: Math.max(a.bottom, b.bottom),
  };
}

/** A copy of what lies in a box. */
export function crop(raster, { left, top, right, bottom }) {
  const width = right - left;
  const codes = new Uint16Array(width * (bottom - top));
  for (let y = top; y < bottom; y++) {
    const row = y * raster.width;
    codes.set(raster.codes.subarray(row + left, row + right), (y - top) * width);
  }
  return { width, height: bottom - top, codes };
}

/** Put a piece back where it was cropped. */
export function paste(raster, piece, { left, top }) {
  for (let y = 0; y < piece.height; y++) {
    const row = piece.codes.subarray(y * piece.width, (y + 1) * piece.width);
    raster.codes.set(row, (top + y) * raster.width + left);
  }
}

/** The raster at another size, each pixel as the nearest one: `resize_ids` of the library, to the pixel. */
export function resized(raster, width, height) {
  const centre = (i, source, target) => Math.floor(((2 * i + 1) * source) / (2 * target));
  const columns = Array.from({ length: width }, (_, x) => centre(x, raster.width, width));
  const result = blank(width, height);
  for (let y = 0; y < height; y++) {
    const row = centre(y, raster.height, height) * raster.width;
    for (let x = 0; x < width; x++) result.codes[y * width + x] = raster.codes[row + columns[x]];
  }
  return result;
}

/**
 * Draw a line with a round brush, in place.
 *
 * @param from, to {x, y} in pixels, fractions included; both pixels are painted whatever the size.
 * @param size the brush's diameter in pixels.
 * @returns the box that was drawn in, null when the line misses the raster.
 */
export function drawLine(raster, from, to, size, code) {
  const radius = size / 2;
  const box = {
    left: Math.max(0, Math.floor(Math.min(from.x, to.x) - radius)),
    top: Math.max(0, Math.floor(Math.min(from.y, to.y) - radius)),
    right: Math.min(raster.width, Math.floor(Math.max(from.x, to.x) + radius) + 1),
    bottom: Math.min(raster.height, Math.floor(Math.max(from.y, to.y) + radius) + 1),
  };
  if (box.left >= box.right || box.top >= box.bottom) return null;
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const length = dx * dx + dy * dy;
  for (let y = box.top; y < box.bottom; y++) {
    for (let x = box.left; x < box.right; x++) {
      const [px, py] = [x + 0.5 - from.x, y + 0.5 - from.y];
      const along = length ? Math.min(1, Math.max(0, (px * dx + py * dy) / length)) : 0;
      const [ax, ay] = [px - along * dx, py - along * dy];
      // A brush of one pixel seldom meets a centre: the pixel that the line runs through counts as well.
      const through = Math.abs(ax) <= 0.5 && Math.abs(ay) <= 0.5;
      if (through || ax * ax + ay * ay <= radius * radius) raster.codes[y * raster.width + x] = code;
    }
  }
  return box;
}

/**
 * Give a code to the region of one class around a pixel, in place.
 *
 * @param seen a function from a place in `codes` to the class that is seen there; regions are joined by edges.
 * @returns the box around the region.
 */
export function fillRegion(raster, x, y, code, seen) {
  const { width, height, codes } = raster;
  const wanted = seen(y * width + x);
  const done = new Uint8Array(width * height);
  const box = { left: x, top: y, right: x + 1, bottom: y + 1 };
  const open = (at) => !done[at] && seen(at) === wanted;
  const stack = [y * width + x];
  while (stack.length) {
    const at = stack.pop();
    if (!open(at)) continue;
    const row = at - (at % width);
    let left = at;
    let right = at + 1;
    while (left > row && open(left - 1)) left--;
    while (right < row + width && open(right)) right++;
    const line = row / width;
    for (const other of [row - width, row + width]) {
      if (other < 0 || other >= width * height) continue;
      const offset = other - row;
      for (let i = left; i < right; i++) {
        const first = i === left || !open(i - 1 + offset);
        if (first && open(i + offset)) stack.push(i + offset);
      }
    }
    done.fill(1, left, right);
    const span = { left: left - row, top: line, right: right - row, bottom: line + 1 };
    Object.assign(box, union(box, span));
  }
  // Only now: `seen` looks at the codes.
  for (let i = 0; i < done.length; i++) if (done[i]) codes[i] = code;
  return box;
}
