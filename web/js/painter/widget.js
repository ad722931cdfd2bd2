/** The painter as a widget of a node: it follows the node's palette, size and connected label map. */

import { Painter } from "./painter.js";

const LABELS = "labels";
const INPUT = 1; // LiteGraph's kind of slot
const RUN_FIRST = "Run the workflow once to see the label map that is connected.";

/**
 * @param graph `changed()`, after each step; `forward(event)`, which hands an event to the graph.
 * @returns the widget.
 */
export function addPainter(node, name, server, graph) {
  const widgetOf = (wanted) => node.widgets.find((widget) => widget.name === wanted);
  const painter = new Painter(server, {
    changed: () => graph.changed(),
    forward: (event) => graph.forward(event),
    palette: () => widgetOf("palette").value,
    resize: (width, height) => {
      if (connected) return;
      widgetOf("width").value = width;
      widgetOf("height").value = height;
      node.setDirtyCanvas?.(true);
      follow();
    },
  });

  let shown = null;
  let connected = null;

  /** Bring the painter to the node's state, which may change without a word: by loading, undo or a script. */
  function follow() {
    painter.setSize(widgetOf("width").value, widgetOf("height").value);
    const linked = node.inputs?.some((input) => input.name === LABELS && input.link != null) ?? false;
    if (linked !== connected) {
      connected = linked;
      if (!linked) painter.setStart(null);
      painter.say(linked ? RUN_FIRST : "");
      shown = null;
    }
    const palette = widgetOf("palette").value;
    if (palette === shown) return;
    shown = palette;
    server.palette(palette).then(
      (table) => palette === shown && painter.setTable(table),
      (error) => painter.say(error),
    );
  }

  function showStart({ start, table }) {
    if (!start?.length || !connected) return;
    shown = widgetOf("palette").value;
    painter.setTable(table[0]);
    painter.setStart(start[0]).then(
      () => painter.say(""),
      (error) => painter.say(error),
    );
  }

  const widget = node.addDOMWidget(name, "am_adapter_painting", painter.element, {
    getValue: () => painter.value,
    setValue: (text) => {
      painter.value = String(text ?? "");
    },
    getMinHeight: () => 440,
    hideOnZoom: false,
  });
  for (const followed of ["palette", "width", "height"].map(widgetOf)) after(followed, "callback", follow);
  after(node, "onConfigure", follow);
  after(node, "onConnectionsChange", (kind) => kind === INPUT && follow());
  after(node, "onExecuted", showStart);
  after(node, "onRemoved", () => painter.close());
  painter.element.addEventListener("pointerenter", follow);
  follow();
  widget.painter = painter;
  return widget;
}

/** Call a function after a method of an object, if it has one. */
function after(object, method, then) {
  const before = object[method];
  object[method] = function (...values) {
    const result = before?.apply(this, values);
    then(...values);
    return result;
  };
}
