// Elements without markup: data only ever becomes text, never HTML.

const SVG = "http://www.w3.org/2000/svg";

// An element: `props` are attributes, `class`, `text`, `data` (an object) and listeners (`onclick`, ...).
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") node.className = value;
    else if (name === "text") node.textContent = value;
    else if (name === "data") setData(node, value);
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

function setData(node, data) {
  for (const [name, value] of Object.entries(data)) if (value !== undefined) node.dataset[name] = value;
}

// Writes a text only where it is another, so that nothing is laid out anew for nothing.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setAttribute(node, name, value) {
  if (value === null || value === false || value === undefined) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
    return;
  }
  const text = value === true ? "" : String(value);
  if (node.getAttribute(name) !== text) node.setAttribute(name, text);
}

export function show(node, isShown) {
  if (node.hidden === isShown) node.hidden = !isShown;
}

// Keeps children in step with data: one child for each key, made once, in the order of the keys.
export function syncChildren(parent, keys, make, update) {
  const kept = parent.synced ?? (parent.synced = new Map());
  const wanted = new Set(keys);
  for (const [key, child] of kept) {
    if (wanted.has(key)) continue;
    child.remove();
    kept.delete(key);
  }
  keys.forEach((key, place) => {
    let child = kept.get(key);
    if (child === undefined) {
      child = make(key);
      kept.set(key, child);
    }
    if (parent.children[place] !== child) parent.insertBefore(child, parent.children[place] ?? null);
    update(child, key);
  });
}

// Shapes on a field of 24 by 24: [element, attributes].
const ICONS = {
  suspicious: [
    ["path", { d: "M12 1.5 22.5 12 12 22.5 1.5 12Z", class: "fill" }],
    ["path", { d: "M12 6.5v7M12 16v2.2", class: "cut" }],
  ],
  nothing_suspicious: [["circle", { cx: 12, cy: 12, r: 9, class: "line" }]],
  indeterminate: [
    ["rect", { x: 2.5, y: 2.5, width: 19, height: 19, class: "line dashed" }],
    ["path", { d: "M8.8 9.2a3.2 3.2 0 1 1 4.6 2.9c-1 .5-1.4 1.1-1.4 2.2M12 17v1.6", class: "line" }],
  ],
  scanning: [
    ["rect", { x: 2.5, y: 2.5, width: 19, height: 19, class: "line" }],
    ["path", { d: "M2.5 2.5h19v9h-19Z", class: "fill" }],
  ],
  none: [["path", { d: "M5 12h14", class: "line" }]],
  stale: [
    ["circle", { cx: 12, cy: 12, r: 9, class: "line" }],
    ["path", { d: "M12 6.5V12l3.5 2.5M3 3l18 18", class: "line" }],
  ],
  play: [["path", { d: "M6 3.5v17L20 12Z", class: "fill" }]],
  pause: [["path", { d: "M6 4h4v16H6ZM14 4h4v16h-4Z", class: "fill" }]],
  stop: [["path", { d: "M5 5h14v14H5Z", class: "fill" }]],
  again: [["path", { d: "M19.5 12a7.5 7.5 0 1 1-2.3-5.4M18 2.5v4.6h-4.6", class: "line" }]],
  target: [
    ["circle", { cx: 12, cy: 12, r: 6.5, class: "line" }],
    ["path", { d: "M12 1.5v6M12 16.5v6M1.5 12h6M16.5 12h6", class: "line" }],
  ],
  add: [["path", { d: "M12 4v16M4 12h16", class: "line" }]],
  close: [["path", { d: "M4 8h16v12H4ZM8 8V4.5h8V8M9 14h6", class: "line" }]],
  good: [["path", { d: "M4 12.5 9.5 18 20 6.5", class: "line" }]],
  bad: [["path", { d: "M5 5l14 14M19 5 5 19", class: "line" }]],
  unsure: [["path", { d: "M7 8.5a5 5 0 1 1 7 4.6c-1.5.7-2 1.5-2 3M12 19.2v1.8", class: "line" }]],
  bell: [["path", { d: "M12 3a6 6 0 0 1 6 6c0 5 1.5 7 3 8.5H3C4.5 16 6 14 6 9a6 6 0 0 1 6-6ZM10 20.5h4", class: "line" }]],
  muted: [["path", { d: "M12 3a6 6 0 0 1 6 6c0 5 1.5 7 3 8.5H3C4.5 16 6 14 6 9a6 6 0 0 1 6-6ZM10 20.5h4M2.5 2.5l19 19", class: "line" }]],
  alarm: [["path", { d: "M12 2.5 22.5 21h-21ZM12 9v6M12 17.2v1.6", class: "line" }]],
};

export function icon(name, className = "") {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", `icon ${className}`.trim());
  setIcon(svg, name);
  return svg;
}

export function setIcon(svg, name) {
  if (svg.dataset.icon === name) return;
  svg.dataset.icon = name;
  svg.replaceChildren(
    ...ICONS[name].map(([tag, attributes]) => {
      const shape = document.createElementNS(SVG, tag);
      for (const [key, value] of Object.entries(attributes)) shape.setAttribute(key, value);
      return shape;
    }),
  );
}

const sizes = new WeakMap();
let observer = null;

function resized(entries) {
  for (const { target, contentRect } of entries) {
    const { onResize } = sizes.get(target);
    sizes.set(target, { width: contentRect.width, height: contentRect.height, onResize });
    onResize();
  }
}

// From now on `sizeOf` knows how large an element is without having everything laid out to be asked; `onResize` is told.
export function watchSize(node, onResize = () => {}) {
  sizes.set(node, { width: 0, height: 0, onResize });
  observer ??= new ResizeObserver(resized);
  observer.observe(node);
}

// Size in CSS pixels of an element that is watched.
export function sizeOf(node) {
  return sizes.get(node);
}

// Gives a watched canvas a pixel for each of the screen's; true where that changed something, and emptied it.
export function fitCanvas(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const size = sizeOf(canvas);
  const width = Math.max(1, Math.round(size.width * ratio));
  const height = Math.max(1, Math.round(size.height * ratio));
  if (canvas.width === width && canvas.height === height) return false;
  canvas.width = width;
  canvas.height = height;
  return true;
}
