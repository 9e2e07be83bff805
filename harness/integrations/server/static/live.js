"use strict";
// Shows what comes as it comes; the server's own page, asked for again, has the counts.
(() => {
  const MOST = 100;
  const coming = document.getElementById("coming");
  const source = new EventSource(`api/events?after=${document.getElementById("state").dataset.after}`);
  let due;
  const renew = async () => {
    due = undefined;
    const answer = await fetch("live");
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const open = new Set([...document.querySelectorAll(".run details[open]")].map((one) => one.parentElement.dataset.run));
    document.getElementById("state").replaceChildren(...page.getElementById("state").childNodes);
    document.getElementById("runs").replaceChildren(...page.getElementById("runs").childNodes);
    for (const run of document.querySelectorAll(".run")) run.querySelector("details").open = open.has(run.dataset.run);
  };
  const soon = () => { due ??= setTimeout(() => renew().catch(() => {}), 1000); };
  source.addEventListener("grown", soon);
  source.addEventListener("verdict", (event) => {
    const one = JSON.parse(event.data);
    const line = document.createElement("li");
    line.textContent = `${one.expected ? "" : "✗ "}${one.test} on ${one.cell}: ${one.outcome}: ${one.reason}`;
    if (!one.expected) line.className = "bad";
    coming.prepend(line);
    while (coming.children.length > MOST) coming.lastChild.remove();
    soon();
  });
})();
