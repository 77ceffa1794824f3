// Draws a face's map onto a canvas, whole or only the rows that changed.

import { BLOCK } from "./messages.js";
import { patternOf } from "./patterns.js";

const OUTLINE = "#ffffff";

// Draws rows of `grid` (a Set of frames; null: all of them) over the whole canvas; frames run downwards.
export function drawMap(context, grid, { rows = null, scale = 1, outline = true } = {}) {
  const { width, height } = context.canvas;
  if (grid.frames === 0 || grid.blocks === 0) {
    context.fillStyle = patternOf(context, BLOCK.NOT_SCANNED, scale);
    context.fillRect(0, 0, width, height);
    return;
  }
  for (const frame of withNeighbours(rows, grid.frames)) {
    drawRow(context, grid, frame, scale);
    if (outline) outlineRow(context, grid, frame, Math.max(1, Math.round(scale)));
  }
}

// The outline of a row depends on the rows beside it.
function withNeighbours(rows, frames) {
  if (rows === null) return Array.from({ length: frames }, (_, frame) => frame);
  const drawn = new Set();
  for (const row of rows) {
    for (const frame of [row - 1, row, row + 1]) if (frame >= 0 && frame < frames) drawn.add(frame);
  }
  return drawn;
}

function edge(size, parts, place) {
  return Math.round((size * place) / parts);
}

function drawRow(context, grid, frame, scale) {
  const { width, height } = context.canvas;
  const top = edge(height, grid.frames, frame);
  const bottom = edge(height, grid.frames, frame + 1);
  let from = 0;
  for (let block = 1; block <= grid.blocks; block += 1) {
    const state = grid.state(frame, from);
    if (block < grid.blocks && grid.state(frame, block) === state) continue;
    const left = edge(width, grid.blocks, from);
    context.fillStyle = patternOf(context, state, scale);
    context.fillRect(left, top, edge(width, grid.blocks, block) - left, bottom - top);
    from = block;
  }
}

function outlineRow(context, grid, frame, thick) {
  const { width, height } = context.canvas;
  const top = edge(height, grid.frames, frame);
  const bottom = edge(height, grid.frames, frame + 1);
  const isIn = (f, b) =>
    f >= 0 && b >= 0 && f < grid.frames && b < grid.blocks && grid.state(f, b) === BLOCK.SUSPICIOUS;
  context.fillStyle = OUTLINE;
  for (let block = 0; block < grid.blocks; block += 1) {
    if (!isIn(frame, block)) continue;
    const left = edge(width, grid.blocks, block);
    const right = edge(width, grid.blocks, block + 1);
    if (!isIn(frame - 1, block)) context.fillRect(left, top, right - left, thick);
    if (!isIn(frame + 1, block)) context.fillRect(left, bottom - thick, right - left, thick);
    if (!isIn(frame, block - 1)) context.fillRect(left, top, thick, bottom - top);
    if (!isIn(frame, block + 1)) context.fillRect(right - thick, top, thick, bottom - top);
  }
}
