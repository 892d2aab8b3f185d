// The clerk's board: searches as one types, takes keys and menus of its rows, leads back to a row.
// No text of its own: words come from the templates. Without it the board is links and a form.
"use strict";

(() => {
  const board = document.getElementById("board");
  const form = document.getElementById("filters");
  const menu = document.getElementById("row-menu");
  if (!board || !form || !menu) return;
  const search = document.getElementById("q");
  const summary = form.querySelector("summary");
  const lost = document.getElementById("lost");
  const ROWS = "[data-v]";
  const here = () => location.pathname + location.search;

  // --- search and filters -------------------------------------------------------------------------

  const show = () => {
    const url = new URL(location.href);
    for (const name of ["day", "station", "status"]) {
      const field = form.elements[name];
      const value = field.value.trim();
      if (value && value !== field.dataset.usual) url.searchParams.set(name, value);
      else url.searchParams.delete(name);
    }
    // For "back" and for a reload of this tab; it is sent to nobody.
    history.replaceState({ search: search.value }, "", url);
    for (const link of document.querySelectorAll("a[data-keeps]")) {
      const target = new URL(link.href);
      for (const name of ["station", "status"]) {
        const value = url.searchParams.get(name);
        if (value) target.searchParams.set(name, value);
        else target.searchParams.delete(name);
      }
      link.href = target.pathname + target.search;
    }
    const narrowing = ["modality", "station", "status"].filter((name) => url.searchParams.get(name)).length;
    summary.textContent = narrowing ? summary.dataset.some.replace("{count}", narrowing) : summary.dataset.none;
    board.dataset.etag = "";
    done();
    board.dispatchEvent(new Event("board:ask"));
  };

  // While one types, refresh.js lets nothing move.
  let typing;
  const done = () => {
    clearTimeout(typing);
    delete board.dataset.typing;
  };
  form.addEventListener("input", () => {
    board.dataset.typing = "";
    clearTimeout(typing);
    typing = setTimeout(done, 1000);
  });
  search.addEventListener("input", () => {
    board.dataset.typing = "";
    clearTimeout(typing);
    typing = setTimeout(show, 200);
  });
  search.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") {
      links()[0]?.focus();
    } else if (event.key === "Escape" && !search.value) {
      search.blur();
    } else if (event.key === "Escape" && lost.hidden) {
      clear();
    } else {
      return;
    }
    event.preventDefault();
  });
  // A list for paper or a spreadsheet is of what is searched for, too.
  search.form.addEventListener("submit", (event) => {
    if (event.submitter?.hasAttribute("formaction")) return;
    event.preventDefault();
    show();
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-searched]");
    if (!link || !search.value.trim() || event.defaultPrevented) return;
    event.preventDefault();
    const { action } = search.form;
    search.form.action = link.href;
    search.form.submit();
    search.form.action = action;
  });
  const clear = () => {
    search.value = "";
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
    show();
  });
  form.elements.day.addEventListener("change", () => { if (form.elements.day.value) form.requestSubmit(); });
  form.querySelector("[data-apply]").hidden = true;
  const folded = form.querySelector("details");
  if (matchMedia("(max-width: 44rem)").matches) folded.open = false;

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
        item.elements.next.value = here();
      } else {
        item.href = `${target}?${new URLSearchParams({ next: here() })}`;
      }
    }
  };
  const close = (refocus) => {
    if (menu.hidden) return;
    menu.hidden = true;
    document.querySelector("main").append(menu);
    opener.setAttribute("aria-expanded", "false");
    if (refocus) opener.focus();
  };

  document.addEventListener("click", (event) => {
    const more = event.target.closest("a.more");
    if (!more || event.ctrlKey || event.metaKey || event.shiftKey) {
      if (!event.target.closest("#row-menu")) close(false);
      return;
    }
    event.preventDefault();
    const wasOpen = !menu.hidden && opener === more;
    close(false);
    if (wasOpen) return;
    opener = more;
    fill(more.closest(ROWS));
    more.setAttribute("aria-expanded", "true");
    more.after(menu);
    menu.hidden = false;
    menu.querySelector("a:not([hidden]), form:not([hidden]) button")?.focus();
    menu.scrollIntoView({ block: "nearest" });
  });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") close(true); });

  // --- back from what a row led to -----------------------------------------------------------------

  const PLACE = "board-place";

  // It is taken away when one is back; what was searched for leaves this tab for nowhere else.
  document.addEventListener("click", (event) => {
    const row = event.target.closest("#row-menu a, #row-menu button") ? opener?.closest(ROWS) : event.target.closest(ROWS);
    if (row && event.target.closest("a, button")) keep(row);
  });
  const keep = (row) => {
    const rows = [...board.querySelectorAll(ROWS)];
    const after = rows[rows.indexOf(row) + 1];
    sessionStorage.setItem(PLACE, JSON.stringify({ at: here(), rows: [row.id, after?.id], top: scrollY, search: search.value }));
  };
  const shown = () => new Promise((resolve) => {
    board.addEventListener("board:shown", resolve, { once: true });
    show();
  });
  const restore = async () => {
    const place = JSON.parse(sessionStorage.getItem(PLACE) || "{}");
    const isBack = place.at === here();
    const searched = (isBack ? place.search : history.state?.search) || "";
    if (searched && !search.value) {
      search.value = searched;
      await shown();
    }
    if (!isBack) return;
    sessionStorage.removeItem(PLACE);
    scrollTo(0, place.top);
    // Where the exam has left the list, the next one takes its place.
    const row = place.rows.map((id) => id && document.getElementById(id)).find(Boolean);
    row?.querySelector("a")?.focus({ preventScroll: true });
    row?.scrollIntoView({ block: "nearest" });
  };
  restore();

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
    } else if (/^[0-9]$/.test(key)) {
      const { station } = form.elements;
      if (Number(key) >= station.options.length || !lost.hidden) return;
      station.selectedIndex = Number(key);
      show();
    } else if (row && lost.hidden) {
      const item = menu.querySelector(`[data-row-key="${CSS.escape(key)}"]`);
      if (!item) return;
      if (menu.hidden) fill(row);
      if (item.closest("[data-at]").hidden) return;
      keep(row);
      item.click();
    } else {
      return;
    }
    event.preventDefault();
  });
})();
