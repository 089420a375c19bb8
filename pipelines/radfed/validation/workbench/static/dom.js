// Elements, and what a screen reader is told. Text always goes in as text, never as markup.

/** Makes an element; functions become listeners, true an empty attribute; false, null and undefined leave it out. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name, value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Says a sentence to assistive technology. The same sentence twice is said twice. */
export function announce(sentence) {
  const status = document.getElementById("status");
  status.textContent = "";
  setTimeout(() => { status.textContent = sentence; }, 30);
}

/** A box for what went wrong: empty and silent until told something. */
export function problemBox() {
  const box = h("p", { class: "notice bad", role: "alert", hidden: true });
  return {
    element: box,
    show(message) { box.textContent = message; box.hidden = false; },
    clear() { box.textContent = ""; box.hidden = true; },
  };
}

/** A square of a colour. Set by script, so that no style stands in the markup. */
export function swatch(colour) {
  const square = h("span", { class: "swatch", "aria-hidden": "true" });
  square.style.backgroundColor = colour;
  return square;
}

/** A button that cannot be pressed twice while its work is under way. */
export function button(label, work, attributes = {}) {
  const element = h("button", { type: "button", ...attributes, click: async () => {
    if (element.getAttribute("aria-disabled") === "true") return;
    element.setAttribute("aria-disabled", "true");
    try { await work(); } finally { element.removeAttribute("aria-disabled"); }
  } }, label);
  return element;
}

/** A table that scrolls inside its own frame, by keyboard as well. */
export function scrollTable(name, head, rows) {
  const table = h("table", {},
    h("caption", { class: "visually-hidden" }, name),
    h("thead", {}, h("tr", {}, head.map((cell) => h("th", { scope: "col" }, cell)))),
    h("tbody", {}, rows));
  return h("div", { class: "scroll", role: "region", "aria-label": name, tabindex: "0" }, table);
}
