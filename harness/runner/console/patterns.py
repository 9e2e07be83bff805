"""What a kernel prints that matters: data in `<kernel>.toml` beside this file, compiled once."""

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

    `mark` (a point of the boot or the end), `fault` (the kernel reports its own death), `watchdog` (a clock made
    the kernel report one, which a host that stops the guest brings about too), `trace` (what it prints with any
    death), or `status` (a program's status; groups `program` and `status`). `record` is the same for a record of
    the kernel's own log, where the kernel has one.
    """

    kind: str
    name: str
    regex: re.Pattern[bytes]
    record: re.Pattern[bytes]


@dataclass(frozen=True, slots=True)
class Patterns:
    """All patterns of one kernel, with one expression that matches any line that matches one of them.

    `noise` is what the kernel says in the middle of a program's line, its end of line included.
    """

    patterns: tuple[Pattern, ...]
    any: re.Pattern[bytes]
    noise: tuple[re.Pattern[bytes], ...]


@cache
def patterns_of(kernel: str) -> Patterns:
    """The patterns of a kernel, from its TOML file.

    Where the file has a `line`, its faults and watchdogs stand where the kernel begins to speak: on the console
    after its `time`, or where a line begins; in its log where a record does; in both after the name of a
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
