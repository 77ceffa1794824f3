// Reads courses of events, one JSON object a line, and writes what the page's tally makes of each, a line each.
//
// usage: node page_courses.mjs FOLDER_OF_THE_PAGE < courses

import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const folder = pathToFileURL(`${process.argv[2]}/`);
const { Tally } = await import(new URL("tally.js", folder));
const { toEvent } = await import(new URL("messages.js", folder));
const { parseTopic } = await import(new URL("topics.js", folder));

function eventOf(step, base) {
  if (step.connected) return { type: "connected" };
  if (step.lost) return { type: "lost", reason: step.lost };
  const address = parseTopic(base, step.topic);
  const payload = Uint8Array.from(Buffer.from(step.payload, "base64"));
  return address === null ? null : toEvent(address, payload, step.retained, step.at_ms);
}

function run({ base, steps, silence_limit_s: silenceLimitS }) {
  const tally = new Tally({ silenceLimitS });
  const answers = [];
  const refused = [];
  let unknown = 0;
  for (const [place, step] of steps.entries()) {
    if ("ask" in step) {
      answers.push(tally.staleReason(step.at_ms, step.ask));
      continue;
    }
    const event = eventOf(step, base);
    if (event === null) unknown += 1;
    else tally.add(event);
    if (event?.type === "malformed") refused.push(place);
  }
  const { messages, blocks, duplicates, gaps } = tally.flags;
  return {
    answers,
    unknown,
    refused,
    malformed: tally.malformed,
    late: tally.late,
    synthetic: tally.synthetic,
    alarms: [...tally.alarms.keys()].sort(),
    flags: { messages, blocks, duplicates, gaps },
    latency_ms: tally.flags.latencyMs(),
    decided: [...tally.faces.keys()].filter((face) => tally.decisionOf(face) !== null).sort(),
  };
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(run(JSON.parse(line)))}\n`);
}
