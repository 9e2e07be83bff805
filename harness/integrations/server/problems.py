"""Problems: why a request failed, in one sentence, and what to do (RFC 9457)."""

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
MOST_ERRORS = 3
LOG = logging.getLogger("harness.integrations.server")
WORDS = {
    404: ("There is nothing at this address.", "The page is at the top; api/openapi.json tells the rest."),
    405: ("That can't be done at this address.", "api/openapi.json tells what can."),
    413: ("The request's body is too large.", "64 KiB are enough for any."),
}


class Refused(Exception):
    """A request that is refused for a reason that its sender can fix."""

    def __init__(self, status: int, title: str, detail: str = "") -> None:
        super().__init__(title)
        self.problem = Problem(title=title, status=status, detail=detail)


def respond(scope: Scope, problem: Problem, headers: dict[str, str] | None = None) -> Response:
    """The problem as JSON for programs, as a small page for browsers."""
    accepted = dict(scope["headers"]).get(b"accept", b"").decode("latin-1")
    is_program = "/api/" in scope["path"] or "text/html" not in accepted
    if is_program:
        text = problem.model_dump_json()
        return Response(text, problem.status, headers, MEDIA)
    title, detail = escape(problem.title), escape(problem.detail)
    page = f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><h1>{title}</h1><p>{detail}"
    return Response(page, problem.status, headers, "text/html")


def install_handlers(app: FastAPI) -> None:
    """Make the application answer every error with a problem."""

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        return respond(request.scope, error.problem)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        usual = (HTTPStatus(error.status_code).phrase + ".", str(error.detail))
        title, detail = WORDS.get(error.status_code, usual)
        headers = dict(error.headers or {})
        return respond(request.scope, Problem(title=title, status=error.status_code, detail=detail), headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        detail = "; ".join(_error_text(one) for one in error.errors()[:MOST_ERRORS])
        problem = Problem(title="The request is not as it should be.", status=422, detail=detail)
        return respond(request.scope, problem)

    @app.exception_handler(HarnessError)
    async def unable(request: Request, error: HarnessError) -> Response:
        return respond(request.scope, Problem(title=error.message, status=503, detail=error.hint))

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        LOG.error("%s %s", request.method, ascii(request.url.path), exc_info=error)
        detail = "The server's own words are on its standard error: report them."
        return respond(request.scope, Problem(title="The server failed at this.", status=500, detail=detail))


def _error_text(error: Any) -> str:
    """One validation error, without anything of the request but field names."""
    where = ".".join(str(part) for part in error["loc"])
    return safe_text(f"{where}: {error['msg']}")


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems that an operation may answer with, for OpenAPI."""
    schema = {"$ref": f"#/components/schemas/{Problem.__name__}"}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {MEDIA: {"schema": schema}}}
        for status in statuses
    }


