"""Matches a console's lines against patterns as they arrive, however the bytes are split into chunks."""

from collections.abc import Callable
from dataclasses import dataclass

from harness.core.text import plain, printable
from harness.runner.console.patterns import Patterns

LONGEST_LINE = 1 << 16
STEP = LONGEST_LINE - (1 << 10)
SHOWN = 400


@dataclass(frozen=True, slots=True)
class Match:
    """A line that matched: the pattern's kind and name, the offset of the line in the console's bytes, the line
    made safe to show and, for a status, the program (None: whichever ran) and its number."""

    kind: str
    name: str
    offset: int
    text: str
    program: str | None = None
    status: int | None = None


class ConsoleMatcher:
    """Feed it bytes; it keeps the matches, which do not depend on how the bytes were split.

    A line longer than 64 KiB is matched in overlapping pieces.
    """

    def __init__(self, patterns: Patterns, on_match: Callable[[Match], None] | None = None) -> None:
        self.patterns = patterns
        self._on_match = on_match
        self._rest = bytearray()
        self._offset = 0
        self._inside = False  # whether the rest is not its line's beginning
        self._last_seen = -1
        self.matches: list[Match] = []
        self._expected: set[bytes] = set()
        self._seen: set[bytes] = set()

    def feed(self, data: bytes) -> None:
        """Match the new data; only complete lines are matched."""
        self._rest += data
        end = self._rest.rfind(b"\n", len(self._rest) - len(data)) + 1
        if end:
            self._scan(bytes(self._rest[:end]))
            self._drop(end, inside=False)
        while len(self._rest) > LONGEST_LINE:
            self._scan(bytes(self._rest[:LONGEST_LINE]))
            self._drop(STEP, inside=True)

    def finish(self) -> None:
        """Match the incomplete last line too; nothing more is expected soon."""
        if self._rest:
            self._scan(bytes(self._rest))

    def expect(self, text: bytes) -> None:
        """Look for a text in what arrives from now on."""
        self._expected.add(text)

    def saw(self, text: bytes) -> bool:
        """Whether an expected text has arrived."""
        return text in self._seen

    def first(self, name: str) -> Match | None:
        """The first match of the pattern of that name."""
        return next((match for match in self.matches if match.name == name), None)

    def saw_mark(self, name: str) -> bool:
        """Whether the pattern of that name has matched."""
        return self.first(name) is not None

    def faults(self) -> tuple[Match, ...]:
        """Every line in which the kernel reported a fault; lines that only accompany one come last."""
        return tuple(
            match for kind in ("fault", "watchdog", "trace") for match in self.matches if match.kind == kind
        )

    def statuses(self) -> tuple[Match, ...]:
        """Every line in which the kernel reported a program's status."""
        return tuple(match for match in self.matches if match.kind == "status")

    def _scan(self, block: bytes) -> None:
        if self._expected:
            self._seen |= {text for text in self._expected if text in block}
            self._expected -= self._seen
        # An escape sequence inside a word would hide it here; lines are judged without them.
        if b"\x1b" in block:
            self._judge_lines(block, 0)
            return
        judged = 0  # up to where
        while candidate := self.patterns.any.search(block, judged):
            start = block.rfind(b"\n", 0, candidate.start()) + 1
            end = block.find(b"\n", candidate.start())
            end = len(block) if end < 0 else end
            self._judge_lines(block[start:end], start)
            judged = end + 1

    def _judge_lines(self, block: bytes, start: int) -> None:
        """Match every line of a part of the block, which starts at a line, or where the rest starts."""
        offset, inside = self._offset + start, self._inside and start == 0
        for line in block.split(b"\n"):
            while True:
                if offset > self._last_seen:
                    # A line's beginning is what stands at a pattern's ^, and a later piece has none.
                    self._judge(b" " * inside + plain(line[:LONGEST_LINE]), offset)
                if len(line) <= LONGEST_LINE:
                    break
                line, offset, inside = line[STEP:], offset + STEP, True
            offset, inside = offset + len(line) + 1, False

    def _drop(self, count: int, inside: bool) -> None:
        del self._rest[:count]
        self._offset += count
        self._inside = inside

    def _judge(self, line: bytes, offset: int) -> None:
        named = set()
        for pattern in self.patterns.patterns:
            found = None if pattern.name in named else pattern.regex.search(line)
            if not found:
                continue
            named.add(pattern.name)
            groups = found.groupdict()
            program = groups.get("program")
            status = groups.get("status")
            shown = line if found.end() <= SHOWN else line[found.start() :]
            match = Match(
                pattern.kind, pattern.name, offset, printable(shown[:SHOWN]),
                printable(program) if program else None, int(status) if status else None,
            )  # fmt: skip
            self._last_seen = offset
            self.matches.append(match)
            if self._on_match:
                self._on_match(match)
