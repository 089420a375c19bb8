// Modal dialogs. The browser's own <dialog> traps the focus, closes on Escape and gives the focus back.

import { h } from "./dom.js";

/** Opens a dialog with a heading; returns it. It leaves the page when closed. */
export function openDialog(title, ...content) {
  const back = document.activeElement;
  const id = `dialog-${title.toLowerCase().replaceAll(/[^a-z]+/g, "-")}`;
  const dialog = h("dialog", { "aria-labelledby": id }, h("h2", { id, tabindex: "-1", autofocus: true }, title), ...content);
  dialog.addEventListener("close", () => {
    dialog.remove();
    if (back?.isConnected) back.focus();
  });
  document.getElementById("dialogs").append(dialog);
  dialog.showModal();
  return dialog;
}
