"use strict";
/* What is shown: a filter that is kept in the address and acts on all that is marked as an item, wherever it stands.
   An address is #PLACE?FILTER: a place is a part of the page, or a view such as test/NAME. */

const Filter = (() => {
  const FIELDS = ["text", "arch", "cell", "metric", "least", "days"];
  const MOST_HITS = 12;
  const form = document.getElementById("filter");
  const fields = Object.fromEntries(FIELDS.map((name) => [name, form.elements[name]]));
  const found = document.getElementById("found");
  const hits = document.getElementById("hits");

  /** The place and the filter of an address. */
  function parsed(hash = location.hash) {
    const [place, query = ""] = hash.slice(1).split(/\?(.*)/s);
    const asked = new URLSearchParams(query);
    return { place, wanted: Object.fromEntries(FIELDS.map((name) => [name, asked.get(name) ?? ""])) };
  }

  function query(wanted) {
    const asked = new URLSearchParams(Object.entries(wanted).filter(([, value]) => value));
    return asked.size ? `?${asked}` : "";
  }

  const words = (text) => text.toLowerCase().split(/\s+/).filter(Boolean);
  const numberOf = (text) => (Number.isFinite(parseFloat(text)) ? parseFloat(text) : null);
  const archOf = (cell) => cell.replace(/^[^:]*:/, "").split("-")[0];

  /** Whether an item is wanted. What a filter asks of something that an item has not is no reason to hide it, but
      words are. */
  function keeps(item, wanted) {
    const { cells = "", metric = "", change, when } = item.dataset;
    const named = cells.split(" ").filter(Boolean);
    const all = `${item.textContent} ${cells} ${metric}`.toLowerCase();
    const least = numberOf(wanted.least);
    const days = numberOf(wanted.days);
    const ofCells = named.filter((cell) => (!wanted.arch || archOf(cell) === wanted.arch) && words(wanted.cell).every((word) => cell.toLowerCase().includes(word)));
    return (
      words(wanted.text).every((word) => all.includes(word)) &&
      (!named.length || ofCells.length > 0) &&
      (!wanted.metric || !metric || words(wanted.metric).some((word) => metric.toLowerCase().includes(word))) &&
      (least === null || change === undefined || Math.abs(change) >= least) &&
      (days === null || when === undefined || Number(when) >= Number(form.dataset.now) - days * 86400)
    );
  }

  /** Hide what is not wanted, and every heading of the morning that has nothing below it. */
  function apply() {
    const { wanted } = parsed();
    const asks = Object.values(wanted).some(Boolean);
    const items = [...document.querySelectorAll("[data-item]")];
    for (const item of items) {
      item.classList.toggle("filtered", asks && !keeps(item, wanted));
    }
    for (const part of document.querySelectorAll("#morning > .kind, [data-group]")) {
      const inside = [...part.querySelectorAll("[data-item]")];
      part.classList.toggle("filtered", asks && inside.length > 0 && inside.every((item) => item.classList.contains("filtered")));
    }
    const shown = items.filter((item) => !item.classList.contains("filtered")).length;
    found.textContent = asks ? `${shown} of ${items.length} shown` : "";
    return wanted;
  }

  /** Tests, cells and metrics with these words in their names lead to their views. */
  async function offer(wanted) {
    const sought = words(wanted.text);
    hits.replaceChildren();
    if (!sought.length) {
      return;
    }
    const index = await Shards.load("index");
    const has = (name) => sought.every((word) => name.toLowerCase().includes(word));
    const named = [
      ...index.tests.filter(has).map((name) => ["test", name]),
      ...index.cells.filter(has).map((name) => ["cell", name]),
      ...[...new Set(index.metrics.map(([name]) => name))].filter(has).map((name) => ["metric", name]),
    ];
    if (parsed().wanted.text !== wanted.text) {
      return; // something else is looked for by now
    }
    hits.replaceChildren(...named.slice(0, MOST_HITS).map(([kind, name]) => element("li", {}, `${kind} `, linkTo(kind, name))));
    if (named.length > MOST_HITS) {
      hits.append(element("li", { class: "quiet" }, `and ${named.length - MOST_HITS} more`));
    }
  }

  function show() {
    const wanted = apply();
    for (const name of FIELDS) {
      if (document.activeElement !== fields[name]) {
        fields[name].value = wanted[name];
      }
    }
    offer(wanted);
  }

  /** The form into the address, without a new entry of the history for each letter. */
  function ask() {
    const wanted = Object.fromEntries(FIELDS.map((name) => [name, fields[name].value]));
    history.replaceState(null, "", `#${parsed().place}${query(wanted)}`);
    show();
  }

  form.addEventListener("input", ask);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(ask));
  fields.text.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && fields.text.value) {
      fields.text.value = "";
      ask();
    }
  });
  // A link within the page keeps the filter.
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.('a[href^="#"]');
    const asked = query(parsed().wanted);
    if (link && asked && !link.hash.includes("?") && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      location.hash = link.hash + asked;
    }
  });

  return { parsed, show, apply };
})();
