// Puts the page together: the bus in, the parts that changed drawn once a frame, trust looked at every 250 ms.

import { AlarmsView } from "./alarms.js";
import { HttpError, api } from "./api.js";
import { Asking } from "./asking.js";
import { BscanView } from "./bscan.js";
import { Clock } from "./clock.js";
import { Commands } from "./commands.js";
import { ControlsView } from "./controls.js";
import { DecisionsView } from "./decisions.js";
import { ask } from "./dialogs.js";
import { setText } from "./dom.js";
import { EnfaceView } from "./enface.js";
import { FacesView } from "./faces.js";
import { KeyViewsView } from "./keyviews.js";
import { makeTabs } from "./frame.js";
import { askForLogin, forgetLogin, keptLogin, logout } from "./login.js";
import { Marking } from "./marking.js";
import { Metrics } from "./metrics.js";
import { MqttLink } from "./mqtt_link.js";
import { PhotoView } from "./photo.js";
import { ReportLink } from "./report_link.js";
import { ScrubberView } from "./scrubber.js";
import { HeaderView, StatusView, TrustStrip } from "./status.js";
import { SoundView } from "./sound_view.js";
import { PART, Store } from "./store.js";
import { KIND } from "./topics.js";
import { LOOK_EVERY_MS, Trust } from "./trust.js";
import { VerdictView } from "./verdict.js";

const SITE_RETRY_MS = 1000;
const BSCANS_MS = 2000;

const byId = (id) => document.getElementById(id);

class Page {
  #views = [];
  #isFrameAsked = false;

  constructor(site, login) {
    this.metrics = new Metrics();
    this.store = new Store(site, new Trust(), new Clock(), () => this.#askForFrame());
    this.link = new MqttLink(brokerUrl(site), site, login, {
      event: (event) => this.#take(event),
      reply: (payload) => this.commands.takeReply(payload),
      connected: () => this.commands.connectionBack(),
      refused: () => this.#loginRefused(),
    });
    this.commands = new Commands(this.store, this.link);
    this.asking = new Asking(this.commands, ask);
    this.marking = new Marking(
      () => this.store.grid,
      () => this.store.touch(PART.MAP, PART.DECISIONS),
      (region) => void this.#noteMark(region),
    );
    this.#makeViews();
  }

  start() {
    this.link.start();
    setInterval(() => this.#tick(), LOOK_EVERY_MS);
    document.addEventListener("visibilitychange", () => this.#tick());
    document.addEventListener("keydown", (event) => this.#pedal(event));
    void this.#keepListingSweeps();
    this.#askForFrame();
  }

  #makeViews() {
    const { store, commands, marking } = this;
    this.sound = new SoundView(byId("sound"), store);
    this.controls = new ControlsView(byId("controls"), store, commands, this.asking);
    this.#views = [
      new TrustStrip(byId("trust"), store),
      new HeaderView(byId("stage"), store),
      new AlarmsView(byId("alarms"), store, commands),
      new FacesView(byId("faces"), store),
      new VerdictView(byId("verdict"), store),
      new EnfaceView(byId("enface"), store, marking),
      new BscanView(byId("bscan"), store, api),
      new ScrubberView(byId("scrub"), store),
      new KeyViewsView(byId("keyviews"), store, api),
      new DecisionsView(byId("decisions"), store, commands, marking),
      new PhotoView(byId("photo"), store, api, commands),
      new StatusView(byId("status"), store, this.metrics),
      this.sound,
      new ReportLink(byId("report"), store),
      this.controls,
      this.asking,
    ];
  }

  #take(event) {
    this.store.add(event);
    this.sound.hear();
    if (event.type === "lost") this.commands.connectionLost();
    if (event.type === "state") this.commands.daemonSays(event.state);
    if (event.type === KIND.FLAG) this.metrics.flagCame(event.message.published_at);
  }

  #askForFrame() {
    if (this.#isFrameAsked) return;
    this.#isFrameAsked = true;
    requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.#isFrameAsked = false;
    const dirty = this.store.takeDirty();
    for (const view of this.#views) if (view.parts.some((part) => dirty.has(part))) update(view);
    this.metrics.drawn();
  }

  #tick() {
    if (this.store.clock.jumped()) this.store.trust.clockWasSet();
    this.store.touch(PART.TRUST);
    this.sound.hear();
  }

  #pedal(event) {
    if (event.key !== this.store.site.pedal_key || event.repeat) return;
    event.preventDefault();
    this.controls.pedal();
  }

  async #noteMark(region) {
    // The map may go over to another sweep while the person writes.
    const { face, grid: { sweep } } = this.store;
    const question = {
      title: "Mark this region",
      text: `B-scans ${region.first_frame + 1} to ${region.last_frame + 1} of ${face}`,
      action: "Save",
      fields: [{ name: "note", label: "Note", maxlength: 500 }],
    };
    await this.asking.give("mark", question, ({ note }) => ({ face, sweep, ...region, note }));
  }

  async #keepListingSweeps() {
    for (;;) {
      try {
        this.store.setSweeps(await api.sweeps());
      } catch (error) {
        // The server was started anew, or the session is over: the tab may still have the password.
        if (error.status === 401) location.reload();
        this.store.setSweeps([], error.message);
      }
      await pause(BSCANS_MS);
    }
  }

  #loginRefused() {
    if (this.store.site.login !== "required") return;
    forgetLogin();
    location.reload();
  }
}

function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function brokerUrl(site) {
  if (site.broker_websocket) return site.broker_websocket;
  return `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/mqtt`;
}

async function loadSite() {
  for (;;) {
    try {
      return await api.site();
    } catch (error) {
      setText(byId("boot"), `Waiting: ${error.message}`);
      await pause(SITE_RETRY_MS);
    }
  }
}

// The site as this person sees it: their user and role, once the server knows them.
async function enter() {
  let site = await loadSite();
  if (site.login !== "required") return { site, login: null };
  byId("boot").hidden = true;
  let login = keptLogin();
  let why = "";
  for (;;) {
    if (login === null) login = await askForLogin(byId("login"), why, site.site);
    else if (site.user !== login.user) why = await enterAgain(login);
    site = await loadSite();
    // Somebody else may have logged in from another tab: the broker is asked as one and the same.
    if (site.user === login.user) return { site, login };
    forgetLogin();
    login = null;
  }
}

// After a restart of the server the tab still has the password.
async function enterAgain({ user, password }) {
  try {
    await api.login(user, password);
    return "";
  } catch (error) {
    return error instanceof HttpError ? error.message : "log in again";
  }
}

// One part that fails must not keep the others as they were.
function update(view) {
  try {
    view.update();
  } catch (error) {
    fail(error);
  }
}

// A page that has failed must not look as if all were well, and it stays so until it is loaded anew.
function fail(error) {
  console.error(error);
  document.body.dataset.failed = "";
  byId("failed").hidden = false;
}

// The browser also says there that a size will be looked at in the next frame: without an error.
window.addEventListener("error", ({ error }) => error && fail(error));
window.addEventListener("unhandledrejection", ({ reason }) => fail(reason));

const { site, login } = await enter();
byId("boot").hidden = true;
byId("page").hidden = false;
setText(byId("notice"), site.notice);
const logoutButton = byId("logout");
logoutButton.hidden = site.login !== "required";
logoutButton.addEventListener("click", () => void logout());
byId("reload").addEventListener("click", () => location.reload());
makeTabs([...document.querySelectorAll("[role=tab]")]);
const page = new Page(site, login);
// For measurements and for support.
window.octmargin = page;
page.start();
