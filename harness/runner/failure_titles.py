"""Titles of failures: two failures with one cause get one title, because what differs between two runs is removed.

Verdicts, bisections and issues share them. As in syzkaller's titles, addresses, numbers, registers, process
numbers, cpus and times are removed; functions and files stay. Source of the idea: syzkaller, pkg/report
(dynamicTitleReplacement).
"""

import re
from functools import lru_cache

from harness.runner.console.patterns import patterns_of

MOST_READ = 1000  # characters of a reason
LONGEST = 160  # characters of the words and, apart, of the place
N = "N"

_CUT = re.compile(r" … \d+ more$")
_SUFFIX = re.compile(r", while the host .*| \(the console has text like a kernel's fault.*| \(and \d+ more\)$")
_PRINTK = re.compile(r"^.*?(?:<\d>)?\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? ?")
"""printk's time and caller, and what a program printed before them on the same line."""
_PLACE = re.compile(r" \(((?:[\w -]{1,40}, |[\w -]{1,40} at address \w+, |a call of address \w+ )?"
                    r"(?:in|reached from) .*)\)$")  # fmt: skip
REACHED = "reached from "
_ASSERTION = re.compile(
    r"Assertion failed: (?P<what>.+) \((?P<file>[^\s:()%?]+): (?P<function>[^%?]+?): (?:\d+|N)\)"
)
_DIRECTIVE = re.compile(r"%[-+ #0]*\d*(?:\.\d+)?(?:hh|h|ll|l|z|j|t)?[diuxXpcs]")
_UNREAD = re.compile(r"%[-+ #0]*\d*(?:\.\d+)?s|(?<!\S)\(?\?(?=[\s:)]|$)|^Assertion failed:?$")
"""A message of abort() that could not be read: its bare format, or a `?` in place of a string."""
_NAMELESS = re.compile(
    r"|Aborted|without a message|its message can't be read|a signal that nobody caught|\[backtrace\]|\[registers\]"
)

_FILE = r"[\w./+-]+\.(?:cc|cpp|cxx|c|hh|hpp|h|S|s|rs|py|go|java)"
_OFFSET = r"\+(?:0x)?[0-9a-f]+(?:/(?:0x)?[0-9a-f]+)?"
_HOLDS_HEX = (
    r"addr(?:ess)?|pfn|pte|pmd|pud|pgd|mm|page|ip|sp|pc|lr|rip|cr\d|far|esr|r[abcd]x|r[sd]i|r[bs]p|r\d+|x\d+"
)
_RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE if ignore else 0), by)
    for pattern, by, ignore in (
        # Linux's own lines
        (rf"WARNING: (?:CPU: \d+ )?(?:PID: \d+ )?(?:Comm: .+? )?at ({_FILE}):\d+ ([\w.]+){_OFFSET}.*",
         r"WARNING in \2 (\1)", False),
        (rf"WARNING: (?:\[.*\] )?({_FILE}):\d+ at ([\w.]+){_OFFSET}.*", r"WARNING in \2 (\1)", False),
        (rf"WARNING: (?:\[.*\] )?({_FILE}):\d+ at (?:0x)?[0-9a-f]+, .*", r"WARNING in \1", False),
        (r"(?:NMI )?(?:watchdog: )?(?:BUG: )?soft lockup - CPU.*", "BUG: soft lockup", False),
        (r"(?:watchdog: )?(?:Watchdog detected hard LOCKUP on cpu|CPU\d+: Watchdog detected hard LOCKUP).*",
         "hard LOCKUP", False),
        (r"CPU \d+ self-detected hard LOCKUP.*", "hard LOCKUP", False),
        (r"(?:rcu: )?(?:INFO: )?(\w+) (?:self-)?detected (expedited )?stalls? on .*",
         r"\1 detected \2stall", False),
        (r"(\w+ kthread (?:starved|timer wakeup didn.t happen)) for .*", r"\1", False),
        (r"BUG: workqueue lockup.*", "BUG: workqueue lockup", False),
        (r"INFO: task (.+?)[-./:\d]*:\d+ (blocked|can.t die).*", r"INFO: task \1 \2", False),
        (r"(?<=\w)\.(?:cold|isra|part|constprop|llvm)(?:\.\d+)*\b", "", False),
        (r"(?:: [0-9a-f]{1,16})? \[#\d+\].*", "", False),
        (r" \((?:Not tainted|Tainted:[^)]*)\)", "", False),
        (r"BUG: scheduling while atomic: .*", "BUG: scheduling while atomic", False),
        (r"(in preemptible )\[\w+\] (code).*", r"\1\2", False),
        (r" by task \S+$", "", False),
        (r" (in process) .*", "", False),
        (r"\bkworker/\S*", "kworker", False),
        # numbers of all kinds
        (r"\b(\d{1,3}\.){3}\d{1,3}(:\d+)?\b", N, False),
        (rf"({_FILE})(?::\d+)+", r"\1", False),
        (r"\b\d+(?:[-,]\d+)+\b", N, False),
        (rf"([A-Za-z_)>][\w.]*){_OFFSET}(?![\w.])", r"\1", True),
        (r"\b0x[0-9a-f]+\b", N, True),
        (rf"\b((?:{_HOLDS_HEX})\b[:=]? *)[0-9a-f]+\b", rf"\1{N}", True),
        (r"(?<!\w)(?:[0-9a-f]{8,}|[0-9][0-9a-f]{3,})\b", N, True),
        # a signal's and a status's number is the kernel's or the program's own word
        (r"(?<!signal )(?<!status )(?<!exit\()(?<![\w.-])-?\d+(?:\.\d+)?(?=(?:s|ms|us|ns|[kKMG]i?[bB]?)?\b)",
         N, False),
        (rf"\b{N}(?:[-,]{N}\b)+", N, False),
        (r"(?:%[-+ #0]*\d*(?:\.\d+)?(?:hh|h|ll|l|z|j|t)?[diuxXpc])", N, False),
    )
)  # fmt: skip


@lru_cache(maxsize=65536)
def title(reason: str) -> str:
    """The cause that a verdict's reason names, without what differs between two runs.

    Empty if it names none, for example if abort()'s message could not be read: only the test then identifies the
    failure.
    """
    text = _SUFFIX.sub("", _CUT.sub("", reason[:MOST_READ]))
    text, place, exact = _split(text)
    text = _PRINTK.sub("", _named(text), count=1).strip()
    if (found := _ASSERTION.search(text)) and not _DIRECTIVE.fullmatch(found["what"]):
        # the source's own words, whose numbers are the same in every run
        where = f"in {found['function'].strip()} ({found['file']})"
        return _short(f"Assertion failed: {found['what'].strip()} {where}")
    if _UNREAD.search(text):
        text = _DIRECTIVE.sub("", text).partition(":")[0].strip() or "abort"
        return f"{_short(text)} ({exact})" if place else ""
    text = _plain(text)
    if _NAMELESS.fullmatch(text):
        return f"{text} ({exact})" if place else ""
    return _short(text) + (f" ({place[:LONGEST]})" if place else "")


def identity(outcome: str, reason: str) -> str:
    """What tells one failure of a test from another: its outcome and the title of its cause."""
    named = title(reason)
    return f"{outcome}: {named}" if named else outcome


def _split(text: str) -> tuple[str, str, str]:
    """The text, and the place of the failure if it is known: without its line number, and in the form that a
    text without a cause needs. For an assertion or an abort() with an unknown message, the line number
    identifies it."""
    found = _PLACE.search(text)
    if not found:
        return text, "", ""
    place = _plain(found[1])
    exact = found[1] if found[1].startswith(REACHED) else place
    return text[: found.start()], place, exact[:LONGEST]


def _named(text: str) -> str:
    """The text without the name of the pattern that matched: which one did depends on how torn the text was."""
    head, colon, rest = text.partition(": ")
    return rest if colon and head in _names() and rest else text


@lru_cache(maxsize=1)
def _names() -> frozenset[str]:
    kinds = (pattern for kernel in ("osv", "linux") for pattern in patterns_of(kernel).patterns)
    return frozenset(pattern.name for pattern in kinds if pattern.kind in ("fault", "watchdog", "trace"))


def _plain(text: str) -> str:
    for pattern, by in _RULES:
        text = pattern.sub(by, text)
    return " ".join(text.split()).rstrip(" .:,;-")


def _short(text: str) -> str:
    return " ".join(text.split())[:LONGEST].rstrip()
