"""The report's page in a real browser: from a file, by keyboard, on a phone, whatever a guest printed."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
from test_report_history import BEGAN, CELLS, DAY, HERE, history

from harness.measure import Metric, Sample, Version
from harness.report.page import page
from harness.report.page.browser import Browser, found
from harness.report.page.screenshots import VIEWS, take
from harness.report.page.told import Told

pytestmark = pytest.mark.skipif(found() is None, reason="Debian's package chromium is not installed")

HOSTILE = (
    "<script>alert(1)</script>", "</script><script>alert(2)</script>", "<img src=x onerror=alert(3)>",
    "<!--<script>", '"><svg onload=alert(4)>', "<a href='javascript:alert(5)'>here</a>",
    "<b>bold</b><br><i>it</i><sub>s</sub>", "&lt;b&gt;&#60;img src=x&#62;&amp;", "{{ 7 * 7 }}{% raw %}",
    "${alert(6)}`", "\x1b[31mred\x1b]0;title\x07\x00\x08", "\u202egnp.exe\u2066\u200b", "__proto__",
    "constructor", "]]>\\\"'\\u003c", "\ud800 lone", "%{x}%{customdata[0]}", "$x^2$", '=HYPERLINK("http://x")',
    "x" * 5000, "\u2028line\u2029", "javascript:alert(7)", "[red]rich[/]", "\r\n\r\n",
)  # fmt: skip

OPEN_ALL = """
document.querySelectorAll("details").forEach((one) => (one.open = true)),
new Promise((done) => setTimeout(done, 100)).then(() => {
  document.querySelectorAll("details").forEach((one) => (one.open = true));
  document.querySelectorAll(".plot").forEach((one) => one.scrollIntoView());
})
"""
DRAWN = """
new Promise((done) => {
  const plots = [...document.querySelectorAll(".plot")];
  const look = () => {
    const missing = plots.find((plot) => !plot.querySelector(".main-svg"));
    missing ? (missing.scrollIntoView(), setTimeout(look, 50)) : setTimeout(() => done(plots.length), 200);
  };
  look();
})
"""
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
def browser() -> Iterator[Browser]:
    with Browser() as one:
        yield one


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _written(history(), tmp_path_factory.mktemp("report"))


def _written(told: Told, folder: Path) -> Path:
    path = folder / "report.html"
    path.write_text(page(told), encoding="utf-8")
    return path


def _complaints(browser: Browser) -> list[str]:
    """What the browser found wrong, and whatever the page wanted from outside or asked its reader."""
    wrong = (
        "Log.entryAdded",
        "Runtime.exceptionThrown",
        "Runtime.consoleAPICalled",
        "Page.javascriptDialogOpening",
    )
    found = [json.dumps(event)[:500] for event in browser.events if event["method"] in wrong]
    urls = [e["params"]["request"]["url"] for e in browser.events if e["method"] == "Network.requestWillBeSent"]
    return found + [url[:200] for url in urls[1:] if not url.startswith(("data:", "blob:"))]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_is_drawn_without_a_complaint(browser: Browser, report: Path, scheme: str) -> None:
    """No error, no breach of its policy, no request, in either scheme, with all of it opened."""
    browser.open(report, scheme=scheme)
    browser.evaluate(OPEN_ALL)
    assert browser.evaluate(DRAWN) > 20
    browser.evaluate(HOVER_ALL)
    assert _complaints(browser) == []
    kinds = browser.evaluate("[...document.querySelectorAll('figure')].map((one) => one.dataset.kind)")
    assert sorted(set(kinds)) == ["curve", "seconds", "stack", "trend"]
    assert browser.evaluate("document.querySelectorAll('.tests tbody tr').length") == 30 * len(CELLS)


def test_a_policy_lets_nothing_else_run(browser: Browser, report: Path) -> None:
    """A script that got into the page all the same would not be run, nor could it tell anybody."""
    browser.open(report)
    got_in = (
        "document.body.append(Object.assign(document.createElement('script'), { textContent: 'window.ran = 1' }))"
    )
    browser.evaluate(f"{got_in}, 0")
    assert browser.evaluate("window.ran ?? 0") == 0
    assert any("Content Security Policy" in complaint for complaint in _complaints(browser))
    assert browser.evaluate("fetch('https://example.org/').then(() => 'sent', () => 'refused')") == "refused"


def test_what_a_guest_printed_changes_nothing(browser: Browser, tmp_path: Path) -> None:
    """Markup, scripts, escapes and templates in every text of a history are text, and no element comes of them."""
    seen = {}
    for name, words in (("harmless", ["harmless"]), ("hostile", HOSTILE)):
        folder = tmp_path / name
        folder.mkdir()
        browser.open(_written(_with_texts(words), folder))
        browser.evaluate(OPEN_ALL)
        browser.evaluate(DRAWN)
        browser.evaluate(HOVER_ALL)
        assert _complaints(browser) == []
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
    browser.open(_written(Told(samples), tmp_path))
    browser.evaluate(DRAWN)
    shown = "[...document.querySelectorAll('.plot .legendtext, .plot .xtick text')].map((one) => one.textContent)"
    assert set(browser.evaluate(shown)) == {f"{words}1", f"{words}2", words[-14:]}
    assert browser.evaluate("document.querySelectorAll('.plot a, .plot tspan[style]').length") == 0
    assert _complaints(browser) == []


def _with_texts(words: list[str] | tuple[str, ...]) -> Told:
    """The history with every text that comes from outside changed: a number keeps those apart that were apart."""
    told = history()
    known: dict[str, str] = {}

    def text(old: str) -> str:
        return known.setdefault(old, f"{words[len(known) % len(words)]}{len(known)}")

    def changed(value: Any, *names: str) -> Any:
        parts = {name: text(getattr(value, name)) for name in names}
        if hasattr(value, "version"):
            parts["version"] = changed(value.version, "commit", "digest", "described")
        if hasattr(value, "environment"):
            where = ("host", "cpu", "governor", "accelerator", "emulator", "host_kernel")
            parts["environment"] = changed(value.environment, *where)
        return replace(value, **parts)

    def measured(value: Any) -> Any:
        return replace(value, metric=replace(value.metric, unit=text(value.metric.unit)))

    documents = []
    for document in told.documents:
        new = changed(document, "cell", "subject", "run")
        body = {**new.body, "scenario": text("steady"), "tool": text("wrk"), "mode": text("closed loop")}
        documents += [replace(new, body=body)]
        documents += [replace(new, kind=text("bisect"), body={text("key"): [text("value")]}, id=new.id + "b")]
    versions = ("commit", "digest", "described")
    return Told(
        [measured(changed(sample, "cell", "subject", "run")) for sample in told.samples],
        [changed(judged, "suite", "cell", "test", "outcome", "reason", "run") for judged in told.judged],
        documents,
        [
            replace(
                measured(changed(one, "cell", "subject")),
                before=changed(one.before, *versions), after=changed(one.after, *versions),
            )
            for one in told.findings
        ],
    )  # fmt: skip


def test_the_keyboard_reaches_and_reads_plots(browser: Browser, report: Path) -> None:
    """Tab leads from the skip link to the plots; arrows read their points, Escape ends that."""
    browser.open(report)
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
    _until(lambda: "137 M instructions" in browser.evaluate(reading))
    assert "v0.57.0-391" in browser.evaluate(reading)
    _until(lambda: "M instructions" in browser.evaluate("document.querySelector('.hoverlayer').textContent"))
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
    _until(lambda: browser.evaluate(paper) == "rgb(22, 24, 29)")


def test_every_link_leads_somewhere(browser: Browser, report: Path) -> None:
    """A square of the matrix opens the tests of its cell, a finding its figure."""
    browser.open(report)
    lost = "(a) => !document.getElementById(a.getAttribute('href').slice(1))"
    assert browser.evaluate(f"[...document.querySelectorAll('a')].filter({lost}).length") == 0
    browser.evaluate("document.querySelector('.grid a').click()")
    _until(lambda: browser.evaluate("document.querySelectorAll('details.cell[open] tbody tr').length") == 30)
    first = "document.querySelector('details.cell[open] tbody tr').innerText"
    assert "crashed" in browser.evaluate(first)
    browser.evaluate("document.querySelector('.findings a').click()")
    _until(lambda: browser.evaluate("!!document.querySelector('figure:target .main-svg')"))


def test_what_is_looked_for_is_found(browser: Browser, report: Path) -> None:
    """Figures and cells without the words are put away, until Escape."""
    browser.open(report)
    browser.evaluate("document.getElementById('find').focus()")
    shown = "[...document.querySelectorAll('figure:not([hidden]) h3')].map((one) => one.textContent)"
    everything = browser.evaluate(shown)
    browser.call("Input.insertText", text="P99 osv")
    titles = [title.partition(" ")[0] for title in browser.evaluate(shown)]
    assert titles == ["nginx", "app.nginx.steady.p99"]
    assert (
        browser.evaluate("document.getElementById('found').textContent")
        == f"2 of {len(everything) + len(CELLS)} shown"
    )
    browser.press("Escape", 27)
    assert browser.evaluate(shown) == everything


def test_every_figure_can_be_saved(browser: Browser, report: Path, tmp_path: Path) -> None:
    """As a drawing, a picture, a table and data; and each says the same."""
    browser.open(report)
    browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    browser.evaluate("document.querySelector('details.figures').open = true")
    for number, ending in enumerate(("svg", "png", "csv", "json")):
        browser.evaluate(f"document.querySelectorAll('.save')[0].children[{number}].click()")
        _until(lambda ending=ending: (tmp_path / f"boot.instructions.{ending}").exists())
    saved = {path.suffix: path.read_bytes() for path in tmp_path.iterdir()}
    assert saved[".png"].startswith(b"\x89PNG")
    assert b"<svg" in saved[".svg"]
    assert len(saved[".csv"].splitlines()) == 11
    assert b"137000000" in saved[".csv"]
    assert json.loads(saved[".json"])["lines"][0]["y"][0] == 137_000_000
    assert _complaints(browser) == []


def test_an_empty_history_says_how_to_fill_it(browser: Browser, tmp_path: Path) -> None:
    """It opens without a complaint, and is small, for there is nothing to draw."""
    path = _written(Told(), tmp_path)
    browser.open(path)
    assert "tox -e qemu-rofs" in browser.evaluate("document.body.innerText")
    assert _complaints(browser) == []
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
    path = _written(Told(samples, judged), tmp_path)
    assert path.stat().st_size < 12e6
    browser.open(path)
    assert "older ones are left out" in browser.evaluate("document.querySelector('footer').innerText")
    assert "older ones are not shown" in browser.evaluate("document.querySelector('figure').textContent")
    assert browser.evaluate("document.querySelectorAll('*').length") < 10_000


def test_screenshots_are_taken(report: Path, tmp_path: Path) -> None:
    """One PNG of each view, for docs."""
    taken = list(take(report, tmp_path / "pictures"))
    assert [path.stem for path in taken] == [view.name for view in VIEWS]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in taken)


def _until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = monotonic() + seconds
    while not true():
        assert monotonic() < deadline
        sleep(0.05)
