"""Takes pictures of a report in a real browser, for documents and for people who can't open the page."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.report.html.chromium import Browser

PHONE = (360, 740)
DESK = (1200, 800)

# Waits until what can be seen is drawn, for figures are drawn when they come into view.
SETTLED = """
new Promise((done) => {
  const ready = () => [...document.querySelectorAll(".plot")].every((plot) => {
    const box = plot.getBoundingClientRect();
    return !plot.checkVisibility() || box.bottom < 0 || box.top > innerHeight || plot.querySelector(".main-svg");
  });
  const look = () => (ready() ? setTimeout(done, 300) : setTimeout(look, 100));
  setTimeout(look, 200);
})
"""


@dataclass(frozen=True, slots=True)
class View:
    """One picture: its name, the size of the window, the colours, and the script that scrolls to what it shows."""

    name: str
    size: tuple[int, int]
    scheme: str
    script: str = "0"


def _to(selector: str, *sections: str) -> str:
    """A script that opens the sections whose heading begins so, in which figures are made when they are opened,
    scrolls to the element, and, if it is a plot, shows the values at its second point."""
    return f"""(async () => {{
      const opened = [...document.querySelectorAll("section")].filter((one) =>
        {json.dumps(sections)}.some((begins) => one.querySelector("h2")?.textContent.startsWith(begins)));
      for (const one of opened) for (const part of one.querySelectorAll("details")) part.open = true;
      const find = () => document.querySelector({json.dumps(selector)});
      for (let tries = 0; opened.length && !find() && tries < 100; tries++)
        await new Promise((done) => setTimeout(done, 50));
      const target = find();
      if (target) location.hash = target.closest("[id]").id;
      const key = (name) => target?.dispatchEvent(new KeyboardEvent("keydown", {{ key: name }}));
      if (target?.matches(".plot")) {{ key("Home"); key("ArrowRight"); }}
    }})()"""


OF_FIGURES = ("Boot", "Memory", "Size", "App")
VIEWS = (
    View("report-top", DESK, "light"),
    View("report-matrix", DESK, "light", _to("#matrix")),
    View("report-trend", DESK, "light", _to("figure:has(p.bad) .plot", *OF_FIGURES)),
    View("report-phases", DESK, "dark", _to("[data-kind=stack] .plot", "Boot")),
    View("report-latency", DESK, "light", _to("[data-kind=curve] .plot", "App")),
    View("report-bisect", DESK, "light", _to("#records details", "Comparisons")),
    View("report-phone", PHONE, "light"),
    View("report-phone-dark", PHONE, "dark", _to("figure:has(p.bad)", *OF_FIGURES)),
)


def take(page: Path, folder: Path) -> Iterator[Path]:
    """Write a PNG of each view to the folder, and yield its path. Raises `HostError` if there is no Chromium."""
    folder.mkdir(parents=True, exist_ok=True)
    with Browser() as browser:
        for view in VIEWS:
            browser.open(page, *view.size, view.scheme)
            browser.evaluate(view.script)
            browser.evaluate(SETTLED)
            path = folder / f"{view.name}.png"
            browser.screenshot(path)
            yield path
