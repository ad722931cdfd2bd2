/**
 * What was done to a raster, to undo and redo it.
 *
 * A step is `{box, before, after}` with the pieces in the box; or, with `box` null, two whole rasters of which one
 * takes the other's place.
 */

const MAX_BYTES = 1 << 27;

export class History {
  #done = [];
  #undone = [];

  get canUndo() {
    return this.#done.length > 0;
  }

  get canRedo() {
    return this.#undone.length > 0;
  }

  /** Add a step; the oldest ones go when all together are too large. */
  push(step) {
    this.#undone = [];
    this.#done.push(step);
    let bytes = 0;
    const first = this.#done.findLastIndex((one) => (bytes += sizeOf(one)) > MAX_BYTES);
    // The newest stays, however large.
    this.#done.splice(0, Math.min(first + 1, this.#done.length - 1));
  }

  /** The step to take back, or undefined. */
  undo() {
    return move(this.#done, this.#undone);
  }

  /** The step to take again, or undefined. */
  redo() {
    return move(this.#undone, this.#done);
  }

  clear() {
    this.#done = [];
    this.#undone = [];
  }
}

function move(from, to) {
  const step = from.pop();
  if (step) to.push(step);
  return step;
}

function sizeOf({ before, after }) {
  return before.codes.byteLength + after.codes.byteLength;
}
