"""The JSON interface."""

from collections.abc import AsyncIterator
from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, Header, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from harness.integrations.server import evidence, jobs, triage, verdicts
from harness.integrations.server.guard import TOKEN
from harness.integrations.server.models import (
    Decide,
    Decision,
    Evidence,
    Facts,
    Hand,
    Job,
    Live,
    Number,
    Session,
    Triage,
    Verdicts,
)
from harness.integrations.server.problems import Refused, documented
from harness.integrations.server.services import House
from harness.metrics.history.reader import State

MOST = 1000
EVENTS = 500
PATIENCE = 10.0
"""Seconds that a request waits for the first page to be made."""

Name = Annotated[str | None, Query(max_length=500)]
Place = Annotated[int | None, Query(ge=0, lt=1 << 53)]
Needed = Annotated[str, Query(min_length=1, max_length=500)]
Most = Annotated[int, Query(ge=1, le=MOST)]
TokenHeader = Annotated[str, Header(alias=TOKEN, description="what /api/session gives as `token`")]
LastId = Annotated[str, Header(alias="Last-Event-ID", max_length=20)]


def routes(house: House) -> APIRouter:
    """All of it."""
    router = APIRouter(prefix="/api")
    _add_readers(router, house)
    _add_events(router, house)
    _add_changes(router, house)
    return router


async def facts_of(house: House) -> Facts:
    """The facts as they were last made. Raises `Refused` where there are none yet."""
    made = await house.pages.first(PATIENCE)
    if made is None:
        said = house.pages.trouble or "Ask again in a few seconds."
        raise Refused(503, "The facts of the morning are still being made.", said)
    return made.facts


def _add_readers(router: APIRouter, house: House) -> None:
    usual = documented(400, 421, 422, 503)

    @router.get("/session", responses=usual)
    async def session(request: Request) -> Session:
        """Who asks, and the token for what changes something."""
        user = request.state.user
        page = house.pages.made.tag if house.pages.made else ""
        return Session(user=user, token=house.rules.token(user), farm=house.jobs.offered, page=page)

    @router.get("/facts", responses=usual)
    async def facts() -> Facts:
        """What is new last night, what is flaky, what stands, what is missing."""
        return await facts_of(house)

    @router.get("/live", responses=usual)
    async def live() -> Live:
        """What runs now, or ran in the last day."""
        made = house.pages.made
        night = made.facts.night if made else None
        return await anyio.to_thread.run_sync(verdicts.live, house.history, night.verdicts if night else 0)

    @router.get("/verdicts", responses=usual)
    def verdicts_(
        test: Name = None, cell: Name = None, run: Name = None, suite: Name = None, outcome: Name = None,
        expected: bool | None = None, before: Place = None, most: Most = 100,
    ) -> Verdicts:  # fmt: skip
        """Verdicts of the whole history, those that came last first."""
        rows = house.history.verdicts_before(
            before, suite=suite, cell=cell, test=test, run=run, outcome=outcome, expected=expected, most=most + 1
        )
        return verdicts.paged(rows, most)

    @router.get("/samples", responses=usual)
    def samples(
        metric: Needed, cell: Needed, about: Name = None, most: Annotated[int, Query(ge=1, le=20000)] = 5000
    ) -> list[Number]:
        """The numbers of a metric on a cell, in the order of their commits; the last of them."""
        name = metric.replace("*", "")  # a star would ask for many metrics
        found = house.history.samples(metric=name, cell=cell, subject=about, last=most)
        return [verdicts.number(one) for one in found]

    @router.get("/evidence", responses=documented(400, 404, 421, 422, 503))
    def evidence_(run: Needed, cell: Needed, test: Needed) -> Evidence:
        """The files that a run left of a test that was no pass."""
        return evidence.found(house.runs, run, cell, test)

    @router.get("/triage", responses=usual)
    async def triage_() -> Triage:
        """What people decided, and what the farm does about it."""
        decisions = await anyio.to_thread.run_sync(house.history.triage)
        facts = house.pages.made.facts if house.pages.made else None
        return triage.standings(decisions, facts, house.jobs.is_running)


def _add_events(router: APIRouter, house: House) -> None:
    @router.get("/events", response_class=EventSourceResponse, responses=documented(400, 421, 422, 503))
    async def events(after: Place = None, last: LastId = "") -> AsyncIterator[ServerSentEvent]:
        """Server-sent events: `verdict` for each that comes, `grown` when anything else did, `page` with the tag
        of another page. They go on after the verdict `after`, or `Last-Event-ID`, else from now on."""
        known = int(last) if last.isdecimal() else after
        number = known if known is not None else (await _state(house)).judged
        seen, page, others = -1, None, None
        while not house.watch.stopped:
            seen = await house.watch.changed(seen)
            tag = house.pages.made.tag if house.pages.made else ""
            if tag != page:
                page = tag
                yield ServerSentEvent(event="page", data=tag)
            rows = await anyio.to_thread.run_sync(house.history.verdicts_after, number, EVENTS)
            for number, one in rows:
                yield ServerSentEvent(event="verdict", id=str(number), data=verdicts.verdict(number, one))
            if len(rows) == EVENTS:
                seen = -1  # there may be more
            state = await _state(house)
            if (state.samples, state.triage, house.jobs.running) != others:
                others = state.samples, state.triage, house.jobs.running
                yield ServerSentEvent(event="grown", data="")


def _add_changes(router: APIRouter, house: House) -> None:
    usual = documented(400, 403, 404, 409, 413, 421, 422, 503)

    @router.post("/triage", status_code=201, responses=usual)
    async def decide(wanted: Decide, request: Request, token: TokenHeader) -> Decision:
        """Acknowledge a fact, take that back, or give it to somebody."""
        facts, user = await facts_of(house), request.state.user
        kept = await anyio.to_thread.run_sync(triage.decide, house.history, facts, wanted, user)
        return triage.decision(kept)

    @router.post("/jobs", status_code=202, responses=usual)
    async def hand(wanted: Hand, request: Request, token: TokenHeader) -> Job:
        """Have the farm run a test again, or look for the commit that changed something."""
        job = jobs.asked(wanted, await facts_of(house), request.state.user)
        kept = await anyio.to_thread.run_sync(house.jobs.take, job)
        house.watch.tell()
        return triage.jobs_of([kept], house.jobs.is_running)[0]


async def _state(house: House) -> State:
    return await anyio.to_thread.run_sync(house.history.state)
