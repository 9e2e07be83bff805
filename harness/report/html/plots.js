"use strict";
/* Figures as parts of the page: drawn when they are looked at, read with arrow keys, tabulated, saved. */

const Plots = (() => {
  const darkPreferred = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.scheme ?? (darkPreferred.matches ? "dark" : "light")) === "dark";
  const figures = new WeakMap();
  const [NARROW, PHONE_HEIGHT, NAME_HEIGHT] = [560, 320, 20];

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

  /** A figure's numbers and the versions that they are of, read once. */
  function numbersOf(holder) {
    if (!figures.has(holder)) {
      const reading = Promise.all([Shards.load(holder.dataset.figure), Shards.load("versions")]);
      figures.set(holder, reading.then(([figure, versions]) => ({ figure, versions })));
    }
    return figures.get(holder);
  }

  async function draw(plot) {
    const [{ figure, versions }] = await Promise.all([numbersOf(plot.closest("figure")), Shards.plotly()]);
    const { traces, layout } = Figures.drawing(figure, versions, palette());
    plot.classList.add("drawn");
    // On a phone each line's name has a line of its own below the plot, which must not take it from the plot.
    plot.style.height = plot.clientWidth < NARROW ? `${PHONE_HEIGHT + NAME_HEIGHT * traces.length}px` : "";
    return Plotly.react(plot, traces, layout, { displayModeBar: false, responsive: true, typesetMath: false });
  }

  const seen = new IntersectionObserver(
    (entries) => {
      for (const { target } of entries.filter((entry) => entry.isIntersecting)) {
        seen.unobserve(target);
        draw(target).catch((error) => (target.textContent = `It can't be drawn: ${error.message}.`));
      }
    },
    { rootMargin: "300px" },
  );

  /** Arrow keys walk over the points and lines of a plot; what is there is shown and said. */
  function readWithKeys(plot) {
    const reading = plot.closest("figure").querySelector(".reading");
    let line = 0;
    let point = -1;
    const leave = () => {
      if (plot.classList.contains("drawn")) {
        Plotly.Fx.unhover(plot);
      }
      reading.textContent = "";
    };
    async function move(key) {
      const { figure, versions } = await numbersOf(plot.closest("figure"));
      const turn = { ArrowDown: 1, ArrowUp: -1 }[key] ?? 0;
      line = (line + turn + figure.lines.length) % figure.lines.length;
      const last = figure.lines[line].x.length - 1;
      point = { Home: 0, End: last, ArrowRight: point + 1, ArrowLeft: point - 1 }[key] ?? point;
      point = Math.max(0, Math.min(point, last));
      if (!plot.classList.contains("drawn")) {
        await draw(plot);
      }
      reading.textContent = Figures.pointWords(figure, line, point, versions).join(" · ");
      Plotly.Fx.hover(plot, [{ curveNumber: line, pointNumber: point }]);
    }
    const keys = ["ArrowRight", "ArrowLeft", "Home", "End", "ArrowDown", "ArrowUp"];
    plot.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        leave();
      } else if (keys.includes(event.key) && !event.ctrlKey && !event.altKey && !event.metaKey) {
        event.preventDefault();
        move(event.key);
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

  function savings(holder, plot, title) {
    const name = title.replace(/[^A-Za-z0-9._-]+/g, "_").slice(0, 80);
    const ways = {
      SVG: () => saveDrawing(plot, "svg", name),
      PNG: () => saveDrawing(plot, "png", name),
      CSV: ({ figure, versions }) => save(`${name}.csv`, "text/csv", Figures.csv(figure, versions)),
      JSON: ({ figure, versions }) => save(`${name}.json`, "application/json", Figures.json(figure, versions)),
    };
    const buttons = Object.entries(ways).map(([way, act]) => {
      const button = element("button", { type: "button" }, `Save ${way}`);
      button.addEventListener("click", async () => act(await numbersOf(holder)));
      return button;
    });
    return element("div", { class: "save", role: "group", "aria-label": `Save ${title}` }, ...buttons);
  }

  // ---- figures ----

  function markWords({ words, worse, line }) {
    return element("p", { class: worse ? "bad" : "good" }, `${worse ? "▲" : "▽"} ${line}: ${words}`);
  }

  function numbers(holder, name) {
    const details = element("details", { class: "numbers" }, element("summary", {}, "Numbers"));
    const fill = async () => {
      const { figure, versions } = await numbersOf(holder);
      details.append(table(Figures.rows(figure, versions), `Numbers of ${name}`));
    };
    details.addEventListener("toggle", fill, { once: true });
    return details;
  }

  /** A figure by its head: id, kind, title, about, words, better, marks, note. Its numbers come when it is seen. */
  function made(head) {
    const title = element("h3", {}, head.title, " ", element("span", { class: "quiet" }, head.about));
    const better = head.better ? ` — ${head.better} is better` : "";
    const plot = element("div", { class: "plot", tabindex: "0", role: "group", "aria-label": `${head.title}, ${head.about}: arrow keys read its points, Escape ends that` });
    const holder = element("figure", { id: head.id, "data-figure": head.id, "data-kind": head.kind, "data-item": "", "data-metric": head.metric, "data-cells": head.cells.join(" ") });
    const more = head.marked > head.marks.length ? [element("p", { class: "quiet" }, `${head.marked - head.marks.length} more findings are marked.`)] : [];
    const note = head.note ? [element("p", { class: "quiet" }, head.note)] : [];
    holder.append(title, element("p", { class: "quiet" }, head.words + better), ...head.marks.map(markWords), ...more, plot);
    holder.append(element("p", { class: "reading", role: "status" }), ...note, savings(holder, plot, head.title), numbers(holder, `${head.title}, ${head.about}`));
    readWithKeys(plot);
    seen.observe(plot);
    return holder;
  }

  const redraw = () => document.querySelectorAll(".plot.drawn").forEach(draw);

  return { made, draw, redraw, save, isDark, darkPreferred };
})();
