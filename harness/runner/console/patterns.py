"""The lines of a kernel that matter: patterns in `<kernel>.toml` beside this file, compiled once."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

KINDS = ("mark", "fault", "watchdog", "trace", "status")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A named regular expression over one line's bytes. `kind` says what a match is:

    `mark` (a point of the boot or the end), `fault` (the kernel reports its own death), `watchdog` (a timer made
    the kernel report one; a host that stops the guest causes that too), `trace` (printed with any death), or
    `status` (a program's status; groups `program` and `status`). `record` is the same for a record of the kernel's
    own log, if the kernel has one.
    """

    kind: str
    name: str
    regex: re.Pattern[bytes]
    record: re.Pattern[bytes]


@dataclass(frozen=True, slots=True)
class Patterns:
    """All patterns of one kernel, and one expression that matches every line that any of them matches.

    `noise` are messages that the kernel prints in the middle of a program's line, with their end of line.
    """

    patterns: tuple[Pattern, ...]
    any: re.Pattern[bytes]
    noise: tuple[re.Pattern[bytes], ...]


@cache
def patterns_of(kernel: str) -> Patterns:
    """The patterns of a kernel, from its TOML file.

    If the file has a `line`, faults and watchdogs must be where the kernel starts to print: on the console after
    its `time` or at the start of a line; in its log at the start of a record; in both after the name of a
    `subsystem`.
    """
    data = tomllib.loads(Path(__file__).with_name(f"{kernel}.toml").read_text())
    rows = [(kind, row) for kind in KINDS for row in data.get(kind, [])]
    patterns = tuple(_pattern(kind, row, data.get("line", {})) for kind, row in rows)
    # The prefilter runs over whole blocks of lines, so that lines of no interest cost next to nothing;
    # anchors and named groups have no place in it.
    named_or_end = re.compile(r"(\(\?)P<\w+>|(?<!\\)\$")
    loose = [named_or_end.sub(lambda it: it[1] + ":" if it[1] else "", row["match"]).replace("^", "", 1)
             for _, row in rows]  # fmt: skip
    noise = tuple(re.compile(row["match"].encode()) for row in data.get("noise", []))
    return Patterns(patterns, re.compile("|".join(loose).encode()), noise)


def _pattern(kind: str, row: Mapping[str, str], line: Mapping[str, str]) -> Pattern:
    if not line or kind not in ("fault", "watchdog"):
        regex = re.compile(row["match"].encode())
        return Pattern(kind, row["name"], regex, regex)
    said = f"{line['subsystem']}(?!{line['program']})(?:{row['match']})"
    console, record = f"(?:^|{line['time']}){said}", f"^{said}"
    return Pattern(kind, row["name"], re.compile(console.encode()), re.compile(record.encode()))
