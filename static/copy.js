// Copies a text of the page. No words of its own; without it, the text can be marked and copied.
"use strict";

for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = button.dataset.said;
    window.say(button.dataset.said);
  });
}
