"""Renders the page from its templates. They escape every text, and the page's policy admits its own script and
style only."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from secrets import token_hex
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from harness.report.html.documents import Record
from harness.report.html.environments import Place
from harness.report.html.morning import commit_rows, facts
from harness.report.model.figures import anchor
from harness.report.model.formatting import moment, version_name
from harness.report.model.highlights import Cause, Unexpected
from harness.report.morning.report import Morning

HERE = Path(__file__).parent
SCRIPTS = (
    "shards.js", "figures.js", "plots.js", "tests.js", "filter.js", "compare.js", "views.js", "compared.js",
    "page.js",
)  # fmt: skip
EMPTY_STYLE = ""
"""plotly.js adds an empty style element and fills it by script. The policy must name the hash of the empty
text."""


def templates() -> Environment:
    """The templates, which escape every value."""
    jinja = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    jinja.globals.update(anchor=anchor, moment=moment, version_name=version_name)
    return jinja


class Parts:
    """Renders the parts of the page that its script inserts when they are opened."""

    def __init__(self) -> None:
        self._jinja = templates()

    def findings(self, causes: Sequence[Cause]) -> dict[str, str]:
        """Render all findings, by cause."""
        return self._part("findings.html", causes=causes)

    def unexpected(self, rows: Sequence[Unexpected]) -> dict[str, str]:
        """Render the tests that did not end as expected."""
        return self._part("unexpected.html", unexpected=rows)

    def environment(self, places: Sequence[Place]) -> dict[str, str]:
        """Render the environments in which the history was recorded."""
        return self._part("environment.html", places=places)

    def record(self, record: Record) -> dict[str, str]:
        """Render one A/B test, bisection or other document."""
        return self._part("record.html", record=record)

    def _part(self, name: str, **values: Any) -> dict[str, str]:
        return {"html": self._jinja.get_template(name).render(values)}


def rendered(
    today: Morning, values: Mapping[str, Any], inlined: Mapping[str, Any], plotly: str = "", folder: str = "",
    digest: str = "", older: int = 0,
) -> str:  # fmt: skip
    """Render the page.

    `inlined` are the shards that are part of it. The others are in `folder` beside it, and `digest` tells them
    from those of another night. With `plotly`, the text of plotly.js, the figures need no other file.
    """
    jinja = templates()
    style = _smaller((HERE / "page.css").read_text("utf-8"))
    scripts = [*([plotly] if plotly else []), "\n".join((HERE / name).read_text("utf-8") for name in SCRIPTS)]
    title = f"{today.headline}, night of {today.date}" if today.nights.last >= 0 else "OSv harness report"
    # By this the page's script lets its own data run; nobody knew it who could have put a word into a history.
    nonce = token_hex(16)
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src {' '.join(map(_hash, scripts))}" + (f" 'nonce-{nonce}'" if folder else ""),
            f"style-src {_hash(style)} {_hash(EMPTY_STYLE)}",
            "img-src data: blob:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    return jinja.get_template("page.html").render(
        values,
        policy=policy,
        nonce=nonce,
        style=Markup(style),
        scripts=[Markup(script) for script in scripts],
        inlined={name: Markup(script_text(data)) for name, data in inlined.items()},
        title=title,
        morning=today,
        last=today.nights.last,
        head=today.commits.one(today.version.commit) if today.version else None,
        facts=facts(jinja, today),
        commit_rows=commit_rows(jinja, today),
        folder=folder,
        digest=digest,
        older=older,
    )


def script_text(data: Any) -> str:
    """The data as JSON that is safe inside a script element: it can't end the element or begin another."""
    text = json_text(data)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def shard_text(name: str, data: Any) -> str:
    """A script that hands over one shard: its JSON as a string, which is parsed and never run."""
    return f"shard({json.dumps(name)},{json.dumps(script_text(data))})\n"


def json_text(data: Any) -> str:
    """The data as JSON without spaces."""
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _smaller(style: str) -> str:
    """The style without comments and indentation: the facts, which follow it, should be in the first kilobytes."""
    return re.sub(r"\n\s*", "\n", re.sub(r"/\*.*?\*/", "", style, flags=re.DOTALL)).strip()


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
