/**
 * A painting: what the user painted, what lies underneath, and what was done. Without any DOM.
 *
 * `stored` is what the workflow keeps. `shown` is the same at the size that is asked for; it takes the other's place
 * once it is painted on, so that trying sizes loses nothing.
 */

import { History } from "./history.js";
import { NOT_PAINTED, blank, crop, drawLine, fillRegion, isBlank, paste } from "./raster.js";
import { resized, sameSize, union, wholeOf } from "./raster.js";

export class Painting {
  #history = new History();
  #size;
  #edit = null;

  /** @param onChange called with the box of `shown` that changed, null when its size or what is underneath did. */
  constructor(width, height, onChange = () => {}) {
    this.#size = { width, height };
    this.onChange = onChange;
    this.start = null;
    this.stored = blank(width, height);
    this.shown = this.stored;
  }

  get canUndo() {
    return this.#history.canUndo;
  }

  get canRedo() {
    return this.#history.canRedo;
  }

  get painting() {
    return this.#edit !== null;
  }

  /** Take what a workflow has kept, null for nothing; there is nothing to undo then. */
  restore(raster) {
    this.#history.clear();
    this.stored = raster ?? blank(this.#size.width, this.#size.height);
    this.#show(null);
  }

  /** Set the size that is shown while nothing lies underneath. */
  resize(width, height) {
    if (sameSize(this.#size, { width, height })) return;
    this.cancel();
    this.#size = { width, height };
    if (!this.start) this.#show(null);
  }

  /** Lay a raster underneath, which decides on the size; null takes it away. */
  setStart(raster) {
    this.cancel();
    this.start = raster;
    this.#show(null);
  }

  contains({ x, y }) {
    return x >= 0 && y >= 0 && x < this.shown.width && y < this.shown.height;
  }

  /** The code that is seen at a point: what is painted, else what lies underneath. */
  codeAt({ x, y }) {
    return this.#seen(Math.floor(y) * this.shown.width + Math.floor(x));
  }

  begin() {
    this.cancel();
    this.#edit = { codes: this.shown.codes.slice(), box: null };
  }

  /** Draw a line within a stroke that has begun. */
  line(from, to, size, code) {
    if (this.#edit) this.#touch(drawLine(this.shown, from, to, size, code));
  }

  /** End a stroke. @returns whether anything is other than before. */
  end() {
    if (!this.#edit) return false;
    const { codes, box } = this.#edit;
    this.#edit = null;
    if (!box) return false;
    const before = crop({ ...this.shown, codes }, box);
    const after = crop(this.shown, box);
    if (before.codes.every((code, i) => code === after.codes[i])) return false;
    if (this.stored === this.shown) {
      this.#history.push({ box, before, after });
    } else {
      this.#history.push({ box: null, before: this.stored, after: this.shown });
      this.stored = this.shown;
    }
    return true;
  }

  /** Take a stroke back that has begun. */
  cancel() {
    if (!this.#edit) return;
    const { codes, box } = this.#edit;
    this.#edit = null;
    this.shown.codes.set(codes);
    if (box) this.onChange(box);
  }

  /** Give a code to the region of one class around a point. @returns whether anything changed. */
  fill({ x, y }, code) {
    this.begin();
    const seen = (at) => this.#seen(at);
    this.#touch(fillRegion(this.shown, Math.floor(x), Math.floor(y), code, seen));
    return this.end();
  }

  /** Take all paint away. @returns whether there was any. */
  clear() {
    if (isBlank(this.shown)) return false;
    this.begin();
    this.shown.codes.fill(NOT_PAINTED);
    this.#touch(wholeOf(this.shown));
    return this.end();
  }

  /** Put another painting in place of this one, as a step that can be undone. */
  replace(raster) {
    this.cancel();
    this.#history.push({ box: null, before: this.stored, after: raster });
    this.stored = raster;
    this.#show(null);
  }

  undo() {
    this.cancel();
    return this.#step(this.#history.undo(), "before");
  }

  redo() {
    this.cancel();
    return this.#step(this.#history.redo(), "after");
  }

  #step(step, side) {
    if (!step) return false;
    if (step.box) paste(this.stored, step[side], step.box);
    else this.stored = step[side];
    this.#show(this.shown === this.stored ? step.box : null);
    return true;
  }

  #seen(at) {
    const code = this.shown.codes[at];
    return code === NOT_PAINTED && this.start ? this.start.codes[at] : code;
  }

  #show(box) {
    this.#edit = null;
    const { width, height } = this.start ?? this.#size;
    this.shown = sameSize(this.stored, { width, height }) ? this.stored : resized(this.stored, width, height);
    this.onChange(box);
  }

  #touch(box) {
    if (!box) return;
    this.#edit.box = union(this.#edit.box, box);
    this.onChange(box);
  }
}
