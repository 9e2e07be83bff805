"use strict";
/* Draws figures with plotly.js, and tells them as rows of numbers. What a figure is: harness/report/model/figures.py. */

const Figures = (() => {
  const LIGHT = ["#0072b2", "#c44601", "#00795a", "#9b4f96", "#5d6d00", "#333333", "#008cba", "#a3263f", "#7a5c00", "#4b4fc4"];
  const DARK = ["#6cb8f0", "#ff9d5c", "#4fd1a5", "#e0a1da", "#c6d04f", "#dddddd", "#7fdfff", "#ff8fa3", "#e3c05f", "#a9abff"];
  const SYMBOLS = ["circle", "square", "diamond", "cross", "x", "star", "pentagon", "hexagon", "bowtie", "hourglass"];
  const DASHES = ["solid", "dash", "dot", "dashdot", "longdash"];
  const PATTERNS = ["", "/", "x", "-", "|", "+", "."];
  const X_TITLES = { trend: "version", stack: "version", curve: "percentile", seconds: "second of the load" };
  const MOST_LABELS = 8;
  const LONGEST_LABEL = 14;
  const LEAST_SHARE = 0.0025;

  /** Text for plotly, which reads some tags and entities in whatever it shows. */
  const escaped = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const short = (text, longest) => (text.length > longest ? text.slice(0, longest - 1) + "…" : text);

  /** Versions that are neighbours begin alike and end differently. */
  const ending = (text) => (text.length > LONGEST_LABEL ? "…" + text.slice(1 - LONGEST_LABEL) : text);

  /** A version below an axis: of what git describes, the tag and the count; the commit is told beside the point. */
  const labelOf = ({ name }) => name.replace(/-g[0-9a-f]{7,}/, "").replace(/\+changes$/, "*");

  function formatted(value, figure) {
    if (value === null) {
      return "no number";
    }
    const number = (value / figure.divisor).toLocaleString("en", { maximumSignificantDigits: 6 });
    return `${number} ${figure.shown}`.trim();
  }

  const versionAt = (figure, place, versions) => versions[figure.versions[place]];

  /** What x says, in words. */
  function placeWords(figure, x, versions) {
    if (figure.kind === "curve") {
      return `${Number((100 * (1 - 10 ** -x)).toFixed(Math.max(0, Math.ceil(x) - 1)))}%`;
    }
    if (figure.kind === "seconds") {
      return `second ${x}`;
    }
    const { name, commit } = versionAt(figure, x, versions);
    return name.includes(commit.slice(0, 7)) ? name : `${name} (${commit.slice(0, 12)})`;
  }

  function interval(figure, line, i) {
    if (!line.low.length || line.low[i] === line.high[i]) {
      return line.counts.length && line.counts[i] > 1 ? `the same ${line.counts[i]} times` : "";
    }
    return `${formatted(line.low[i], figure)} … ${formatted(line.high[i], figure)}, ${line.counts[i] ?? 1} measured`;
  }

  /** One point in words, as a list of lines: whose, where, how much, and from how many. */
  function pointWords(figure, lineNumber, i, versions) {
    const line = figure.lines[lineNumber];
    const marks = figure.marks.filter((mark) => mark.line === lineNumber && mark.x === line.x[i]);
    return [
      line.name,
      placeWords(figure, line.x[i], versions),
      versionAt(figure, line.x[i], versions)?.when,
      formatted(line.y[i], figure),
      interval(figure, line, i),
      ...marks.map((mark) => mark.words),
    ].filter(Boolean);
  }

  const style = (n, colours, own = -1) => ({
    color: colours[(own < 0 ? n : own) % colours.length],
    symbol: SYMBOLS[n % SYMBOLS.length],
    dash: DASHES[n % DASHES.length],
    pattern: PATTERNS[n % PATTERNS.length],
  });

  function trace(figure, line, n, colours, versions) {
    const look = style(n, colours, line.colour);
    const y = line.y.map((value) => (value === null ? null : value / figure.divisor));
    const drawn = {
      name: escaped(short(line.name, 60)),
      x: line.x,
      y,
      text: line.x.map((_, i) => pointWords(figure, n, i, versions).map((words) => escaped(short(words, 90))).join("<br>")),
      hovertemplate: "%{text}<extra></extra>",
      textposition: "none",
    };
    if (figure.kind === "stack") {
      return { ...drawn, type: "bar", marker: { color: look.color, pattern: { shape: n < colours.length ? "" : look.pattern || "/" } } };
    }
    const few = line.x.length <= 100;
    const ranged = figure.kind === "trend" && line.low.some((low, i) => low !== line.high[i]);
    return {
      ...drawn,
      type: "scatter",
      mode: figure.kind === "curve" || !few ? "lines" : "lines+markers",
      line: { color: look.color, width: 2, dash: look.dash },
      marker: { color: look.color, symbol: look.symbol, size: 7 },
      ...(ranged && {
        error_y: {
          type: "data",
          symmetric: false,
          array: line.high.map((high, i) => (high - line.y[i]) / figure.divisor),
          arrayminus: line.low.map((low, i) => (line.y[i] - low) / figure.divisor),
          thickness: 1,
          width: 3,
          color: look.color,
        },
      }),
    };
  }

  /** Findings: a triangle at the first version at the new level, up if that is worse, down if better. */
  function markTrace(figure, worse, colour) {
    const marks = figure.marks.filter((mark) => mark.worse === worse);
    return {
      type: "scatter",
      mode: "markers",
      name: worse ? "finding: worse" : "finding: better",
      x: marks.map((mark) => mark.x),
      y: marks.map((mark) => {
        const line = figure.lines[mark.line];
        return line.y[line.x.indexOf(mark.x)] / figure.divisor;
      }),
      marker: { symbol: worse ? "triangle-up" : "triangle-down-open", size: 16, color: colour, line: { width: 2 } },
      hoverinfo: "skip",
    };
  }

  /** Where the numbers lie, so that a few wide ranges don't make a line of them all; never less than a share of
      the level, so that next to nothing does not look like a step. */
  function yRange(figure) {
    const values = figure.lines.flatMap((line) => line.y).filter((value) => value !== null);
    if (figure.kind !== "trend" || !values.length) {
      return {};
    }
    const [low, high] = [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
    const half = Math.max((high - low) * 0.6, Math.max(Math.abs(low), Math.abs(high)) * LEAST_SHARE, Number.MIN_VALUE);
    const middle = (low + high) / 2;
    return { range: [(middle - half) / figure.divisor, (middle + half) / figure.divisor] };
  }

  function xAxis(figure, versions) {
    if (figure.kind === "curve") {
      const nines = [0, 1, 2, 3, 4, 5, 6];
      return { tickvals: nines, ticktext: nines.map((n) => placeWords(figure, n, versions)) };
    }
    if (figure.kind === "seconds") {
      return { rangemode: "tozero" };
    }
    const step = Math.ceil(figure.versions.length / MOST_LABELS);
    const places = figure.versions.map((_, place) => place).filter((place) => place % step === 0);
    const labels = places.map((place) => escaped(ending(labelOf(versionAt(figure, place, versions)))));
    return { tickvals: places, ticktext: labels, range: [-0.6, figure.versions.length - 0.4] };
  }

  /** Traces and layout for plotly, in the page's present colours. */
  function drawing(figure, versions, palette) {
    const colours = palette.dark ? DARK : LIGHT;
    const traces = figure.lines.map((line, n) => trace(figure, line, n, colours, versions));
    for (const worse of [true, false]) {
      if (figure.marks.some((mark) => mark.worse === worse)) {
        traces.push(markTrace(figure, worse, worse ? palette.bad : palette.good));
      }
    }
    const axis = { gridcolor: palette.edge, zerolinecolor: palette.edge, linecolor: palette.edge, automargin: true };
    const title = (text) => ({ text: escaped(text), standoff: 8 });
    const layout = {
      paper_bgcolor: palette.ground,
      plot_bgcolor: palette.ground,
      font: { color: palette.ink, family: "system-ui, sans-serif", size: 12 },
      margin: { l: 48, r: 12, t: 8, b: 40 },
      hovermode: "closest",
      hoverlabel: { bgcolor: palette.ground, bordercolor: palette.ink, font: { color: palette.ink }, align: "left", namelength: 0 },
      barmode: "stack",
      showlegend: traces.length > 1,
      legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom" },
      xaxis: { ...axis, title: title(X_TITLES[figure.kind]), ...xAxis(figure, versions) },
      yaxis: {
        ...axis,
        title: title(figure.shown),
        exponentformat: "none",
        ...yRange(figure),
        ...(figure.kind === "curve" ? { type: "log", dtick: 1 } : {}),
        ...(figure.kind === "seconds" ? { rangemode: "tozero" } : {}),
      },
      // A finger on a plot scrolls the page.
      dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    };
    return { traces, layout };
  }

  /** The figure as rows: a head, then one row for each x; numbers undivided, in the metric's own unit. */
  function rows(figure, versions) {
    const byVersion = figure.kind === "trend" || figure.kind === "stack";
    const unit = figure.unit ? ` (${figure.unit})` : "";
    const ranged = figure.lines.map((line) => line.low.some((low, i) => low !== line.high[i]));
    const head = [
      ...(byVersion ? ["version", "commit", "date"] : [X_TITLES[figure.kind]]),
      ...figure.lines.flatMap((line, n) => [line.name + unit, ...(ranged[n] ? [`${line.name} least`, `${line.name} greatest`] : [])]),
    ];
    const places = figure.lines.map((line) => new Map(line.x.map((x, i) => [x, i])));
    const xs = [...new Set(figure.lines.flatMap((line) => line.x))].sort((a, b) => a - b);
    const body = xs.map((x) => {
      const version = byVersion && versionAt(figure, x, versions);
      return [
        ...(version ? [version.name, version.commit, version.when] : [placeWords(figure, x, versions)]),
        ...figure.lines.flatMap((line, n) => {
          const i = places[n].get(x);
          const of = (values) => (i === undefined || values[i] === null ? "" : values[i]);
          return [of(line.y), ...(ranged[n] ? [of(line.low), of(line.high)] : [])];
        }),
      ];
    });
    return [head, ...body];
  }

  /** One CSV field. A spreadsheet takes what begins with these signs for a formula, so such text gets an apostrophe. */
  function field(value) {
    const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }

  const csv = (figure, versions) => rows(figure, versions).map((row) => row.map(field).join(",") + "\r\n").join("");

  const json = (figure, versions) => {
    const { id, divisor, shown, ...told } = figure;
    return JSON.stringify({ ...told, versions: figure.versions.map((number) => versions[number]) }, null, 1);
  };

  return { drawing, pointWords, rows, csv, json };
})();
