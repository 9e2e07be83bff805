"""The report's page in a real browser: from a file, by keyboard, on a phone, whatever a guest printed."""

import json
import os
import re
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from report_browser import DRAWN, HOSTILE, OPEN_ALL, complaints, until, with_texts, written
from test_report_history import BEGAN, CELLS, DAY, HERE, history

from harness.core.errors import HostError
from harness.metrics.records import Metric, Sample, Version
from harness.report.html.chromium import Browser, found
from harness.report.html.page import page
from harness.report.html.screenshots import VIEWS, take
from harness.report.model.data import ReportData

pytestmark = pytest.mark.skipif(found() is None, reason="Debian's package chromium is not installed")

HOVER_ALL = """
Promise.all([...document.querySelectorAll(".plot")].map((plot) => {
  for (const key of ["Home", "ArrowDown"]) plot.dispatchEvent(new KeyboardEvent("keydown", { key }));
  return new Promise((done) => setTimeout(done, 50));
}))
"""
COUNTS = """
Object.fromEntries(
  ["script", "style", "img", "iframe", "form", "object", "link", "meta", "base", "a[href]", "svg a", "b", "i",
   "sub", "[onerror]", "[onload]"].map((one) => [one, document.querySelectorAll(one).length]))
"""


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(history(), tmp_path_factory.mktemp("single"), single=True)


@pytest.mark.parametrize(("made", "scheme"), [("report", "light"), ("report", "dark"), ("single", "light")])
def test_everything_is_drawn_without_a_complaint(
    browser: Browser, made: str, scheme: str, request: pytest.FixtureRequest
) -> None:
    """No error, no breach of its policy, no request but of its own folder, in either scheme, all of it opened."""
    browser.open(request.getfixturevalue(made), scheme=scheme)
    browser.evaluate(OPEN_ALL)
    assert browser.evaluate(DRAWN) > 20
    browser.evaluate(HOVER_ALL)
    assert complaints(browser) == []
    kinds = browser.evaluate("[...document.querySelectorAll('figure')].map((one) => one.dataset.kind)")
    assert sorted(set(kinds)) == ["curve", "seconds", "stack", "trend"]
    assert browser.evaluate("document.querySelectorAll('.tests tbody tr').length") == 30 * len(CELLS)
    requests = [event for event in browser.events if event["method"] == "Network.requestWillBeSent"]
    assert (len(requests) == 1) == (made == "single")


def test_a_policy_lets_nothing_else_run(browser: Browser, report: Path) -> None:
    """A script that got into the page all the same would not be run, nor could it tell anybody."""
    browser.open(report)
    got_in = (
        "document.body.append(Object.assign(document.createElement('script'), { textContent: 'window.ran = 1' }))"
    )
    browser.evaluate(f"{got_in}, 0")
    assert browser.evaluate("window.ran ?? 0") == 0
    assert any("Content Security Policy" in complaint for complaint in complaints(browser))
    assert browser.evaluate("fetch('https://example.org/').then(() => 'sent', () => 'refused')") == "refused"


def test_what_a_guest_printed_changes_nothing(browser: Browser, tmp_path: Path) -> None:
    """Markup, scripts, escapes and templates in every text of a history are text, and no element comes of them."""
    seen = {}
    for name, words in (("harmless", ["harmless"]), ("hostile", HOSTILE)):
        folder = tmp_path / name
        folder.mkdir()
        browser.open(written(with_texts(words), folder))
        browser.evaluate(OPEN_ALL)
        browser.evaluate(DRAWN)
        browser.evaluate(HOVER_ALL)
        assert complaints(browser) == []
        seen[name] = browser.evaluate(COUNTS)
    assert seen["hostile"] == seen["harmless"]
    text = browser.evaluate("document.body.innerText")
    for shown in ("<script>alert(1)</script>", "<img src=x onerror=alert(3)>", "{{ 7 * 7 }}", "\\u202egnp.exe"):
        assert shown in text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", text)


@pytest.mark.parametrize(
    "words", ["<b>b</b>", "<a href='javascript:alert(1)'>a</a>", "&lt;i&gt;&#60;", "%{x} $x^2$"]
)
def test_a_plot_reads_no_markup(browser: Browser, tmp_path: Path, words: str) -> None:
    """What plotly would take for tags, entities, templates or formulas is shown as it was written."""
    metric = Metric("guest.test.rate", "1/s")
    samples = [
        Sample(metric, 1.0, f"osv:{words}{number}", "", Version("c", "", words[-14:], BEGAN), HERE, "1", BEGAN)
        for number in (1, 2)
    ]
    browser.open(written(ReportData(samples), tmp_path))
    browser.evaluate(OPEN_ALL)
    browser.evaluate(DRAWN)
    shown = "[...document.querySelectorAll('.plot .legendtext, .plot .xtick text')].map((one) => one.textContent)"
    assert set(browser.evaluate(shown)) == {f"{words}1", f"{words}2", words[-14:]}
    assert browser.evaluate("document.querySelectorAll('.plot a, .plot tspan[style]').length") == 0
    assert complaints(browser) == []


def test_the_keyboard_reaches_and_reads_plots(browser: Browser, report: Path) -> None:
    """Tab leads from the skip link to the plots; arrows read their points, Escape ends that."""
    browser.open(report)
    browser.evaluate(f"document.querySelector('details.figures').open = true, {FIGURES}")
    browser.press("Tab", 9)
    assert browser.evaluate("document.activeElement.className") == "skip"
    outlined = "getComputedStyle(document.activeElement).outlineStyle"
    for _ in range(200):
        browser.press("Tab", 9)
        assert browser.evaluate(outlined) != "none"
        if browser.evaluate("document.activeElement.classList.contains('plot')"):
            break
    browser.press("ArrowRight", 39)
    browser.press("ArrowRight", 39)
    reading = "document.activeElement.closest('figure').querySelector('.reading').textContent"
    until(lambda: "137 M instructions" in browser.evaluate(reading))
    assert "v0.57.0-391" in browser.evaluate(reading)
    until(lambda: "M instructions" in browser.evaluate("document.querySelector('.hoverlayer').textContent"))
    browser.press("Escape", 27)
    assert browser.evaluate(reading) == ""
    browser.press("Tab", 9)
    assert browser.evaluate("document.activeElement.textContent") == "Save SVG"


def test_a_phone_scrolls_down_only(browser: Browser, report: Path) -> None:
    """At 360 pixels nothing makes the page wider, closed or opened; wide tables scroll by themselves."""
    browser.open(report, width=360, height=740)
    width = "document.documentElement.scrollWidth"
    assert browser.evaluate(width) == 360
    browser.evaluate(OPEN_ALL)
    browser.evaluate(DRAWN)
    assert browser.evaluate(width) == 360
    wider = "[...document.querySelectorAll('.scroll')].some((one) => one.scrollWidth > one.clientWidth)"
    assert browser.evaluate(wider)


FIGURES = """
new Promise((done) => {
  const look = () => (document.querySelector("figure") ? done(1) : setTimeout(look, 50));
  look();
})
"""
CONTRASTS = """
(() => {
  const light = (colour) => {
    const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = colour.match(/[\\d.]+/g).map((c) => linear(c / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (one) => {
    const colour = getComputedStyle(one).backgroundColor;
    return colour !== "rgba(0, 0, 0, 0)" || !one.parentElement ? colour : ground(one.parentElement);
  };
  return [...document.querySelectorAll("body *")].filter((one) => one.checkVisibility() && !one.closest("svg") &&
    [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim())).map((one) => {
    const [a, b] = [light(getComputedStyle(one).color), light(ground(one))].sort((x, y) => y - x);
    return [(a + 0.05) / (b + 0.05), one.outerHTML.slice(0, 80)];
  }).filter(([contrast]) => contrast < 4.5);
})()
"""


def test_both_schemes_can_be_read(browser: Browser, report: Path) -> None:
    """Every text has a contrast of 4.5 or more (WCAG AA); the button changes the scheme, and the plots with it."""
    paper = "document.querySelector('.plot.drawn .main-svg').style.background"
    browser.open(report)
    browser.evaluate(OPEN_ALL)
    browser.evaluate(DRAWN)
    assert browser.evaluate(CONTRASTS) == []
    assert browser.evaluate(paper) == "rgb(255, 255, 255)"
    browser.evaluate("document.getElementById('theme').click()")
    assert browser.evaluate(CONTRASTS) == []
    until(lambda: browser.evaluate(paper) == "rgb(22, 24, 29)")


def test_every_figure_can_be_saved(browser: Browser, report: Path, tmp_path: Path) -> None:
    """As a drawing, a picture, a table and data; and each says the same."""
    browser.open(report)
    browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    browser.evaluate(f"document.querySelector('details.figures').open = true, {FIGURES}")
    for number, ending in enumerate(("svg", "png", "csv", "json")):
        browser.evaluate(f"document.querySelectorAll('.save')[0].children[{number}].click()")
        until(lambda ending=ending: (tmp_path / f"boot.instructions.{ending}").exists())
    saved = {path.suffix: path.read_bytes() for path in tmp_path.iterdir()}
    assert saved[".png"].startswith(b"\x89PNG")
    assert b"<svg" in saved[".svg"]
    assert len(saved[".csv"].splitlines()) == 11
    assert b"137000000" in saved[".csv"]
    assert json.loads(saved[".json"])["lines"][0]["y"][0] == 137_000_000
    assert complaints(browser) == []


def test_an_empty_history_says_how_to_fill_it(browser: Browser, tmp_path: Path) -> None:
    """It opens without a complaint, and is small, for there is nothing to draw."""
    path = written(ReportData(), tmp_path)
    browser.open(path)
    assert "tox -e qemu-rofs" in browser.evaluate("document.body.innerText")
    assert complaints(browser) == []
    assert path.stat().st_size < 100_000


def test_a_long_history_makes_a_page_of_bounded_size(browser: Browser, tmp_path: Path) -> None:
    """100,000 samples and as many verdicts: the latest versions are shown, the page says so, and it opens."""
    metrics = [Metric(f"guest.test{number}.rate", "1/s") for number in range(50)]
    versions = [Version(f"{number:040x}", "", f"v{number}", BEGAN + number * DAY) for number in range(500)]
    samples = [
        Sample(metric, 1.0 + day, cell, "", version, HERE, f"{day}", BEGAN + day, id=f"{metric.name}{cell}{day}")
        for day, version in enumerate(versions) for metric in metrics for cell in CELLS
    ]  # fmt: skip
    one = history().judged[0]
    judged = [
        replace(one, test=f"test{test}", version=version, taken=BEGAN + day, cell=cell, reason=f"reason {day}")
        for day, version in enumerate(versions) for test in range(50) for cell in CELLS
    ]  # fmt: skip
    path = written(ReportData(samples, judged), tmp_path)
    assert path.stat().st_size < 300_000
    assert sum(one.stat().st_size for one in (tmp_path / "report-data").iterdir()) < 16e6
    browser.open(path)
    assert browser.evaluate("document.querySelectorAll('*').length") < 2_000
    browser.evaluate(f"document.querySelector('details.figures').open = true, {FIGURES}")
    browser.evaluate(DRAWN)
    numbers = browser.evaluate("Plotly && document.querySelector('.plot.drawn').data[0].x")
    assert numbers[0] == 0
    assert numbers[-1] == len(set(numbers)) - 1 or numbers[-1] > 200
    assert "500 versions" in browser.evaluate("document.querySelector('figure').textContent")
    older = page(ReportData(samples, judged))
    assert len(older) < 14e6
    assert "older versions this file has no numbers" in older


def test_screenshots_are_taken(report: Path, tmp_path: Path) -> None:
    """One PNG of each view, for docs."""
    taken = list(take(report, tmp_path / "pictures"))
    assert [path.stem for path in taken] == [view.name for view in VIEWS]
    pictures = {path.stem: path.read_bytes() for path in taken}
    assert all(one.startswith(b"\x89PNG") for one in pictures.values())
    for name in ("report-trend", "report-latency", "report-matrix"):
        assert pictures[name] != pictures["report-top"], f"{name} shows the top of the page"


def test_a_browser_that_is_killed_is_said_to_have_ended(tmp_path: Path) -> None:
    with Browser() as browser:
        os.kill(browser._pid, signal.SIGKILL)
        os.waitid(os.P_PID, browser._pid, os.WEXITED | os.WNOWAIT)
        for _ in range(2):  # the first may come before the pipes are closed
            with pytest.raises(HostError, match="Chromium ended by itself"):
                browser.call("Page.captureScreenshot")
