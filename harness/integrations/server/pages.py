"""The page and its facts as last rendered; renders them again when the history has grown."""

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
REST_FACTOR = 3.0
"""The pause after rendering, in multiples of its duration, while a night writes: at most a quarter of one core."""

LEAST_REST, MOST_REST = 5.0, 60.0  # seconds


def state_text(state: State) -> str:
    """The state of a history as one word."""
    return ".".join(map(str, astuple(state)))


def without_triage(state: str) -> str:
    """The part of the state that the page depends on: decisions of people are not in the page."""
    return state.rpartition(".")[0]


@dataclass(frozen=True, slots=True)
class RenderedPage:
    """A page, gzipped, the policy that is sent with it, and its facts."""

    page: bytes
    policy: str
    facts: Facts
    tag: str

    @property
    def plain(self) -> bytes:
        """The page, uncompressed."""
        return gzip.decompress(self.page)


class Pages:
    """Keeps the page rendered last. `error` says why there is no newer one, or is empty."""

    def __init__(self, history: History, watch: Watch, environment: Mapping[str, str]) -> None:
        """`environment` names the history and the checkout for the process that renders."""
        self._history = history
        self._watch = watch
        self._environment = environment
        self._ready = asyncio.Event()
        self.current: RenderedPage | None = None
        self.error = ""

    async def wait_for_page(self, seconds: float) -> RenderedPage | None:
        """The page; waits up to `seconds` for the first one."""
        try:
            await asyncio.wait_for(self._ready.wait(), seconds)
        except TimeoutError:
            return None
        return self.current

    async def run(self) -> None:
        """Render the page, and again when there is something new, until cancelled or the server stops."""
        with ExitStack() as stack:
            folder = temporary_dir("osv-harness-serve-")
            path = await anyio.to_thread.run_sync(stack.enter_context, folder)  # it starts a reaper
            while not self._watch.stopped:
                seen, began = self._watch.number, monotonic()
                if await self._is_old():
                    try:
                        await self._make(path)
                    except (OSError, ValueError) as error:  # a full disk, or invalid facts
                        self.error = safe_text(f"{type(error).__name__}: {error}")
                    self._watch.notify()  # there is a new page, or a new error
                ended = monotonic()
                rest = min(MOST_REST, max(LEAST_REST, REST_FACTOR * (ended - began)))
                await self._watch.wait(seen)
                await asyncio.sleep(max(0.0, ended + rest - monotonic()))

    async def _is_old(self) -> bool:
        try:
            state = state_text(await anyio.to_thread.run_sync(self._history.state))
        except Exception as error:
            self.error = safe_text(str(error))
            return False
        return self.current is None or without_triage(self.current.facts.state) != without_triage(state)

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
            self.error = safe_text(words[-1] if words else f"it ended with {process.returncode}")
            return
        self.current = await anyio.to_thread.run_sync(_read, folder)
        self.error = ""
        self._ready.set()


def _read(folder: Path) -> RenderedPage:
    page, policy = (folder / PAGE).read_bytes(), (folder / POLICY).read_text("utf-8")
    facts = Facts.model_validate_json((folder / FACTS).read_bytes())
    return RenderedPage(page, policy, facts, hashlib.sha256(page).hexdigest()[:32])
