// The one thing that needs JavaScript: copying the key. Without it the button stays hidden, and the key can be selected.
"use strict";
for (const button of document.querySelectorAll("button[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const said = document.getElementById("said");
    try {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent.trim());
      said.textContent = "Copied.";
    } catch {
      said.textContent = "The browser does not allow copying: select the key and copy it yourself.";
    }
  });
}
