// Puts the text for support on the clipboard. No words of its own: they come from the template.
"use strict";

for (const button of document.querySelectorAll("[data-copies]")) {
  const text = document.getElementById(button.dataset.copies);
  const said = button.parentElement.querySelector("[data-said]");
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text.value);
      said.textContent = button.dataset.copied;
    } catch {
      // Browsers give the clipboard to pages that came by HTTPS alone.
      text.select();
      said.textContent = button.dataset.notCopied;
    }
  });
}
