// How technical alarms sound, after tables 3 and 4 of IEC 60601-1-8. Pure.
//
// A burst is a rhythm of pulses: how many and how fast tells the priority. All times are in ms; a pulse lasts from where
// it has risen to where it begins to fall, and spacing is what lies between two of them.

// high: 10 pulses, 3 and 2 and once more; medium: 3; low: 2. `gapsMs`: the spacing behind each pulse but the last.
const X = 100;
const Y = 200;
const HIGH_PULSE_MS = 150;
const FIVE = [X, X, 2 * X + HIGH_PULSE_MS, X];
const PATTERNS = {
  high: { pulseMs: HIGH_PULSE_MS, gapsMs: [...FIVE, 700, ...FIVE], intervalMs: 5000 },
  medium: { pulseMs: 200, gapsMs: [Y, Y], intervalMs: 10_000 },
  low: { pulseMs: 200, gapsMs: [Y], intervalMs: 20_000 },
};
const RISE_SHARE = 0.15;

export const PRIORITIES = Object.freeze(["high", "medium", "low"]);
// Of the pulse: between 150 and 1000 Hz, and with it four harmonics and more from 300 to 4000 Hz, within 15 dB of it.
export const FREQUENCY_HZ = 440;
export const HARMONICS = Object.freeze([1, 0.7, 0.5, 0.4, 0.3]);

// The pulses of one burst as { beginMs, riseMs, holdMs, fallMs }, and how long it is until the next one begins.
export function burstOf(priority) {
  const { pulseMs, gapsMs, intervalMs } = PATTERNS[priority];
  const edgeMs = RISE_SHARE * pulseMs;
  const pulses = [];
  let risenMs = edgeMs;
  for (const gapMs of [...gapsMs, 0]) {
    pulses.push({ beginMs: risenMs - edgeMs, riseMs: edgeMs, holdMs: pulseMs, fallMs: edgeMs });
    risenMs += pulseMs + gapMs;
  }
  return { pulses, periodMs: risenMs + intervalMs };
}
