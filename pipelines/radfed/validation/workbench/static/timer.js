// The time a reader spends with a case: it stands still while the page is hidden.

import { h } from "./dom.js";
import { clock } from "./format.js";

/** Counts on from `before` seconds; `element` shows it. */
export function readingTimer(before) {
  let kept = before;
  let since = document.hidden ? null : performance.now();
  const seconds = () => kept + (since === null ? 0 : (performance.now() - since) / 1000);
  const shown = h("span", { class: "timer", role: "timer", "aria-live": "off", "aria-label": "Time with this case" });
  const draw = () => { shown.textContent = clock(seconds()); };
  const turned = () => {
    kept = seconds();
    since = document.hidden ? null : performance.now();
  };
  document.addEventListener("visibilitychange", turned);
  const ticking = setInterval(draw, 1000);
  draw();
  return {
    element: shown,
    seconds,
    stop() {
      clearInterval(ticking);
      document.removeEventListener("visibilitychange", turned);
    },
  };
}
