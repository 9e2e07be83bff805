"""Drives a headless Chromium, for tests of the report's page and for its screenshots.

Commands go through two pipes (Chromium's --remote-debugging-pipe: JSON messages, each ended by a zero byte), so
nothing listens on a port. Source: chromedevtools.github.io/devtools-protocol.
"""

import base64
import fcntl
import json
import os
import select
import shutil
import signal
from contextlib import ExitStack, suppress
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Any, Self

from harness.core.errors import HarnessError, HostError
from harness.core.whole_files import write_whole
from harness.host.temp_dir import temporary_dir

ANSWER_SECONDS = 60.0
END_SECONDS = 5.0
OURS, THEIRS = 3, 4
"""The file descriptors from which Chromium reads commands, and to which it writes answers."""

# Nothing that looks for updates or calls home; root can't have Chromium's sandbox.
OPTIONS = (
    "--headless=new", "--remote-debugging-pipe", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-extensions", "--disable-sync",
    "--disable-breakpad", "--hide-scrollbars", "--mute-audio", *(["--no-sandbox"] if os.geteuid() == 0 else []),
)  # fmt: skip


def found() -> str | None:
    """The path of a Chromium on this host; None if there is none."""
    return next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )


class Browser:
    """A headless browser with one tab; a context manager that ends it on exit.

    `events` are all messages that are no answer to a command. Raises `HostError` if there is no Chromium.
    """

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self._rest = b""
        self._asked = 0
        self._session = ""
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        path = found()
        if not path:
            raise HostError("There is no Chromium here.", "Install Debian's package chromium.")
        self._profile = self._stack.enter_context(temporary_dir("osv-harness-browser-"))
        self._pid = self._start(path)
        try:
            target = self._call("Target.createTarget", {"url": "about:blank"})["targetId"]
            attached = self._call("Target.attachToTarget", {"targetId": target, "flatten": True})
            self._session = attached["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.call(f"{domain}.enable")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send one command to the tab; returns its result. Raises `HarnessError` with the browser's message if
        it is refused."""
        return self._call(method, parameters, self._session)

    def open(self, path: Path, width: int = 1280, height: int = 900, scheme: str = "light") -> None:
        """Load the file in a window of `width` by `height` pixels, for a person who prefers the colours
        `scheme`; returns when it is loaded."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        wishes = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
        self.call(
            "Emulation.setEmulatedMedia", features=[{"name": name, "value": wish} for name, wish in wishes.items()]
        )
        self.events.clear()
        self.call("Page.navigate", url=path.resolve().as_uri())
        deadline = monotonic() + ANSWER_SECONDS
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self._read(deadline)

    def evaluate(self, script: str) -> Any:
        """Evaluate a JavaScript expression in the page, await it, and return its JSON value. Raises
        `HarnessError` if it throws."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise HarnessError(f"The page's script failed: {answer['exceptionDetails'].get('exception', answer)}")
        return answer["result"].get("value")

    def press(self, key: str, code: int, text: str = "", modifiers: int = 0) -> None:
        """Press and release one key: its DOM name (`Tab`), its Windows key code, and the text that it types."""
        same = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": modifiers}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **same)
        self.call("Input.dispatchKeyEvent", type="keyUp", **same)

    def screenshot(self, path: Path) -> None:
        """Write what the window shows as a PNG."""
        write_whole(path, base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def _start(self, path: str) -> int:
        read_commands, self._to = os.pipe()
        self._from, write_answers = os.pipe()
        # Away from 3 and 4 first, or the one could be put where the other still is.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (read_commands, write_answers)]
        os.close(read_commands)
        os.close(write_answers)
        pid = os.posix_spawn(
            path,
            [path, *OPTIONS, f"--user-data-dir={self._profile}"],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, ends[0], OURS),
                (os.POSIX_SPAWN_DUP2, ends[1], THEIRS),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
            ],
            setpgroup=0,
        )
        for end in ends:
            os.close(end)
        return pid

    def _end(self) -> None:
        """End the browser and its children, and remove its profile. Any of them may be gone already."""
        with suppress(HarnessError, OSError):
            self._call("Browser.close", {})
        os.close(self._to)
        deadline = monotonic() + END_SECONDS
        while not os.waitpid(self._pid, os.WNOHANG)[0]:
            if monotonic() > deadline:
                os.killpg(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)
                break
            sleep(0.02)
        os.close(self._from)
        self._stack.close()

    def _call(self, method: str, parameters: dict[str, Any], session: str = "") -> dict[str, Any]:
        self._asked += 1
        asked = self._asked
        message = {"id": asked, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        try:
            while data:
                data = data[os.write(self._to, data) :]
        except BrokenPipeError:
            raise _ended() from None
        deadline = monotonic() + ANSWER_SECONDS
        while True:
            answer = self._read(deadline)
            if answer.get("id") == asked:
                if "error" in answer:
                    raise HarnessError(f"Chromium refused {method}: {answer['error'].get('message')}")
                result: dict[str, Any] = answer["result"]
                return result

    def _read(self, deadline: float) -> dict[str, Any]:
        """Read the next message; one that is no answer is added to `events`. Raises `HostError` if none comes
        before the deadline."""
        while b"\0" not in self._rest:
            if not select.select([self._from], [], [], max(0.0, deadline - monotonic()))[0]:
                raise HostError(f"Chromium said nothing for {ANSWER_SECONDS:.0f} s.")
            data = os.read(self._from, 1 << 20)
            if not data:
                raise _ended()
            self._rest += data
        one, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(one)
        if "id" not in message:
            self.events.append(message)
        return message


def _ended() -> HostError:
    return HostError("Chromium ended by itself.", "Does `chromium --headless` start here?")
