// The board keeps itself up to date, searches as one types, and takes keys and menus of its rows.
// No text of its own: words come from the templates. Without it the board is links and a form.
"use strict";

(() => {
  const board = document.getElementById("board");
  if (!board) return;
  const form = document.getElementById("filters");
  const search = document.getElementById("q");
  const lost = document.getElementById("lost");
  const pause = document.querySelector("[data-pause]");
  const menu = document.getElementById("row-menu");
  const ROWS = "[data-v]";
  const reduced = matchMedia("(prefers-reduced-motion: reduce)");

  // --- refreshing ---------------------------------------------------------------------------------

  let timer;
  let isPaused = false;
  let isAsking = false;
  let askAgain = false;
  let isBackground = false;

  const isHeld = () =>
    isPaused || document.hidden || (menu && !menu.hidden) ||
    document.querySelector("dialog[open], details[data-menu][open]");

  const next = () => {
    clearTimeout(timer);
    timer = setTimeout(() => (isHeld() ? next() : ask(true)), Number(board.dataset.every) * 1000);
  };

  // Out of reach is answered like out of order.
  const reach = (...request) => fetch(...request).catch(() => new Response("", { status: 503 }));

  const ask = async (background) => {
    if (isAsking) {
      askAgain = true;
      return;
    }
    isAsking = true;
    isBackground = background;
    await htmx.ajax("GET", location.pathname + location.search, {
      source: board, target: board, swap: "innerMorph", fetch: reach,
    });
    isAsking = false;
    if (askAgain) {
      askAgain = false;
      ask(false);
    } else {
      next();
    }
  };

  document.addEventListener("htmx:config:request", (event) => {
    const { ctx } = event.detail;
    if (ctx.sourceElement !== board) return;
    // Only a request that says so itself gets to see a 304.
    if (board.dataset.etag) ctx.request.headers["If-None-Match"] = board.dataset.etag;
    if (isBackground) ctx.request.headers["X-Background"] = "1";
  });

  document.addEventListener("htmx:before:response", (event) => {
    const { ctx } = event.detail;
    if (ctx.sourceElement !== board) return;
    const { status } = ctx.response;
    if (status !== 200 && status !== 304) {
      event.preventDefault(); // what stands here is older, but it is the board
      if (status !== 401) setLost(true);
      return;
    }
    setLost(false);
    if (status === 200) board.dataset.etag = ctx.response.headers.get("ETag") || "";
    const updated = document.querySelector("[data-updated]");
    if (updated) updated.textContent = clock(true);
  });
  document.addEventListener("htmx:after:request", (event) => {
    // The session's end is asked for by the frame; nothing of that answer belongs on the board.
    if (event.detail.ctx?.sourceElement === board && event.detail.ctx.response.status === 401) event.preventDefault();
  });

  const two = (number) => String(number).padStart(2, "0");
  const clock = (seconds) => {
    const now = new Date();
    return [now.getHours(), now.getMinutes(), ...(seconds ? [now.getSeconds()] : [])].map(two).join(":");
  };

  const setLost = (isLost) => {
    if (lost.hidden !== isLost) return;
    lost.hidden = !isLost;
    board.classList.toggle("is-lost", isLost);
    const words = lost.querySelector("[data-words]");
    words.textContent = isLost ? lost.dataset.text.replace("{time}", clock(false)) : "";
    if (isLost) window.say(words.textContent);
  };

  lost.querySelector("[data-try]").addEventListener("click", () => ask(false));
  document.addEventListener("visibilitychange", () => { if (!document.hidden && !isHeld()) ask(true); });
  if (pause) {
    pause.hidden = false;
    pause.addEventListener("click", () => {
      isPaused = !isPaused;
      pause.setAttribute("aria-pressed", String(isPaused));
      if (!isPaused) ask(false);
    });
  }

  // --- what a refresh keeps, marks and says -------------------------------------------------------

  // A row's state, without the minutes that pass by themselves.
  const state = (row) => {
    const late = row.querySelector(".late")?.textContent || "";
    return `${row.dataset.v} ${row.textContent.replace(late, "")}`;
  };
  const states = () => new Map([...board.querySelectorAll(`${ROWS}[id]`)].map((row) => [row.id, state(row)]));
  const emergencies = () => new Set([...board.querySelectorAll("[data-emergency]")].map((each) => each.dataset.emergency));
  let before = new Map();
  let known = emergencies();
  let focused = null;
  let address = location.href;

  document.addEventListener("htmx:before:swap", (event) => {
    if (event.detail.ctx?.target !== board) return;
    before = states();
    const row = board.contains(document.activeElement) && document.activeElement.closest("[id]");
    focused = row && row !== board ? [row.id, [...row.querySelectorAll("a, button")].indexOf(document.activeElement)] : null;
  });
  document.addEventListener("htmx:after:swap", (event) => {
    if (event.detail.ctx?.target !== board) return;
    if (focused && !board.contains(document.activeElement)) {
      document.getElementById(focused[0])?.querySelectorAll("a, button")[focused[1]]?.focus({ preventScroll: true });
    }
    const isSame = address === location.href;
    address = location.href;
    if (isSame) {
      const added = [...board.querySelectorAll("[data-emergency]")].find((each) => !known.has(each.dataset.emergency));
      if (added) window.say(added.textContent);
      if (!reduced.matches) glow();
    }
    for (const each of emergencies()) known.add(each);
  });

  const glow = () => {
    for (const row of board.querySelectorAll(`${ROWS}[id]`)) {
      if (before.get(row.id) === state(row)) continue;
      row.classList.add("is-new");
      setTimeout(() => row.classList.remove("is-new"), 3000);
    }
  };

  // --- search and filters -------------------------------------------------------------------------

  const show = () => {
    const url = new URL(location.href);
    for (const name of ["q", "day", "station", "status"]) {
      const field = form.elements[name];
      const value = field.value.trim();
      if (value && value !== field.dataset.usual) url.searchParams.set(name, value);
      else url.searchParams.delete(name);
    }
    history.replaceState(history.state, "", url);
    for (const link of document.querySelectorAll("a[data-keeps]")) {
      const target = new URL(link.href);
      for (const name of ["q", "station", "status"]) {
        const value = url.searchParams.get(name);
        if (value) target.searchParams.set(name, value);
        else target.searchParams.delete(name);
      }
      link.href = target.pathname + target.search;
    }
    board.dataset.etag = "";
    ask(false);
  };

  if (form) {
    let typing;
    search.addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(show, 200);
    });
    search.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !search.value) return;
      event.preventDefault();
      clear();
    });
    const clear = () => {
      search.value = "";
      clearTimeout(typing);
      show();
      search.focus();
    };
    board.addEventListener("click", (event) => {
      if (!event.target.closest("[data-clear]")) return;
      event.preventDefault();
      clear();
    });
    for (const name of ["station", "status"]) form.elements[name].addEventListener("change", show);
    form.addEventListener("submit", (event) => {
      // Another day is another page: its heading and its ways on change with it.
      if (form.elements.day.value !== form.elements.day.defaultValue) return;
      event.preventDefault();
      clearTimeout(typing);
      show();
    });
    form.elements.day.addEventListener("change", () => { if (form.elements.day.value) form.requestSubmit(); });
    form.querySelector("[data-apply]").hidden = true;
    const folded = form.querySelector("details");
    if (matchMedia("(max-width: 44rem)").matches) folded.open = false;
  }

  // --- a row's menu -------------------------------------------------------------------------------

  let opener = null;

  const fill = (row) => {
    // Two ways to know the patient by, before anything is changed.
    const known = [...row.querySelectorAll("a bdi:first-child, i, .id, .time ~ td:nth-child(3)")];
    menu.querySelector("[data-name]").textContent = known.map((each) => each.textContent).join(" · ");
    for (const item of menu.querySelectorAll("[data-at]")) {
      const pk = item.dataset.of === "patient" ? row.dataset.p : /\d+/.exec(row.id)[0];
      const target = item.dataset.at.replace("/0/", `/${pk}/`);
      item.hidden = item.dataset.from !== undefined && !item.dataset.from.split(" ").includes(row.dataset.s);
      if (item.matches("form")) {
        item.action = target;
        item.elements.version.value = row.dataset.v;
        item.elements.next.value = location.pathname + location.search;
      } else {
        item.href = `${target}?${new URLSearchParams({ next: location.pathname + location.search })}`;
      }
    }
  };
  const close = (refocus) => {
    if (!menu || menu.hidden) return;
    menu.hidden = true;
    document.querySelector("main").append(menu);
    opener.setAttribute("aria-expanded", "false");
    if (refocus) opener.focus();
  };

  document.addEventListener("click", (event) => {
    const more = menu && event.target.closest("a.more");
    if (!more || event.ctrlKey || event.metaKey || event.shiftKey) {
      if (!event.target.closest("#row-menu")) close(false);
      return;
    }
    event.preventDefault();
    const wasOpen = !menu.hidden && opener === more;
    close(false);
    if (wasOpen || !lost.hidden) return;
    opener = more;
    fill(more.closest(ROWS));
    more.setAttribute("aria-expanded", "true");
    more.after(menu);
    menu.hidden = false;
    menu.querySelector("a:not([hidden]), form:not([hidden]) button")?.focus();
    menu.scrollIntoView({ block: "nearest" });
  });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") close(true); });

  // --- keys of the rows ---------------------------------------------------------------------------

  const links = () => [...board.querySelectorAll(ROWS)].map((row) => row.querySelector("a")).filter(Boolean);

  document.addEventListener("keydown", (event) => {
    if (document.body.dataset.keys !== "on" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, select, textarea, [contenteditable]") || document.querySelector("dialog[open]")) return;
    const { key } = event;
    const row = document.activeElement.closest(ROWS);
    if (key === "j" || key === "k") {
      const all = links();
      const at = row ? all.indexOf(row.querySelector("a")) : key === "j" ? -1 : all.length;
      all[at + (key === "j" ? 1 : -1)]?.focus();
    } else if (form && /^[0-9]$/.test(key)) {
      const { station } = form.elements;
      if (Number(key) >= station.options.length) return;
      station.selectedIndex = Number(key);
      show();
    } else if (row && menu && lost.hidden) {
      const item = menu.querySelector(`[data-row-key="${CSS.escape(key)}"]`);
      if (!item) return;
      if (menu.hidden) fill(row);
      if (!item.closest("[data-at]").hidden) item.click();
    } else {
      return;
    }
    event.preventDefault();
  });

  next();
})();
