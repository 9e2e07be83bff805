"""Verdicts as letters: one for each outcome, a capital if it was not expected."""

from collections.abc import Mapping

from harness.metrics.history.records import VerdictRecord
from harness.metrics.history.verdict_table import VerdictKind, VerdictTable

NONE, MIXED = ".", "L"
LETTERS: Mapping[str, str] = {
    "passed": "p", "failed": "f", "crashed": "c", "hung": "h", "timed_out": "t", "guest_ended": "g",
    "boot_failed": "b", "harness_error": "e", "skipped": "s", "reused": "r",
}  # fmt: skip
OTHER = "x"


def code_of(judged: VerdictRecord | VerdictKind) -> str:
    """The letter of a verdict: `p` for a pass, `P` for an unexpected pass, `L` for a pass after a failure."""
    return CODES.get((judged.outcome, judged.expected)) or _code(judged.outcome, judged.expected)


def _code(outcome: str, expected: bool) -> str:
    if outcome == "flaky":
        return MIXED
    letter = LETTERS.get(outcome, OTHER)
    return letter if expected or outcome == "skipped" else letter.upper()


CODES = {(outcome, expected): _code(outcome, expected) for outcome in LETTERS for expected in (True, False)}


def codes_of(runs: VerdictTable) -> list[str]:
    """The letters of many verdicts."""
    numbers = runs.rows["kind"].tolist()
    known = {number: code_of(runs.kinds[number]) for number in set(numbers)}
    return [known[number] for number in numbers]


def legend() -> dict[str, str]:
    """What each letter means, in words."""
    words = {letter: outcome.replace("_", " ") for outcome, letter in LETTERS.items()} | {OTHER: "other"}
    expected = {letter: text if letter in "psr" else f"{text} as expected" for letter, text in words.items()}
    odd = {letter.upper(): text for letter, text in words.items() if letter not in "sr"}
    return {**expected, **odd, "P": "passed unexpectedly", MIXED: "flaky", NONE: "no result"}
