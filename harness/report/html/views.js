"use strict";
/* Views of one thing, each with an address that stays: #test/NAME, #cell/NAME, #metric/NAME, #compare/A..B. */

const Views = (() => {
  const FLOOR = 0.001;
  /* Of changes that are listed, as a share: every commit moves an exact number a little. */
  const view = document.getElementById("view");
  const page = document.getElementById("page");
  const title = document.title;
  const makers = { test: ofTest, cell: ofCell, metric: ofMetric, compare: (name) => Compare.view(name) };

  const heading = (text) => element("h2", { tabindex: "-1" }, text);
  const none = (what, name) => [heading(`${what}: ${name}`), element("p", { class: "notice" }, `This report has no such ${what.toLowerCase()}.`)];
  const command = (text) => element("p", {}, element("code", { class: "command" }, text));

  /** A number of a metric as people read it, with seven digits at most. */
  const shown = (value, unit) => `${value.toLocaleString("en", { maximumSignificantDigits: 7 })} ${unit}`.trim();

  // ---- a test ----

  const STANDINGS = { p: "good", s: "quiet", P: "stale", L: "expected", E: "quiet", ".": "quiet" };
  const SIGNS = { p: "▁", s: "▔", P: "✓", L: "▄", E: "·", ".": "·" };
  const standingOf = (sign) => STANDINGS[sign] ?? (sign === sign.toUpperCase() ? "bad" : "expected");

  /** The nights of a test on a cell as runs of signs that are told apart by shape. */
  function nightsStrip({ cell, nights, first }, dates, legend) {
    const parts = [];
    for (const [place, sign] of [...nights].entries()) {
      const how = standingOf(sign);
      const words = `${dates[first + place] ?? ""}: ${legend[sign] ?? "other"}`;
      const last = parts.at(-1);
      if (last && last.sign === sign && sign !== sign.toUpperCase()) {
        last.text += SIGNS[sign] ?? "▂";
      } else {
        parts.push({ sign, how, words, text: SIGNS[sign] ?? (how === "bad" ? "█" : "▂") });
      }
    }
    const bad = [...nights].filter((sign) => standingOf(sign) === "bad").length;
    const spans = parts.map(({ how, words, text }) => element("span", { class: how, title: words, "aria-hidden": "true" }, text));
    return element("div", { class: "strip", role: "img", "aria-label": `${cell}: ${bad} of ${nights.length} nights with a failure` }, ...spans);
  }

  async function ofTest(name) {
    const index = await Shards.load("index");
    const id = index.testShards[index.tests.indexOf(name)];
    if (!id) {
      return none("Test", name);
    }
    const test = await Shards.load(id);
    const cells = test.cells.map((one) => ({ ...one, cell: index.cells[one.cell], nights: Shards.signs(one.nights) }));
    const rows = cells.map((one) => {
      const kind = one.kind === "well" ? "well" : `${one.kind}, ${one.bad} of ${one.runs} runs bad`;
      return [linkTo("cell", one.cell), kind, `${one.last} s`, `${one.seconds} s`, nightsStrip(one, index.dates, index.legend)];
    });
    const reasons = test.reasons.map((one) => [one.outcome, one.reason, one.count, linkTo("cell", one.cell), new Date(one.when * 1000).toISOString().slice(0, 10)]);
    const worst = cells.find((one) => one.kind !== "well") ?? cells[0];
    const expected = index.expectations[name] ?? [];
    return [
      heading(`Test ${name}`),
      ...(test.rate ? [element("p", {}, `It ${test.rate}.`)] : []),
      ...expected.map((line) => element("p", { class: "expected" }, line)),
      table([["cell", "it is", "last", "median", `${index.dates.length} nights, old to new`], ...rows], `Nights of ${name}`),
      ...(reasons.length ? [element("h3", {}, "Not as expected"), table([["outcome", "reason", "times", "last on", "last"], ...reasons], `Reasons of ${name}`)] : []),
      command(`osv-harness test ${worst.cell} ${name}`),
      command(`osv-harness history test ${name}`),
    ];
  }

  // ---- a cell ----

  async function ofCell(name) {
    const index = await Shards.load("index");
    const number = index.cells.indexOf(name);
    if (number < 0) {
      return none("Cell", name);
    }
    const about = index.about[number];
    const parts = [heading(`Cell ${name}`)];
    if (about.missing) {
      parts.push(element("p", { class: "fact expected" }, `⚠ It has no result of the last night; its last is ${about.missing} ${about.missing === 1 ? "night" : "nights"} old.`));
    }
    parts.push(command(`osv-harness boot ${name}`));
    if (about.version !== null) {
      const all = Shards.numbers(await Shards.load(`at-${about.version}`));
      const own = all.map(({ row, value, group }) => ({ row: index.rows[row], value, group: index.groups[group] })).filter(({ row }) => row[1] === number);
      const numbers = own.map(({ row, value }) => {
        const [metric, unit] = index.metrics[row[0]];
        return [linkTo("metric", metric), row[2], shown(value, unit)];
      });
      const versions = await Shards.load("versions");
      parts.push(element("p", { class: "quiet" }, `Numbers of ${versions[about.version].name}.`));
      if (numbers.length) {
        parts.push(table([["metric", "of", "number"], ...numbers], `Numbers of ${name}`));
        parts.push(element("details", {}, element("summary", {}, "Where they were taken"), ...[...new Set(own.map((one) => one.group))].map((text) => element("pre", {}, text))));
      }
    }
    if (about.tests) {
      parts.push(element("h3", {}, "Tests"), await Tests.ofCell(about.tests));
    }
    return parts;
  }

  // ---- a metric ----

  async function ofMetric(name) {
    const index = await Shards.load("index");
    const numbers = index.metrics.flatMap(([metric], number) => (metric === name ? [number] : []));
    if (!numbers.length) {
      return none("Metric", name);
    }
    const versions = await Shards.load("versions");
    const heads = (index.figures[name] ?? []).map(async ([section, id]) => (await Shards.load(section)).find((head) => head.id === id));
    const figures = (await Promise.all(heads)).map(Plots.made);
    const steps = index.steps.filter(([row]) => numbers.includes(index.rows[row][0]));
    const big = steps.filter(([, , , change]) => Math.abs(change) >= FLOOR);
    const small = steps.length - big.length;
    const told = big.toReversed().map(([row, before, after, change]) => {
      const cell = index.cells[index.rows[row][1]];
      const between = element("a", { href: `#compare/${encodeURIComponent(versions[before].commit)}..${encodeURIComponent(versions[after].commit)}` }, versions[after].name);
      return [`${change > 0 ? "+" : ""}${(100 * change).toPrecision(3)}%`, index.rows[row][2], linkTo("cell", cell), between, versions[after].when];
    });
    return [
      heading(`Metric ${name}`),
      element("p", { class: "quiet" }, `${index.metrics[numbers[0]][2]} is better, in ${index.metrics[numbers[0]][1] || "numbers"}.`),
      ...figures,
      element("h3", {}, told.length ? "Changes that the statistics stand behind, newest first" : "No change that the statistics stand behind"),
      ...(small ? [element("p", { class: "quiet" }, `${small} changes of less than ${100 * FLOOR}% are not listed; figures mark them.`)] : []),
      ...(told.length ? [table([["change", "of", "cell", "by", "when"], ...told], `Changes of ${name}`)] : []),
    ];
  }

  // ---- which one ----

  let asked = "";

  /** Show the view of the address, if it is one's; tells whether it is. */
  async function show(place) {
    const [, kind, rest] = place.match(/^([a-z]+)\/(.*)$/s) ?? [];
    const maker = Object.hasOwn(makers, kind ?? "") ? makers[kind] : null;
    view.hidden = !maker;
    page.hidden = !!maker;
    if (!maker) {
      asked = "";
      document.title = title;
      return false;
    }
    if (asked === place) {
      return true;
    }
    asked = place;
    let name = rest;
    try {
      name = decodeURIComponent(rest);
    } catch {
      // An address that somebody wrote by hand: it is the name as it stands.
    }
    view.setAttribute("aria-busy", "true");
    let parts;
    try {
      parts = await maker(name);
    } catch (error) {
      parts = [heading(name), element("p", { class: "notice" }, `Its data can't be read: ${error.message}. Is the folder beside this page complete?`)];
    }
    if (asked !== place) {
      return true; // another address came meanwhile
    }
    const back = element("nav", { "aria-label": "Back" }, element("a", { href: "#morning" }, "← the last night"));
    view.replaceChildren(back, ...parts);
    view.setAttribute("aria-busy", "false");
    view.dataset.address = place;
    document.title = `${view.querySelector("h2").textContent} · ${title}`;
    Filter.apply();
    scrollTo(0, 0);
    view.querySelector("h2").focus({ preventScroll: true });
    return true;
  }

  return { show, shown, heading };
})();
