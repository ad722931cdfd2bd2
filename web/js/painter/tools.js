/** Pointer and keys on the painting. What happens here stays here: the graph behind must not notice. */

import { NOT_PAINTED } from "./raster.js";

export const TOOLS = [
  { name: "brush", title: "Brush", key: "B" },
  { name: "eraser", title: "Eraser: what lies underneath shows again", key: "E" },
  { name: "fill", title: "Fill the region of one class", key: "F" },
  { name: "picker", title: "Eyedropper: take the class under the pointer; so does the right button", key: "I" },
];
export const LARGEST_BRUSH = 512;
const [LEFT, MIDDLE, RIGHT] = [0, 1, 2];
const ZOOM_STEP = 1.25;
// ComfyUI keeps count of those that are held.
const MODIFIERS = ["Alt", "Control", "Meta", "Shift"];

export class Tools {
  #view;
  #painting;
  #host;
  #drag = null;
  #space = false;

  /**
   * @param host what belongs to the node: `changed()` after each step, `state()` after a choice, `hover(point)`, and
   *   `forward(event)`, which hands an event to the graph.
   */
  constructor(root, view, host) {
    this.name = "brush";
    this.size = 24;
    this.code = null;
    this.#view = view;
    this.#painting = view.painting;
    this.#host = host;
    this.#listenToPointer(view.canvas);
    root.addEventListener("keydown", (event) => this.#onKey(event));
    root.addEventListener("keyup", (event) => this.#onKeyUp(event));
    root.addEventListener("blur", () => (this.#space = false));
  }

  choose(name) {
    this.name = name;
    this.#host.state();
  }

  setSize(size) {
    this.size = Math.min(LARGEST_BRUSH, Math.max(1, Math.round(size)));
    if (this.#view.brush) this.#view.setBrush({ ...this.#view.brush, size: this.size });
    this.#host.state();
  }

  /** Pick a class; the eraser and the eyedropper give way to the brush. */
  pick(code) {
    this.code = code;
    if (this.name === "eraser" || this.name === "picker") this.name = "brush";
    this.#host.state();
  }

  undo() {
    this.#onCancel();
    if (this.#painting.undo()) this.#host.changed();
  }

  redo() {
    this.#onCancel();
    if (this.#painting.redo()) this.#host.changed();
  }

  clear() {
    this.#onCancel();
    this.#painting.clear();
    // Even without paint: the workflow may hold something that could not be read.
    this.#host.changed();
  }

  #listenToPointer(canvas) {
    const handlers = {
      pointerdown: (event) => this.#onDown(event),
      pointermove: (event) => this.#onMove(event),
      pointerup: (event) => this.#onUp(event),
      pointercancel: () => this.#onCancel(),
      pointerleave: () => this.#onLeave(),
    };
    for (const [kind, handler] of Object.entries(handlers)) {
      canvas.addEventListener(kind, (event) => {
        event.stopPropagation();
        handler(event);
      });
    }
    canvas.addEventListener("wheel", (event) => this.#onWheel(event), { passive: false });
    canvas.addEventListener("contextmenu", (event) => {
      event.preventDefault();
      event.stopPropagation();
    });
  }

  #onDown(event) {
    if (this.#drag) return;
    const point = this.#view.pointAt(event);
    if (event.button === MIDDLE && !this.#view.zoomed) return this.#begin(event, { kind: "graph" });
    if (event.button === MIDDLE || (event.button === LEFT && this.#space)) return this.#begin(event, { kind: "move" });
    if (event.button === RIGHT || (event.button === LEFT && (event.altKey || this.name === "picker"))) {
      return this.#take(point);
    }
    if (event.button !== LEFT) return;
    const code = this.name === "eraser" ? NOT_PAINTED : this.code;
    if (code === null) return;
    if (this.name !== "fill") {
      this.#begin(event, { kind: "stroke", last: point, code });
      this.#painting.begin();
      this.#painting.line(point, point, this.size, code);
    } else if (this.#painting.contains(point) && this.#painting.fill(point, code)) {
      this.#host.changed();
    }
  }

  #begin(event, drag) {
    this.#drag = { ...drag, pointer: event.pointerId, x: event.clientX, y: event.clientY };
    this.#view.canvas.setPointerCapture(event.pointerId);
    if (drag.kind === "graph") this.#host.forward(event);
  }

  #take(point) {
    const code = this.#painting.contains(point) ? this.#painting.codeAt(point) : NOT_PAINTED;
    if (code !== NOT_PAINTED) this.pick(code);
  }

  #onMove(event) {
    const point = this.#view.pointAt(event);
    const brush = this.name === "brush" || this.name === "eraser";
    this.#view.setBrush(brush ? { point, size: this.size } : null);
    this.#host.hover(this.#painting.contains(point) ? point : null);
    if (this.#drag?.pointer !== event.pointerId) return;
    if (this.#drag.kind === "graph") this.#host.forward(event);
    if (this.#drag.kind === "move") this.#move(event);
    if (this.#drag.kind === "stroke") this.#draw(event);
  }

  #move({ clientX, clientY }) {
    this.#view.moveBy(clientX - this.#drag.x, clientY - this.#drag.y);
    Object.assign(this.#drag, { x: clientX, y: clientY });
  }

  #draw(event) {
    // Several positions between two frames come as one event.
    const passed = event.getCoalescedEvents?.() ?? [];
    for (const one of passed.length ? passed : [event]) {
      const point = this.#view.pointAt(one);
      this.#painting.line(this.#drag.last, point, this.size, this.#drag.code);
      this.#drag.last = point;
    }
  }

  #onUp(event) {
    if (this.#drag?.pointer !== event.pointerId) return;
    const { kind } = this.#drag;
    this.#drag = null;
    if (kind === "graph") this.#host.forward(event);
    if (kind === "stroke" && this.#painting.end()) this.#host.changed();
  }

  #onCancel() {
    this.#drag = null;
    this.#painting.cancel();
  }

  #onLeave() {
    if (this.#drag) return;
    this.#view.setBrush(null);
    this.#host.hover(null);
  }

  /** The wheel zooms the painting while the painter has the focus, and the graph as anywhere else without it. */
  #onWheel(event) {
    event.preventDefault();
    event.stopPropagation();
    const focused = this.#view.canvas.closest("[tabindex]")?.contains(document.activeElement);
    if (focused) this.#view.zoomBy(ZOOM_STEP ** -Math.sign(event.deltaY), event);
    else this.#host.forward(event);
  }

  #onKey(event) {
    const command = event.ctrlKey || event.metaKey;
    const typing = event.target instanceof HTMLInputElement && event.target.type !== "range";
    // Combinations that are not ours, such as the one that queues, are the graph's; single keys never are.
    if (!command && !MODIFIERS.includes(event.key)) event.stopPropagation();
    // A button takes the space bar for a click.
    if (typing || (event.key === " " && event.target instanceof HTMLButtonElement)) return;
    const key = event.key.toLowerCase();
    const action = command ? this.#combination(key, event.shiftKey) : this.#single(key);
    if (!action) return;
    event.preventDefault();
    event.stopPropagation();
    if (command) hideFromUndo(event);
    action();
  }

  #combination(key, shift) {
    if (key === "z") return () => (shift ? this.redo() : this.undo());
    return key === "y" ? () => this.redo() : null;
  }

  #single(key) {
    const tool = TOOLS.find((one) => one.key.toLowerCase() === key);
    if (tool) return () => this.choose(tool.name);
    const actions = {
      "[": () => this.setSize(Math.min(this.size - 1, this.size / 1.25)),
      "]": () => this.setSize(Math.max(this.size + 1, this.size * 1.25)),
      "+": () => this.#view.zoomBy(ZOOM_STEP),
      "=": () => this.#view.zoomBy(ZOOM_STEP),
      "-": () => this.#view.zoomBy(1 / ZOOM_STEP),
      0: () => this.#view.fit(),
      " ": () => (this.#space = true),
      escape: () => this.#onCancel(),
    };
    return actions[key] ?? null;
  }

  #onKeyUp(event) {
    if (event.key === " ") this.#space = false;
    if (!MODIFIERS.includes(event.key)) event.stopPropagation();
  }
}

/** ComfyUI's undo sees every key before any element does, and reads it a frame later: as a letter alone, then. */
function hideFromUndo(event) {
  for (const modifier of ["ctrlKey", "metaKey"]) Object.defineProperty(event, modifier, { value: false });
}
