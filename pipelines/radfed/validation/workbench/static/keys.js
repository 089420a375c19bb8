// Single-key shortcuts. They can be switched off (WCAG 2.1.4), and never fire while somebody types.

const bindings = [];
const STORE = "radfed.shortcuts";
const TYPING = "textarea, select, [contenteditable], input:not([type=radio]):not([type=checkbox]):not([type=range])";

let on = localStorage.getItem(STORE) !== "off";

export const shortcutsOn = () => on;

export function setShortcuts(wanted) {
  on = wanted;
  localStorage.setItem(STORE, wanted ? "on" : "off");
}

/** Binds keys until the returned function is called. A binding: {keys, label, run, group}. */
export function bind(added) {
  bindings.push(...added);
  return () => added.forEach((binding) => bindings.splice(bindings.indexOf(binding), 1));
}

/** What works now, for the help. */
export const boundKeys = () => bindings.slice();

document.addEventListener("keydown", (event) => {
  const busy = document.querySelector("dialog[open]") || event.target.closest?.(TYPING);
  if (!on || busy || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const binding = bindings.find(({ keys }) => keys.includes(event.key));
  if (!binding) return;
  event.preventDefault();
  event.stopPropagation();
  binding.run(event.key);
}, true);
