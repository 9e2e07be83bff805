"""The report's page in a real browser: from a file, by keyboard, on a phone, whatever a guest printed."""

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
from test_report_history import BEGAN, CELLS, DAY, HERE, history

from harness.core.errors import HostError
from harness.metrics.records import Metric, Sample, Version
from harness.report.html.chromium import Browser, found
from harness.report.html.page import page, write
from harness.report.html.screenshots import VIEWS, take
from harness.report.model.data import ReportData

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
(async () => {
  const wait = (ms) => new Promise((done) => setTimeout(done, ms));
  for (let n = 0; n < 200; n++) {
    const shut = [...document.querySelectorAll("details:not([open])")];
    shut.forEach((one) => (one.open = true));
    const empty = [...document.querySelectorAll("details[data-part], details[data-section], details[data-tests]")];
    if (!shut.length && empty.every((one) => one.children.length > 1)) return;
    await wait(50);
  }
  throw new Error("not everything opens");
})()
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


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _written(history(), tmp_path_factory.mktemp("single"), single=True)


def _written(told: ReportData, folder: Path, single: bool = False) -> Path:
    path = folder / "report.html"
    write(told, path, single=single)
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
    own = urls[0].replace("report.html", "report-data/") if urls else ""
    return found + [url[:200] for url in urls[1:] if not url.startswith(("data:", "blob:", own))]


@pytest.mark.parametrize(("made", "scheme"), [("report", "light"), ("report", "dark"), ("single", "light")])
def test_everything_is_drawn_without_a_complaint(
    browser: Browser, made: str, scheme: str, request: pytest.FixtureRequest
) -> None:
    """No error, no breach of its policy, no request but of its own folder, in either scheme, all of it opened."""
    browser.open(request.getfixturevalue(made), scheme=scheme)
    browser.evaluate(OPEN_ALL)
    assert browser.evaluate(DRAWN) > 20
    browser.evaluate(HOVER_ALL)
    assert _complaints(browser) == []
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
    browser.open(_written(ReportData(samples), tmp_path))
    browser.evaluate(OPEN_ALL)
    browser.evaluate(DRAWN)
    shown = "[...document.querySelectorAll('.plot .legendtext, .plot .xtick text')].map((one) => one.textContent)"
    assert set(browser.evaluate(shown)) == {f"{words}1", f"{words}2", words[-14:]}
    assert browser.evaluate("document.querySelectorAll('.plot a, .plot tspan[style]').length") == 0
    assert _complaints(browser) == []


def _with_texts(words: list[str] | tuple[str, ...]) -> ReportData:
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
    return ReportData(
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
    _until(lambda: browser.evaluate(paper) == "rgb(22, 24, 29)")


SETTLED = """
new Promise((done) => {
  const view = document.getElementById("view");
  const there = () => view.getAttribute("aria-busy") === "false" && view.dataset.address === Filter.parsed().place;
  const look = () => (there() ? done(1) : setTimeout(look, 50));
  look();
})
"""


def _view(browser: Browser, address: str) -> str:
    """Go to the view of that address, and return its text."""
    browser.evaluate(f"location.hash = {json.dumps(address)}, {SETTLED}")
    assert browser.evaluate("document.getElementById('page').hidden")
    text: str = browser.evaluate("document.getElementById('view').innerText")
    return text


def test_every_link_leads_somewhere(browser: Browser, report: Path) -> None:
    """A square of the matrix leads to its cell, a finding to its metric, and every link to what there is."""
    browser.open(report)
    browser.evaluate(OPEN_ALL)
    links = browser.evaluate("[...document.querySelectorAll('a[href^=\"#\"]')].map((a) => a.getAttribute('href'))")
    views = sorted({link for link in links if "/" in link})
    there = "!!document.querySelector({!r})"
    lost = [link for link in set(links) - set(views) if not browser.evaluate(there.format(link))]
    assert lost == []
    assert {link.partition("/")[0] for link in views} == {"#test", "#cell", "#metric", "#compare"}
    for link in views:
        text = _view(browser, link)
        assert "no such" not in text
        assert "can't be read" not in text
    browser.evaluate("location.hash = '#matrix'")
    _until(lambda: not browser.evaluate("document.getElementById('page').hidden"))
    assert _complaints(browser) == []


def test_an_address_opens_its_view_and_stays(browser: Browser, report: Path) -> None:
    """A test with all its nights, a cell with tests and numbers, a metric drawn; unknown names are told."""
    browser.open(report)
    text = _view(browser, "#test/tst-03.so")
    assert "page fault outside application" in text
    assert browser.evaluate("document.querySelectorAll('#view .strip').length") == len(CELLS)
    assert browser.evaluate("document.querySelector('#view .strip .bad').title").endswith(": crashed")
    assert browser.evaluate("document.title").startswith("Test tst-03.so")
    text = _view(browser, f"#cell/{CELLS[0]}")
    assert "osv-harness boot osv:x86_64-qemu-rofs-all" in text
    assert "140,120,000 instructions" in text
    assert browser.evaluate("document.querySelectorAll('#view .tests tbody tr').length") == 30
    text = _view(browser, "#metric/boot.instructions")
    assert "+2.28%" in text
    _until(lambda: browser.evaluate("document.querySelectorAll('#view figure .main-svg').length") > 0)
    for address in ("#test/nothing", "#cell/__proto__", "#metric/<img src=x onerror=alert(1)>", "#compare/1..2"):
        assert "no such" in _view(browser, address)
    assert _complaints(browser) == []


def test_what_is_looked_for_is_found(browser: Browser, report: Path) -> None:
    """What has not the words is put away, names lead to their views, the address says it, until Escape."""
    browser.open(report)
    browser.evaluate("document.getElementById('find').focus()")
    browser.call("Input.insertText", text="tst-03")
    facts = "[...document.querySelectorAll('#morning .fact')].filter((one) => one.checkVisibility()).length"
    everything = "document.querySelectorAll('#morning .fact').length"
    assert 0 < browser.evaluate(facts) < browser.evaluate(everything)
    assert browser.evaluate("location.hash") == "#?text=tst-03"
    hit = "document.querySelector('#hits a')?.getAttribute('href')"
    _until(lambda: browser.evaluate(hit) == "#test/tst-03.so")
    assert re.fullmatch(r"\d+ of \d+ shown", browser.evaluate("document.getElementById('found').textContent"))
    browser.press("Escape", 27)
    assert browser.evaluate(facts) == browser.evaluate(everything)
    assert browser.evaluate("location.hash") in ("", "#")


def test_a_filter_in_the_address_acts_on_every_section(browser: Browser, report: Path) -> None:
    """Arch, cell, metric, size: facts, rows of the matrix, figures and findings, also those that come later."""
    browser.open(report)
    visible = "[...document.querySelectorAll('{}')].filter((one) => one.checkVisibility()).length"
    browser.evaluate("location.hash = '#matrix?cell=ramfs&metric=throughput&least=1'")
    browser.evaluate(OPEN_ALL)
    _until(lambda: browser.evaluate("document.querySelector('#filter [name=cell]').value") == "ramfs")
    assert browser.evaluate(visible.format("details.cell")) == 1
    seen = "[...document.querySelectorAll('figure')].filter((one) => one.checkVisibility())"
    metrics = f"{seen}.map((one) => one.dataset.metric)"
    assert set(browser.evaluate(metrics)) <= {"app.nginx.steady.throughput", ""}
    assert browser.evaluate(visible.format(".findings > li")) >= 1
    browser.evaluate("location.hash = '#matrix?arch=aarch64'")
    _until(lambda: browser.evaluate(visible.format("details.cell")) == 0)
    browser.evaluate("location.hash = '#?least=50'")
    _until(lambda: browser.evaluate(visible.format("#morning [data-step]")) == 0)
    browser.evaluate("document.querySelector('#filter [type=reset]').click()")
    _until(lambda: browser.evaluate(visible.format("details.cell")) == len(CELLS))


def test_every_figure_can_be_saved(browser: Browser, report: Path, tmp_path: Path) -> None:
    """As a drawing, a picture, a table and data; and each says the same."""
    browser.open(report)
    browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    browser.evaluate(f"document.querySelector('details.figures').open = true, {FIGURES}")
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
    path = _written(ReportData(), tmp_path)
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
    path = _written(ReportData(samples, judged), tmp_path)
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


def _until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = monotonic() + seconds
    while not true():
        assert monotonic() < deadline
        sleep(0.05)


def test_a_browser_that_is_killed_is_said_to_have_ended(tmp_path: Path) -> None:
    with Browser() as browser:
        os.kill(browser._pid, signal.SIGKILL)
        os.waitid(os.P_PID, browser._pid, os.WEXITED | os.WNOWAIT)
        for _ in range(2):  # the first may come before the pipes are closed
            with pytest.raises(HostError, match="Chromium ended by itself"):
                browser.call("Page.captureScreenshot")
