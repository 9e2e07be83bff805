"use strict";
// What the static page can't do: decisions, evidence, the farm, and the news that there is a newer page. Whatever a
// guest printed becomes text (textContent), never markup.
(() => {
  const root = new URL("..", document.currentScript.src);
  const at = (path) => new URL(path, root);
  const KINDS = { new: "data-new", flaky: "data-flaky", still: "data-still", fixed: "data-fixed" };
  const MOST_LINKS = 3;
  let session, facts;
  const drawn = new Map();

  const made = (tag, attributes = {}, ...children) => {
    const { text, on, ...rest } = attributes;
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(rest)) element.setAttribute(name, value);
    if (text !== undefined) element.textContent = text;
    if (on) element.addEventListener(on[0], on[1]);
    element.append(...children);
    return element;
  };
  const query = (path, values) => {
    const url = at(path);
    for (const [name, value] of Object.entries(values)) url.searchParams.set(name, value);
    return url.href;
  };
  const got = async (path) => {
    const answer = await fetch(at(path), { headers: { Accept: "application/json" } });
    const body = await answer.json();
    if (!answer.ok) throw new Error(`${body.title} ${body.detail}`);
    return body;
  };
  const sent = async (path, body, again = true) => {
    const headers = { "Content-Type": "application/json", "X-CSRF-Token": session.token };
    const answer = await fetch(at(path), { method: "POST", headers, body: JSON.stringify(body) });
    const said = await answer.json();
    if (answer.ok) return said;
    if (answer.status === 403 && again) {
      session = await got("api/session"); // the server was started anew, and has another token
      return sent(path, body, false);
    }
    throw new Error(`${said.title} ${said.detail}`);
  };
  const day = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 16).replace("T", " ");
  const newId = () => [...crypto.getRandomValues(new Uint8Array(16))].map((n) => n.toString(16).padStart(2, "0")).join("");

  const jobWords = (job) => {
    const good = job.action === "bisect" ? "found the commit" : "done, as expected";
    const so = job.state === "ended" ? (job.status === 0 ? good : `ended with ${job.status}`) : job.state;
    return `${job.action} on ${job.cell}: ${so}`;
  };
  const standingWords = (standing) => {
    const words = [];
    const held = standing?.acknowledged;
    if (held) words.push(`acknowledged${held.author ? ` by ${held.author}` : ""}, ${day(held.taken)}${held.note ? `: ${held.note}` : ""}`);
    if (standing?.assignee) words.push(`assigned to ${standing.assignee}`);
    return [...words, ...(standing?.jobs ?? []).slice(-3).map(jobWords)].join("; ");
  };

  // A button whose request has an id until it was answered: pressed again after a lost answer, it is kept once.
  const button = (text, path, bodyOf) => {
    let id = newId();
    return made("button", {
      type: "button", text, on: ["click", async (event) => {
        const group = event.target.closest(".serve");
        const said = group.querySelector(".failed");
        said.textContent = "";
        event.target.disabled = true;
        try {
          await sent(path, { ...bodyOf(group), id });
          id = newId();
          await refresh();
        } catch (error) {
          said.textContent = `Not kept: ${error.message}`;
        } finally {
          event.target.disabled = false;
        }
      }],
    });
  };

  const group = (subject, label) => {
    const box = made("div", { class: "serve", role: "group", "aria-label": `${label}: what to do` });
    drawn.set(subject, { box, label });
    return box;
  };
  const draw = (subject, standing) => {
    const { box, fact } = drawn.get(subject);
    const typed = box.querySelector("input")?.value;
    const failed = box.querySelector(".failed")?.textContent ?? "";
    const decide = (action) => () => ({ action, subject, identity: fact.identity ?? "" });
    const parts = [made("span", { class: "said", role: "status", text: standingWords(standing) })];
    parts.push(standing?.acknowledged
      ? button("Reopen", "api/triage", decide("reopen"))
      : button("Acknowledge", "api/triage", decide("acknowledge")));
    const name = made("input", { "aria-label": `assignee of ${drawn.get(subject).label}`, maxlength: "100", placeholder: "name" });
    name.value = typed ?? standing?.assignee ?? session.user;
    parts.push(name, button("Assign", "api/triage", (from) => ({
      action: "assign", subject, assignee: from.querySelector("input").value.trim(),
    })));
    const cells = fact.cells ?? [];
    for (const one of fact.test ? cells.slice(0, MOST_LINKS) : []) {
      const where = { run: one.run, cell: one.cell, test: fact.test };
      parts.push(made("a", { href: query("evidence", where), text: `evidence on ${one.cell}` }));
    }
    if (fact.test) parts.push(made("a", { href: query("verdicts", { test: fact.test }), text: "all runs" }));
    // Only OSv's commits are there to be bisected.
    const bisectable = (fact.kernel ?? "") === "osv";
    if (session.farm && fact.test) {
      const cell = cells[0].cell;
      parts.push(button("Rerun", "api/jobs", () => ({ action: "rerun", subject, cell })));
      if (bisectable && fact.since && fact.since.good.commit !== fact.since.bad.commit)
        parts.push(button("Bisect", "api/jobs", () => ({ action: "bisect", subject, cell })));
    }
    if (session.farm && bisectable && fact.moved?.length) {
      const { metric, cells: measured } = fact.moved[0];
      parts.push(button("Bisect", "api/jobs", () => ({ action: "bisect", subject, cell: measured[0], metric })));
    }
    const ended = (standing?.jobs ?? []).findLast((job) => job.said);
    if (ended) {
      const said = made("details", { class: "job" }, made("summary", { text: `what the ${ended.action} said` }), made("pre", { text: ended.said }));
      said.open = box.querySelector("details")?.open ?? false;
      parts.push(said);
    }
    box.replaceChildren(...parts, made("span", { class: "failed", role: "alert", text: failed }));
  };

  const refresh = async () => {
    const { standings } = await got("api/triage");
    const by = new Map(standings.map((one) => [one.subject, one]));
    for (const subject of drawn.keys()) draw(subject, by.get(subject));
  };

  // The page's cards stand in the order of the facts: the second card of a name is the second fact of that name.
  const place = () => {
    const taken = new Map();
    const next = (attribute, value) => {
      const key = `${attribute} ${value}`;
      const number = taken.get(key) ?? 0;
      taken.set(key, number + 1);
      return document.querySelectorAll(`[${attribute}="${CSS.escape(value)}"]`)[number];
    };
    const put = (card, fact, label) => {
      if (!card || drawn.has(fact.subject)) return;
      const box = group(fact.subject, label);
      drawn.get(fact.subject).fact = fact;
      card.append(box);
    };
    for (const one of facts.failures) put(next(KINDS[one.kind], one.test), one, one.test);
    for (const one of facts.steps) put(next("data-step", one.after.commit.slice(0, 12)), one, one.after.described || one.after.commit);
    for (const one of facts.missing) put(next("data-missing", one.cell), one, one.cell);
  };

  const bar = made("div", { class: "serve-bar", role: "status" });
  const live = made("a", { href: at("live").href, text: "Live" });
  const news = made("span");
  bar.append(live, made("a", { href: at("verdicts?unexpected=1").href, text: "All verdicts" }), news);
  const tellLive = async () => {
    const now = await got("api/live");
    const run = now.runs[0];
    live.textContent = now.running && run
      ? `A night is running: ${run.verdicts} verdicts, ${run.unexpected} not as expected`
      : "Nothing runs now";
  };
  const offerNewer = () => news.replaceChildren(
    made("button", { type: "button", text: "Show the newer page", on: ["click", () => location.reload()] }));

  const listen = () => {
    const source = new EventSource(at("api/events"));
    let due;
    const soon = (what) => { due ??= setTimeout(() => { due = undefined; what().catch(() => {}); }, 1000); };
    source.addEventListener("verdict", () => soon(tellLive));
    source.addEventListener("grown", () => soon(async () => { await tellLive(); await refresh(); }));
    source.addEventListener("page", (event) => { const tag = JSON.parse(event.data); if (tag && tag !== session.page) offerNewer(); });
  };

  const start = async () => {
    document.body.prepend(bar);
    [session, facts] = await Promise.all([got("api/session"), got("api/facts")]);
    place();
    await Promise.all([refresh(), tellLive()]);
    listen();
  };
  start().catch((error) => { news.textContent = error.message; });
})();
