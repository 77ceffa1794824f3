// Which B-scans there are, and which of them shows a frame of a face. Pure.
//
// A face whose sweep was interrupted has parts: sweeps of their own, each from behind the last frame of the one
// before. `sweeps` is the daemon's list (`GET /api/bscans`), frames as [first, last] ranges.

export function hasFrame(sweep, frame) {
  return sweep.frames.some(([first, last]) => first <= frame && frame <= last);
}

export function firstFrame(sweep) {
  return sweep.frames.length ? sweep.frames[0][0] : Infinity;
}

// Sweep that holds a frame of the face's map, whose last part is `lastSweep`; null where none is kept.
export function sweepOf(sweeps, { face, specimenId, session, lastSweep }, frame) {
  const parts = partsOf(sweeps, { face, specimenId, session, lastSweep });
  return parts.find((part) => hasFrame(part, frame)) ?? null;
}

// Parts of a face's scan, the last one first. A part that begins within the face goes on from an earlier one.
export function partsOf(sweeps, { face, specimenId, session, lastSweep }) {
  const ofFace = sweeps
    .filter((each) => each.face === face && each.specimen_id === specimenId && each.session === session)
    .filter((each) => each.sweep <= lastSweep)
    .sort((a, b) => b.sweep - a.sweep);
  if (ofFace[0]?.sweep !== lastSweep) return [];
  const parts = [];
  for (const sweep of ofFace) {
    if (parts.length && firstFrame(sweep) >= firstFrame(parts.at(-1))) break;
    parts.push(sweep);
    if (firstFrame(sweep) === 0) break;
  }
  return parts;
}

// How many frames are kept.
export function countFrames(sweep) {
  return sweep.frames.reduce((sum, [first, last]) => sum + last - first + 1, 0);
}
