r"""The kernel's own log, as the guest's agent sends it: it separates the kernel's messages from programs' output.

Source: Linux, Documentation/ABI/testing/dev-kmsg. A record is `level,number,microseconds,flags;text`, its
unprintable bytes as \xNN, followed by lines of its dictionary, each after a space. A writer to /dev/kmsg never
gets the kernel's facility, whatever it asks for.
"""

import re
from collections import deque
from dataclasses import dataclass
from time import monotonic

from harness.core.text import printable
from harness.runner.console.matcher import SHOWN, Match
from harness.runner.console.patterns import Patterns

RECORD = re.compile(rb"(\d{1,4}),(\d{1,19}),(\d{1,19}),[^;]{0,200};(.*)")
ESCAPED = re.compile(rb"\\x([0-9a-f]{2})")
KERNEL, USER = 0, 1
WARNING = 4
"""The least urgent level of a fault. Messages about a program's own faults have a higher number (6)."""

MOST = 20_000
"""Records that are kept: a log has room for about a thousand."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record. `level` is 0 (an emergency) to 7; `facility` is 0 if the kernel itself wrote it; `at` is in
    microseconds of the guest's clock since its boot."""

    number: int
    level: int
    facility: int
    at: int
    text: bytes

    @property
    def on_console(self) -> tuple[bytes, ...]:
        """The lines that the console shows of it. Source: kernel/printk/printk.c (print_time,
        record_print_text)."""
        time = b"[%5d.%06d] " % divmod(self.at, 1_000_000)
        return tuple(time + line for line in self.text.split(b"\n"))


class KernelLog:
    """The records of one guest's kernel, and the faults among them. Feed it the agent's lines.

    Its input comes from the guest, and is limited in size.
    """

    def __init__(self, patterns: Patterns) -> None:
        self._patterns = patterns
        self._last: int | None = None
        self._marks: set[bytes] = set()
        self.records: deque[Record] = deque(maxlen=MOST)
        self.has_gaps = False
        """Whether records were overwritten before the agent could read them."""
        self.faults: list[Match] = []
        self.first_fault_at: float | None = None
        """When the first fault arrived, in monotonic seconds."""

    def feed(self, line: bytes) -> None:
        """Add a line of /dev/kmsg."""
        found = RECORD.match(line)
        if not found:
            return
        priority, number = int(found[1]), int(found[2])
        text = ESCAPED.sub(lambda it: bytes([int(it[1], 16)]), found[4])
        record = Record(number, priority & 7, priority >> 3, int(found[3]), text)
        self.has_gaps |= self._last is not None and number > self._last + 1
        self._last = number
        if record.facility == USER:
            self._marks.discard(record.text)
        if record.facility == KERNEL:
            self.records.append(record)
            if record.level <= WARNING:
                self._judge(record)

    def expect(self, mark: bytes) -> None:
        """Expect a record with this text, which the agent writes."""
        self._marks.add(mark)

    def saw(self, mark: bytes) -> bool:
        """Whether an expected record has arrived, and with it every earlier one."""
        return mark not in self._marks

    def shown(self) -> str:
        """The records as text for people, each with its level."""
        rows = ((record, line) for record in self.records for line in record.on_console)
        return "".join(f"<{record.level}>{printable(line)}\n" for record, line in rows)

    def without_its_words(self, console: bytes) -> bytes:
        """The console's bytes without the kernel's messages, also those in the middle of a program's line."""
        said = {line for record in self.records for line in record.on_console}
        for line in said:
            console = re.sub(re.escape(line) + rb"\r?\n", b"", console) if line in console else console
        return console

    def _judge(self, record: Record) -> None:
        for line, shown in zip(record.text.split(b"\n"), record.on_console, strict=True):
            for pattern in self._patterns.patterns:
                if pattern.kind in ("fault", "watchdog") and pattern.record.search(line):
                    self.faults.append(Match(pattern.kind, pattern.name, -1, printable(shown[:SHOWN])))
                    self.first_fault_at = self.first_fault_at or monotonic()
                    break
