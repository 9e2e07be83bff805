"use strict";
/* Tests of a cell as a table, with strips of their verdicts, old to new. */

const Tests = (() => {
  /** The parts of a test's run by name: how they are packed is said in harness/report/model/outcomes.py. */
  const unpacked = (data, versions) => ([version, outcome, seconds, reason, when]) => {
    const [words, symbol, standing] = data.outcomes[outcome];
    const moment = new Date(when * 1000).toISOString().slice(0, 16).replace("T", " ");
    return { version: versions[version].name, words, symbol, standing, seconds, reason: data.reasons[reason], moment };
  };

  const runWords = (run) => `${run.version}, ${run.moment}: ${run.words}, ${run.seconds} s. ${run.reason}`;

  function strip(runs) {
    const signs = runs.map((run) => element("span", { class: run.standing, title: runWords(run), "aria-hidden": "true" }, run.symbol));
    const bad = runs.filter((run) => run.standing === "bad").length;
    return element("span", { class: "strip", role: "img", "aria-label": `${runs.length} runs, ${bad} not as expected` }, ...signs);
  }

  function row(test, cell) {
    const { words, symbol, standing, seconds } = test.runs.at(-1);
    const history = element("details", {}, element("summary", {}, `${test.runs.length} of ${test.of}`));
    const fill = () => {
      const items = test.runs.toReversed().map((run) => element("li", { class: run.standing }, runWords(run)));
      history.append(element("ul", {}, ...items));
    };
    history.addEventListener("toggle", fill, { once: true });
    return element(
      "tr",
      { "data-item": "", "data-cells": cell },
      element("th", { scope: "row" }, linkTo("test", test.name)),
      element("td", {}, test.suite),
      element("td", { class: standing }, element("span", { class: "symbol" }, symbol), ` ${words}`),
      element("td", { class: "number" }, String(seconds)),
      element("td", {}, strip(test.runs)),
      element("td", {}, history),
    );
  }

  /** The table of a cell's tests, those that are not as expected first. */
  async function ofCell(id) {
    const [data, versions] = await Promise.all([Shards.load(id), Shards.load("versions")]);
    const head = ["test", "suite", "latest", "seconds", "old to new", "runs"].map((text) => element("th", { scope: "col" }, text));
    const tests = data.tests.map((test) => ({ ...test, runs: test.runs.map(unpacked(data, versions)) }));
    const isBad = (test) => test.runs.at(-1).standing === "bad";
    tests.sort((a, b) => isBad(b) - isBad(a));
    const rows = tests.map((test) => row(test, data.cell));
    const made = element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows));
    return element("div", { class: "tests" }, scrolling(`Tests of ${data.cell}`, made));
  }

  return { ofCell };
})();
