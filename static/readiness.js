// Puts into the head of each lane of the board when its scanner asked last, and what will not show
// there. No words of its own: they come from the address that the board names.
"use strict";

(() => {
  const board = document.querySelector("[data-lanes]");
  if (!board) return;
  const EVERY = 60000;
  let known = new Map();
  let timer;

  const put = () => {
    for (const place of document.querySelectorAll("[data-asked]")) {
      const line = known.get(place.dataset.asked);
      if (line && place.innerHTML !== line.innerHTML) place.replaceChildren(...line.cloneNode(true).childNodes);
    }
  };

  const ask = async () => {
    clearTimeout(timer);
    if (!document.hidden) {
      const day = new URLSearchParams(location.search).get("day") || "";
      const headers = { "HX-Request": "true", "X-Background": "1" };
      const response = await fetch(`${board.dataset.lanes}?day=${day}`, { headers }).catch(() => null);
      if (response?.ok) {
        const read = new DOMParser().parseFromString(await response.text(), "text/html");
        known = new Map([...read.querySelectorAll("[data-lane]")].map((line) => [line.dataset.lane, line]));
        put();
      }
    }
    timer = setTimeout(ask, EVERY);
  };

  // A refresh of the board brings empty places.
  document.addEventListener("htmx:after:swap", put);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) ask(); });
  ask();
})();
