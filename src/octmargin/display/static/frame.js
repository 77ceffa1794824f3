// What stands around the parts: the legend, and the tabs of the map.

import { el } from "./dom.js";
import { patternOf } from "./patterns.js";
import { BLOCK_WORDS } from "./words.js";

const SWATCH = { width: 30, height: 22 };

export function drawLegend(root) {
  const scale = window.devicePixelRatio || 1;
  BLOCK_WORDS.forEach((words, state) => {
    const swatch = el("canvas", { class: "swatch", width: SWATCH.width * scale, height: SWATCH.height * scale, "aria-hidden": "true" });
    const context = swatch.getContext("2d");
    context.fillStyle = patternOf(context, state, scale);
    context.fillRect(0, 0, swatch.width, swatch.height);
    root.append(el("li", {}, swatch, el("span", { text: words })));
  });
}

// Tabs as ARIA has them: arrows go from one to the next.
export function makeTabs(tabs) {
  const choose = (chosen) => {
    for (const tab of tabs) {
      const isChosen = tab === chosen;
      tab.setAttribute("aria-selected", String(isChosen));
      tab.tabIndex = isChosen ? 0 : -1;
      document.getElementById(tab.getAttribute("aria-controls")).hidden = !isChosen;
    }
  };
  tabs.forEach((tab, place) => {
    tab.addEventListener("click", () => choose(tab));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      event.stopPropagation();
      const next = tabs[(place + step + tabs.length) % tabs.length];
      choose(next);
      next.focus();
    });
  });
}
