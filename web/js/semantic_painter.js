/** Registers the Semantic Painter's widget with ComfyUI. All .js files below are loaded as well; they only define. */

import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";
import { Server } from "./painter/server.js";
import { addPainter } from "./painter/widget.js";

const WIDGET = "AM_ADAPTER_PAINTING";
const FORWARDED = {
  pointerdown: "processMouseDown",
  pointermove: "processMouseMove",
  pointerup: "processMouseUp",
  wheel: "processMouseWheel",
};

const graph = {
  /** Have ComfyUI look for changes: for its undo, its mark of unsaved workflows and its drafts. */
  changed() {
    app.canvas?.emitBeforeChange?.();
    app.canvas?.emitAfterChange?.();
  },
  forward(event) {
    app.canvas?.[FORWARDED[event.type]]?.(event);
  },
};

app.registerExtension({
  name: "AMAdapter.SemanticPainter",
  init() {
    const href = new URL("./painter/painter.css", import.meta.url).href;
    document.head.append(Object.assign(document.createElement("link"), { rel: "stylesheet", href }));
  },
  getCustomWidgets() {
    const server = new Server((route, options) => api.fetchApi(route, options));
    return {
      [WIDGET]: (node, name) => ({ widget: addPainter(node, name, server, graph), minWidth: 560, minHeight: 640 }),
    };
  },
});
