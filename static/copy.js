// Copies a text of the page. No words of its own; without it, the text can be marked and copied.
"use strict";

for (const button of document.querySelectorAll("[data-copy]")) {
  const text = document.getElementById(button.dataset.copy);
  button.hidden = false;
  button.addEventListener("click", async () => {
    let said = button.dataset.said;
    try {
      await navigator.clipboard.writeText(text.textContent);
    } catch {
      // Browsers give the clipboard to pages that came by HTTPS alone.
      getSelection().selectAllChildren(text);
      said = button.dataset.marked;
    }
    button.textContent = said;
    window.say(said);
  });
}
