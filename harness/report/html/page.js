"use strict";
/* Makes the page answer: parts that are fetched when they are opened, colours, addresses, print. What guests printed
   is only ever given to textContent, to Figures, which escapes it, or comes as a part that the template escaped. */

(() => {
  // ---- colours ----

  const themeButton = document.getElementById("theme");
  function recolour() {
    themeButton.textContent = Plots.isDark() ? "Light colours" : "Dark colours";
    Plots.redraw();
  }
  document.getElementById("filter").hidden = false;
  themeButton.addEventListener("click", () => {
    document.documentElement.dataset.scheme = Plots.isDark() ? "light" : "dark";
    recolour();
  });
  Plots.darkPreferred.addEventListener("change", recolour);
  themeButton.textContent = Plots.isDark() ? "Light colours" : "Dark colours";

  // ---- parts that come when they are opened ----

  const ways = {
    /** HTML that the template made, and escaped, when the report was written. */
    async part(details) {
      const holder = document.createElement("template");
      holder.innerHTML = (await Shards.load(details.dataset.part)).html;
      return [holder.content];
    },
    section: async (details) => (await Shards.load(details.dataset.section)).map(Plots.made),
    tests: async (details) => [await Tests.ofCell(details.dataset.tests)],
  };

  const filled = new WeakMap();
  /** Fetch what an opened part holds, once; the promise is of when it is there. */
  function fill(details) {
    const way = Object.keys(ways).find((name) => details.dataset[name]);
    if (way && !filled.has(details)) {
      const filling = async () => {
        try {
          details.append(...(await ways[way](details)));
          details.querySelectorAll("details").forEach(follow);
          Filter.apply();
        } catch (error) {
          details.append(element("p", { class: "notice" }, `It can't be read: ${error.message}. Is the folder beside this page complete?`));
        }
      };
      filled.set(details, filling());
    }
    return filled.get(details);
  }
  function follow(details) {
    details.addEventListener("toggle", () => details.open && fill(details));
    if (details.open) {
      fill(details);
    }
  }
  document.querySelectorAll("details").forEach(follow);

  // ---- addresses ----

  const byId = (name) => document.getElementById(name);

  /** Open everything around the target of a link, so that it can be seen. */
  async function openTarget(name) {
    if (name.startsWith("figure-") && !byId(name)) {
      const index = await Shards.load("index");
      const section = Object.values(index.figures).flat().find(([, id]) => id === name)?.[0] ?? index.stacks[name];
      const details = section && document.querySelector(`details[data-section="${CSS.escape(section)}"]`);
      if (details) {
        details.open = true;
        await fill(details);
      }
    }
    const target = name ? byId(name) : null;
    for (let inside = target; inside; inside = inside.parentElement?.closest("details")) {
      if (inside.tagName === "DETAILS") {
        inside.open = true;
        await fill(inside);
      }
    }
    target?.querySelector(":scope > details.figures")?.setAttribute("open", "");
    target?.scrollIntoView();
  }

  async function go() {
    const { place } = Filter.parsed();
    const isView = await Views.show(place);
    Filter.show();
    if (!isView) {
      openTarget(place);
    }
  }
  addEventListener("hashchange", go);
  if (location.hash.length > 1) {
    go();
  }

  // ---- paper ----

  const shut = [];
  /** Paper can't be opened: what is closed is printed open, and closed again. */
  function openForPrint() {
    for (const details of document.querySelectorAll("details:not([open])")) {
      if (!details.dataset.section && !details.classList.contains("numbers")) {
        details.open = true;
        shut.push(details);
      }
    }
    document.querySelectorAll("details[open] > figure > .plot:not(.drawn), #view .plot:not(.drawn)").forEach(Plots.draw);
  }
  function closeAfterPrint() {
    shut.splice(0).forEach((details) => (details.open = false));
  }
  addEventListener("beforeprint", openForPrint);
  addEventListener("afterprint", closeAfterPrint);
  matchMedia("print").addEventListener("change", ({ matches }) => (matches ? openForPrint() : closeAfterPrint()));

  // ---- all of it ----

  const saveAll = byId("save");
  saveAll.hidden = false;
  saveAll.addEventListener("click", async () => {
    const index = await Shards.load("index");
    const all = await Promise.all(index.shards.map(async (name) => [name, await Shards.load(name)]));
    Plots.save("report.json", "application/json", JSON.stringify(Object.fromEntries(all)));
  });
})();
