"""The HTML views: the page, all verdicts, the running runs, and evidence as text."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

import anyio.to_thread
from fastapi import APIRouter, Header, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, StreamingResponse

from harness.integrations.server import evidence, verdicts
from harness.integrations.server.api import Name, VerdictNumber
from harness.integrations.server.services import Services
from harness.report.model.data import safe_text
from harness.report.model.formatting import moment

PAGE_TIMEOUT = 10.0
"""Seconds that a browser waits for the first page, before it is told to retry."""

ROWS = 200
JINJA = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")), autoescape=True, undefined=StrictUndefined,
    trim_blocks=True, lstrip_blocks=True,
)  # fmt: skip
JINJA.globals.update(moment=moment, urlencode=urlencode)


def routes(services: Services) -> APIRouter:
    """All HTML routes; they are not in the OpenAPI document."""
    router = APIRouter(include_in_schema=False)
    _add_page(router, services)
    _add_verdicts(router, services)
    _add_evidence(router, services)
    return router


def _add_page(router: APIRouter, services: Services) -> None:
    @router.get("/")
    async def page(
        accept_encoding: Annotated[str, Header()] = "", if_none_match: Annotated[str, Header()] = ""
    ) -> Response:
        current = await services.pages.wait_for_page(PAGE_TIMEOUT)
        if current is None:
            return _rendered("waiting.html", 503, {"refresh": "2", "retry-after": "2"}, error=services.pages.error)
        headers = {
            "etag": f'"{current.tag}"', "cache-control": "no-cache", "vary": "accept-encoding",
            "content-security-policy": current.policy,
        }  # fmt: skip
        if current.tag in if_none_match:
            return Response(status_code=304, headers=headers)
        if "gzip" in accept_encoding:
            return HTMLResponse(current.page, headers={**headers, "content-encoding": "gzip"})
        return HTMLResponse(await anyio.to_thread.run_sync(lambda: current.plain), headers=headers)

    @router.get("/live")
    async def live() -> Response:
        night = services.pages.current.facts.night if services.pages.current else None
        now = await anyio.to_thread.run_sync(verdicts.live, services.history, night.verdicts if night else 0)
        return _rendered("live.html", live=now)


def _add_verdicts(router: APIRouter, services: Services) -> None:
    @router.get("/verdicts")
    def verdicts_(
        test: Name = None, cell: Name = None, run: Name = None, outcome: Name = None, before: VerdictNumber = None,
        unexpected: bool = False,
    ) -> Response:  # fmt: skip
        rows = services.history.verdicts_before(
            before, cell=cell or None, test=test or None, run=run or None, outcome=outcome or None,
            expected=False if unexpected else None, most=ROWS + 1,
        )  # fmt: skip
        filters = {"test": test, "cell": cell, "run": run, "outcome": outcome}
        query = {name: value for name, value in filters.items() if value}
        query |= {"unexpected": "1"} if unexpected else {}
        shown = {name: safe_text(value or "") for name, value in filters.items()}
        listing = verdicts.paged(rows, ROWS)
        older = urlencode({**query, "before": str(listing.next)}) if listing.next else ""
        return _rendered("verdicts.html", rows=listing.verdicts, older=older, filters=shown, unexpected=unexpected)


def _add_evidence(router: APIRouter, services: Services) -> None:
    @router.get("/evidence")
    def of_verdict(run: str, cell: str, test: str) -> Response:
        found = evidence.find_evidence(services.runs, run, cell, test)
        return _rendered("evidence.html", evidence=found)

    @router.get("/evidence/{run}/{cell}/{test}/{name}")
    def file(run: str, cell: str, test: str, name: str) -> Response:
        opened = evidence.open_file(services.runs, (run, cell, test), name)
        return StreamingResponse(
            evidence.read_chunks(opened), headers=evidence.HEADERS, media_type="text/plain; charset=utf-8"
        )


def _rendered(template: str, status: int = 200, headers: dict[str, str] | None = None, **values: Any) -> Response:
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return HTMLResponse(JINJA.get_template(template).render(now=now, **values), status, headers)
