// A day of the board keeps itself up to date, on the clerk's page and on the wall.
// No text of its own: words come from the templates. Without it the page is as it was when opened.
"use strict";

(() => {
  const board = document.getElementById("board");
  if (!board) return;
  const lost = document.getElementById("lost");
  const pause = document.querySelector("[data-pause]");
  const updated = document.querySelector("[data-updated]");
  const ROWS = "[data-v]";
  const reduced = matchMedia("(prefers-reduced-motion: reduce)");

  // --- the site's clock ---------------------------------------------------------------------------

  // The computer's own may be of another zone, or wrong: only how much time passes is taken from it.
  let told = board.dataset.now;
  let toldAt = performance.now();

  const learn = (time) => {
    if (!time) return;
    told = time;
    toldAt = performance.now();
  };
  const clock = () => {
    const [hours, minutes, seconds] = told.split(":").map(Number);
    const now = hours * 3600 + minutes * 60 + seconds + Math.floor((performance.now() - toldAt) / 1000);
    return [now / 3600 % 24, now / 60 % 60].map((part) => String(Math.floor(part)).padStart(2, "0")).join(":");
  };

  // --- asking -------------------------------------------------------------------------------------

  let timer;
  let isPaused = false;
  let running = null;
  let following = null;

  // Nothing may move under who is choosing or typing; `data-holds` is an element that wants that.
  const isHeld = () => "typing" in board.dataset ||
    document.querySelector("dialog[open], details[data-menu][open], [data-holds]:not([hidden])");
  const rests = () => isPaused || document.hidden || isHeld();

  const next = (seconds = Number(board.dataset.every)) => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (following && !isHeld()) ask(following);
      else if (rests()) next(following ? seconds : undefined);
      else ask({ isBackground: true });
    }, seconds * 1000);
  };

  // Whom one searches for is told beside the address, which ends in histories and logs.
  const search = document.getElementById("q");
  const question = () => `${location.search} ${search ? search.value.trim() : ""}`;

  // Out of reach is answered like out of order.
  const reach = (...request) => fetch(...request).catch(() => new Response("", { status: 503 }));

  // `isWanted`: a person has asked for just this answer, and gets it even while updates are paused.
  const ask = async (how) => {
    if (running) {
      following = how;
      return;
    }
    following = null;
    running = { ...how, question: question() };
    await htmx.ajax("GET", location.pathname + location.search, {
      source: board, target: board, swap: "innerMorph", fetch: reach,
    });
    running = null;
    next(following ? 0.1 : undefined);
  };

  // An answer that comes when the page must not move, or to what is no longer asked, is dropped.
  const isUnwelcome = () =>
    running.question !== question() || (running.isWanted ? isHeld() : rests());
  const drop = (event) => {
    event.preventDefault();
    // Read to its end all the same, or it keeps the connection.
    event.detail.ctx.response.raw.text().catch(() => {});
    if (running.isWanted && !following) following = { isWanted: true };
  };

  document.addEventListener("htmx:config:request", (event) => {
    const { ctx } = event.detail;
    if (ctx.sourceElement !== board) return;
    // Only a request that says so itself gets to see a 304.
    if (board.dataset.etag) ctx.request.headers["If-None-Match"] = board.dataset.etag;
    if (search?.value.trim()) ctx.request.headers["X-Search"] = encodeURIComponent(search.value.trim());
    if (running.isBackground) ctx.request.headers["X-Background"] = "1";
  });

  document.addEventListener("htmx:before:response", (event) => {
    const { ctx } = event.detail;
    if (ctx.sourceElement !== board) return;
    const { status, headers } = ctx.response;
    if (status === 401) {
      setLost(false);
      return;
    }
    if (status !== 200 && status !== 304) {
      event.preventDefault(); // what stands here is older, but it is the board
      // The right to see it, or a wall's link, was taken away: the page itself says so.
      if (status === 403 || status === 404) location.reload();
      else setLost(true);
      return;
    }
    learn(headers.get("X-Site-Time"));
    setLost(false);
    if (isUnwelcome()) drop(event);
    else if (status === 304 && updated) updated.textContent = told;
  });
  document.addEventListener("htmx:after:request", (event) => {
    // The session's end is asked for by the frame; nothing of that answer belongs on the board.
    if (event.detail.ctx?.sourceElement === board && event.detail.ctx.response.status === 401) event.preventDefault();
  });

  board.addEventListener("board:ask", () => ask({ isWanted: true }));
  document.addEventListener("visibilitychange", () => { if (!rests()) ask({ isBackground: true }); });
  addEventListener("online", () => { if (!rests()) ask({ isBackground: true }); });
  if (pause) {
    pause.hidden = false;
    pause.addEventListener("click", () => {
      isPaused = !isPaused;
      pause.setAttribute("aria-pressed", String(isPaused));
      if (!isPaused) ask({});
    });
  }

  // --- a lost connection --------------------------------------------------------------------------

  const words = lost.querySelector("[data-words]");
  const needServer = () =>
    [...document.querySelectorAll(":is(header, main) :is(a[href], button, select, input:not([type=hidden]))")]
      .filter((control) => !control.closest("#lost, [data-pause]"));

  const setLost = (isLost) => {
    if (isLost) needServer().forEach(switchOff);
    if (lost.hidden !== isLost) return;
    lost.hidden = !isLost;
    document.body.classList.toggle("is-lost", isLost);
    words.textContent = isLost ? lost.dataset.text.replace("{time}", clock()) : "";
    window.say(isLost ? words.textContent : lost.dataset.found);
    if (!isLost) needServer().forEach(switchOn);
  };
  const switchOff = (control) => {
    control.setAttribute("aria-disabled", "true");
    // What is half typed keeps its place; a list cannot be read-only.
    if (control.matches("input")) control.readOnly = true;
    if (control.matches("select")) control.disabled = true;
  };
  const switchOn = (control) => {
    control.removeAttribute("aria-disabled");
    if (control.matches("input")) control.readOnly = false;
    if (control.matches("select")) control.disabled = false;
  };
  // What needs the server says so instead of leading to an error page and away from the list.
  const refuse = (event) => {
    const isMeant = event.type === "submit" || event.target.closest("[aria-disabled=true]");
    if (lost.hidden || !isMeant || event.target.closest("dialog")) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    lost.scrollIntoView({ block: "nearest" });
    window.say(words.textContent);
  };
  document.addEventListener("click", refuse, true);
  document.addEventListener("submit", refuse, true);
  lost.querySelector("[data-try]").addEventListener("click", () => ask({ isWanted: true }));

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
  let shown = question();

  document.addEventListener("htmx:before:swap", (event) => {
    const { ctx } = event.detail;
    if (ctx?.target !== board) return;
    if (isUnwelcome()) {
      drop(event);
      return;
    }
    board.dataset.etag = ctx.response.headers.get("ETag") || "";
    if (updated) updated.textContent = told;
    before = states();
    const row = board.contains(document.activeElement) && document.activeElement.closest("[id]");
    focused = row && row !== board ? [row.id, [...row.querySelectorAll("a, button")].indexOf(document.activeElement)] : null;
  });
  document.addEventListener("htmx:after:swap", (event) => {
    if (event.detail.ctx?.target !== board) return;
    if (focused && !board.contains(document.activeElement)) {
      document.getElementById(focused[0])?.querySelectorAll("a, button")[focused[1]]?.focus({ preventScroll: true });
    }
    const isSame = shown === question();
    shown = question();
    if (isSame) {
      const added = [...board.querySelectorAll("[data-emergency]")].find((each) => !known.has(each.dataset.emergency));
      if (added) window.say(added.textContent);
      if (!reduced.matches) glow();
    }
    for (const each of emergencies()) known.add(each);
    board.dispatchEvent(new Event("board:shown"));
  });

  const glow = () => {
    for (const row of board.querySelectorAll(`${ROWS}[id]`)) {
      if (before.get(row.id) === state(row)) continue;
      row.classList.add("is-new");
      setTimeout(() => row.classList.remove("is-new"), 3000);
    }
  };

  next();
})();
