// The daemon's HTTP: B-scans, photo, login. Every wait has an end.

const TIMEOUT_MS = 8000;

export class HttpError extends Error {
  constructor(status, reason) {
    super(reason);
    this.status = status;
  }
}

async function ask(path, options = {}) {
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", cache: "no-store", ...options, signal });
  } catch {
    throw new HttpError(0, "the display's server does not answer");
  }
  if (!answer.ok) throw new HttpError(answer.status, await whyRefused(answer));
  return answer;
}

async function whyRefused(answer) {
  try {
    return (await answer.json()).error ?? `refused (${answer.status})`;
  } catch {
    return `refused (${answer.status})`;
  }
}

async function send(method, path, content) {
  const isFile = content instanceof Blob;
  const headers = { "content-type": isFile ? content.type : "application/json" };
  return ask(path, { method, headers, body: isFile ? content : JSON.stringify(content) });
}

function bscanPath(session, sweep, frame, what = "") {
  return `/api/bscans/${sweep}/${frame}${what}?session=${encodeURIComponent(session)}`;
}

function photoPath({ case_id: caseId, specimen_id: specimenId }, what = "") {
  return `/api/photo${what}?${new URLSearchParams({ case_id: caseId, specimen_id: specimenId })}`;
}

export const api = {
  site: async () => (await ask("/api/site")).json(),
  login: async (user, password) => (await send("POST", "/api/login", { user, password })).json(),
  logout: async () => send("POST", "/api/logout", {}),
  sweeps: async () => (await (await ask("/api/bscans")).json()).sweeps,
  // Sweeps are numbered anew in each run of the daemon: with its session no other run's B-scan is given.
  bscan: async (session, sweep, frame) => (await ask(bscanPath(session, sweep, frame))).blob(),
  lines: async (session, sweep, frame) => (await ask(bscanPath(session, sweep, frame, "/lines"))).json(),
  // With the specimen they were meant for: of another one that is on the stage by now they are refused.
  photo: async (specimen) => (await ask(photoPath(specimen))).blob(),
  putPhoto: async (specimen, file) => send("PUT", photoPath(specimen), file),
  placements: async (specimen) => (await ask(photoPath(specimen, "/placement"))).json(),
  putPlacement: async (specimen, placement) => send("PUT", photoPath(specimen, "/placement"), placement),
};
