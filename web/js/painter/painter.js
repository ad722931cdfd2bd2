/** The painter: bar, painting, legend and status in one element, and the value that a workflow keeps. */

import { Classes } from "./classes.js";
import { iconButton, make } from "./dom.js";
import { Legend } from "./legend.js";
import { Loading } from "./loading.js";
import { Painting } from "./painting.js";
import * as png from "./png.js";
import { isBlank } from "./raster.js";
import { LARGEST_BRUSH, TOOLS, Tools } from "./tools.js";
import { View } from "./view.js";

const FOREIGN = "Magenta: classes that this table does not have. Choose another palette, or paint over them.";

export class Painter {
  #canvas = make("canvas", { className: "am-painter-canvas" });
  #hint = make("span");
  #facts = make("span");
  #status = make("div", { className: "am-painter-status", role: "status" }, this.#hint, this.#facts);
  #size = make("input", { type: "range", min: 0, max: 100, title: "Size of the brush: [ and ]" });
  #sizeText = make("output");
  #message = "";
  #warning = "";
  #classes = null;
  #value = "";
  #stale = false;
  #loads = 0;

  /**
   * @param server see `Server`.
   * @param host `changed()`, called when the value changes; `resize(width, height)`, asked for by a loaded picture;
   *   `palette()`, the name of the chosen one; `forward(event)`, which hands an event to the graph.
   */
  constructor(server, host, width = 512, height = 512) {
    this.host = host;
    this.server = server;
    this.painting = new Painting(width, height);
    this.view = new View(this.#canvas, this.painting);
    this.legend = new Legend((code) => this.tools.pick(code));
    this.loading = new Loading(server, (name, unknown) => this.#load(name, unknown), (error) => this.say(error));
    const stage = make("div", { className: "am-painter-stage" }, this.#canvas, this.loading.element);
    const main = make("div", { className: "am-painter-main" }, stage, this.legend.element);
    this.element = make("div", { className: "am-painter", tabIndex: 0, "aria-label": "Semantic Painter" }, main);
    // ComfyUI leaves the wheel to such an element while that has the focus.
    this.element.dataset.captureWheel = "true";
    this.tools = new Tools(this.element, this.view, {
      changed: () => this.#changed(),
      state: () => this.#showState(),
      hover: (point) => this.#hover(point),
      forward: (event) => host.forward(event),
    });
    this.element.prepend(this.#bar());
    this.element.append(this.#status);
    this.#showState();
  }

  close() {
    this.view.close();
  }

  /** What the workflow keeps; "" when nothing is painted. */
  get value() {
    if (this.#stale) {
      this.#value = isBlank(this.painting.stored) ? "" : png.write(this.painting.stored);
      this.#stale = false;
    }
    return this.#value;
  }

  set value(text) {
    if (text === this.value) return;
    // Until it is read, and if it cannot be, the workflow keeps what it had.
    this.#value = text;
    this.#stale = false;
    this.ready = this.#restore(text);
  }

  async #restore(text) {
    const load = ++this.#loads;
    this.painting.restore(null);
    try {
      const raster = text ? await png.read(text) : null;
      if (load === this.#loads) this.painting.restore(raster);
      this.say("");
      this.#check();
    } catch (error) {
      this.say(new Error(`What the workflow holds is no painting: ${error.message}. Painting replaces it.`));
    }
    this.#showState();
  }

  setTable(table) {
    this.#classes = new Classes(table);
    this.view.setPixels(this.#classes.pixels());
    this.legend.setClasses(this.#classes);
    if (!this.#classes.byCode.has(this.tools.code)) this.tools.code = this.#classes.entries[0]?.code ?? null;
    this.#check();
    this.#showState();
  }

  setSize(width, height) {
    this.painting.resize(width, height);
    this.#showState();
  }

  /** Lay a label map underneath, given as a painting; null takes it away. */
  async setStart(text) {
    const load = (this.starting = text);
    const raster = text ? await png.read(text) : null;
    if (load !== this.starting) return;
    this.painting.setStart(raster);
    this.#showState();
  }

  /** Show a message, or an Error as one; "" takes it away. */
  say(message) {
    const failed = message instanceof Error;
    this.#message = failed ? message.message : message;
    this.#status.classList.toggle("am-painter-error", failed);
    this.#hover(null);
  }

  async #load(name, unknown) {
    try {
      this.say(`Loading ${name} …`);
      const raster = await png.read(await this.server.labelPicture(name, this.host.palette(), unknown));
      this.painting.replace(raster);
      this.host.resize(raster.width, raster.height);
      this.say("");
      this.#changed();
    } catch (error) {
      this.say(error);
    }
  }

  #changed() {
    this.#stale = true;
    // A new painting overtakes one that is still being read.
    this.#loads++;
    if (this.#status.classList.contains("am-painter-error")) this.say("");
    if (this.#warning) this.#check();
    this.#showState();
    this.host.changed();
  }

  #hover(point) {
    const failed = this.#status.classList.contains("am-painter-error");
    let text = this.#message || this.#warning;
    if (point && this.#classes && !failed) {
      text = `${this.#classes.nameOf(this.painting.codeAt(point))} at ${Math.floor(point.x)}, ${Math.floor(point.y)}`;
    }
    this.#hint.textContent = this.#hint.title = text;
  }

  /** Look for classes that the table does not have, since running the workflow would fail on them. */
  #check() {
    const foreign = this.#classes && this.painting.stored.codes.some((code) => this.#classes.isForeign(code));
    this.#warning = foreign ? FOREIGN : "";
    this.#hover(null);
  }

  #bar() {
    const button = ({ name, title, key }) => iconButton(name, `${title} (${key})`, () => this.tools.choose(name));
    const buttons = TOOLS.map(button);
    const actions = {
      undo: iconButton("undo", "Undo (Ctrl+Z)", () => this.tools.undo()),
      redo: iconButton("redo", "Redo (Ctrl+Shift+Z)", () => this.tools.redo()),
      clear: iconButton("clear", "Clear: take all paint away", () => this.tools.clear()),
      load: iconButton("load", "Load a label map to start from", () => this.loading.open()),
      fit: iconButton("fit", "Show all (0); + and - and the wheel zoom", () => this.view.fit()),
    };
    this.buttons = { ...Object.fromEntries(TOOLS.map(({ name }, i) => [name, buttons[i]])), ...actions };
    // Small brushes need finer steps than large ones.
    this.#size.oninput = () => this.tools.setSize(LARGEST_BRUSH ** (this.#size.value / 100));
    const size = make("label", { className: "am-painter-size" }, this.#size, this.#sizeText);
    const gap = () => make("span", { className: "am-painter-gap" });
    const { undo, redo, clear, load, fit } = actions;
    return make("div", { className: "am-painter-bar" }, ...buttons, gap(), size, gap(), undo, redo, clear, load, fit);
  }

  #showState() {
    if (!this.tools) return;
    const { name, size, code } = this.tools;
    for (const tool of TOOLS) this.buttons[tool.name].setAttribute("aria-pressed", String(tool.name === name));
    this.buttons.undo.disabled = !this.painting.canUndo;
    this.buttons.redo.disabled = !this.painting.canRedo;
    this.#size.value = (100 * Math.log(size)) / Math.log(LARGEST_BRUSH);
    this.#sizeText.textContent = `${size} px`;
    this.legend.mark(code);
    const { width, height } = this.painting.shown;
    this.#facts.textContent = `${this.#classes?.nameOf(code) ?? ""} · ${width} × ${height}`;
  }
}
