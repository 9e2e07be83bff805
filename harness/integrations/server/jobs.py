"""Reruns and bisections that are handed to a farm, one after another.

What is asked for is kept in the history before anything begins, and how it ended after that. So a server that is
killed goes on, when it is started again, with what has no end yet: a run on a farm by its name, a bisection by its
journal. One server at a time does the work of a folder of runs. A record that another's export brought is never
carried out: what was asked for here bears a mark that is made with a secret in that folder.
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

from harness.core.errors import HarnessError
from harness.host.process.die_with_parent import die_with_parent
from harness.integrations.server.history_watch import Watch
from harness.integrations.server.models import Facts, Hand
from harness.integrations.server.problems import Refused
from harness.integrations.server.triage import WORK, kept, unknown_subject
from harness.metrics.history.records import Action, Triage
from harness.metrics.history.store import History
from harness.report.model.data import safe_text

LOCK, SECRET = ".serve.lock", ".serve.secret"
COMMIT = re.compile(r"[0-9a-f]{7,64}")
SAID = 3000
"""Characters of the last words of a job that are kept."""

HARNESS = [sys.executable, "-P", "-c", "import sys; from harness.cli import main; sys.exit(main())"]
AGAIN_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Hands:
    """Which farm, what else its commands want to know of it, and where evidence lands."""

    farm: str
    options: Sequence[str]
    runs: Path
    environment: Mapping[str, str]
    secret: bytes

    def mark(self, job: str) -> str:
        """What a job of this folder bears, by its id."""
        return hmac.new(self.secret, job.encode(), hashlib.sha256).hexdigest()


def secret_of(runs: Path) -> bytes:
    """The secret of a folder of runs, which is made if there is none. Raises `OSError`."""
    runs.mkdir(parents=True, exist_ok=True)
    path = runs / SECRET
    if not path.exists():
        made = runs / f"{SECRET}.{secrets.token_hex(8)}"
        handle = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(handle, secrets.token_bytes(32))
        os.close(handle)
        try:
            os.link(made, path)  # of two servers that begin at once one makes it
        except FileExistsError:
            pass
        finally:
            made.unlink()
    return path.read_bytes()


def asked(wanted: Hand, facts: Facts, user: str) -> Triage:
    """The work as a record. Raises `Refused` where the facts have no such thing to be run or bisected."""
    body: dict[str, str] = {"cell": wanted.cell}
    failure = next((one for one in facts.failures if one.subject == wanted.subject), None)
    step = next((one for one in facts.steps if one.subject == wanted.subject), None)
    if failure:
        cells, identity = [one.cell for one in failure.cells], failure.identity
        body["test"] = failure.test
        if wanted.action == "bisect":
            if failure.since is None or failure.since.good.commit == failure.since.bad.commit:
                raise Refused(409, "No commit is between good and bad there.", "A flaky test has none: rerun it.")
            body |= {"good": failure.since.good.commit, "bad": failure.since.bad.commit}
    elif step and wanted.action == "bisect":
        moved = next((one for one in step.moved if one.metric == wanted.metric), None)
        if moved is None:
            raise Refused(404, "That metric did not move there.", "api/facts tells which did.")
        cells, identity = moved.cells, ""
        body |= {"metric": moved.metric, "good": step.before.commit, "bad": step.after.commit}
        body |= {"improved": "yes"} if not moved.worse else {}
    else:
        raise unknown_subject()
    if wanted.cell not in cells:
        raise Refused(404, "That is not a cell on which it is so.", f"These are: {', '.join(cells[:5])}")
    return Triage(
        Action(wanted.action), wanted.subject, identity, user, "", body, time(), wanted.id or uuid4().hex
    )  # fmt: skip


def command(job: Triage, hands: Hands) -> list[str]:
    """The harness's own command that does it. Raises `KeyError`, `ValueError` for a record that is not whole."""
    body = {name: str(value) for name, value in job.body.items()}
    on = [f"--farm={hands.farm}", *hands.options]
    if job.action is Action.RERUN:
        test = glob.escape(body["test"])
        words = ["farm", "run", "--only=test", f"--test={test}", f"--run=serve-{job.id}", f"--runs={hands.runs}"]
        return [*HARNESS, *words, *on, "--", body["cell"]]
    if not (COMMIT.fullmatch(body["good"]) and COMMIT.fullmatch(body["bad"])):
        raise ValueError("good or bad is no commit")
    about = f"--metric={body['metric']}" if "metric" in body else f"--test={body['test']}"
    words = ["bisect", about, f"--good={body['good']}", f"--bad={body['bad']}", f"--cell={body['cell']}"]
    return [*HARNESS, *words, "--resume", *(["--improved"] if "improved" in body else []), *on]


class Jobs:
    """The work of one server; without `hands` it refuses all."""

    def __init__(self, history: History, watch: Watch, hands: Hands | None) -> None:
        self._history = history
        self._watch = watch
        self._hands = hands
        self._waiting: deque[Triage] = deque()
        self.running = ""

    @property
    def offered(self) -> bool:
        """Whether there is a farm."""
        return self._hands is not None

    def is_running(self, job: str) -> bool:
        """Whether it is being done now."""
        return job == self.running

    def take(self, one: Triage) -> Triage:
        """Keep it, to be done in its turn. Raises `Refused` where nobody would do it."""
        if self._hands is None:
            raise Refused(409, "No farm is named here.", "osv-harness serve --farm tcp://HOST:8786 has one.")
        done = kept(self._history, replace(one, body={**one.body, "mark": self._hands.mark(one.id)}))
        if done.id not in _ended(self._history.triage()):
            self._waiting.append(done)
        return done

    async def run(self) -> None:
        """Do what is asked for, until cancelled; and first what an earlier server has left."""
        if self._hands is None:
            return
        lock = FileLock(self._hands.runs / LOCK)
        while not _is_ours(lock):
            await asyncio.sleep(AGAIN_SECONDS)
        try:
            decisions = await self._left()
            self._waiting.extendleft(reversed(decisions))
            done: set[str] = set()
            while True:
                seen = self._watch.number
                while self._waiting:
                    job = self._waiting.popleft()
                    if job.id not in done:
                        done.add(job.id)
                        await self._do(job, self._hands)
                await self._watch.changed(seen)
        finally:
            lock.release()

    async def _left(self) -> list[Triage]:
        """What was asked for and has no end; waited for where the history can't be read."""
        while True:
            try:
                every = await anyio.to_thread.run_sync(self._history.triage)
            except HarnessError:
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            ended = _ended(every)
            return [one for one in every if one.action in WORK and one.id not in ended and self._is_marked(one)]

    def _is_marked(self, job: Triage) -> bool:
        mark = str(job.body.get("mark", "")).encode("utf-8", "replace")
        return self._hands is not None and hmac.compare_digest(mark, self._hands.mark(job.id).encode())

    async def _do(self, job: Triage, hands: Hands) -> None:
        self.running = job.id
        self._watch.tell()
        try:
            status, said = await _outcome(job, hands)
        finally:
            self.running = ""
        body = {"job": job.id, "status": status}
        end = Triage(Action.ENDED, job.subject, job.identity, "", said, body, time(), f"end-{job.id}"[:64])
        while True:
            try:
                await anyio.to_thread.run_sync(self._history.add, [end])
                break
            except HarnessError:
                await asyncio.sleep(AGAIN_SECONDS)
        self._watch.tell()


def _ended(decisions: Iterable[Triage]) -> set[str]:
    """The ids of the jobs that are over."""
    return {str(one.body.get("job")) for one in decisions if one.action is Action.ENDED}


async def _outcome(job: Triage, hands: Hands) -> tuple[int, str]:
    try:
        words = command(job, hands)
    except (KeyError, ValueError) as error:
        return 2, f"The request is not whole: {error}."
    try:
        process = await asyncio.create_subprocess_exec(
            *die_with_parent(words), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT, env={**os.environ, **hands.environment},
        )  # fmt: skip
    except OSError as error:
        return 2, f"It can't be started: {error.strerror}."
    try:
        return await _words_and_status(process)
    except asyncio.CancelledError:
        process.kill()
        raise


async def _words_and_status(process: asyncio.subprocess.Process) -> tuple[int, str]:
    """Read all that it says, and keep the end."""
    assert process.stdout
    last = b""
    while data := await process.stdout.read(1 << 16):
        last = (last + data)[-4 * SAID :]
    lines = last.decode("utf-8", "replace")[-SAID:].splitlines()
    return await process.wait(), "\n".join(safe_text(line, SAID) for line in lines)


def _is_ours(lock: FileLock) -> bool:
    try:
        lock.acquire(blocking=False)
    except (Timeout, OSError):
        return False
    return True
