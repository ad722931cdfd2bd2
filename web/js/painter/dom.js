/** Making elements. */

/** An element with properties, attributes where a name has a dash, and children. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-")) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

// Paths in a square of 24.
const ICONS = {
  brush: "M4 20c3 0 5-1 5-4a2.5 2.5 0 0 0-5 0c0 2-1 3-2 3M9 14 20 3M11 16 21 6",
  eraser: "M8 20 3 15 14 4l6 6L10 20zM9 9l6 6M8 20h13",
  fill: "M4 12 12 4l7 7-8 8zM8 8 5 5M4 12h14M20 15c1 2 2 3 2 4a2 2 0 0 1-4 0c0-1 1-2 2-4",
  picker: "M13 7l4 4M15 9 6 18l-3 3M14 5l5 5 1-1a3 3 0 0 0-5-5zM3 21l1-4 8-8",
  undo: "M8 5 3 10l5 5M3 10h11a6 6 0 0 1 0 12h-3",
  redo: "M16 5l5 5-5 5M21 10H10a6 6 0 0 0 0 12h3",
  clear: "M4 7h16M9 7V4h6v3M6 7l1 14h10l1-14M10 11v6M14 11v6",
  load: "M3 19V5h6l2 3h10v11zM12 17v-6M9 13l3-3 3 3",
  fit: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
};

export function iconButton(icon, title, onClick) {
  const button = make("button", { type: "button", title, onclick: onClick, "aria-label": title });
  button.dataset.icon = icon;
  button.innerHTML = `<svg viewBox="0 0 24 24" aria-hidden="true"><path d="${ICONS[icon]}"/></svg>`;
  return button;
}
