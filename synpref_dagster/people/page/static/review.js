// Keyboard: 1, 2, t, x give a verdict, u takes the last one back. Everything works without this file.
"use strict";
(() => {
  const form = document.getElementById("verdict");
  let visibleMs = 0;
  let since = document.visibilityState === "visible" ? performance.now() : null;
  let sent = false;

  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") {
      since = performance.now();
    } else if (since !== null) {
      visibleMs += performance.now() - since;
      since = null;
    }
  });

  if (form) {
    form.addEventListener("submit", (event) => {
      if (sent) {
        event.preventDefault();
        return;
      }
      sent = true;
      const total = visibleMs + (since === null ? 0 : performance.now() - since);
      form.elements.seconds.value = (total / 1000).toFixed(1);
    });
  }
  // A page that comes back from the browser's history may be sent again.
  window.addEventListener("pageshow", () => { sent = false; });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (event.target.closest("textarea, select, input:not([type=radio]):not([type=checkbox])")) return;
    const key = event.key.toLowerCase();
    const button = key === "u" ? document.getElementById("undo")
      : ["1", "2", "t", "x"].includes(key) ? document.querySelector(`[data-key="${key}"]`) : null;
    if (button && !button.disabled) {
      event.preventDefault();
      button.click();
    }
  });
})();
