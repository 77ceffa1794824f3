// The page's connection to the broker. A new client for each attempt, so that nothing of an old one is left over: no
// queue, no command that would arrive late.

import mqtt from "./vendor/mqtt.js";
import { commandTopic, displayFilters, parseTopic, replyTopic } from "./topics.js";
import { NotSentError, mayCommand } from "./commands.js";
import { toEvent } from "./messages.js";

const RETRY_MS = [250, 500, 1000, 2000];
const CONNECT_TIMEOUT_MS = 4000;
const KEEPALIVE_S = 5;
const REFUSED_LOGIN = new Set([4, 5, 134, 135]);

export class MqttLink {
  #url;
  #site;
  #login;
  #handlers;
  #client = null;
  #attempts = 0;

  // `handlers`: event(event), reply(object), connected() when commands can be given, refused() where the broker does
  // not take the login.
  constructor(url, site, login, handlers) {
    this.#url = url;
    this.#site = site;
    this.#login = login;
    this.#handlers = handlers;
    this.isConnected = false;
  }

  start() {
    const client = mqtt.connect(this.#url, {
      protocolVersion: 5,
      clientId: `display-${crypto.randomUUID().slice(0, 18)}`,
      username: this.#login?.user,
      password: this.#login?.password,
      clean: true,
      keepalive: KEEPALIVE_S,
      connectTimeout: CONNECT_TIMEOUT_MS,
      reconnectPeriod: 0,
      queueQoSZero: false,
      // Its other timers run in a worker made of a blob, which the page's security policy forbids.
      timerVariant: "native",
      forceNativeWebSocket: true,
    });
    this.#client = client;
    client.on("connect", () => this.#connected(client));
    client.on("message", (topic, payload, packet) => this.#received(client, topic, payload, packet.retain));
    client.on("error", (error) => this.#failed(client, error));
    client.on("close", () => this.#lost(client, "the broker cannot be reached"));
  }

  // Sends a command; resolves when the broker has it. Rejects with `NotSentError` where it never gets it, and with
  // another error where that is not known.
  publish(command, body) {
    const topic = commandTopic(this.#site, command);
    const client = this.#client;
    if (!this.isConnected || client === null) return Promise.reject(new NotSentError("the broker is not reached"));
    return new Promise((resolve, reject) => {
      client.publish(topic, JSON.stringify(body), { qos: 1 }, (error, packet) => {
        const code = packet?.reasonCode ?? 0;
        if (code >= 128) reject(new NotSentError("the broker does not let this user give commands"));
        else if (error) reject(error);
        else resolve();
      });
    });
  }

  #connected(client) {
    if (client !== this.#client) return;
    // Before what the broker remembers comes: from here on it is what counts.
    this.#handlers.event({ type: "connected" });
    const filters = displayFilters(this.#site.base);
    if (mayCommand(this.#site.role, "start")) filters.push(replyTopic(this.#site));
    client.subscribe(filters, { qos: 1 }, (error, granted) => {
      const refused = (granted ?? []).find((each) => each.qos >= 128);
      if (error || refused) {
        this.#lost(client, "the broker does not let this user read the console's results");
        return;
      }
      this.#attempts = 0;
      this.isConnected = true;
      this.#handlers.connected();
    });
  }

  #received(client, topic, payload, isRetained) {
    if (client !== this.#client) return;
    const { base } = this.#site;
    if (topic.startsWith(`${base}/reply/`)) {
      this.#handlers.reply(payload);
      return;
    }
    const address = parseTopic(base, topic);
    if (address !== null) this.#handlers.event(toEvent(address, payload, isRetained, Date.now()));
  }

  #failed(client, error) {
    if (client !== this.#client) return;
    if (REFUSED_LOGIN.has(error?.code) && !this.isConnected) {
      this.#lost(client, "the broker does not take this login");
      this.#handlers.refused?.();
      return;
    }
    this.#lost(client, "the broker cannot be reached");
  }

  #lost(client, reason) {
    if (client !== this.#client) return;
    this.#client = null;
    this.isConnected = false;
    client.end(true);
    this.#handlers.event({ type: "lost", reason });
    const pauseMs = RETRY_MS[Math.min(this.#attempts, RETRY_MS.length - 1)];
    this.#attempts += 1;
    setTimeout(() => this.start(), pauseMs);
  }
}
