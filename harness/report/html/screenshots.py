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


def _to(selector: str) -> str:
    """A script that opens what contains the element, scrolls to it, and, if it is a plot, shows the values at
    its second point."""
    return f"""(() => {{
      const target = document.querySelector({json.dumps(selector)});
      if (target) location.hash = target.closest("[id]").id;
      const key = (name) => target?.dispatchEvent(new KeyboardEvent("keydown", {{ key: name }}));
      if (target?.matches(".plot")) {{ key("Home"); key("ArrowRight"); }}
    }})()"""


VIEWS = (
    View("report-top", DESK, "light"),
    View("report-matrix", DESK, "light", _to("#matrix")),
    View("report-trend", DESK, "light", _to("figure:has(p.bad) .plot")),
    View("report-phases", DESK, "dark", _to("[data-kind=stack] .plot")),
    View("report-latency", DESK, "light", _to("[data-kind=curve] .plot")),
    View("report-phone", PHONE, "light"),
    View("report-phone-dark", PHONE, "dark", _to("figure:has(p.bad)")),
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
