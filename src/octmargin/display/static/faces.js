// The specimen as its faces, unfolded, each with its verdict: what is to be seen from across the room.

import { el, fitCanvas, icon, setAttribute, setIcon, setText, show, syncChildren, watchSize } from "./dom.js";
import { drawLegend } from "./frame.js";
import { drawMap } from "./mapdraw.js";
import { readersInShort, saidOf } from "./readers.js";
import { PART } from "./store.js";
import { VERDICTS, capitalised, millimetres, percent, sayReason } from "./words.js";

const BOX = ["superior", "inferior", "medial", "lateral", "anterior", "posterior"];
// Below this the figure is no use, and drawing six of them for every flag would be work for nothing.
const REDRAW_MS = 200;
// So few characters have room in letters that are read from afar.
const BRIEF = 20;
const INK_COLOURS = {
  red: "#e5383b", blue: "#3f7fe0", green: "#2fa84f", yellow: "#f2d024", black: "#101010", orange: "#f28c1e",
  violet: "#8e5bd0", purple: "#8e5bd0", white: "#f4f4f4",
};

export class FacesView {
  parts = [PART.FACES, PART.CASE, PART.MAP, PART.TRUST, PART.LOOK, PART.DECISIONS];
  #store;
  #root;
  #tiles = el("div", { class: "tiles" });
  #side = el("p", { class: "side" });
  #orientation = el("p", { class: "orientation" });
  #convention = el("p", { class: "convention" });
  #none = el("p", { class: "no-specimen", text: "Faces are shown once a specimen is registered" });
  #summary = el("ul", { class: "summary", "aria-label": "Faces by verdict" });
  #drawn = new Map();
  #timer = null;

  constructor(root, store) {
    this.#store = store;
    this.#root = root;
    const legend = el("ul", { class: "legend", "aria-label": "States of the map" });
    drawLegend(legend);
    root.append(
      el("div", { class: "marks" }, this.#side, this.#orientation),
      this.#convention,
      this.#tiles,
      this.#none,
      legend,
      this.#summary,
    );
  }

  update() {
    const { tally, faces } = this.#store;
    const isBox = BOX.every((face) => faces.includes(face));
    const laterality = tally.case?.specimen?.laterality ?? "unknown";
    setAttribute(this.#root, "data-layout", isBox ? "box" : "row");
    setAttribute(this.#root, "data-laterality", laterality);
    this.#sayOrientation(laterality);
    syncChildren(this.#tiles, faces, (face) => this.#makeTile(face), (tile, face) => this.#updateTile(tile, face));
    this.#summarise(faces);
  }

  #sayOrientation(laterality) {
    const { tally, site } = this.#store;
    const known = laterality === "left" || laterality === "right";
    const isThere = Boolean(tally.case?.specimen);
    show(this.#side.parentElement, isThere);
    show(this.#none, !isThere);
    setText(this.#side, known ? laterality.toUpperCase() : "SIDE NOT SAID");
    const said = tally.case?.specimen?.orientation;
    const convention = tally.case?.sutures || site.sutures;
    setText(this.#orientation, said || "orientation not said");
    setText(this.#convention, convention && convention !== said ? `Sutures here: ${convention}` : "");
  }

  #makeTile(face) {
    const tile = el("button", {
      type: "button",
      class: "tile",
      data: { face },
      onclick: () => this.#store.lookAt(face),
    });
    tile.ink = el("span", { class: "ink", hidden: true });
    tile.face = el("span", { class: "tile-face", text: capitalised(face) });
    tile.now = el("span", { class: "tile-now", hidden: true }, el("span", { class: "visually-hidden", text: "scanning" }));
    tile.picture = el("canvas", { class: "tile-map", "aria-hidden": "true" });
    tile.room = el("span", { class: "tile-room" }, tile.picture);
    watchSize(tile.picture, () => this.#store.touch(PART.FACES));
    tile.sign = icon("none", "tile-sign");
    tile.word = el("span", { class: "tile-word" });
    tile.coverage = el("span", { class: "figure" });
    tile.depth = el("span", { class: "figure" });
    tile.figures = el("span", { class: "tile-figures" }, labelled("coverage", tile.coverage), labelled("depth", tile.depth));
    tile.why = el("span", { class: "tile-why" });
    tile.reader = el("span", { class: "tile-reader", hidden: true });
    tile.append(
      el("span", { class: "tile-head" }, tile.face, tile.now),
      el("span", { class: "tile-body" }, tile.room, el("span", { class: "tile-side" }, tile.sign, tile.ink)),
      tile.word,
      tile.figures,
      tile.why,
      tile.reader,
    );
    return tile;
  }

  #updateTile(tile, face) {
    const store = this.#store;
    const reason = store.whyNotFace(face);
    const verdict = store.verdictOf(face);
    const isCurrent = reason === null && verdict !== null;
    const shown = isCurrent ? shownVerdict(store, face) : "";
    const hasBegun = begun(reason, store, face);
    const isEmpty = reason?.code === "no-result" && !hasBegun;
    setAttribute(tile, "data-verdict", shown);
    setAttribute(tile, "data-stale", reason !== null && !isEmpty && !hasBegun);
    setAttribute(tile, "data-empty", isEmpty);
    setAttribute(tile, "aria-pressed", String(face === store.face));
    show(tile.now, store.isScanning && face === store.faceOnStage && reason?.code !== "broker");
    setIcon(tile.sign, shown || (isEmpty || hasBegun ? "none" : "stale"));
    setText(tile.word, hasBegun ? "Scan has begun" : shown ? verdictWord(store, shown) : tileWord(verdict, reason, isEmpty));
    show(tile.figures, shown !== "");
    if (shown) {
      setText(tile.coverage, percent(verdict.coverage));
      setText(tile.depth, millimetres(verdict.visualised_depth_mm));
    }
    const why = hasBegun || isEmpty || reason === null ? "" : whyNotCurrent(store, verdict, reason);
    show(tile.why, why !== "");
    setAttribute(tile.why, "data-brief", why.length <= BRIEF);
    setText(tile.why, why);
    this.#sayInk(tile, face);
    this.#sayReader(tile, face);
    this.#drawSoon(tile, face, withheld(reason));
  }

  #sayInk(tile, face) {
    const { tally, site } = this.#store;
    const colour = (tally.case?.ink ?? {})[face] ?? (site.ink ?? {})[face];
    show(tile.ink, Boolean(colour));
    if (!colour) return;
    setText(tile.ink, colour);
    tile.ink.style.setProperty("--ink", INK_COLOURS[colour.toLowerCase()] ?? "transparent");
  }

  #sayReader(tile, face) {
    const said = readersInShort(saidOnFace(this.#store, face));
    show(tile.reader, said !== "");
    setText(tile.reader, said);
  }

  #drawSoon(tile, face, isWithheld) {
    const grid = this.#store.grids.get(face);
    const scan = this.#store.tally.description?.scan;
    tile.room.style.setProperty("--ratio", scan?.width_mm && scan.height_mm ? scan.width_mm / scan.height_mm : 1);
    const { monoMs } = this.#store.now();
    const version = grid && !isWithheld ? String(grid.version) : "none";
    const drawn = this.#drawn.get(face);
    const isResized = fitCanvas(tile.picture);
    if (!isResized && drawn?.version === version) return;
    if (!isResized && version !== "none" && drawn && monoMs - drawn.atMs < REDRAW_MS) {
      this.#redrawLater();
      return;
    }
    this.#drawn.set(face, { version, atMs: monoMs });
    const context = tile.picture.getContext("2d");
    const scale = (window.devicePixelRatio || 1) * 0.75;
    drawMap(context, version === "none" ? NOTHING : grid, { scale });
  }

  #redrawLater() {
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.#store.touch(PART.FACES);
    }, REDRAW_MS);
  }

  #summarise(faces) {
    const store = this.#store;
    const counts = new Map();
    for (const face of faces) {
      const verdict = store.verdictOf(face);
      const reason = store.whyNotFace(face);
      const isOpen = reason?.code === "no-result" || begun(reason, store, face);
      const key = isOpen ? "none" : reason === null && verdict !== null ? shownVerdict(store, face) : "stale";
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    const keys = ["suspicious", "indeterminate", "nothing_suspicious", "stale", "scanning", "none"].filter((key) => counts.has(key));
    syncChildren(
      this.#summary,
      keys,
      (key) => el("li", { data: { verdict: key } }, icon(key), el("span")),
      (item, key) => setText(item.lastChild, `${counts.get(key)} ${SUMMARY_WORDS[key]}`),
    );
  }
}

const NOTHING = { frames: 0, blocks: 0 };
const SUMMARY_WORDS = {
  suspicious: "suspicious",
  indeterminate: "indeterminate",
  nothing_suspicious: "nothing suspicious",
  stale: "not current",
  scanning: "being scanned",
  none: "not judged yet",
};

// A verdict's own word; or that it is open because the sweep goes on, which says nothing of the tissue.
export function shownVerdict(store, face) {
  return store.isUnderWay(face) ? "scanning" : store.verdictOf(face).verdict;
}

// What it is called: a scan that stands still is not one that goes on.
export function verdictWord(store, shown) {
  return shown === "scanning" && store.tally.case?.phase === "paused" ? "Paused" : VERDICTS[shown];
}

// Whether flags of a scan have come and no result yet: nothing is known, and nothing is stale.
export function begun(reason, store, face) {
  return ["superseded", "no-result"].includes(reason?.code) && store.isDrawnAnew(face);
}

// What is not of this specimen, or cannot be read, is not shown even in grey.
export function withheld(reason) {
  return reason !== null && ["other-specimen", "earlier-run", "unreadable", "no-case"].includes(reason.code);
}

function tileWord(verdict, reason, isEmpty) {
  if (isEmpty) return "Not scanned";
  return reason === null && verdict === null ? "No verdict yet" : "Not current";
}

// What a verdict was is repeated only where it was a warning.
function wasSuspicious(verdict, reason) {
  return verdict?.verdict === "suspicious" && reason !== null && !withheld(reason);
}

// Why something of a face is not current; what holds for everything is said once, across the page.
export function whyNotCurrent(store, verdict, reason) {
  const isSaid = store.trust.whyNotLive(store.now())?.code === reason.code;
  return [wasSuspicious(verdict, reason) ? "was suspicious" : "", isSaid ? "" : sayReason(reason)].filter(Boolean).join("; ");
}

// A figure that is read from afar behind its name, which need not be.
function labelled(name, figure) {
  return el("span", { class: "labelled" }, el("span", { class: "label", text: name }), " ", figure);
}

// What readers say on the face as a whole, of the sweep that is shown.
export function saidOnFace(store, face) {
  return saidOf(store.tally.decisionOf(face), store.verdictOf(face)?.sweep);
}
