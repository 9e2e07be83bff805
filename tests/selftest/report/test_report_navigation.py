"""The report's page leads somewhere: links, addresses, the search, filters."""

import json
import re
from pathlib import Path

import pytest
from report_browser import OPEN_ALL, SETTLED, complaints, until
from test_report_history import CELLS

from harness.report.html.chromium import Browser, found

pytestmark = pytest.mark.skipif(found() is None, reason="Debian's package chromium is not installed")


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
    until(lambda: not browser.evaluate("document.getElementById('page').hidden"))
    assert complaints(browser) == []


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
    until(lambda: browser.evaluate("document.querySelectorAll('#view figure .main-svg').length") > 0)
    for address in ("#test/nothing", "#cell/__proto__", "#metric/<img src=x onerror=alert(1)>", "#compare/1..2"):
        assert "no such" in _view(browser, address)
    assert complaints(browser) == []


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
    until(lambda: browser.evaluate(hit) == "#test/tst-03.so")
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
    until(lambda: browser.evaluate("document.querySelector('#filter [name=cell]').value") == "ramfs")
    assert browser.evaluate(visible.format("details.cell")) == 1
    seen = "[...document.querySelectorAll('figure')].filter((one) => one.checkVisibility())"
    metrics = f"{seen}.map((one) => one.dataset.metric)"
    assert set(browser.evaluate(metrics)) <= {"app.nginx.steady.throughput", ""}
    assert browser.evaluate(visible.format(".findings > li")) >= 1
    browser.evaluate("location.hash = '#matrix?arch=aarch64'")
    until(lambda: browser.evaluate(visible.format("details.cell")) == 0)
    browser.evaluate("location.hash = '#?least=50'")
    until(lambda: browser.evaluate(visible.format("#morning [data-step]")) == 0)
    browser.evaluate("document.querySelector('#filter [type=reset]').click()")
    until(lambda: browser.evaluate(visible.format("details.cell")) == len(CELLS))
