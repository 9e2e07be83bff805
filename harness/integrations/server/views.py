"""What a browser is shown: the page, the whole of the history's verdicts, what runs now, and evidence as text."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

import anyio.to_thread
from fastapi import APIRouter, Header, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, StreamingResponse

from harness.integrations.server import evidence, verdicts
from harness.integrations.server.api import Name, Place
from harness.integrations.server.services import House
from harness.report.model.data import safe_text
from harness.report.model.formatting import moment

PATIENCE = 10.0
"""Seconds that a browser waits for the first page to be made, before it is told to ask again."""

ROWS = 200
JINJA = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")), autoescape=True, undefined=StrictUndefined,
    trim_blocks=True, lstrip_blocks=True,
)  # fmt: skip
JINJA.globals.update(moment=moment, urlencode=urlencode)


def routes(house: House) -> APIRouter:
    """All of it; the JSON interface's document has none."""
    router = APIRouter(include_in_schema=False)
    _add_page(router, house)
    _add_verdicts(router, house)
    _add_evidence(router, house)
    return router


def _add_page(router: APIRouter, house: House) -> None:
    @router.get("/")
    async def page(
        accept_encoding: Annotated[str, Header()] = "", if_none_match: Annotated[str, Header()] = ""
    ) -> Response:
        made = await house.pages.first(PATIENCE)
        if made is None:
            return _shown("waiting.html", 503, {"refresh": "2", "retry-after": "2"}, trouble=house.pages.trouble)
        headers = {
            "etag": f'"{made.tag}"', "cache-control": "no-cache", "vary": "accept-encoding",
            "content-security-policy": made.policy,
        }  # fmt: skip
        if made.tag in if_none_match:
            return Response(status_code=304, headers=headers)
        if "gzip" in accept_encoding:
            return HTMLResponse(made.page, headers={**headers, "content-encoding": "gzip"})
        return HTMLResponse(await anyio.to_thread.run_sync(lambda: made.plain), headers=headers)

    @router.get("/live")
    async def live() -> Response:
        night = house.pages.made.facts.night if house.pages.made else None
        now = await anyio.to_thread.run_sync(verdicts.live, house.history, night.verdicts if night else 0)
        return _shown("live.html", live=now)


def _add_verdicts(router: APIRouter, house: House) -> None:
    @router.get("/verdicts")
    def verdicts_(
        test: Name = None, cell: Name = None, run: Name = None, outcome: Name = None, before: Place = None,
        unexpected: bool = False,
    ) -> Response:  # fmt: skip
        rows = house.history.verdicts_before(
            before, cell=cell or None, test=test or None, run=run or None, outcome=outcome or None,
            expected=False if unexpected else None, most=ROWS + 1,
        )  # fmt: skip
        asked = {"test": test, "cell": cell, "run": run, "outcome": outcome}
        kept = {name: value for name, value in asked.items() if value}
        kept |= {"unexpected": "1"} if unexpected else {}
        shown = {name: safe_text(value or "") for name, value in asked.items()}
        answer = verdicts.paged(rows, ROWS)
        older = urlencode({**kept, "before": str(answer.next)}) if answer.next else ""
        return _shown("verdicts.html", rows=answer.verdicts, older=older, asked=shown, unexpected=unexpected)


def _add_evidence(router: APIRouter, house: House) -> None:
    @router.get("/evidence")
    def of_verdict(run: str, cell: str, test: str) -> Response:
        found = evidence.found(house.runs, run, cell, test)
        return _shown("evidence.html", found=found)

    @router.get("/evidence/{run}/{cell}/{test}/{name}")
    def file(run: str, cell: str, test: str, name: str) -> Response:
        opened = evidence.opened(house.runs, (run, cell, test), name)
        return StreamingResponse(
            evidence.read(opened), headers=evidence.HEADERS, media_type="text/plain; charset=utf-8"
        )


def _shown(template: str, status: int = 200, headers: dict[str, str] | None = None, **values: Any) -> Response:
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return HTMLResponse(JINJA.get_template(template).render(now=now, **values), status, headers)
