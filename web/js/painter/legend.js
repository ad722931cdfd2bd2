/** The palette as a list of classes to pick from. */

import { make } from "./dom.js";

export class Legend {
  #list = make("div", { className: "am-painter-list", role: "radiogroup", "aria-label": "Classes" });
  #filter = make("input", { type: "search", placeholder: "Find a class", "aria-label": "Find a class" });
  #buttons = new Map();
  #marked = null;

  /** @param onPick called with the code of a class. */
  constructor(onPick) {
    this.element = make("div", { className: "am-painter-legend" }, this.#filter, this.#list);
    this.#filter.oninput = () => this.#sift();
    this.#filter.onkeydown = (event) => {
      const first = [...this.#buttons.values()].find((button) => !button.hidden);
      if (event.key === "Enter") first?.click();
    };
    this.#list.onclick = (event) => {
      const button = event.target.closest("button");
      if (button) onPick(Number(button.dataset.code));
    };
    // The list scrolls; the graph is not to zoom meanwhile.
    this.#list.addEventListener("wheel", (event) => event.stopPropagation());
  }

  setClasses(classes) {
    this.#buttons.clear();
    this.#marked = null;
    for (const { code, name, colour } of classes.entries) {
      const swatch = make("span", { className: "am-painter-swatch" });
      swatch.style.background = `rgb(${colour.join()})`;
      const title = `${name} (${code})`;
      const label = make("span", { textContent: name });
      const button = make("button", { type: "button", title, role: "radio", "aria-checked": "false" }, swatch, label);
      button.dataset.code = code;
      this.#buttons.set(code, button);
    }
    this.#list.replaceChildren(...this.#buttons.values());
    this.#sift();
  }

  /** Mark the class that is chosen; one that was chosen elsewhere comes into view. */
  mark(chosen) {
    if (chosen === this.#marked) return;
    this.#buttons.get(this.#marked)?.setAttribute("aria-checked", "false");
    this.#marked = chosen;
    const button = this.#buttons.get(chosen);
    button?.setAttribute("aria-checked", "true");
    if (button) this.#reveal(button);
  }

  // `scrollIntoView` would move the graph as well.
  #reveal({ offsetTop, offsetHeight }) {
    const list = this.#list;
    const top = offsetTop - list.offsetTop;
    if (top < list.scrollTop) list.scrollTop = top;
    const bottom = top + offsetHeight - list.clientHeight;
    if (bottom > list.scrollTop) list.scrollTop = bottom;
  }

  #sift() {
    const wanted = this.#filter.value.trim().toLowerCase();
    for (const button of this.#buttons.values()) {
      button.hidden = !button.title.toLowerCase().includes(wanted);
    }
  }
}
