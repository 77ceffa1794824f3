// How long flags take to the screen, and whether the page keeps up. Bounded.

const SAMPLES = 5000;
const LONG_TASKS = 1000;

export class Metrics {
  #pending = [];
  #latencies = new Float64Array(SAMPLES);
  #count = 0;
  #channel = new MessageChannel();
  #painting = [];

  constructor() {
    this.longTasksMs = [];
    this.#channel.port1.onmessage = () => this.#painted();
    if (PerformanceObserver.supportedEntryTypes?.includes("longtask")) {
      new PerformanceObserver((list) => this.#longTasks(list.getEntries())).observe({ entryTypes: ["longtask"] });
    }
  }

  // A flag that was published at `publishedAt` has come and is to be drawn.
  flagCame(publishedAt) {
    if (this.#pending.length < SAMPLES) this.#pending.push(publishedAt);
  }

  // What came has been drawn in this frame; it is on the screen when the frame is done.
  drawn() {
    if (this.#pending.length === 0) return;
    this.#painting.push(...this.#pending);
    this.#pending = [];
    this.#channel.port2.postMessage(null);
  }

  get count() {
    return this.#count;
  }

  // Published to painted, ms, by two clocks taken as one; of the last samples. Null before the first.
  summary() {
    const known = this.#latencies.slice(0, Math.min(this.#count, SAMPLES)).sort();
    if (known.length === 0) return null;
    const at = (share) => known[Math.min(known.length - 1, Math.ceil(share * known.length) - 1)];
    return { p50: at(0.5), p95: at(0.95), p99: at(0.99), most: known.at(-1) };
  }

  forget() {
    this.#count = 0;
    this.longTasksMs = [];
  }

  #painted() {
    const nowMs = performance.timeOrigin + performance.now();
    for (const publishedAt of this.#painting) {
      this.#latencies[this.#count % SAMPLES] = nowMs - publishedAt;
      this.#count += 1;
    }
    this.#painting = [];
  }

  #longTasks(entries) {
    for (const { duration } of entries) if (this.longTasksMs.length < LONG_TASKS) this.longTasksMs.push(duration);
  }
}
