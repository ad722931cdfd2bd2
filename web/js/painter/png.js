/**
 * Rasters as text: 16-bit grey PNG as data URL, the form that amadapter_core/painting.py reads and writes.
 *
 * A canvas could not do it: its pixels have 8 bits, and browsers that guard against fingerprinting alter them.
 * Writing is synchronous, since ComfyUI asks for a widget's value at any time and does not wait.
 */

import { MAX_SIDE } from "./raster.js";

const PREFIX = "data:image/png;base64,";
const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const UP = 2;

/** @returns the text of a raster. */
export function write({ width, height, codes }) {
  const stride = 1 + 2 * width;
  const rows = new Uint8Array(stride * height);
  for (let y = 0; y < height; y++) {
    let to = y * stride;
    rows[to++] = UP;
    for (let at = y * width; at < (y + 1) * width; at++) {
      const above = y ? codes[at - width] : 0;
      rows[to++] = (codes[at] >> 8) - (above >> 8);
      rows[to++] = codes[at] - above;
    }
  }
  const header = [...bytesOf(width), ...bytesOf(height), 16, 0, 0, 0, 0];
  const parts = [SIGNATURE, chunk("IHDR", header), chunk("IDAT", deflate(rows)), chunk("IEND", [])];
  return PREFIX + toBase64(joined(parts));
}

/**
 * Read a raster.
 *
 * @throws Error when the text is no painting.
 */
export async function read(text) {
  if (!text.startsWith(PREFIX)) throw new Error("it is no PNG data URL");
  const bytes = fromBase64(text.slice(PREFIX.length));
  const view = new DataView(bytes.buffer);
  if (bytes.length < 33 || SIGNATURE.some((value, i) => bytes[i] !== value)) throw new Error("it is no PNG");
  const [width, height] = [view.getUint32(16), view.getUint32(20)];
  const form = [...bytes.subarray(24, 29)].join();
  if (form !== "16,0,0,0,0") throw new Error("it is no 16-bit grey picture");
  if (!(width >= 1 && height >= 1 && width <= MAX_SIDE && height <= MAX_SIDE)) {
    throw new Error(`it is ${width} x ${height} pixels, expected 1 to ${MAX_SIDE} a side`);
  }
  const data = [];
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (kind === "IDAT") data.push(bytes.subarray(at + 8, at + 8 + length));
    at += 12 + length;
  }
  const rows = await inflate(joined(data), height * (1 + 2 * width));
  return { width, height, codes: unfiltered(rows, width, height) };
}

/** Undo PNG's five filters, in place, and return the 16-bit values. */
function unfiltered(rows, width, height) {
  const stride = 1 + 2 * width;
  const codes = new Uint16Array(width * height);
  for (let y = 0; y < height; y++) {
    const row = y * stride + 1;
    const filter = rows[row - 1];
    for (let i = 0; i < 2 * width; i++) {
      const left = i >= 2 ? rows[row + i - 2] : 0;
      const up = y ? rows[row + i - stride] : 0;
      const corner = y && i >= 2 ? rows[row + i - stride - 2] : 0;
      rows[row + i] += predicted(filter, left, up, corner);
      if (i % 2) codes[y * width + (i - 1) / 2] = (rows[row + i - 1] << 8) | rows[row + i];
    }
  }
  return codes;
}

function predicted(filter, left, up, corner) {
  if (filter === 0) return 0;
  if (filter === 1) return left;
  if (filter === UP) return up;
  if (filter === 3) return (left + up) >> 1;
  if (filter !== 4) throw new Error(`it has an unknown filter ${filter}`);
  const [toLeft, toUp, toCorner] = [up - corner, left - corner, left + up - 2 * corner].map(Math.abs);
  if (toLeft <= toUp && toLeft <= toCorner) return left;
  return toUp <= toCorner ? up : corner;
}

async function inflate(data, expected) {
  const result = new Uint8Array(expected);
  let length = 0;
  const reader = new Blob([data]).stream().pipeThrough(new DecompressionStream("deflate")).getReader();
  for (;;) {
    const { done, value } = await reader.read().catch(() => {
      throw new Error("its data are damaged or not complete");
    });
    if (done) break;
    if (length + value.length > expected) throw new Error("it holds more than its size says");
    result.set(value, length);
    length += value.length;
  }
  if (length < expected) throw new Error("it holds less than its size says");
  return result;
}

// Repeats of the last two bytes, which is one pixel, are all that maps of classes need after the filter.
const DISTANCE = 2;
const LONGEST = 258;
const SHORTEST = 3;

/** Compress in zlib's form, with the fixed Huffman codes of deflate (RFC 1951, 3.2.6). */
function deflate(bytes) {
  const out = new BitWriter(bytes.length + (bytes.length >> 3) + 64);
  out.bits(0x0178, 16);
  out.bits(0b011, 3); // the last block, with fixed codes
  for (let at = 0; at < bytes.length; ) {
    const most = at < DISTANCE ? 0 : Math.min(LONGEST, bytes.length - at);
    let length = 0;
    while (length < most && bytes[at + length] === bytes[at + length - DISTANCE]) length++;
    if (length < SHORTEST) {
      out.symbol(bytes[at++]);
      continue;
    }
    writeLength(out, length);
    out.code(DISTANCE - 1, 5);
    at += length;
  }
  out.symbol(256);
  out.flush();
  for (const byte of bytesOf(adler32(bytes))) out.bits(byte, 8);
  return out.written();
}

function writeLength(out, length) {
  if (length === LONGEST) return out.symbol(285);
  const offset = length - SHORTEST;
  const extra = offset < 8 ? 0 : 29 - Math.clz32(offset);
  out.symbol(257 + 4 * extra + (offset >> extra));
  out.bits(offset & ((1 << extra) - 1), extra);
}

/** Bits in deflate's order, the lowest first. */
class BitWriter {
  #bytes;
  #length = 0;
  #hold = 0;
  #held = 0;

  constructor(capacity) {
    this.#bytes = new Uint8Array(capacity);
  }

  bits(value, count) {
    this.#hold |= value << this.#held;
    this.#held += count;
    while (this.#held >= 8) {
      this.#bytes[this.#length++] = this.#hold;
      this.#hold >>>= 8;
      this.#held -= 8;
    }
  }

  /** A Huffman code, the highest bit first. */
  code(value, count) {
    let reversed = 0;
    for (let i = 0; i < count; i++) reversed |= ((value >> i) & 1) << (count - 1 - i);
    this.bits(reversed, count);
  }

  /** A literal, a length or the end, in the fixed codes. */
  symbol(value) {
    if (value < 144) this.code(0x30 + value, 8);
    else if (value < 256) this.code(0x190 + value - 144, 9);
    else if (value < 280) this.code(value - 256, 7);
    else this.code(0xc0 + value - 280, 8);
  }

  flush() {
    if (this.#held) this.bits(0, 8 - this.#held);
  }

  written() {
    return this.#bytes.subarray(0, this.#length);
  }
}

function adler32(bytes) {
  let [a, b] = [1, 0];
  for (let at = 0; at < bytes.length; ) {
    // As many as can be added before 32 bits overflow.
    for (const end = Math.min(at + 3800, bytes.length); at < end; at++) {
      a += bytes[at];
      b += a;
    }
    a %= 65521;
    b %= 65521;
  }
  return b * 65536 + a;
}

const CRC = Uint32Array.from({ length: 256 }, (_, value) => {
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

function chunk(kind, data) {
  const body = joined([[...kind].map((letter) => letter.charCodeAt(0)), data]);
  const crc = body.reduce((value, byte) => (value >>> 8) ^ CRC[(value ^ byte) & 0xff], 0xffffffff);
  return joined([bytesOf(data.length), body, bytesOf(~crc)]);
}

function bytesOf(number) {
  return [24, 16, 8, 0].map((shift) => (number >>> shift) & 0xff);
}

function joined(parts) {
  const result = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    result.set(part, at);
    at += part.length;
  }
  return result;
}

function toBase64(bytes) {
  let text = "";
  // One call takes as many arguments as the stack holds.
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
}

function fromBase64(text) {
  let letters;
  try {
    letters = atob(text);
  } catch {
    throw new Error("it is no base64 text");
  }
  return Uint8Array.from(letters, (letter) => letter.charCodeAt(0));
}
