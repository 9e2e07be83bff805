"""What is told to who asked for something that was not done: one sentence, and what to do (RFC 9457)."""

import logging
from html import escape
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import Scope

from harness.core.errors import HarnessError
from harness.integrations.server.models import Problem
from harness.report.model.data import safe_text

MEDIA = "application/problem+json"
MOST_SAID = 3
LOG = logging.getLogger("harness.integrations.server")
WORDS = {
    404: ("There is nothing at this address.", "The page is at the top; api/openapi.json tells the rest."),
    405: ("That can't be done at this address.", "api/openapi.json tells what can."),
    413: ("The request's body is too large.", "64 KiB are enough for any."),
}


class Refused(Exception):
    """A request that is not carried out, for a reason that is its sender's to mend."""

    def __init__(self, status: int, title: str, detail: str = "") -> None:
        super().__init__(title)
        self.problem = Problem(title=title, status=status, detail=detail)


def answered(scope: Scope, problem: Problem, headers: dict[str, str] | None = None) -> Response:
    """The problem: as JSON to programs, as a small page to browsers that were led to it."""
    accepted = dict(scope["headers"]).get(b"accept", b"").decode("latin-1")
    is_program = "/api/" in scope["path"] or "text/html" not in accepted
    if is_program:
        text = problem.model_dump_json()
        return Response(text, problem.status, headers, MEDIA)
    title, detail = escape(problem.title), escape(problem.detail)
    page = f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><h1>{title}</h1><p>{detail}"
    return Response(page, problem.status, headers, "text/html")


def install(app: FastAPI) -> None:
    """Have the app answer with problems whatever goes wrong."""

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        return answered(request.scope, error.problem)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        usual = (HTTPStatus(error.status_code).phrase + ".", str(error.detail))
        title, detail = WORDS.get(error.status_code, usual)
        headers = dict(error.headers or {})
        return answered(request.scope, Problem(title=title, status=error.status_code, detail=detail), headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        said = "; ".join(_said(one) for one in error.errors()[:MOST_SAID])
        problem = Problem(title="The request is not as it should be.", status=422, detail=said)
        return answered(request.scope, problem)

    @app.exception_handler(HarnessError)
    async def unable(request: Request, error: HarnessError) -> Response:
        return answered(request.scope, Problem(title=error.happened, status=503, detail=error.cure))

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        LOG.error("%s %s", request.method, ascii(request.url.path), exc_info=error)
        said = "The server's own words are on its standard error: report them."
        return answered(request.scope, Problem(title="The server failed at this.", status=500, detail=said))


def _said(error: Any) -> str:
    """One fault of a request, in words that repeat nothing of it but names."""
    where = ".".join(str(part) for part in error["loc"])
    return safe_text(f"{where}: {error['msg']}")


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems that an operation may answer with, for OpenAPI."""
    schema = {"$ref": f"#/components/schemas/{Problem.__name__}"}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {MEDIA: {"schema": schema}}}
        for status in statuses
    }


