"use strict";
/* Shows what compare.js found: one sentence, tests by kind, metrics, what can't be compared; and copies it. */

const Compared = (() => {
  const { percent, spread, isWorse } = Compare;
  const count = (number, one, many = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
  const shownVersion = ({ name, commit }) => (name.includes(commit.slice(0, 7)) ? name : `${name} (${commit.slice(0, 12)})`);

  /** One end of the comparison: its name, subject, author, and link. */
  function endOf(word, version) {
    const name = element("code", {}, shownVersion(version));
    const linked = version.link ? element("a", { href: version.link, rel: "noreferrer" }, name) : name;
    const about = [version.subject, version.author].filter(Boolean).join(", ");
    return element("p", {}, `${word} `, linked, ` ${about} `, element("span", { class: "quiet" }, version.when));
  }

  function sentence(found) {
    if (found.why) {
      return found.why;
    }
    const told = found.tests.kinds.filter(({ kind }) => kind !== "still failing" && kind !== "appeared");
    const tests = told.map(({ kind, rows }) => `${rows.length} ${kind}`.replace(/new failure$/, rows.length === 1 ? "new failure" : "new failures"));
    const wholes = found.changed.filter((one) => !one.isPart);
    const silent = found.tests.silent.length ? [`${count(found.tests.silent.length, "cell")} without a result of the second`] : [];
    const numbers = wholes.slice(0, 3).map((one) => `${one.name} ${spread(one.changes)} on ${count(one.cells.length, "cell")}`);
    const more = wholes.length > 3 ? [`${wholes.length - 3} more metrics changed`] : [];
    const all = [...tests, ...silent, ...numbers, ...more];
    const refused = found.refused.reduce((sum, { rows }) => sum + rows.length, 0);
    const last = refused ? `; ${count(refused, "series", "series")} not comparable` : "";
    return `${all.length ? all.join(", ") : "Nothing broke, nothing changed beyond noise"}${last}.`;
  }

  const cellsOf = (cells) => {
    const some = cells.slice(0, 4).flatMap((cell, place) => [place ? ", " : "", linkTo("cell", cell)]);
    return element("span", { title: cells.join(" ") }, `${count(cells.length, "cell")}: `, ...some, cells.length > 4 ? ` and ${cells.length - 4} more` : "");
  };

  const itemRows = (made, items) => {
    [...made.querySelectorAll("tbody tr")].forEach((row, place) => Object.assign(row.dataset, { item: "", cells: items[place].cells.join(" "), ...(items[place].changes ? { metric: items[place].name, change: Math.max(...items[place].changes.map(Math.abs)) * 100 } : {}) }));
    return made;
  };

  function testTable({ kind, rows }) {
    const body = rows.map((one) => [linkTo("test", one.name), cellsOf(one.cells), one.reason]);
    const bad = kind === "new failure" || kind === "still failing";
    return [
      element("h3", { class: bad ? "bad" : kind === "fixed" ? "good" : "expected", "data-kind": kind }, `${rows.length} ${kind}`),
      itemRows(table([["test", "on", "reason"], ...body], `Tests: ${kind}`), rows),
    ];
  }

  function numberTable(rows, found, label) {
    const body = rows.map((one) => {
      const way = one.kind === "changed" ? (isWorse(one) ? "▲ worse" : "▽ better") : { noise: "noise", small: "next to nothing", same: "the same" }[one.kind] ?? "can't say";
      const of = `${Views.shown(one.first.before, one.unit)} → ${Views.shown(one.first.after, one.unit)}`;
      const how = [...one.how].filter(Boolean).slice(0, 2).join("; ");
      return [linkTo("metric", one.name, one.subject ? `${one.name} ${one.subject}` : one.name), spread(one.changes), way, of, how, cellsOf(one.cells)];
    });
    return itemRows(table([["metric", "change", "", "on the first cell", "how sure", "on"], ...body], label), rows);
  }

  function numbers(found) {
    const wholes = found.changed.filter((one) => !one.isPart);
    const parts = found.changed.filter((one) => one.isPart);
    const made = [element("h3", {}, wholes.length ? "Metrics that changed" : "No metric changed beyond its noise")];
    if (wholes.length) {
      made.push(numberTable(wholes, found, "Metrics that changed"));
    }
    if (parts.length) {
      const inside = numberTable(parts, found, "Phases, sections and parts that moved");
      made.push(element("details", wholes.length ? { open: "" } : {}, element("summary", {}, `${count(parts.length, "phase, section or part", "phases, sections and parts")} moved`), inside));
    }
    if (found.others.length) {
      const details = element("details", { class: "others" }, element("summary", {}, `${count(found.others.length, "row")} of noise, and of what is the same`));
      details.addEventListener("toggle", () => details.append(numberTable(found.others, found, "Everything else")), { once: true });
      made.push(details);
    }
    return made;
  }

  function refusals({ refused, index }) {
    return refused.map(({ why, rows }) => {
      const names = [...new Set(rows.map((row) => index.metrics[index.rows[row][0]][0]))];
      const cells = [...new Set(rows.map((row) => index.cells[index.rows[row][1]]))];
      const said = `Not comparable: ${count(names.length, "metric")} on ${count(cells.length, "cell")}: ${why}. `;
      return element("p", { class: "fact expected", "data-refused": "", title: names.join(" ") }, said, element("span", { class: "quiet" }, names.slice(0, 3).join(", "), names.length > 3 ? ` and ${names.length - 3} more` : ""));
    });
  }

  // ---- copying ----

  /** Text as a code span of Markdown, in which nothing is markup. */
  const code = (text) => (text ? `\`${text.replaceAll("`", "ˋ").replaceAll("|", "¦").replace(/\s+/g, " ").slice(0, 120)}\`` : "");

  function markdown(found) {
    const rows = [
      ...(found.tests?.kinds ?? []).flatMap(({ kind, rows }) => rows.map((one) => `| ${kind} | ${code(one.name)} | ${one.cells.slice(0, 3).map(code).join(", ")} | ${code(one.reason)} |`)),
      ...(found.changed ?? []).filter((one) => !one.isPart).map((one) => `| ${isWorse(one) ? "worse" : "better"} | ${code(one.name)} **${spread(one.changes)}** | ${count(one.cells.length, "cell")} | ${code([...one.how].join("; "))} |`),
    ];
    const head = `### ${found.versions.map((one) => code(one?.name ?? "unknown")).join(" to ")}: ${sentence(found)}`;
    return rows.length ? [head, "", "| | what | cells | |", "| --- | --- | --- | --- |", ...rows, ""].join("\n") : `${head}\n`;
  }

  function json(found) {
    const { name, versions, commits, tests, changed, refused, index } = found;
    const plain = (changed ?? []).map(({ first, how, ...one }) => ({ ...one, how: [...how] }));
    const apart = (refused ?? []).map(({ why, rows }) => ({ why, metrics: [...new Set(rows.map((row) => index.metrics[index.rows[row][0]][0]))] }));
    return JSON.stringify({ name, versions, commits, said: sentence(found), tests: tests?.kinds, silent: tests?.silent, changed: plain, refused: apart }, null, 1);
  }

  function copying(found) {
    const said = element("span", { role: "status" });
    const button = (words, text) => {
      const made = element("button", { type: "button" }, words);
      made.addEventListener("click", async () => {
        try {
          await navigator.clipboard.writeText(text());
          said.textContent = "Copied.";
        } catch {
          said.textContent = "The browser does not let this page copy; here it is:";
          said.after(element("textarea", { rows: "8", readonly: "", "aria-label": "To be copied" }, text()));
        }
      });
      return made;
    };
    return element("div", { class: "save" }, button("Copy as Markdown", () => markdown(found)), button("Copy as JSON", () => json(found)), said);
  }

  /** The form that leads to another comparison. */
  function chooser(found) {
    const fields = ["from", "to"].map((name, place) => element("input", { name, required: "", "aria-label": place ? "to version" : "from version", value: found.versions[place]?.name ?? "" }));
    const form = element("form", { class: "tools" }, fields[0], " to ", fields[1], element("button", {}, "Compare"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      location.hash = `#compare/${fields.map((field) => encodeURIComponent(field.value.trim())).join("..")}`;
    });
    return form;
  }

  async function view(name) {
    const found = await Compare.result(name);
    const [a, b] = found.versions;
    const lies = found.commits === null || found.commits === undefined ? "" : found.commits ? `${count(Math.abs(found.commits), "commit")} ${found.commits < 0 ? "back" : found.commits === 1 ? "lies between" : "lie between"}` : "The same commit count";
    return [
      Views.heading(`Compare ${a?.name ?? "?"} with ${b?.name ?? "?"}`),
      element("p", { class: "conclusion" }, element("strong", {}, sentence(found))),
      ...(a ? [endOf("from", a)] : []),
      ...(b ? [endOf("to", b)] : []),
      ...(lies ? [element("p", { class: "quiet" }, `${lies}.`)] : []),
      chooser(found),
      ...(found.tests ? [...(found.tests.silent.length ? [element("p", { class: "fact expected" }, "⚠ Without a result of the second: ", cellsOf(found.tests.silent))] : []), ...refusals(found)] : []),
      ...(found.tests ? found.tests.kinds.flatMap(testTable) : []),
      ...(found.changed ? numbers(found) : []),
      ...(found.compared === undefined ? [] : [element("p", { class: "quiet" }, `Compared: ${count(found.tests.compared, "verdict")} and ${count(found.compared, "series", "series")} of numbers.`), copying(found)]),
    ];
  }

  return { view, markdown, sentence };
})();
