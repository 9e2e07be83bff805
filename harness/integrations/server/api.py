"""The routes of the JSON interface."""

from collections.abc import AsyncIterator
from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, Header, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from harness.integrations.server import evidence, jobs, triage, verdicts
from harness.integrations.server.guard import TOKEN
from harness.integrations.server.models import (
    Decision,
    DecisionRequest,
    Evidence,
    Facts,
    Job,
    JobRequest,
    Live,
    Number,
    Session,
    Triage,
    Verdicts,
)
from harness.integrations.server.problems import Refused, problem_responses
from harness.integrations.server.services import Services
from harness.metrics.history.reader import State

MOST = 1000
EVENTS = 500
PAGE_TIMEOUT = 10.0
"""Seconds that a request waits for the first page."""

Name = Annotated[str | None, Query(max_length=500)]
VerdictNumber = Annotated[int | None, Query(ge=0, lt=1 << 53)]
Required = Annotated[str, Query(min_length=1, max_length=500)]
Limit = Annotated[int, Query(ge=1, le=MOST)]
TokenHeader = Annotated[str, Header(alias=TOKEN, description="what /api/session gives as `token`")]
LastId = Annotated[str, Header(alias="Last-Event-ID", max_length=20)]


def routes(services: Services) -> APIRouter:
    """All routes of the JSON interface."""
    router = APIRouter(prefix="/api")
    _add_readers(router, services)
    _add_events(router, services)
    _add_changes(router, services)
    return router


async def current_facts(services: Services) -> Facts:
    """The latest facts. Raises `Refused` if there are none yet."""
    page = await services.pages.wait_for_page(PAGE_TIMEOUT)
    if page is None:
        detail = services.pages.error or "Ask again in a few seconds."
        raise Refused(503, "The facts of the morning are still being made.", detail)
    return page.facts


def _add_readers(router: APIRouter, services: Services) -> None:
    problems = problem_responses(400, 421, 422, 503)

    @router.get("/session", responses=problems)
    async def session(request: Request) -> Session:
        """Who asks, and the token for what changes something."""
        user = request.state.user
        page = services.pages.current.tag if services.pages.current else ""
        return Session(user=user, token=services.rules.token(user), farm=services.jobs.offered, page=page)

    @router.get("/facts", responses=problems)
    async def facts() -> Facts:
        """What is new last night, what is flaky, what stands, what is missing."""
        return await current_facts(services)

    @router.get("/live", responses=problems)
    async def live() -> Live:
        """What runs now, or ran in the last day."""
        page = services.pages.current
        night = page.facts.night if page else None
        return await anyio.to_thread.run_sync(verdicts.live, services.history, night.verdicts if night else 0)

    @router.get("/verdicts", responses=problems)
    def verdicts_(
        test: Name = None, cell: Name = None, run: Name = None, suite: Name = None, outcome: Name = None,
        expected: bool | None = None, before: VerdictNumber = None, most: Limit = 100,
    ) -> Verdicts:  # fmt: skip
        """Verdicts of the whole history, those that came last first."""
        rows = services.history.verdicts_before(
            before, suite=suite, cell=cell, test=test, run=run, outcome=outcome, expected=expected, most=most + 1
        )
        return verdicts.paged(rows, most)

    @router.get("/samples", responses=problems)
    def samples(
        metric: Required, cell: Required, about: Name = None, most: Annotated[int, Query(ge=1, le=20000)] = 5000
    ) -> list[Number]:
        """The numbers of a metric on a cell, in the order of their commits; the last of them."""
        name = metric.replace("*", "")  # a star would ask for many metrics
        found = services.history.samples(metric=name, cell=cell, subject=about, last=most)
        return [verdicts.number(one) for one in found]

    @router.get("/evidence", responses=problem_responses(400, 404, 421, 422, 503))
    def evidence_(run: Required, cell: Required, test: Required) -> Evidence:
        """The files that a run left of a test that was no pass."""
        return evidence.find_evidence(services.runs, run, cell, test)

    @router.get("/triage", responses=problems)
    async def triage_() -> Triage:
        """What people decided, and what the farm does about it."""
        decisions = await anyio.to_thread.run_sync(services.history.triage)
        facts = services.pages.current.facts if services.pages.current else None
        return triage.triage_status(decisions, facts, services.jobs.is_running)


def _add_events(router: APIRouter, services: Services) -> None:
    @router.get("/events", response_class=EventSourceResponse, responses=problem_responses(400, 421, 422, 503))
    async def events(after: VerdictNumber = None, last: LastId = "") -> AsyncIterator[ServerSentEvent]:
        """Server-sent events: `verdict` for each that comes, `grown` when anything else did, `page` with the tag
        of another page. They go on after the verdict `after`, or `Last-Event-ID`, else from now on."""
        known = int(last) if last.isdecimal() else after
        number = known if known is not None else (await _state(services)).judged
        seen, page, others = -1, None, None
        while not services.watch.stopped:
            seen = await services.watch.wait(seen)
            tag = services.pages.current.tag if services.pages.current else ""
            if tag != page:
                page = tag
                yield ServerSentEvent(event="page", data=tag)
            rows = await anyio.to_thread.run_sync(services.history.verdicts_after, number, EVENTS)
            for number, one in rows:
                yield ServerSentEvent(event="verdict", id=str(number), data=verdicts.verdict(number, one))
            if len(rows) == EVENTS:
                seen = -1  # there may be more
            state = await _state(services)
            if (state.samples, state.triage, services.jobs.running) != others:
                others = state.samples, state.triage, services.jobs.running
                yield ServerSentEvent(event="grown", data="")


def _add_changes(router: APIRouter, services: Services) -> None:
    problems = problem_responses(400, 403, 404, 409, 413, 421, 422, 503)

    @router.post("/triage", status_code=201, responses=problems)
    async def decide(body: DecisionRequest, request: Request, token: TokenHeader) -> Decision:
        """Acknowledge a fact, take that back, or give it to somebody."""
        facts, user = await current_facts(services), request.state.user
        stored = await anyio.to_thread.run_sync(triage.decide, services.history, facts, body, user)
        return triage.decision(stored)

    @router.post("/jobs", status_code=202, responses=problems)
    async def start_job(body: JobRequest, request: Request, token: TokenHeader) -> Job:
        """Have the farm run a test again, or look for the commit that changed something."""
        job = jobs.job_record(body, await current_facts(services), request.state.user)
        stored = await anyio.to_thread.run_sync(services.jobs.submit, job)
        services.watch.notify()
        return triage.jobs_of([stored], services.jobs.is_running)[0]


async def _state(services: Services) -> State:
    return await anyio.to_thread.run_sync(services.history.state)
