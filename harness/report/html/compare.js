"use strict";
/* What differs between two versions: counted here, from what the report has of both. `result` does it, without the
   page; `view` shows it. */

const Compare = (() => {
  const SURE = 4;
  /* Standard errors from which a change of one metric, of some hundreds that are looked at, is no chance. */
  const LEAST_EXACT = 0.0001;
  /* Of an exact number, as a share: every commit moves code a little. */

  const isBad = (sign) => sign !== sign.toLowerCase() && !"PLE".includes(sign);
  const telling = (sign) => sign !== undefined && !".sEe".includes(sign);

  /** The number of the version that is meant: by commit, by name, by the day of a night. */
  function numberOf(word, versions, index) {
    const night = index.dates.lastIndexOf(word);
    if (night >= 0) {
      return index.heads[night];
    }
    const fits = [
      ({ commit, name }) => commit === word || name === word,
      ({ commit }) => word.length >= 4 && commit.startsWith(word),
      ({ name }) => word.length >= 2 && (name.startsWith(`${word}-g`) || name.endsWith(`-g${word}`)),
    ];
    for (const fit of fits) {
      const found = versions.findLastIndex(fit);
      if (found >= 0) {
        return found;
      }
    }
    return null;
  }

  /** `A..B` as two numbers of versions; of less than that, the last two nights. */
  function ends(name, versions, index) {
    const known = index.heads.filter((number) => number !== null);
    const [a, b] = name.includes("..") ? name.split("..") : ["", name];
    const end = b ? numberOf(b, versions, index) : (known.at(-1) ?? null);
    const before = known.filter((number) => number !== end && number < (end ?? Infinity)).at(-1) ?? null;
    return [a ? numberOf(a, versions, index) : before, end];
  }

  // ---- tests ----

  const KINDS = ["new failure", "flaky", "fixed", "still failing", "passes unexpectedly", "appeared", "disappeared"];

  function kindOf(before, after, mixed, isFlaky) {
    if (after === "." || before === ".") {
      return before === after ? null : after === "." ? "disappeared" : isBad(after) ? "new failure" : "appeared";
    }
    if (after === "P" && before !== "P") {
      return "passes unexpectedly";
    }
    if (!telling(before) || !telling(after)) {
      return null;
    }
    if (isBad(before) !== isBad(after) || after === "L" || (mixed && isBad(after))) {
      return isFlaky || mixed || after === "L" ? "flaky" : isBad(after) ? "new failure" : "fixed";
    }
    return isBad(after) ? "still failing" : null;
  }

  /** What became of the tests: by kind, each with its cells; and the cells that have results of A alone. */
  function testsOf(a, b, index) {
    const flaky = new Set(index.flaky.map(([test, cell]) => `${test} ${cell}`));
    const mixed = new Set(b.mixed.map(([cell, test]) => `${test} ${cell}`));
    const found = new Map(KINDS.map((kind) => [kind, new Map()]));
    const reasons = new Map(b.reasons.flatMap(([text, where]) => where.map(([cell, test]) => [`${test} ${cell}`, text])));
    let compared = 0;
    for (const [cell, signs] of Object.entries(b.tests)) {
      const old = a.tests[cell];
      for (const [test, after] of [...signs].entries()) {
        const key = `${test} ${cell}`;
        compared += old !== undefined && telling(old[test]) && telling(after);
        const kind = old && kindOf(old[test], after, mixed.has(key), flaky.has(key));
        if (kind) {
          const name = index.tests[test];
          const rows = found.get(kind);
          rows.set(name, rows.get(name) ?? { name, cells: [], reason: reasons.get(key) ?? "" });
          rows.get(name).cells.push(index.cells[cell]);
        }
      }
    }
    const silent = Object.keys(a.tests).filter((cell) => !(cell in b.tests)).map((cell) => index.cells[cell]);
    const kinds = [...found].map(([kind, rows]) => ({ kind, rows: [...rows.values()] })).filter(({ rows }) => rows.length);
    return { kinds, silent, compared };
  }

  // ---- numbers ----

  const byRow = (at) => new Map(Shards.numbers(at).map(({ row, value, group }) => [row, { value, group }]));

  /** What of one series: how much it changed, whether that is sure, noise, or can't be said. */
  function changeOf(row, before, after, steps, noise) {
    const change = before.value ? (after.value - before.value) / Math.abs(before.value) : after.value === before.value ? 0 : Infinity;
    const one = { row, before: before.value, after: after.value, change, interval: null };
    if (noise === 0) {
      return { ...one, kind: change === 0 ? "same" : Math.abs(change) < LEAST_EXACT ? "small" : "changed", how: "exact" };
    }
    if (noise === null) {
      return { ...one, kind: change === 0 ? "same" : "unknown", how: "too few versions tell its noise" };
    }
    const error = noise * Math.SQRT2;
    const stepped = steps.reduce((all, step) => (1 + all) * (1 + step) - 1, 0);
    const isStep = steps.length > 0 && Math.abs(stepped) > error / 2 && Math.sign(stepped) === Math.sign(change);
    const interval = [change - 1.96 * error, change + 1.96 * error];
    const sure = isStep || Math.abs(change) > SURE * error;
    return { ...one, interval, kind: sure ? "changed" : "noise", how: isStep ? "a step that the statistics stand behind" : "" };
  }

  /** Facts that differ between two groups, as words. */
  function apart(a, b) {
    const facts = (text) => new Map(text.split("\n").map((line) => line.split(/: (.*)/s)));
    const [old, now] = [facts(a), facts(b)];
    const names = [...new Set([...old.keys(), ...now.keys()])].filter((name) => old.get(name) !== now.get(name));
    return names.map((name) => `${name} ${old.get(name) ?? "unknown"} → ${now.get(name) ?? "unknown"}`).join(", ");
  }

  /** All rows of both versions, each once. `from` and `to` are the versions' numbers. */
  function numbersOf(a, b, from, to, index) {
    const [old, now] = [byRow(a), byRow(b)];
    const [low, high, way] = from < to ? [from, to, 1] : [to, from, -1];
    const steps = new Map();
    for (const [row, before, after, change] of index.steps) {
      if (after > low && after <= high && before >= low - 1) {
        steps.set(row, [...(steps.get(row) ?? []), way > 0 ? change : 1 / (1 + change) - 1]);
      }
    }
    const rows = [];
    const refused = new Map();
    for (const [row, after] of now) {
      const before = old.get(row);
      if (!before) {
        continue;
      }
      if (before.group !== after.group) {
        const why = apart(index.groups[before.group], index.groups[after.group]);
        refused.set(why, [...(refused.get(why) ?? []), row]);
      } else {
        rows.push(changeOf(row, before, after, steps.get(row) ?? [], index.rows[row][3]));
      }
    }
    return { rows, refused: [...refused].map(([why, of]) => ({ why, rows: of })) };
  }

  /** The rows of one metric and subject that went the same way as one; those that are parts of a whole apart. */
  function folded(rows, index) {
    const found = new Map();
    for (const one of rows) {
      const [metric, cell, subject] = index.rows[one.row];
      const [name, unit, better, isPart] = index.metrics[metric];
      const key = `${name}\n${subject}\n${one.kind}\n${one.change > 0}`;
      const all = found.get(key) ?? { name, unit, subject, better, isPart: !!isPart, kind: one.kind, cells: [], changes: [], how: new Set(), first: one };
      all.cells.push(index.cells[cell]);
      all.changes.push(one.change);
      all.how.add(one.how || (one.interval ? "95%: " + one.interval.map(percent).join(" to ") : ""));
      found.set(key, all);
    }
    const size = (one) => Math.max(...one.changes.map(Math.abs));
    return [...found.values()].sort((x, y) => size(y) - size(x));
  }

  const percent = (share) => (Number.isFinite(share) ? `${share > 0 ? "+" : ""}${Number((100 * share).toPrecision(3))}%` : "from nothing");

  function spread(changes) {
    const sorted = changes.toSorted((x, y) => Math.abs(x) - Math.abs(y));
    const [low, high] = [percent(sorted[0]), percent(sorted.at(-1))];
    return low === high ? low : `${low} to ${high}`;
  }

  const isWorse = ({ better, changes: [change] }) => change > 0 === (better === "lower");

  /** Everything that is to be said of two versions, as plain values. */
  async function result(name) {
    const [index, versions] = await Promise.all([Shards.load("index"), Shards.load("versions")]);
    const [from, to] = ends(name, versions, index);
    if (from === null || to === null) {
      return { name, versions: [from, to].map((number) => (number === null ? null : versions[number])), why: "This report has no such version." };
    }
    const both = [versions[from], versions[to]];
    if (both[0].kernel !== both[1].kernel) {
      return { name, versions: both, why: "Not comparable: they are different kernels." };
    }
    const [a, b] = await Promise.all([Shards.load(`at-${from}`), Shards.load(`at-${to}`)]);
    const tests = testsOf(a, b, index);
    const { rows, refused } = numbersOf(a, b, from, to, index);
    const between = both.map((one) => one.count);
    return {
      name, from, to, versions: both, tests, index,
      commits: between.every((count) => count !== null) && both[0].tag === both[1].tag ? between[1] - between[0] : null,
      changed: folded(rows.filter(({ kind }) => kind === "changed"), index),
      others: folded(rows.filter(({ kind }) => kind !== "changed"), index),
      refused, compared: rows.length, why: tests.compared + rows.length ? "" : refused.length ? "Nothing of them is comparable." : "They have nothing in common: nothing was compared.",
    };
  }

  return { result, percent, spread, isWorse, view: (name) => Compared.view(name) };
})();
