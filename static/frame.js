// What every page does: notices that close, forms that are sent once, menus, the idle dialog, keys.
// No text of its own: words come from the templates. Nothing here is needed to book an exam.
"use strict";

(() => {
  const body = document.body;

  // --- notices, menus, small helpers ------------------------------------------------------------

  document.addEventListener("click", (event) => {
    const close = event.target.closest("[data-close]");
    if (close) close.closest("[data-notice], dialog")?.[close.closest("dialog") ? "close" : "remove"]();
    const show = event.target.closest("[data-show-password]");
    if (show) {
      const field = document.getElementById(show.dataset.showPassword);
      const shown = field.type === "text";
      field.type = shown ? "password" : "text";
      show.setAttribute("aria-pressed", String(!shown));
    }
    if (event.target.closest("[data-print]")) print();
    for (const menu of document.querySelectorAll("details[data-menu][open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of document.querySelectorAll("details[data-menu][open]")) {
      menu.open = false;
      menu.querySelector("summary").focus();
      event.preventDefault();
    }
  });
  for (const show of document.querySelectorAll("[data-show-password], [data-print]")) show.hidden = false;
  document.querySelector(".problem[autofocus]")?.focus();

  // Notices that offer nothing to do leave after a while; errors and offers stay.
  const fade = (root) => {
    for (const notice of root.querySelectorAll("[data-notice]:not([role=alert], [data-fades])")) {
      notice.dataset.fades = "";
      const seconds = Number(notice.dataset.seconds || 10);
      setTimeout(() => notice.remove(), seconds * 1000);
    }
  };
  fade(document);
  document.addEventListener("htmx:after:swap", () => fade(document));

  // What a screen reader is told: at most one sentence at a time.
  window.say = (sentence) => {
    const live = document.getElementById("live");
    if (live && sentence) live.textContent = sentence;
  };

  // A form is sent once: its buttons rest until the answer is there.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.matches("[data-once]")) return;
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "yes";
    setTimeout(() => form.querySelectorAll("button").forEach((button) => { button.disabled = true; }));
  });
  addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-sent]")) {
      delete form.dataset.sent;
      form.querySelectorAll("button").forEach((button) => { button.disabled = false; });
    }
  });

  // --- the end of a session ----------------------------------------------------------------------

  const session = document.getElementById("session");
  if (session && body.dataset.idle) {
    const idle = Number(body.dataset.idle) * 1000;
    const warning = Math.min(120000, idle / 2);
    const [soon, over] = ["soon", "over"].map((name) => session.querySelector(`[data-part=${name}]`));
    let timers = [];
    const show = (part) => {
      soon.hidden = part !== soon;
      over.hidden = part !== over;
      if (!session.open) session.showModal();
    };
    const start = () => {
      timers.forEach(clearTimeout);
      timers = [setTimeout(() => show(soon), idle - warning), setTimeout(() => show(over), idle)];
    };
    const token = () => session.querySelector("[name=csrfmiddlewaretoken]").value;
    session.querySelector("[data-stay-signed-in]").addEventListener("click", async () => {
      const answer = await fetch(body.dataset.stay, { method: "POST", headers: { "X-CSRFToken": token() } });
      if (answer.ok) {
        session.close();
        start();
      } else {
        show(over);
      }
    });
    session.addEventListener("cancel", (event) => { if (!over.hidden) event.preventDefault(); });
    over.addEventListener("submit", async (event) => {
      event.preventDefault();
      const answer = await fetch(body.dataset.signIn, {
        method: "POST", body: new FormData(over), headers: { "X-Inline": "1" },
      });
      const told = await answer.json().catch(() => ({}));
      over.querySelector("[data-error]").textContent = (told.errors || []).join(" ");
      if (!answer.ok) return;
      over.reset();
      for (const field of document.querySelectorAll("[name=csrfmiddlewaretoken]")) field.value = told.token;
      session.close();
      start();
    });
    document.addEventListener("htmx:after:request", (event) => {
      if (event.detail.ctx?.response?.status === 401) show(over);
      else if (!event.detail.ctx?.request?.headers?.["X-Background"]) start();
    });
    start();
  }

  // --- keys ---------------------------------------------------------------------------------------

  // A link, button or field with data-key answers to that single key, unless one is typing.
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || body.dataset.keys !== "on" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, select, textarea, [contenteditable], dialog[open]")) return;
    if (document.querySelector("dialog[open]")) return;
    const wanted = [...document.querySelectorAll("[data-key]")].find(
      (element) => element.dataset.key === event.key && element.getClientRects().length,
    );
    if (!wanted) return;
    event.preventDefault();
    if (wanted.matches("input, select, textarea")) wanted.focus();
    else wanted.click();
  });
})();
