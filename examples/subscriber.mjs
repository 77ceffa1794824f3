// Says what a console found, face by face, or why nothing of it may be relied on. Research use only.
//
//   npm install mqtt
//   NODE_EXTRA_CA_CERTS=ca.pem node subscriber.mjs wss://broker.example:9001 north or-1 USER PASSWORD
//
// `follow` is the subscriber, and looks every second; in a browser subscriber.html calls it. Which rules it keeps, and
// why: docs/messages.md. Below it is the program for Node, which prints what has changed.
import mqtt from "mqtt";

export function follow(url, base, options, tell) {
  let said = {}, heardAt = -Infinity, trouble = "";
  // Native timers: a page's security policy may forbid the worker that mqtt.js would take.
  const client = mqtt.connect(url, { protocolVersion: 5, timerVariant: "native", ...options });
  client.on("error", (error) => { trouble = `: ${error.message}`; });
  client.on("connect", () => {
    [said, heardAt, trouble] = [{}, -Infinity, ""]; // the broker repeats what still holds
    client.subscribe(["$state", "case", "verdict/+", "health"].map((part) => base + part), { qos: 1 });
  });
  client.on("message", (topic, payload, packet) => {
    const part = topic.slice(base.length);
    said[part] = part === "$state" ? `${payload}` : read(`${payload}`);
    if (part === "health" && !packet.retain) heardAt = performance.now(); // what is remembered is no sign of life
  });
  setInterval(() => {
    const { $state, case: stage, health, ...others } = said;
    const unreadable = Object.entries(said).find(([, content]) => content?.unreadable);
    if (!client.connected) return tell([`nothing is known: the broker is not reached${trouble}`]);
    if (unreadable) return tell([`nothing is known: ${unreadable[0]} ${unreadable[1].unreadable}`]);
    if (performance.now() - heardAt > 5000) return tell(["nothing is known: the daemon is silent"]);
    const isCurrent = (v) => $state === "ready" && stage && health.session === stage.session &&
      ["session", "case_id", "specimen_id"].every((key) => v[key] === stage[key]) &&
      v.sweep >= (stage.sweeps?.[v.face] ?? 0) && Date.now() < Date.parse(v.valid_until);
    const words = (v) => `${v.verdict}, coverage ${Math.floor(100 * v.coverage)}%, ${v.visualised_depth_mm} mm deep`;
    const lines = Object.entries(others).filter(([, v]) => v.schema).map(([part, v]) =>
      `${part}: ${isCurrent(v) ? words(v) : "not to be relied on"}${v.synthetic ? " (SYNTHETIC)" : ""}`);
    tell(lines.length ? lines : ["no face has a verdict"]);
  }, 1000);
}

function read(text) {
  try {
    const content = JSON.parse(text || "{}"); // an empty message takes back what was said
    return !text || content.schema === 1 ? content : { unreadable: `has schema ${content.schema}, and this program knows 1` };
  } catch (error) {
    return { unreadable: `cannot be read: ${error.message}` };
  }
}

function main(url, site, room, username, password) {
  let told = "";
  follow(url, `octmargin/1/${site}/${room}/`, { username, password }, (lines) => {
    const text = lines.join("\n");
    if (text !== told) console.log(text);
    told = text;
  });
}

const { process } = globalThis;
if (process?.argv?.[1]?.endsWith("subscriber.mjs")) {
  const words = process.argv.slice(2);
  try {
    if (words.length !== 3 && words.length !== 5) throw new Error("usage: node subscriber.mjs URL SITE CONSOLE [USER PASSWORD]");
    if (!/^wss?:\/\/[^/]/.test(words[0])) throw new Error(`${words[0]}: give the broker's WebSocket listener, such as wss://broker.example:9001`);
    main(...words);
  } catch (error) {
    console.error(error.message);
    process.exit(2);
  }
}
