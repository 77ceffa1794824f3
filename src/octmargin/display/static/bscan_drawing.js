// Draws a B-scan with its surface, its suspicious blocks and scales in mm: on the live page and on the report's.

import { scaleBar } from "./enface.js";
import { BLOCK } from "./messages.js";
import { COLOURS, patternOf } from "./patterns.js";

const STRIP = 14;

// `size` in CSS pixels, { width, height }; `scan` { width_mm, axial_um, perBlock }. Black where there is no picture.
export function drawBscan(context, size, picture, scan) {
  context.fillStyle = "#000000";
  context.fillRect(0, 0, size.width, size.height);
  if (picture === null) return;
  const field = { ...size, top: STRIP + 2, alines: picture.bitmap.width, depth: picture.bitmap.height };
  context.drawImage(picture.bitmap, 0, field.top, size.width, size.height - field.top);
  drawBlocks(context, field, picture.lines, scan);
  drawSurface(context, field, picture.lines.surface_px);
  drawScales(context, field, scan);
}

export function describeFrame(picture) {
  if (picture === null) return "No B-scan";
  const suspicious = picture.lines.state.filter((state) => state === BLOCK.SUSPICIOUS).length;
  return `B-scan ${picture.frame + 1}, ${suspicious} of ${picture.lines.state.length} blocks suspicious`;
}

// The strip above says the state of each block; brackets lead down from the suspicious ones, beside the tissue.
function drawBlocks(context, field, lines, { perBlock, axial_um: axialUm }) {
  const edge = (block) => (Math.min(field.alines, block * perBlock) * field.width) / field.alines;
  const scale = window.devicePixelRatio || 1;
  const { state } = lines;
  for (let block = 0; block < state.length; block += 1) {
    context.save();
    // The pattern is in device pixels.
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = patternOf(context, state[block], scale);
    context.fillRect(edge(block) * scale, 0, (edge(block + 1) - edge(block)) * scale, STRIP * scale);
    context.restore();
    if (state[block] !== BLOCK.SUSPICIOUS) continue;
    if (state[block - 1] !== BLOCK.SUSPICIOUS) bracket(context, edge(block), field);
    if (state[block + 1] !== BLOCK.SUSPICIOUS) bracket(context, edge(block + 1), field);
    drawDistance(context, field, lines, block, edge, axialUm);
  }
}

function bracket(context, x, { top, height }) {
  context.fillStyle = COLOURS.suspicious;
  context.fillRect(x - 1, 0, 2, top + (height - top) * 0.82);
}

// Where the nearest suspicious feature begins.
function drawDistance(context, field, lines, block, edge, axialUm) {
  const distanceMm = lines.distance_mm?.[block] ?? null;
  if (distanceMm === null || !axialUm) return;
  const first = Math.round((edge(block) * field.alines) / field.width);
  const last = Math.round((edge(block + 1) * field.alines) / field.width);
  const surface = lines.surface_px.slice(first, last).filter((each) => each !== null);
  if (surface.length === 0) return;
  const middlePx = surface.sort((a, b) => a - b)[surface.length >> 1] + (distanceMm * 1000) / axialUm;
  const y = field.top + (middlePx * (field.height - field.top)) / field.depth;
  context.fillStyle = COLOURS.suspicious;
  context.fillRect(edge(block) + 1, y - 1, edge(block + 1) - edge(block) - 2, 2);
}

function drawSurface(context, field, surfacePx) {
  const [perAline, perPx] = [field.width / field.alines, (field.height - field.top) / field.depth];
  context.strokeStyle = COLOURS.surface;
  context.lineWidth = 1.6;
  context.beginPath();
  let isDown = false;
  surfacePx.forEach((px, aline) => {
    if (px === null) {
      isDown = false;
      return;
    }
    const [x, y] = [(aline + 0.5) * perAline, field.top + (px + 0.5) * perPx];
    if (isDown) context.lineTo(x, y);
    else context.moveTo(x, y);
    isDown = true;
  });
  context.stroke();
}

function drawScales(context, field, { width_mm: widthMm, axial_um: axialUm }) {
  if (widthMm > 0) {
    const bar = widthMm >= 4 ? 1 : 0.5;
    const length = (bar * field.width) / widthMm;
    scaleBar(context, field.width - 12 - length, field.height - 14, length, `${bar} mm across`);
  }
  if (!axialUm) return;
  const depthMm = (field.depth * axialUm) / 1000;
  const bar = depthMm >= 2 ? 1 : 0.5;
  const length = (bar * (field.height - field.top)) / depthMm;
  const [x, y] = [12, field.height - 14];
  context.font = "600 15px system-ui, sans-serif";
  const label = `${bar} mm deep`;
  const middle = y - length / 2;
  context.fillStyle = "rgba(6, 8, 11, 0.82)";
  context.fillRect(x - 4, y - length - 4, 11, length + 8);
  context.fillRect(x + 7, middle - 12, context.measureText(label).width + 12, 24);
  context.fillStyle = "#ffffff";
  context.fillRect(x, y - length, 3, length);
  context.fillText(label, x + 12, middle + 5);
}
