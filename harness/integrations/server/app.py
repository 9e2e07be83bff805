"""The application: the page, its further views, evidence, and the JSON interface."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.staticfiles import StaticFiles
from starlette.types import ASGIApp

from harness.integrations.server import api, problems, views
from harness.integrations.server.guard import LARGEST_BODY, Guard
from harness.integrations.server.models import SCHEMA, Problem
from harness.integrations.server.page_assets import STATIC
from harness.integrations.server.services import Services

DESCRIPTION = (
    "What the morning page shows, and more of it. Whatever a guest printed is text in here: escape it where you "
    "show it. A request that changes something needs the header X-CSRF-Token with what /api/session gives."
)


def app_of(services: Services) -> ASGIApp:
    """The application. While it runs, it watches the history, renders pages and runs jobs."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(one.run()) for one in (services.watch, services.pages, services.jobs)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task

    app = FastAPI(
        title="osv-harness serve", version=str(SCHEMA), description=DESCRIPTION, lifespan=lifespan,
        openapi_url="/api/openapi.json", docs_url=None, redoc_url=None, max_body_size=LARGEST_BODY,
        telemetry={"tracing": False, "metrics": False, "logs": False}, separate_input_output_schemas=False,
    )  # fmt: skip
    problems.install_handlers(app)
    app.include_router(api.routes(services))
    app.include_router(views.routes(services))
    app.mount("/static", StaticFiles(directory=STATIC))
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return Guard(app, services.rules)  # outside of every middleware of FastAPI


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with the model that every problem has."""
    if not app.openapi_schema:
        document = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )  # fmt: skip
        document["components"]["schemas"][Problem.__name__] = Problem.model_json_schema()
        app.openapi_schema = document
    return app.openapi_schema
