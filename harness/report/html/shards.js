"use strict";
/* Fetches the page's data when it is wanted: from elements of the page itself, or by scripts that lie beside it.
   A script and not fetch(), which browsers refuse for a page that was opened from a disk. */

const Shards = (() => {
  const { folder, digest, nonce } = document.documentElement.dataset;
  const known = new Map();
  const waiting = new Map();

  /** Called by a shard with its name and its JSON; parsed, and not run, so that no name in it means anything. */
  globalThis.shard = (name, text) => {
    waiting.get(name)?.(JSON.parse(text));
    waiting.delete(name);
  };

  /** Run a script that lies beside the page. */
  function script(file) {
    return new Promise((done, failed) => {
      const made = document.createElement("script");
      made.nonce = nonce;
      made.src = `${folder}/${file}?v=${digest}`;
      made.addEventListener("load", done);
      made.addEventListener("error", () => failed(new Error(`${folder}/${file} can't be read`)));
      document.head.append(made);
    });
  }

  function read(name) {
    const inside = document.getElementById(`shard-${name}`);
    if (inside) {
      return Promise.resolve(JSON.parse(inside.textContent));
    }
    if (!folder) {
      return Promise.reject(new Error(`this page has no ${name}`));
    }
    return new Promise((done, failed) => {
      waiting.set(name, done);
      script(`${name}.js`).then(() => waiting.has(name) && failed(new Error(`${name} is empty`)), failed);
    });
  }

  /** The data of that name, read once; a promise that fails where there is none. */
  function load(name) {
    if (!known.has(name)) {
      const reading = read(name);
      known.set(name, reading);
      reading.catch(() => known.delete(name));
    }
    return known.get(name);
  }

  let drawing;
  /** plotly.js, which is the greatest part of a page: only where something is drawn. */
  function plotly() {
    drawing ??= globalThis.Plotly ? Promise.resolve() : script("plotly.js");
    return drawing;
  }

  /** The rows of a version's numbers; how they are packed is said in harness/report/model/numbers.py. */
  function numbers({ numbers: [runs, values] }) {
    const left = values.values();
    return runs.flatMap(([first, count, group]) => Array.from({ length: count }, (_, place) => ({ row: first + place, value: left.next().value, group })));
  }

  /** Signs of which those that come again stand once, with a number: `p3C` is `pppC`. */
  const signs = (text) => text.replace(/(\D)(\d+)/g, (_, sign, count) => sign.repeat(Number(count)));

  return { load, plotly, numbers, signs };
})();

/** A new element with its attributes and children; strings become text. */
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

const scrolling = (label, inside) => element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, inside);

/** A table of text and elements in a region that scrolls by itself; numbers stand right. */
function table([head, ...body], label) {
  const columns = head.map((text) => element("th", { scope: "col" }, text));
  const square = (value) => (typeof value === "number" ? element("td", { class: "number" }, String(value)) : element("td", {}, value));
  const rows = body.map(([first, ...rest]) => element("tr", {}, element("th", { scope: "row" }, typeof first === "number" ? String(first) : first), ...rest.map(square)));
  return scrolling(label, element("table", {}, element("thead", {}, element("tr", {}, ...columns)), element("tbody", {}, ...rows)));
}

/** The address of a view of something that has a name. */
const addressOf = (kind, name) => `#${kind}/${encodeURIComponent(name)}`;
const linkTo = (kind, name, words = name) => element("a", { href: addressOf(kind, name) }, words);
