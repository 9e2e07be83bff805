"""What a kernel prints that matters: data in `<kernel>.toml` beside this file, compiled once."""

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

KINDS = ("mark", "fault", "trace", "status")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A named regular expression over one line's bytes. `kind` says what a match is:

    `mark` (a point of the boot or the end), `fault` (the kernel reports its own death), `trace` (what it
    prints with any death), or `status` (a program's status; groups `program` and `status`).
    """

    kind: str
    name: str
    regex: re.Pattern[bytes]


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
    """The patterns of a kernel, from its TOML file."""
    data = tomllib.loads(Path(__file__).with_name(f"{kernel}.toml").read_text())
    rows = [(kind, row["name"], row["match"]) for kind in KINDS for row in data.get(kind, [])]
    patterns = tuple(Pattern(kind, name, re.compile(match.encode())) for kind, name, match in rows)
    # The prefilter runs over whole blocks of lines, so that lines of no interest cost next to nothing;
    # anchors and named groups have no place in it.
    loose = [re.sub(r"\(\?P<\w+>", "(?:", match).replace("^", "", 1) for _, _, match in rows]
    noise = tuple(re.compile(row["match"].encode()) for row in data.get("noise", []))
    return Patterns(patterns, re.compile("|".join(loose).encode()), noise)
