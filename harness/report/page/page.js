"use strict";
/* Makes the page answer: figures drawn when they are looked at, read with arrow keys, saved; tests listed when opened.
   What guests printed is only ever given to textContent, or to Figures, which escapes it. */

(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const figures = new Map(data.figures.map((figure) => [figure.id, figure]));
  const darkPreferred = matchMedia("(prefers-color-scheme: dark)");

  /** A new element with its attributes and children; strings become text. */
  function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      made.setAttribute(key, value);
    }
    made.append(...children);
    return made;
  }

  // ---- colours ----

  const isDark = () => (document.documentElement.dataset.scheme ?? (darkPreferred.matches ? "dark" : "light")) === "dark";

  /** The page's colours as they are now: plotly knows no variables. */
  function palette() {
    const probe = document.body.appendChild(element("span", { hidden: "" }));
    const colour = (name) => {
      probe.style.color = `var(--${name})`;
      return getComputedStyle(probe).color;
    };
    const found = Object.fromEntries(["ground", "ink", "edge", "bad", "good"].map((name) => [name, colour(name)]));
    probe.remove();
    return { ...found, dark: isDark() };
  }

  const themeButton = document.getElementById("theme");
  function recolour() {
    themeButton.textContent = isDark() ? "Light colours" : "Dark colours";
    for (const plot of document.querySelectorAll(".plot.drawn")) {
      draw(plot);
    }
  }
  document.querySelector(".tools").hidden = false;
  themeButton.addEventListener("click", () => {
    document.documentElement.dataset.scheme = isDark() ? "light" : "dark";
    recolour();
  });
  darkPreferred.addEventListener("change", recolour);
  themeButton.textContent = isDark() ? "Light colours" : "Dark colours";

  // ---- figures ----

  const figureOf = (inside) => figures.get(inside.closest("figure").dataset.figure);

  function draw(plot) {
    const { traces, layout } = Figures.drawing(figureOf(plot), data.versions, palette());
    plot.classList.add("drawn");
    return Plotly.react(plot, traces, layout, { displayModeBar: false, responsive: true, typesetMath: false });
  }

  const seen = new IntersectionObserver(
    (entries) => {
      for (const { target } of entries.filter((entry) => entry.isIntersecting)) {
        seen.unobserve(target);
        draw(target);
      }
    },
    { rootMargin: "300px" },
  );

  /** Arrow keys walk over the points and lines of a plot; what is there is shown and said. */
  function readWithKeys(plot) {
    const figure = figureOf(plot);
    const reading = plot.closest("figure").querySelector(".reading");
    let line = 0;
    let point = -1;
    const show = () => {
      const words = Figures.pointWords(figure, line, point, data.versions);
      reading.textContent = words.join(" · ");
      Plotly.Fx.hover(plot, [{ curveNumber: line, pointNumber: point }]);
    };
    const leave = () => {
      if (plot.classList.contains("drawn")) {
        Plotly.Fx.unhover(plot);
      }
      reading.textContent = "";
    };
    const last = () => figure.lines[line].x.length - 1;
    const turn = (step) => {
      line = (line + step + figure.lines.length) % figure.lines.length;
    };
    const moves = {
      ArrowRight: () => (point += 1),
      ArrowLeft: () => (point -= 1),
      Home: () => (point = 0),
      End: () => (point = last()),
      ArrowDown: () => turn(1),
      ArrowUp: () => turn(-1),
    };
    plot.addEventListener("keydown", async (event) => {
      if (event.key === "Escape") {
        leave();
      } else if (moves[event.key] && !event.ctrlKey && !event.altKey && !event.metaKey) {
        event.preventDefault();
        moves[event.key]();
        point = Math.max(0, Math.min(point, last()));
        if (!plot.classList.contains("drawn")) {
          await draw(plot);
        }
        show();
      }
    });
    plot.addEventListener("blur", leave);
  }

  // ---- saving ----

  function save(name, type, text) {
    const url = URL.createObjectURL(new Blob([text], { type }));
    element("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }

  async function saveDrawing(plot, format, name) {
    await draw(plot);
    const width = Math.max(640, plot.clientWidth);
    await Plotly.downloadImage(plot, { format, filename: name, width, height: 480, scale: 2 });
  }

  function addSaving(holder) {
    const figure = figureOf(holder);
    const plot = holder.closest("figure").querySelector(".plot");
    const name = figure.title.replace(/[^A-Za-z0-9._-]+/g, "_").slice(0, 80);
    const ways = {
      SVG: () => saveDrawing(plot, "svg", name),
      PNG: () => saveDrawing(plot, "png", name),
      CSV: () => save(`${name}.csv`, "text/csv", Figures.csv(figure, data.versions)),
      JSON: () => save(`${name}.json`, "application/json", Figures.json(figure, data.versions)),
    };
    for (const [way, act] of Object.entries(ways)) {
      const button = element("button", { type: "button" }, `Save ${way}`);
      button.addEventListener("click", act);
      holder.append(button);
    }
  }

  const saveAll = document.getElementById("save");
  saveAll.hidden = false;
  saveAll.addEventListener("click", () => save("report.json", "application/json", JSON.stringify(data)));

  // ---- tables ----

  function table([head, ...body], label) {
    const columns = head.map((text) => element("th", { scope: "col" }, text));
    const rows = body.map((row) =>
      element("tr", {}, ...row.map((value) => (typeof value === "number" ? element("td", { class: "number" }, String(value)) : element("td", {}, value)))),
    );
    const made = element("table", {}, element("thead", {}, element("tr", {}, ...columns)), element("tbody", {}, ...rows));
    return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, made);
  }

  function fillNumbers(details) {
    const figure = figureOf(details);
    details.append(table(Figures.rows(figure, data.versions), `Numbers of ${figure.title}`));
  }

  // ---- tests ----

  /** The parts of a test's run by name: how they are packed is said in harness/report/page/outcomes.py. */
  function unpacked([version, outcome, seconds, reason, when]) {
    const [words, symbol, standing] = data.outcomes[outcome];
    const moment = new Date(when * 1000).toISOString().slice(0, 16).replace("T", " ");
    return { version: data.versions[version].name, words, symbol, standing, seconds, reason: data.reasons[reason], moment };
  }

  const runWords = (run) => `${run.version}, ${run.moment}: ${run.words}, ${run.seconds} s. ${run.reason}`;

  function strip(runs) {
    const signs = runs.map((run) => element("span", { class: run.standing, title: runWords(run), "aria-hidden": "true" }, run.symbol));
    const bad = runs.filter((run) => run.standing === "bad").length;
    return element("span", { class: "strip", role: "img", "aria-label": `${runs.length} runs, ${bad} not as expected` }, ...signs);
  }

  function testRow(test) {
    const { words, symbol, standing, seconds } = test.runs.at(-1);
    const history = element("details", {}, element("summary", {}, `${test.runs.length} of ${test.of}`));
    once(history, () => {
      const items = test.runs.toReversed().map((run) => element("li", { class: run.standing }, runWords(run)));
      history.append(element("ul", {}, ...items));
    });
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, test.name),
      element("td", {}, test.suite),
      element("td", { class: standing }, element("span", { class: "symbol" }, symbol), ` ${words}`),
      element("td", { class: "number" }, String(seconds)),
      element("td", {}, strip(test.runs)),
      element("td", {}, history),
    );
  }

  function fillTests(details) {
    const head = ["test", "suite", "latest", "seconds", "old to new", "runs"].map((text) => element("th", { scope: "col" }, text));
    const tests = (data.cells[details.id] ?? []).map((test) => ({ ...test, runs: test.runs.map(unpacked) }));
    const isBad = (test) => test.runs.at(-1).standing === "bad";
    tests.sort((a, b) => isBad(b) - isBad(a));
    const made = element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...tests.map(testRow)));
    const label = `Tests of ${details.querySelector("summary").textContent}`;
    details.querySelector(".tests").append(element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, made));
    keepRows(details);
  }

  /** Act when the details element is opened for the first time. */
  function once(details, act) {
    details.addEventListener("toggle", act, { once: true });
  }

  // ---- finding ----

  /** Every part of the page that can be found, with the words by which it is: figures, and cells with their tests. */
  function findable() {
    const words = (...parts) => parts.join(" ").toLowerCase();
    const drawn = [...document.querySelectorAll("figure")].map((holder) => {
      const { title, about, lines } = figures.get(holder.id);
      return [holder, words(title, about, ...lines.map((line) => line.name))];
    });
    const cells = [...document.querySelectorAll("details.cell")].map((cell) => {
      const tests = (data.cells[cell.id] ?? []).map((test) => test.name);
      return [cell, words(cell.querySelector("summary").textContent, ...tests)];
    });
    return [...drawn, ...cells];
  }

  const findField = document.getElementById("find");
  const wantedWords = () => findField.value.toLowerCase().split(/\s+/).filter(Boolean);

  /** Of the tests that are listed in a cell, show those that are looked for. */
  function keepRows(cell) {
    const about = cell.querySelector("summary").textContent;
    for (const row of cell.querySelectorAll(".tests > .scroll > table > tbody > tr")) {
      const words = `${about} ${row.cells[0].textContent}`.toLowerCase();
      row.hidden = !wantedWords().every((word) => words.includes(word));
    }
  }

  const parts = findable();
  findField.addEventListener("input", () => {
    const wanted = wantedWords();
    const hits = parts.filter(([holder, words]) => {
      holder.hidden = !wanted.every((word) => words.includes(word));
      return !holder.hidden;
    });
    if (wanted.length) {
      document.querySelectorAll("details.figures").forEach((group) => (group.open = !!group.querySelector("figure:not([hidden])")));
    }
    document.querySelectorAll("details.cell").forEach(keepRows);
    document.getElementById("found").textContent = wanted.length ? `${hits.length} of ${parts.length} shown` : "";
  });
  findField.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && findField.value) {
      findField.value = "";
      findField.dispatchEvent(new Event("input"));
    }
  });

  // ---- links ----

  /** Open everything around the link's target, so that it can be seen. */
  function openTarget() {
    const target = document.getElementById(location.hash.slice(1));
    for (let inside = target; inside; inside = inside.parentElement?.closest("details")) {
      if (inside.tagName === "DETAILS") {
        inside.open = true;
      }
    }
    target?.querySelector(":scope > details.figures")?.setAttribute("open", "");
    target?.scrollIntoView();
  }

  for (const plot of document.querySelectorAll(".plot")) {
    plot.tabIndex = 0;
    plot.setAttribute("role", "group");
    plot.setAttribute("aria-label", `${figureOf(plot).title}: arrow keys read its points, Escape ends that`);
    readWithKeys(plot);
    seen.observe(plot);
  }
  document.querySelectorAll(".save").forEach(addSaving);
  document.querySelectorAll(".numbers").forEach((details) => once(details, () => fillNumbers(details)));
  document.querySelectorAll("details.cell").forEach((details) => once(details, () => fillTests(details)));
  addEventListener("hashchange", openTarget);
  addEventListener("beforeprint", () => document.querySelectorAll("details[open] > figure > .plot:not(.drawn)").forEach(draw));
  if (location.hash) {
    openTarget();
  }
})();
