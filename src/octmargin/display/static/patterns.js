// Colour and pattern of each state of a block. Orange and blue stay apart for colour-blind eyes, and so do the
// patterns without any colour. Red, yellow and cyan are left to the alarms.

import { BLOCK } from "./messages.js";

export const COLOURS = Object.freeze({
  suspicious: "#ff9a1f",
  nothing: "#00588f",
  surface: "#8fd3ff",
  mark: "#ffffff",
});

const SIZE = 8;

function dots(context) {
  context.fillStyle = "#171c23";
  context.fillRect(0, 0, SIZE, SIZE);
  context.fillStyle = "#4a5462";
  context.fillRect(1, 1, 1.5, 1.5);
}

function crosses(context) {
  context.fillStyle = "#000000";
  context.fillRect(0, 0, SIZE, SIZE);
  context.strokeStyle = "#a8b1bd";
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(2, 2);
  context.lineTo(6, 6);
  context.moveTo(6, 2);
  context.lineTo(2, 6);
  context.stroke();
}

function bars(context) {
  context.fillStyle = "#9aa3af";
  context.fillRect(0, 0, SIZE, SIZE);
  context.fillStyle = "#2b323b";
  context.fillRect(0, 0, SIZE, 2);
  context.fillRect(0, 4, SIZE, 2);
}

function plain(context) {
  context.fillStyle = COLOURS.nothing;
  context.fillRect(0, 0, SIZE, SIZE);
}

function hatch(context) {
  context.fillStyle = COLOURS.suspicious;
  context.fillRect(0, 0, SIZE, SIZE);
  context.strokeStyle = "#2b1600";
  context.lineWidth = 1.4;
  context.beginPath();
  // A little over the edge, so that the strokes of neighbouring tiles meet.
  context.moveTo(-1, -1);
  context.lineTo(SIZE + 1, SIZE + 1);
  context.moveTo(-1, SIZE + 1);
  context.lineTo(SIZE + 1, -1);
  context.stroke();
}

const DRAWN = {
  [BLOCK.NOT_SCANNED]: dots,
  [BLOCK.LOST]: crosses,
  [BLOCK.POOR]: bars,
  [BLOCK.NOTHING]: plain,
  [BLOCK.SUSPICIOUS]: hatch,
};

const made = new Map();

// Fill style of a state for a canvas of so many device pixels per CSS pixel; `scale` coarsens the pattern.
export function patternOf(context, state, scale) {
  const key = `${state} ${scale}`;
  if (!made.has(key)) {
    const tile = document.createElement("canvas");
    tile.width = tile.height = Math.round(SIZE * scale);
    const drawing = tile.getContext("2d");
    drawing.scale(tile.width / SIZE, tile.height / SIZE);
    DRAWN[state](drawing);
    made.set(key, context.createPattern(tile, "repeat"));
  }
  return made.get(key);
}
