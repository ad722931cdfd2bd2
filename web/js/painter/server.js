/** What the painter asks the server for. */

export class Server {
  #fetch;

  /** @param fetchApi ComfyUI's `api.fetchApi`. */
  constructor(fetchApi) {
    this.#fetch = fetchApi;
  }

  /** The table of classes of a palette. */
  palette(name) {
    return this.#ask("palette", { name });
  }

  /** Names of the pictures in the input folder. */
  pictures() {
    return this.#ask("pictures");
  }

  /** A picture of the input folder as a painting. */
  labelPicture(image, palette, unknown) {
    return this.#ask("label_picture", { image, palette, unknown });
  }

  /** Put a file into the input folder. @returns its name there. */
  async upload(file) {
    const body = new FormData();
    body.append("image", file);
    const answer = await this.#fetch("/upload/image", { method: "POST", body });
    if (!answer.ok) throw new Error(`${file.name} was not uploaded: ${answer.status} ${answer.statusText}`);
    const { name, subfolder } = await answer.json();
    return subfolder ? `${subfolder}/${name}` : name;
  }

  async #ask(what, query = {}) {
    const answer = await this.#fetch(`/am_adapter/${what}?${new URLSearchParams(query)}`);
    const content = await answer.json().catch(() => null);
    if (!answer.ok) throw new Error(content?.error ?? `the server answered ${answer.status} ${answer.statusText}`);
    return content;
  }
}
