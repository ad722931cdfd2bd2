/** The page of the painter on which a picture is chosen to start from. */

import { make } from "./dom.js";

const MOST_LISTED = 200;

export class Loading {
  #list = make("div", { className: "am-painter-list" });
  #filter = make("input", { type: "search", placeholder: "Find a picture of the input folder" });
  #nearest = make("input", { type: "checkbox" });
  #file = make("input", { type: "file", accept: "image/png,image/*", hidden: true });
  #names = [];

  /**
   * @param server see `Server`.
   * @param onChoose called with a picture's name and what to do with unknown colours.
   * @param onError called with an Error.
   */
  constructor(server, onChoose, onError) {
    const choose = (name) => {
      this.element.hidden = true;
      onChoose(name, this.#nearest.checked ? "nearest" : "error");
    };
    const nearest = "Colours that the palette does not have become the class with the nearest colour";
    const bar = make(
      "div",
      { className: "am-painter-bar" },
      make("button", { type: "button", textContent: "From this computer…", onclick: () => this.#file.click() }),
      make("button", { type: "button", textContent: "Cancel", onclick: () => (this.element.hidden = true) }),
      make("label", { title: nearest }, this.#nearest, "nearest colours"),
    );
    const parts = [this.#filter, this.#list, bar, this.#file];
    this.element = make("div", { className: "am-painter-load", hidden: true }, ...parts);
    this.element.onkeydown = (event) => {
      if (event.key === "Escape") this.element.hidden = true;
    };
    this.#filter.oninput = () => this.#show();
    this.#list.onclick = (event) => {
      const button = event.target.closest("button");
      if (button) choose(button.title);
    };
    this.#list.addEventListener("wheel", (event) => event.stopPropagation());
    this.#file.onchange = () => {
      const [file] = this.#file.files;
      this.#file.value = "";
      if (file) server.upload(file).then(choose, onError);
    };
    this.open = async () => {
      this.element.hidden = false;
      this.#filter.value = "";
      this.#filter.focus();
      this.#names = await server.pictures().catch((error) => (onError(error), []));
      this.#show();
    };
  }

  #show() {
    const wanted = this.#filter.value.trim().toLowerCase();
    const names = this.#names.filter((name) => name.toLowerCase().includes(wanted)).slice(0, MOST_LISTED);
    const entry = (name) => make("button", { type: "button", title: name }, make("span", { textContent: name }));
    this.#list.replaceChildren(...names.map(entry));
  }
}
