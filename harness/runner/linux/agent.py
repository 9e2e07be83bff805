"""The client of a Linux guest's agent, over the control line; kernels/linux/init.sh is the agent."""

import base64
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress

from harness.runner.console.kernel_log import KernelLog
from harness.runner.console.patterns import patterns_of
from harness.runner.interaction import CommandResult

LONGEST_REPORT = 1 << 20
LONGEST_ANSWER = 16 << 20  # bytes of base64: what a look inside may print


class Agent:
    """The guest's agent. What it sends is limited in size, because it comes from a guest. `log` is the kernel's
    own log."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._received = b""
        self.gone = False
        self.ready = False
        self.exited: dict[str, int] = {}
        self.log = KernelLog(patterns_of("linux"))
        self._asked: dict[str, Callable[[CommandResult], None]] = {}
        self._parts: dict[str, tuple[bytearray, bytearray]] = {}

    def fileno(self) -> int:
        return self._line.fileno()

    def run(self, identifier: str, command: str) -> None:
        """Run the command; its status will be in `exited`."""
        self._say(f"run {identifier} {command}")

    def tell(self, command: str, answer: Callable[[CommandResult], None]) -> None:
        """Run the command beside the program; `answer` is called when it has ended."""
        identifier = secrets.token_hex(8)
        self._asked[identifier] = answer
        self._parts[identifier] = (bytearray(), bytearray())
        self._say(f"tell {identifier} {command}")

    def mark(self) -> bytes:
        """Let the agent write a record to the kernel's log; once the log `saw` it, all earlier records have
        arrived."""
        mark = secrets.token_hex(8)
        self.log.expect(mark.encode())
        self._say(f"mark {mark}")
        return mark.encode()

    def listen(self) -> bool:
        """Read what the agent sent; called when the line is readable. Always ends the wait."""
        try:
            data = self._line.recv(1 << 16)
        except ConnectionResetError:  # the hypervisor left with words of ours unread
            data = b""
        self.gone = not data
        *lines, rest = (self._received + data).split(b"\n")
        self._received = rest[:LONGEST_REPORT]
        for line in lines:
            if line[:1].isdigit():
                self.log.feed(line)
            else:
                self._take(line[:LONGEST_REPORT].decode("utf-8", "replace").split())
        return True

    def _say(self, line: str) -> None:
        """Send a line, if anyone reads it: the guest may have ended at this moment, which `listen` finds out."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self._line.sendall(f"{line}\n".encode())

    def _take(self, words: list[str]) -> None:
        match words:
            case ["ready", *_]:
                self.ready = True
            case ["exited", identifier, status] if _is_status(status):
                self.exited.setdefault(identifier, int(status))
            case ["part", identifier, "1" | "2" as which, part] if identifier in self._asked:
                parts = self._parts[identifier][int(which) - 1]
                if len(parts) < LONGEST_ANSWER:
                    parts += _decoded(part)
            case ["told", identifier, status] if identifier in self._asked and _is_status(status):
                output, errors = self._parts.pop(identifier)
                self._asked.pop(identifier)(CommandResult(int(status), bytes(output), bytes(errors)))


def _is_status(word: str) -> bool:
    """Whether it is a valid status: a guest may send any number, of any length."""
    return word.isdecimal() and len(word) <= 3


def _decoded(text: str) -> bytes:
    """Decode base64 from a guest, which may be invalid."""
    try:
        return base64.b64decode(text)
    except ValueError:
        return b""
