// On wide screens, moving and cancelling an exam open as a dialog over its page. The form is the one
// of the page of its own, where the same link leads to on small screens and without this file.
"use strict";

(() => {
  // A free time fills the form, as its button does without this file.
  document.addEventListener("click", (event) => {
    const chosen = event.target.closest("#move [name=slot]");
    if (!chosen) return;
    event.preventDefault();
    const [day, time] = chosen.value.split("T");
    document.getElementById("id_day").value = day;
    const field = document.getElementById("id_time");
    field.value = time;
    field.focus();
  });

  const dialog = document.getElementById("exam-dialog");
  const body = document.getElementById("dialog-body");
  if (!dialog) return;

  const focus = () => {
    const first = body.querySelector("[autofocus]") ?? body.querySelector("input:not([type=hidden]), select, button");
    first?.focus();
  };

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (!link || event.defaultPrevented) return;
    if (link.hasAttribute("data-keep") && dialog.contains(link)) {
      event.preventDefault();
      dialog.close();
    }
    const isPlain = event.button === 0 && !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);
    if (!link.hasAttribute("data-dialog") || !isPlain || !matchMedia("(min-width: 60rem)").matches) return;
    event.preventDefault();
    // The browser gives the focus back to where it was once the dialog is closed.
    link.focus();
    htmx.ajax("GET", link.href, { target: "#dialog-body", swap: "innerHTML" });
  });

  document.addEventListener("htmx:after:swap", (event) => {
    if (event.detail.ctx?.target?.id !== "dialog-body") return;
    if (!dialog.open) dialog.showModal();
    focus();
  });
  dialog.addEventListener("close", () => body.replaceChildren());
})();
