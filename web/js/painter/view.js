/** The painting on a canvas: zoomed, moved, with the brush's outline, sharp at any pixel ratio. */

import { wholeOf } from "./raster.js";

const MARGIN = 8;
const MOST_PIXELS = 8192;
const LARGEST_ZOOM = 64;
const SQUARE = 8;

export class View {
  #layers = { painting: document.createElement("canvas"), start: document.createElement("canvas") };
  #zoom = 1;
  #centre = { x: 0.5, y: 0.5 };
  #observer = new ResizeObserver(() => this.draw());
  #requested = 0;
  #pixels = new Uint32Array(0x10000);

  constructor(canvas, painting) {
    this.canvas = canvas;
    this.painting = painting;
    this.brush = null;
    painting.onChange = (box) => this.update(box);
    this.#observer.observe(canvas);
    this.update(null);
  }

  close() {
    this.#observer.disconnect();
    cancelAnimationFrame(this.#requested);
  }

  /** @param pixels see `Classes.pixels`. */
  setPixels(pixels) {
    this.#pixels = pixels;
    this.update(null);
  }

  /** Show the outline of a brush of `size` pixels at `point`; null takes it away. */
  setBrush(brush) {
    this.brush = brush;
    this.draw();
  }

  /** Bring the layers to the painting's state within a box, null for all of it. */
  update(box) {
    const { shown, start } = this.painting;
    if (!box) {
      this.#render(this.#layers.start, start, start && wholeOf(start));
      this.#render(this.#layers.painting, shown, wholeOf(shown));
    } else {
      this.#render(this.#layers.painting, shown, box);
    }
    this.draw();
  }

  #render(layer, raster, box) {
    if (!raster) return void (layer.width = 0);
    if (layer.width !== raster.width || layer.height !== raster.height) {
      layer.width = raster.width;
      layer.height = raster.height;
    }
    const [width, height] = [box.right - box.left, box.bottom - box.top];
    const image = new ImageData(width, height);
    const target = new Uint32Array(image.data.buffer);
    for (let y = 0; y < height; y++) {
      const from = (box.top + y) * raster.width + box.left;
      for (let x = 0; x < width; x++) target[y * width + x] = this.#pixels[raster.codes[from + x]];
    }
    layer.getContext("2d").putImageData(image, box.left, box.top);
  }

  /** Where the painting lies on the canvas, in CSS pixels of the canvas before the graph's own zoom. */
  #place() {
    const { width, height } = this.painting.shown;
    const [w, h] = [this.canvas.clientWidth, this.canvas.clientHeight];
    const fit = Math.max(0.001, Math.min((w - 2 * MARGIN) / width, (h - 2 * MARGIN) / height));
    const scale = fit * this.#zoom;
    return { scale, left: w / 2 - this.#centre.x * width * scale, top: h / 2 - this.#centre.y * height * scale };
  }

  /** CSS pixels on the screen for each of the canvas: the graph may be zoomed. */
  get #graphZoom() {
    return this.canvas.getBoundingClientRect().width / this.canvas.clientWidth || 1;
  }

  #onCanvas({ clientX, clientY }) {
    const box = this.canvas.getBoundingClientRect();
    return { x: (clientX - box.left) / this.#graphZoom, y: (clientY - box.top) / this.#graphZoom };
  }

  /** The point of the painting under a pointer, in its pixels, fractions included. */
  pointAt(event) {
    const at = this.#onCanvas(event);
    const { scale, left, top } = this.#place();
    return { x: (at.x - left) / scale, y: (at.y - top) / scale };
  }

  get zoomed() {
    return this.#zoom > 1;
  }

  /** Zoom by a factor; the point under `event` stays, the middle without one. */
  zoomBy(factor, event = null) {
    const { width, height } = this.painting.shown;
    const at = event ? this.#onCanvas(event) : { x: this.canvas.clientWidth / 2, y: this.canvas.clientHeight / 2 };
    const before = this.#place();
    this.#zoom = Math.min(LARGEST_ZOOM, Math.max(1, this.#zoom * factor));
    const ratio = 1 / before.scale - 1 / this.#place().scale;
    const middle = { x: this.canvas.clientWidth / 2, y: this.canvas.clientHeight / 2 };
    this.#moveTo(
      this.#centre.x + ((at.x - middle.x) * ratio) / width,
      this.#centre.y + ((at.y - middle.y) * ratio) / height,
    );
  }

  fit() {
    this.#zoom = 1;
    this.#moveTo(0.5, 0.5);
  }

  /** Move the painting along with a pointer, by pixels on the screen. */
  moveBy(dx, dy) {
    const { width, height } = this.painting.shown;
    const scale = this.#place().scale * this.#graphZoom;
    this.#moveTo(this.#centre.x - dx / scale / width, this.#centre.y - dy / scale / height);
  }

  #moveTo(x, y) {
    const within = (value) => (this.zoomed ? Math.min(1, Math.max(0, value)) : 0.5);
    this.#centre = { x: within(x), y: within(y) };
    this.draw();
  }

  draw() {
    this.#requested ||= requestAnimationFrame(() => {
      this.#requested = 0;
      this.#drawNow();
    });
  }

  #drawNow() {
    const { canvas } = this;
    const [w, h] = [canvas.clientWidth, canvas.clientHeight];
    if (!w || !h) return;
    const ratio = Math.min(devicePixelRatio * this.#graphZoom, MOST_PIXELS / Math.max(w, h));
    const [width, height] = [w, h].map((side) => Math.max(1, Math.round(side * ratio)));
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, w, h);
    this.#drawLayers(context, ratio);
    if (this.brush) this.#drawBrush(context);
  }

  #drawLayers(context, ratio) {
    const { scale, left, top } = this.#place();
    const { shown, start } = this.painting;
    const area = [left, top, shown.width * scale, shown.height * scale];
    context.fillStyle = checks(context);
    context.fillRect(...area);
    // Enlarged, pixels have edges; made smaller, thin things must not vanish.
    context.imageSmoothingEnabled = scale * ratio < 1;
    if (start) context.drawImage(this.#layers.start, ...area);
    context.drawImage(this.#layers.painting, ...area);
    context.strokeStyle = "rgba(128, 128, 128, 0.8)";
    context.lineWidth = 1;
    context.strokeRect(area[0] - 0.5, area[1] - 0.5, area[2] + 1, area[3] + 1);
  }

  #drawBrush(context) {
    const { scale, left, top } = this.#place();
    const { point, size } = this.brush;
    context.beginPath();
    context.arc(left + point.x * scale, top + point.y * scale, Math.max(1.5, (size * scale) / 2), 0, 2 * Math.PI);
    // Two rings, so that one of them is seen on any class.
    for (const [colour, width] of [["#000", 3], ["#fff", 1.25]]) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.stroke();
    }
  }
}

let tile = null;

/** What shows through where nothing is painted. */
function checks(context) {
  if (!tile) {
    tile = document.createElement("canvas");
    tile.width = tile.height = 2 * SQUARE;
    const paint = tile.getContext("2d");
    for (const [colour, x, y] of [["#5a5a5a", 0, 0], ["#6c6c6c", 1, 0], ["#6c6c6c", 0, 1], ["#5a5a5a", 1, 1]]) {
      paint.fillStyle = colour;
      paint.fillRect(x * SQUARE, y * SQUARE, SQUARE, SQUARE);
    }
  }
  return context.createPattern(tile, "repeat");
}
