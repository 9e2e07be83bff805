"""Reruns and bisections that a farm does, one after another.

A job is stored in the history before it starts, and its result after it ended. So a restarted server continues
every job without a result: a run on a farm by its name, a bisection by its journal. One server at a time runs the
jobs of a folder of runs. A record that an import brought is never run: a job of this server bears a mark made with
a secret in that folder.
"""

import asyncio
import glob
import hashlib
import hmac
import os
import re
import secrets
import sys
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import time
from uuid import uuid4

import anyio.to_thread
from filelock import FileLock, Timeout

from harness.analysis.regression.grouping import kernel_of
from harness.core.errors import HarnessError
from harness.host.process.die_with_parent import die_with_parent
from harness.integrations.server.history_watch import Watch
from harness.integrations.server.models import Facts, JobRequest
from harness.integrations.server.problems import Refused
from harness.integrations.server.triage import WORK, store_decision, unknown_subject
from harness.metrics.history.records import Action, Triage
from harness.metrics.history.store import History
from harness.report.model.data import safe_text
from harness.report.morning.report import OSV

LOCK, SECRET = ".serve.lock", ".serve.secret"
COMMIT = re.compile(r"[0-9a-f]{7,64}")
OUTPUT_LIMIT = 3000
"""Characters of a job's output that are kept, from its end."""

HARNESS = [sys.executable, "-P", "-c", "import sys; from harness.cli import main; sys.exit(main())"]
RETRY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class FarmAccess:
    """The address of the farm, further options of its commands, and the folder for evidence."""

    farm: str
    options: Sequence[str]
    runs: Path
    environment: Mapping[str, str]
    secret: bytes

    def mark(self, job: str) -> str:
        """The mark of a job of this folder, by its id."""
        return hmac.new(self.secret, job.encode(), hashlib.sha256).hexdigest()


def secret_of(runs: Path) -> bytes:
    """The secret of a folder of runs, created if there is none. Raises `OSError`."""
    runs.mkdir(parents=True, exist_ok=True)
    path = runs / SECRET
    if not path.exists():
        temporary = runs / f"{SECRET}.{secrets.token_hex(8)}"
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(handle, secrets.token_bytes(32))
        os.close(handle)
        try:
            os.link(temporary, path)  # two servers may start at once: one link succeeds
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    return path.read_bytes()


def job_record(request: JobRequest, facts: Facts, user: str) -> Triage:
    """The job as a record. Raises `Refused` if the facts have nothing like it to run or bisect."""
    body: dict[str, str] = {"cell": request.cell}
    failure = next((one for one in facts.failures if one.subject == request.subject), None)
    step = next((one for one in facts.steps if one.subject == request.subject), None)
    if failure:
        cells, identity = [one.cell for one in failure.cells], failure.identity
        body["test"] = failure.test
        if request.action == "bisect":
            if failure.since is None or failure.since.good.commit == failure.since.bad.commit:
                raise Refused(409, "No commit is between good and bad there.", "A flaky test has none: rerun it.")
            body |= {"good": failure.since.good.commit, "bad": failure.since.bad.commit}
    elif step and request.action == "bisect":
        moved = next((one for one in step.moved if one.metric == request.metric), None)
        if moved is None:
            raise Refused(404, "That metric did not move there.", "api/facts tells which did.")
        cells, identity = moved.cells, ""
        body |= {"metric": moved.metric, "good": moved.since.good.commit, "bad": moved.since.bad.commit}
        body |= {"improved": "yes"} if not moved.worse else {}
    else:
        raise unknown_subject()
    if request.cell not in cells:
        raise Refused(404, "That is not a cell on which it is so.", f"These are: {', '.join(cells[:5])}")
    if request.action == "bisect" and kernel_of(request.cell) != OSV:
        raise Refused(409, "Only OSv's commits are there to be bisected.", "Rerun it, or name a cell of osv.")
    return Triage(
        Action(request.action), request.subject, identity, user, "", body, time(), request.id or uuid4().hex
    )  # fmt: skip


def command(job: Triage, farm: FarmAccess) -> list[str]:
    """The harness's command that does the job. Raises `KeyError` or `ValueError` for an incomplete record."""
    body = {name: str(value) for name, value in job.body.items()}
    farm_options = [f"--farm={farm.farm}", *farm.options]
    if job.action is Action.RERUN:
        test = glob.escape(body["test"])
        arguments = [
            "farm",
            "run",
            "--only=test",
            f"--test={test}",
            f"--run=serve-{job.id}",
            f"--runs={farm.runs}",
        ]
        return [*HARNESS, *arguments, *farm_options, "--", body["cell"]]
    if not (COMMIT.fullmatch(body["good"]) and COMMIT.fullmatch(body["bad"])):
        raise ValueError("good or bad is no commit")
    about = f"--metric={body['metric']}" if "metric" in body else f"--test={body['test']}"
    arguments = ["bisect", about, f"--good={body['good']}", f"--bad={body['bad']}", f"--cell={body['cell']}"]
    return [*HARNESS, *arguments, "--resume", *(["--improved"] if "improved" in body else []), *farm_options]


class Jobs:
    """The jobs of one server; without `farm` it refuses all."""

    def __init__(self, history: History, watch: Watch, farm: FarmAccess | None) -> None:
        self._history = history
        self._watch = watch
        self._farm = farm
        self._waiting: deque[Triage] = deque()
        self.running = ""

    @property
    def offered(self) -> bool:
        """Whether there is a farm."""
        return self._farm is not None

    def is_running(self, job: str) -> bool:
        """Whether the job is running now."""
        return job == self.running

    def submit(self, job: Triage) -> Triage:
        """Store the job and queue it. Raises `Refused` if there is no farm."""
        if self._farm is None:
            raise Refused(409, "No farm is named here.", "osv-harness serve --farm tcp://HOST:8786 has one.")
        done = store_decision(self._history, replace(job, body={**job.body, "mark": self._farm.mark(job.id)}))
        if done.id not in _ended(self._history.triage()):
            self._waiting.append(done)
        return done

    async def run(self) -> None:
        """Run the jobs until cancelled or the server stops, first those that an earlier server left."""
        if self._farm is None:
            return
        lock = FileLock(self._farm.runs / LOCK)
        while not _is_ours(lock):
            await asyncio.sleep(RETRY_SECONDS)
        try:
            decisions = await self._pending()
            self._waiting.extendleft(reversed(decisions))
            done: set[str] = set()
            while not self._watch.stopped:
                seen = self._watch.number
                while self._waiting:
                    job = self._waiting.popleft()
                    if job.id not in done:
                        done.add(job.id)
                        await self._run_job(job, self._farm)
                await self._watch.wait(seen)
        finally:
            lock.release()

    async def _pending(self) -> list[Triage]:
        """The jobs without a result; waits while the history can't be read."""
        while True:
            try:
                every = await anyio.to_thread.run_sync(self._history.triage)
            except HarnessError:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            ended = _ended(every)
            return [one for one in every if one.action in WORK and one.id not in ended and self._is_marked(one)]

    def _is_marked(self, job: Triage) -> bool:
        mark = str(job.body.get("mark", "")).encode("utf-8", "replace")
        return self._farm is not None and hmac.compare_digest(mark, self._farm.mark(job.id).encode())

    async def _run_job(self, job: Triage, farm: FarmAccess) -> None:
        self.running = job.id
        self._watch.notify()
        try:
            status, output = await _run_command(job, farm)
        finally:
            self.running = ""
        body = {"job": job.id, "status": status}
        end = Triage(Action.ENDED, job.subject, job.identity, "", output, body, time(), f"end-{job.id}"[:64])
        while True:
            try:
                await anyio.to_thread.run_sync(self._history.add, [end])
                break
            except HarnessError:
                await asyncio.sleep(RETRY_SECONDS)
        self._watch.notify()


def _ended(decisions: Iterable[Triage]) -> set[str]:
    """The ids of the jobs that have ended."""
    return {str(one.body.get("job")) for one in decisions if one.action is Action.ENDED}


async def _run_command(job: Triage, farm: FarmAccess) -> tuple[int, str]:
    try:
        arguments = command(job, farm)
    except (KeyError, ValueError) as error:
        return 2, f"The request is not whole: {error}."
    try:
        process = await asyncio.create_subprocess_exec(
            *die_with_parent(arguments), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT, env={**os.environ, **farm.environment},
        )  # fmt: skip
    except OSError as error:
        return 2, f"It can't be started: {error.strerror}."
    try:
        return await _output_and_status(process)
    except asyncio.CancelledError:
        process.kill()
        raise


async def _output_and_status(process: asyncio.subprocess.Process) -> tuple[int, str]:
    """Read all output, and keep its end."""
    assert process.stdout
    last = b""
    while data := await process.stdout.read(1 << 16):
        last = (last + data)[-4 * OUTPUT_LIMIT :]
    lines = last.decode("utf-8", "replace")[-OUTPUT_LIMIT:].splitlines()
    return await process.wait(), "\n".join(safe_text(line, OUTPUT_LIMIT) for line in lines)


def _is_ours(lock: FileLock) -> bool:
    try:
        lock.acquire(blocking=False)
    except (Timeout, OSError):
        return False
    return True
