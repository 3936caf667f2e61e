"use strict";

for (const button of document.querySelectorAll("button.copy")) {
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "Copied";
  });
}

document.querySelector("#empty")?.addEventListener("click", async () => {
  await fetch("/api/messages" + location.search, { method: "DELETE" });
  location.reload();
});

const list = document.querySelector("main[data-newest]");
if (list) {
  setInterval(async () => {
    try {
      const mails = await (await fetch("/api/messages" + location.search)).json();
      if ((mails[0]?.id ?? "") !== list.dataset.newest) location.reload();
    } catch {
      // The stack is restarting: the next look will tell.
    }
  }, 2000);
}
