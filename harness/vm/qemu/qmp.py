"""QEMU's machine protocol, called synchronously: one event loop per guest around the qemu.qmp library."""

import asyncio
import contextlib
import socket
from typing import Any

from qemu.qmp import ExecuteError, QMPClient, QMPError, Runstate

from harness.core.errors import HypervisorError
from harness.host.process.timeout import CpuFairTimeout

ANSWER_SECONDS = 10.0

FAILED = (QMPError, OSError, EOFError, AssertionError)
"""What the library raises if QEMU has gone; the last if it went between two of the library's own steps.

Source: qemu.qmp 0.0.3, protocol.py (`assert self.runstate == Runstate.RUNNING` at the end of `connect`).
"""


class Qmp:
    """A QMP session over a connected socket with the process `pid`. Every wait is limited, in the process's own
    time."""

    def __init__(self, sock: socket.socket, name: str, pid: int) -> None:
        self._loop = asyncio.new_event_loop()
        self._client = QMPClient(name)
        self._client.logger.disabled = True
        self._socket = sock
        self._pid = pid
        self._silent = False

    def connect(self) -> None:
        """Negotiate. Raises `HypervisorError` if QEMU ends or does not answer."""
        try:
            self._wait(self._client.connect(self._socket))
        except (*FAILED, TimeoutError) as error:
            words = str(error) or "it was closed while the session began"
            raise HypervisorError(f"QEMU's control socket did not answer: {words}") from error

    def execute(self, command: str, **arguments: Any) -> Any:
        """Return the command's value. Raises `HypervisorError` with QEMU's message.

        After a command without an answer QEMU is not asked again.
        """
        if self._silent:
            raise HypervisorError("QEMU no longer answers on its control socket.")
        try:
            return self._wait(self._client.execute(command, arguments or None))
        except ExecuteError as error:
            raise HypervisorError(f"QEMU refused {command}: {error}") from error
        except TimeoutError as error:
            self._silent = True
            raise HypervisorError(f"QEMU did not answer {command} within {ANSWER_SECONDS:.0f} s.") from error
        except FAILED as error:
            raise HypervisorError(f"QEMU's control socket failed at {command}: {error}") from error

    def monitor(self, line: str, cpu: int = 0) -> str:
        """The answer of QEMU's human monitor to a line about a vCPU, for facts without a QMP command."""
        return str(self.execute("human-monitor-command", **{"command-line": line, "cpu-index": cpu}))

    def wait_event(self, *names: str, timeout: float = ANSWER_SECONDS) -> dict[str, Any]:
        """The next event with one of these names. Raises `HypervisorError` if none comes in time."""

        async def wait() -> dict[str, Any]:
            while True:
                event = asyncio.ensure_future(self._client.events.get())
                gone = asyncio.ensure_future(self._until_closed())
                try:
                    await asyncio.wait((event, gone), return_when=asyncio.FIRST_COMPLETED)
                    if not event.done():
                        raise EOFError("QEMU has closed its control socket")
                finally:
                    event.cancel()
                    gone.cancel()
                    await asyncio.gather(event, gone, return_exceptions=True)
                if event.result()["event"] in names:
                    return dict(event.result())

        try:
            found: dict[str, Any] = self._wait(wait(), timeout)
            return found
        except TimeoutError as error:
            raise HypervisorError(f"QEMU sent no {' or '.join(names)} within {timeout:.0f} s.") from error
        except FAILED as error:
            raise HypervisorError(f"QEMU ended before it sent {' or '.join(names)}: {error}") from error

    def last_events(self) -> list[dict[str, Any]]:
        """The unread events, after the peer has closed the session."""
        with contextlib.suppress(*FAILED, TimeoutError):
            self._wait(self._until_closed(), 2.0)  # if it fails, only the events received so far are returned
        return [dict(event) for event in self._client.events.clear()]

    def close(self) -> None:
        """End the session and its loop; never fails."""
        with contextlib.suppress(*FAILED, TimeoutError):
            if self._client.runstate != Runstate.IDLE:
                self._wait(self._client.disconnect(), 1.0)
        self._loop.close()
        self._socket.close()

    async def _until_closed(self) -> None:
        while self._client.runstate == Runstate.RUNNING:
            await self._client.runstate_changed()

    def _wait(self, work: Any, timeout: float = ANSWER_SECONDS) -> Any:
        return self._loop.run_until_complete(self._in_time(work, CpuFairTimeout(self._pid, timeout)))

    async def _in_time(self, work: Any, limit: CpuFairTimeout) -> Any:
        task = asyncio.ensure_future(work)
        while left := limit.seconds():
            await asyncio.wait((task,), timeout=left)
            if task.done():
                return task.result()
        task.cancel()
        await asyncio.wait((task,))
        if not task.cancelled():
            return task.result()
        raise TimeoutError
