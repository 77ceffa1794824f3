// A photo of the specimen, and on it where each face was scanned. Placed by hand: nobody measures it.

import { el, icon, setAttribute, setIcon, setText, show, syncChildren } from "./dom.js";
import { Saving } from "./saving.js";
import { PART } from "./store.js";
import { VERDICTS, capitalised } from "./words.js";

const STEP = 0.01;
const FIRST = { x: 0.35, y: 0.35, width: 0.3, height: 0.3, angle_deg: 0 };
const KEYS = {
  ArrowLeft: { x: -STEP }, ArrowRight: { x: STEP }, ArrowUp: { y: -STEP }, ArrowDown: { y: STEP },
  "+": { width: STEP, height: STEP }, "-": { width: -STEP, height: -STEP }, "[": { angle_deg: -5 }, "]": { angle_deg: 5 },
};
const SAVE_AFTER_MS = 500;
const LOOK_MS = 2000;

export class PhotoView {
  parts = [PART.PHOTO, PART.FACES, PART.LOOK, PART.CASE, PART.TRUST];
  #store;
  #api;
  #bar = el("div", { class: "photo-bar" });
  #field = el("div", { class: "photo-field" });
  #image = el("img", { class: "photo-image", alt: "Photo of the specimen", hidden: true });
  #areas = el("div", { class: "photo-areas" });
  #hint = el("p", { class: "none" });
  #place;
  #placements = new Map();
  // Case and specimen that are on the stage; null where none is known.
  #stage = null;
  // What the photo is of that is being chosen; null where that was not known, undefined where none is.
  #chosenFor = undefined;
  #drag = null;
  #saving = new Saving((face, { stage, place }) => this.#save(stage, face, place), SAVE_AFTER_MS);
  #version = 0;
  // Why the photo is gone when the scanner's program ends; empty where it stays.
  #notKept = "";
  #said = "";
  // The area that is about to be drawn, for the keys to move it.
  #focused = null;

  constructor(root, store, api, commands) {
    this.#store = store;
    this.#api = api;
    const file = this.#makeInput({ accept: "image/png,image/jpeg", id: "photo-file" });
    const camera = this.#makeInput({ accept: "image/jpeg,image/png", capture: "environment", id: "photo-camera" });
    this.#place = el("button", { type: "button", onclick: () => this.#placeHere() }, icon("target"), el("span"));
    if (commands.may("start")) {
      this.#bar.append(
        file, el("label", { for: "photo-file", class: "button", text: "Upload photo" }),
        camera, el("label", { for: "photo-camera", class: "button", text: "Take photo" }),
        this.#place,
      );
    }
    this.isMine = commands.may("start");
    this.#field.append(this.#image, this.#areas);
    root.append(this.#bar, this.#field, this.#hint);
    this.root = root;
    void this.#keepLooking();
    this.#areas.addEventListener("pointermove", (event) => this.#moved(event));
    this.#areas.addEventListener("pointerup", () => (this.#drag = null));
  }

  update() {
    const stage = this.#stageNow();
    if (!isSame(stage, this.#stage)) {
      this.#stage = stage;
      this.#drag = null;
      this.#forget();
      void this.#look();
    }
    const { face } = this.#store;
    const hasPhoto = !this.#image.hidden;
    this.#place.disabled = !hasPhoto || face === null;
    setText(this.#place.lastChild, `Place ${face ?? "face"}`);
    setText(this.#hint, [this.#said || this.#hintWords(hasPhoto), this.#keptWords(hasPhoto)].filter(Boolean).join(" "));
    this.#drawAreas(hasPhoto);
  }

  #hintWords(hasPhoto) {
    if (!hasPhoto) return "No photo of this specimen.";
    return this.isMine ? "Drag an area, or arrows; + and - for its size, [ and ] turn it. Placed by hand." : "Areas are placed by hand.";
  }

  #keptWords(hasPhoto) {
    return hasPhoto && this.#notKept ? `Gone when the scanner's program ends: ${this.#notKept}.` : "";
  }

  #drawAreas(hasPhoto) {
    const store = this.#store;
    syncChildren(
      this.#areas,
      hasPhoto ? [...this.#placements.keys()].sort() : [],
      (face) => this.#makeArea(face),
      (area, face) => {
        const place = this.#placements.get(face);
        const verdict = store.verdictOf(face);
        const isCurrent = verdict !== null && store.trust.whyNotFace(face, store.now()) === null;
        setAttribute(area, "data-verdict", isCurrent ? verdict.verdict : "");
        setIcon(area.firstChild, isCurrent ? verdict.verdict : "stale");
        setText(area.lastChild, capitalised(face));
        setAttribute(area, "aria-label", `${face}: ${isCurrent ? VERDICTS[verdict.verdict] : "not current"}`);
        area.style.left = `${100 * place.x}%`;
        area.style.top = `${100 * place.y}%`;
        area.style.width = `${100 * place.width}%`;
        area.style.height = `${100 * place.height}%`;
        area.style.transform = `rotate(${place.angle_deg}deg)`;
        if (face !== this.#focused) return;
        area.focus();
        this.#focused = null;
      },
    );
  }

  #makeArea(face) {
    const area = el("button", { type: "button", class: "area", data: { face } }, icon("stale", "area-sign"), el("span"));
    area.addEventListener("click", () => this.#store.lookAt(face));
    if (!this.isMine) return area;
    area.addEventListener("pointerdown", (event) => {
      this.#drag = { face, x: event.clientX, y: event.clientY };
      area.setPointerCapture(event.pointerId);
    });
    area.addEventListener("keydown", (event) => {
      const change = KEYS[event.key];
      if (change === undefined) return;
      event.preventDefault();
      event.stopPropagation();
      this.#change(face, change);
    });
    return area;
  }

  #moved(event) {
    if (this.#drag === null) return;
    const box = this.#areas.getBoundingClientRect();
    this.#change(this.#drag.face, { x: (event.clientX - this.#drag.x) / box.width, y: (event.clientY - this.#drag.y) / box.height });
    Object.assign(this.#drag, { x: event.clientX, y: event.clientY });
  }

  #change(face, change) {
    const place = { ...this.#placements.get(face) };
    for (const [name, by] of Object.entries(change)) place[name] += by;
    place.width = inside(place.width, 0.03, 1);
    place.height = inside(place.height, 0.03, 1);
    place.x = inside(place.x, 0, 1 - place.width);
    place.y = inside(place.y, 0, 1 - place.height);
    place.angle_deg = ((place.angle_deg + 540) % 360) - 180;
    this.#placements.set(face, place);
    this.#store.touch(PART.PHOTO);
    this.#saving.soon(face, { stage: this.#stage, place });
  }

  #placeHere() {
    const { face } = this.#store;
    if (!this.#placements.has(face)) this.#placements.set(face, { ...FIRST });
    this.#focused = face;
    this.#change(face, {});
  }

  #save(stage, face, place) {
    return this.#tell("The place was not saved", async () => {
      await this.#api.putPlacement(this.#unchanged(stage), { face, ...place });
    });
  }

  #makeInput(attributes) {
    const input = el("input", { type: "file", class: "visually-hidden", ...attributes });
    // It takes its time to choose or take one: it is of the specimen that was there when that began.
    input.addEventListener("click", () => (this.#chosenFor = this.#stageNow()));
    input.addEventListener("cancel", () => (this.#chosenFor = undefined));
    input.addEventListener("change", () => void this.#upload(input));
    return input;
  }

  async #upload(input) {
    const [file] = input.files;
    const stage = this.#chosenFor === undefined ? this.#stageNow() : this.#chosenFor;
    this.#chosenFor = undefined;
    input.value = "";
    if (!file) return;
    await this.#tell("The photo was not taken", async () => {
      await this.#api.putPhoto(this.#unchanged(stage), file);
      await this.#look();
    });
  }

  // The stage that something is meant for; throws where another one is there by now.
  #unchanged(stage) {
    if (stage === null) throw new Error("not known which specimen is on the stage");
    if (!isSame(stage, this.#stageNow())) throw new Error("another specimen is on the stage by now");
    return stage;
  }

  async #tell(what, act) {
    this.#said = "";
    try {
      await act();
    } catch (error) {
      this.#said = `${what}: ${error.message}`;
    }
    this.#store.touch(PART.PHOTO);
  }

  #stageNow() {
    const onStage = this.#store.tally.case;
    return onStage === null ? null : { case_id: onStage.case_id, specimen_id: onStage.specimen_id };
  }

  // Another display may have taken or placed it.
  async #keepLooking() {
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
      if (!this.root.hidden && !document.hidden) await this.#look();
    }
  }

  async #look() {
    const stage = this.#stage;
    if (stage === null) return;
    try {
      const told = await this.#api.placements(stage);
      const photo = told.version !== 0 && told.version !== this.#version ? await this.#api.photo(stage) : null;
      // It took its time: by now it may be the photo of another specimen.
      if (stage === this.#stage) this.#take(told, photo);
    } catch {
      if (stage === this.#stage) this.#forget();
    }
    this.#store.touch(PART.PHOTO);
  }

  #take({ version, placements, not_kept: notKept }, photo) {
    if (version === 0) this.#forget();
    this.#notKept = notKept;
    if (photo !== null) {
      this.#forget();
      this.#image.src = URL.createObjectURL(photo);
      show(this.#image, true);
    }
    this.#version = version;
    const told = new Map(placements.map(({ face, ...place }) => [face, place]));
    // What a hand here is just moving is not moved back.
    for (const face of [...this.#saving.names, this.#drag?.face]) {
      if (this.#placements.has(face)) told.set(face, this.#placements.get(face));
    }
    this.#placements = told;
  }

  #forget() {
    if (this.#image.src.startsWith("blob:")) URL.revokeObjectURL(this.#image.src);
    this.#image.removeAttribute("src");
    show(this.#image, false);
    this.#placements = new Map();
    this.#version = 0;
  }
}

function isSame(a, b) {
  return a === null || b === null ? a === b : a.case_id === b.case_id && a.specimen_id === b.specimen_id;
}

function inside(value, least, most) {
  return Math.min(most, Math.max(least, value));
}
