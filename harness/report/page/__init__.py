"""The report as one HTML page that needs nothing else: no network, no server, no second file.

The page may execute its own three scripts and no other (a Content-Security-Policy with their hashes); what guests
printed reaches it as JSON text that only ever becomes text.
"""

import base64
import hashlib
import json
from importlib.resources import files
from pathlib import Path
from time import time
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from harness.matrix import Matrix
from harness.report.morning.commits import Commits
from harness.report.morning.morning import Morning, morning
from harness.report.page.environments import places_of
from harness.report.page.facts import facts
from harness.report.page.figures import anchor
from harness.report.page.grid import grid
from harness.report.page.loads import load_figures
from harness.report.page.news import MOST_NEWS, by_cause, unexpected
from harness.report.page.outcomes import Histories, by_test
from harness.report.page.records import records
from harness.report.page.sections import sections
from harness.report.page.series import series_of
from harness.report.page.timeline import Timeline
from harness.report.page.told import Told
from harness.report.page.trends import stacks, trends
from harness.report.readable import moment, version_name

HERE = Path(__file__).parent
EMPTY_STYLE = ""
"""plotly.js adds an empty style element and fills it by script, which a policy does not forbid."""


def page(told: Told, matrix: Matrix | None = None, commits: Commits | None = None) -> str:
    """The whole page. Its size is bounded whatever the history's: see `docs/report.md`.

    `commits` tells their subjects, authors and links.
    """
    told = told.safe
    today = morning(told, commits)
    matrix = matrix or Matrix.load()
    timeline = Timeline(told)
    series = series_of(told, timeline)
    drawn, where = trends(series, told.findings, timeline)
    loads, unread = load_figures(told, timeline)
    shown, left_out = sections([*stacks(series), *loads, *drawn])
    kept = {one.figure.id for section in shown for one in section.figures}
    where = {name: figure for name, figure in where.items() if figure in kept}
    tests = by_test(told)
    histories = Histories(tests, timeline)
    bad = unexpected(tests)
    causes = by_cause(told.findings, where)
    data = {
        "versions": timeline.to_json(),
        "figures": [one.figure.to_json() for section in shown for one in section.figures],
        **histories.to_json(),
    }
    return _filled(
        data,
        today,
        told=told,
        made=moment(time()),
        begun=moment(min((one.first for one in told.seen), default=0.0)),
        ended=moment(max((one.last for one in told.seen), default=0.0)),
        kernels=timeline.kernels(),
        causes=causes[:MOST_NEWS],
        causes_count=len(causes),
        unexpected=bad[:MOST_NEWS],
        unexpected_count=len(bad),
        grid=grid(tests, matrix, {one.cell: one.nights for one in today.missing}),
        cells=sorted({test.cell for test in tests}),
        most_runs=histories.most,
        sections=shown,
        places=places_of(told),
        records=records(told),
        left_out=left_out,
        unread=unread,
        hidden=max((one.hidden for one in series), default=0),
    )


def _filled(data: dict[str, Any], today: Morning, **values: Any) -> str:
    """The template with the values, the data, styles and scripts, and the policy that lets in only these."""
    jinja = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    jinja.globals.update(anchor=anchor, moment=moment, version_name=version_name)
    plotly = (files("plotly") / "package_data" / "plotly.min.js").read_text("utf-8")
    style = (HERE / "page.css").read_text("utf-8")
    scripts = [(HERE / name).read_text("utf-8") for name in ("figures.js", "page.js")]
    if data["figures"]:
        scripts.insert(0, plotly)
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src {' '.join(map(_hash, scripts))}",
            f"style-src {_hash(style)} {_hash(EMPTY_STYLE)}",
            "img-src data: blob:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    return jinja.get_template("page.html").render(
        policy=policy,
        style=Markup(style),
        scripts=[Markup(script) for script in scripts],
        data=Markup(script_text(data)),
        morning=today,
        last=today.nights.last,
        head=today.commits.one(today.version.commit) if today.version else None,
        facts=facts(jinja, today),
        **values,
    )


def script_text(data: Any) -> str:
    """JSON that may stand in a script element: nothing in it can end the element or begin another."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
