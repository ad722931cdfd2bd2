/** Tables of classes as the painter uses them: entries to pick from, and the colours and names of codes. */

import { NOT_PAINTED, UNLABELLED } from "./raster.js";

const MAGENTA = [255, 0, 255];
const BLACK = [0, 0, 0];

export class Classes {
  #unlabelled;

  /** @param table a palette as JSON, see amadapter_core/palettes. */
  constructor(table) {
    this.title = table.title || table.name;
    this.entries = table.classes
      .filter(({ id }) => id >= 0 && id < UNLABELLED)
      .map(({ id, name, colour }) => ({ code: id, name, colour }));
    const isClass = table.classes.some(({ id }) => id === table.ignore);
    if (table.ignore !== null && !isClass) {
      this.entries.push({ code: UNLABELLED, name: "unlabelled", colour: table.ignore_colour ?? BLACK });
    }
    this.byCode = new Map(this.entries.map((entry) => [entry.code, entry]));
    this.#unlabelled = table.ignore_colour ?? BLACK;
  }

  /** Whether a code is the id of a class that this table does not have. */
  isForeign(code) {
    return code < UNLABELLED && !this.byCode.has(code);
  }

  nameOf(code) {
    if (code === NOT_PAINTED) return "not painted";
    if (code === UNLABELLED) return "unlabelled";
    return this.byCode.get(code)?.name ?? `id ${code}, which this table does not have`;
  }

  /** The pixel of each code as a canvas holds it: opaque, but for NOT_PAINTED. Ids without a class are magenta. */
  pixels() {
    const bytes = new Uint8ClampedArray(4 * 0x10000);
    const table = new Uint32Array(bytes.buffer);
    const set = (code, colour) => bytes.set([...colour, 255], 4 * code);
    set(0, MAGENTA);
    table.fill(table[0]);
    for (const { code, colour } of this.entries) set(code, colour);
    set(UNLABELLED, this.#unlabelled);
    table[NOT_PAINTED] = 0;
    return table;
  }
}
