"""The page's text from its templates: every text is escaped, and only the page's own script and style may act."""

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
"""plotly.js adds an empty style element and fills it by script, which a policy does not forbid."""


def templates() -> Environment:
    """Templates that escape whatever they are given."""
    jinja = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    jinja.globals.update(anchor=anchor, moment=moment, version_name=version_name)
    return jinja


class Parts:
    """Parts of the page as HTML, which its script puts in when they are opened."""

    def __init__(self) -> None:
        self._jinja = templates()

    def findings(self, causes: Sequence[Cause]) -> dict[str, str]:
        """The causes of all findings."""
        return self._part("findings.html", causes=causes)

    def unexpected(self, rows: Sequence[Unexpected]) -> dict[str, str]:
        """The tests that did not end as expected."""
        return self._part("unexpected.html", unexpected=rows)

    def environment(self, places: Sequence[Place]) -> dict[str, str]:
        """Where everything was measured."""
        return self._part("environment.html", places=places)

    def record(self, record: Record) -> dict[str, str]:
        """One comparison, bisection or other document."""
        return self._part("record.html", record=record)

    def _part(self, name: str, **values: Any) -> dict[str, str]:
        return {"html": self._jinja.get_template(name).render(values)}


def rendered(
    today: Morning, values: Mapping[str, Any], inlined: Mapping[str, Any], plotly: str = "", folder: str = "",
    digest: str = "", older: int = 0,
) -> str:  # fmt: skip
    """The page. `inlined` are shards that stand in it; the others lie in `folder` beside it, and `digest` tells
    them from another night's. With `plotly` its figures need nothing else."""
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
    """JSON that may stand in a script element: nothing in it can end the element or begin another."""
    text = json_text(data)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def shard_text(name: str, data: Any) -> str:
    """The script that tells a shard: its JSON as a string, which is parsed and not run."""
    return f"shard({json.dumps(name)},{json.dumps(script_text(data))})\n"


def json_text(data: Any) -> str:
    """JSON without a space too many."""
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _smaller(style: str) -> str:
    """The style without comments and indentation: the facts stand behind it in the first kilobytes."""
    return re.sub(r"\n\s*", "\n", re.sub(r"/\*.*?\*/", "", style, flags=re.DOTALL)).strip()


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
