// The booking form's conveniences: lists that open while one types, focus, counters.
// The server decides everything; without this file its buttons do the same.
"use strict";

(() => {
  // --- comboboxes: arrows, Enter and Escape over options that the server has rendered -------------

  const parts = (box) => [box.querySelector("input"), box.querySelector("[role=listbox]")];
  // One that is disabled says that there is none.
  const options = (list) => [...list.querySelectorAll("[role=option]:not([aria-disabled])")];

  const open = (box) => {
    const [input, list] = parts(box);
    const some = list.querySelector("[role=option]") !== null;
    list.hidden = !some;
    input.setAttribute("aria-expanded", String(some));
  };
  const close = (box) => {
    const [input, list] = parts(box);
    list.hidden = true;
    for (const each of options(list)) each.setAttribute("aria-selected", "false");
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const activate = (box, option) => {
    const [input, list] = parts(box);
    for (const each of options(list)) each.setAttribute("aria-selected", String(each === option));
    input.setAttribute("aria-activedescendant", option.id);
    option.scrollIntoView({ block: "nearest" });
  };
  const upgrade = () => {
    for (const box of document.querySelectorAll("[data-combobox]")) {
      const [input, list] = parts(box);
      if (input.getAttribute("role") === "combobox") continue;
      input.setAttribute("role", "combobox");
      input.setAttribute("aria-autocomplete", "list");
      input.setAttribute("aria-controls", list.id);
      input.setAttribute("aria-expanded", "false");
    }
    for (const button of document.querySelectorAll("[data-without-script]")) button.remove();
    count();
  };

  document.addEventListener("keydown", (event) => {
    const box = event.target.closest("[data-combobox]");
    if (!box || event.target !== parts(box)[0]) return;
    const [input, list] = parts(box);
    const all = options(list);
    const active = all.findIndex((option) => option.getAttribute("aria-selected") === "true");
    if (event.key === "Escape" && !list.hidden) {
      close(box);
    } else if (event.key === "Enter" && !list.hidden && active >= 0) {
      all[active].click();
    } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && all.length) {
      if (list.hidden) open(box);
      const step = event.key === "ArrowDown" ? 1 : -1;
      const from = active < 0 && step < 0 ? 0 : active;
      activate(box, all[(from + step + all.length) % all.length]);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  });
  document.addEventListener("click", (event) => {
    const chosen = event.target.closest("[data-combobox] [role=option]:not([aria-disabled])");
    for (const box of document.querySelectorAll("[data-combobox]")) {
      if (box.contains(event.target) && !chosen) continue;
      close(box);
      // What was typed for the catalogue has led to its entry.
      if (chosen && box.contains(chosen) && chosen.closest("#exam")) parts(box)[0].value = "";
    }
  });
  document.addEventListener("focusout", (event) => {
    const box = event.target.closest("[data-combobox]");
    // A click on an option takes the focus, too: it is heard first.
    if (box && !box.contains(event.relatedTarget)) setTimeout(() => close(box), 200);
  });

  // --- after a part has come back -------------------------------------------------------------------

  // A morph leaves alone what a field holds once somebody has typed into it: what the server has
  // filled in is put there here, save in the field where one is typing.
  const show = (root) => {
    for (const field of root.querySelectorAll("#when [name], #id_contrast")) {
      if (field === document.activeElement && field.type !== "select-one") continue;
      if (field.type === "checkbox") field.checked = field.defaultChecked;
      else if (field.type === "select-one") field.value = field.querySelector("[selected]")?.value ?? field.value;
      else if ("defaultValue" in field) field.value = field.defaultValue;
    }
  };

  document.addEventListener("htmx:after:swap", (event) => {
    const target = event.detail.ctx?.target;
    const list = document.getElementById(target?.id ?? "");
    upgrade();
    if (target?.id === "when" || target?.id === "exam") show(document.getElementById("exam"));
    if (list?.matches("[role=listbox]")) {
      const box = list.closest("[data-combobox]");
      if (document.activeElement === parts(box)[0]) open(box);
      window.say?.(list.querySelector("[data-say]")?.dataset.say);
    } else if (target?.id === "who") {
      const who = document.getElementById("who");
      const wanted = ["patient_query", "family", "given", "patient_id"]
        .map((name) => who.querySelector(`[name=${name}]`))
        .find((field) => field && !field.value);
      (wanted ?? document.querySelector("#id_exam_query"))?.focus();
      document.getElementById("exam")?.dispatchEvent(new CustomEvent("recheck"));
    }
  });

  // Somebody unknown is an emergency, until one says otherwise.
  document.addEventListener("change", (event) => {
    const pressed = document.getElementById(event.target.dataset?.presses ?? "");
    if (pressed && event.target.checked) pressed.checked = true;
  });

  // --- how much room a text has left ------------------------------------------------------------------

  function count() {
    for (const shown of document.querySelectorAll("[data-counter]")) {
      const field = document.getElementById(shown.dataset.counter);
      const [used, room] = [[...field.value].length, Number(field.dataset.counts)];
      shown.textContent = `${used}/${room}`;
      shown.classList.toggle("is-over", used > room);
    }
  }
  document.addEventListener("input", count);

  upgrade();
})();
