"""Verdicts as signs: one letter for an outcome, a capital where it was not expected."""

from collections.abc import Mapping

from harness.metrics.history.records import Judged

NONE, MIXED = ".", "L"
LETTERS: Mapping[str, str] = {
    "passed": "p", "failed": "f", "crashed": "c", "hung": "h", "timed_out": "t", "guest_ended": "g",
    "boot_failed": "b", "harness_error": "e", "skipped": "s",
}  # fmt: skip
OTHER = "x"


def code_of(judged: Judged) -> str:
    """The letter of a verdict: `p` a pass, `P` a pass that nobody expected, `L` one that failed first."""
    return CODES.get((judged.outcome, judged.expected)) or _code(judged.outcome, judged.expected)


def _code(outcome: str, expected: bool) -> str:
    if outcome == "flaky":
        return MIXED
    letter = LETTERS.get(outcome, OTHER)
    return letter if expected or outcome == "skipped" else letter.upper()


CODES = {(outcome, expected): _code(outcome, expected) for outcome in LETTERS for expected in (True, False)}


def legend() -> dict[str, str]:
    """What each letter means, in words."""
    words = {letter: outcome.replace("_", " ") for outcome, letter in LETTERS.items()} | {OTHER: "other"}
    expected = {letter: text if letter in "ps" else f"{text} as expected" for letter, text in words.items()}
    odd = {letter.upper(): text for letter, text in words.items() if letter != "s"}
    return {**expected, **odd, "P": "passed unexpectedly", MIXED: "flaky", NONE: "no result"}
