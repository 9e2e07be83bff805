"""The page and its facts as they were last made, and who makes them anew when the history has grown."""

import asyncio
import gzip
import hashlib
import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import astuple, dataclass
from pathlib import Path
from time import monotonic

import anyio.to_thread

from harness.host.process.die_with_parent import die_with_parent
from harness.host.temp_dir import temporary_dir
from harness.integrations.server.history_watch import Watch
from harness.integrations.server.models import Facts
from harness.metrics.history.reader import State
from harness.metrics.history.store import History
from harness.report.model.data import safe_text

PAGE, POLICY, FACTS = "page.html.gz", "policy.txt", "facts.json"
REST = 3.0
"""Times of the making that it is left alone, while a night writes: a quarter of one core at most."""

LEAST_REST, MOST_REST = 5.0, 60.0  # seconds


def state_text(state: State) -> str:
    """How far a history has come, as a word."""
    return ".".join(map(str, astuple(state)))


def without_triage(state: str) -> str:
    """The same, as far as the page depends on it: decisions of people are not in it."""
    return state.rpartition(".")[0]


@dataclass(frozen=True, slots=True)
class Made:
    """A page, gzipped, with the policy that it is sent with, and its facts."""

    page: bytes
    policy: str
    facts: Facts
    tag: str

    @property
    def plain(self) -> bytes:
        """The page as it is."""
        return gzip.decompress(self.page)


class Pages:
    """Keeps the last page made. `trouble` is why there is no newer one, or nothing."""

    def __init__(self, history: History, watch: Watch, environment: Mapping[str, str]) -> None:
        """`environment` names the history and the checkout to the process that makes it."""
        self._history = history
        self._watch = watch
        self._environment = environment
        self._there = asyncio.Event()
        self.made: Made | None = None
        self.trouble = ""

    async def first(self, seconds: float) -> Made | None:
        """The page; waited for so long where none is made yet."""
        try:
            await asyncio.wait_for(self._there.wait(), seconds)
        except TimeoutError:
            return None
        return self.made

    async def run(self) -> None:
        """Make it, and anew when there is something new, until cancelled."""
        with ExitStack() as stack:
            folder = temporary_dir("osv-harness-serve-")
            there = await anyio.to_thread.run_sync(stack.enter_context, folder)  # it starts a process
            while True:
                seen, began = self._watch.number, monotonic()
                if await self._is_old():
                    try:
                        await self._make(there)
                    except (OSError, ValueError) as error:  # a full disk; facts that are none
                        self.trouble = safe_text(f"{type(error).__name__}: {error}")
                    self._watch.tell()  # there is another page, or a reason why there is none
                ended = monotonic()
                rest = min(MOST_REST, max(LEAST_REST, REST * (ended - began)))
                await self._watch.changed(seen)
                await asyncio.sleep(max(0.0, ended + rest - monotonic()))

    async def _is_old(self) -> bool:
        try:
            state = state_text(await anyio.to_thread.run_sync(self._history.state))
        except Exception as error:
            self.trouble = safe_text(str(error))
            return False
        return self.made is None or without_triage(self.made.facts.state) != without_triage(state)

    async def _make(self, folder: Path) -> None:
        command = [sys.executable, "-P", "-m", "harness.integrations.server.render", str(folder)]
        process = await asyncio.create_subprocess_exec(
            *die_with_parent(command), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE, env={**os.environ, **self._environment},
        )  # fmt: skip
        try:
            _, errors = await process.communicate()
        except asyncio.CancelledError:
            process.kill()
            raise
        if process.returncode:
            words = errors.decode("utf-8", "replace").strip().splitlines()
            self.trouble = safe_text(words[-1] if words else f"it ended with {process.returncode}")
            return
        self.made = await anyio.to_thread.run_sync(_read, folder)
        self.trouble = ""
        self._there.set()


def _read(folder: Path) -> Made:
    page, policy = (folder / PAGE).read_bytes(), (folder / POLICY).read_text("utf-8")
    facts = Facts.model_validate_json((folder / FACTS).read_bytes())
    return Made(page, policy, facts, hashlib.sha256(page).hexdigest()[:32])
