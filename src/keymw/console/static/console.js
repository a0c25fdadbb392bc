"use strict";

// What a page without scripts lacks: copying, and the focus after htmx has put in a new page.

function arrive() {
  for (const button of document.querySelectorAll("[data-copy]")) button.hidden = false;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  const told = document.getElementById(button.dataset.tell);
  try {
    await navigator.clipboard.writeText(source.textContent);
    told.textContent = "Copied.";
  } catch {
    window.getSelection().selectAllChildren(source);
    told.textContent = "The browser does not let this page copy: it is selected, copy it yourself.";
  }
});

document.addEventListener("htmx:afterSettle", () => {
  arrive();
  const place = document.querySelector("[aria-invalid=true]") || document.querySelector("h1");
  if (place) place.focus();
});

arrive();
