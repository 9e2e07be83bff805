"""The report's page in a real browser: scripts that read it, what was found wrong, hostile guests' texts."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from test_report_history import history

from harness.report.html.chromium import Browser
from harness.report.html.page import write
from harness.report.model.data import ReportData

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
SETTLED = """
new Promise((done) => {
  const view = document.getElementById("view");
  const there = () => view.getAttribute("aria-busy") === "false" && view.dataset.address === Filter.parsed().place;
  const look = () => (there() ? done(1) : setTimeout(look, 50));
  look();
})
"""


def written(told: ReportData, folder: Path, single: bool = False) -> Path:
    write(told, path := folder / "report.html", single=single)
    return path


def complaints(browser: Browser) -> list[str]:
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


def until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = monotonic() + seconds
    while not true():
        assert monotonic() < deadline
        sleep(0.05)


def with_texts(words: list[str] | tuple[str, ...]) -> ReportData:
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
