"""Facts that determine a number, as one line that is stored, compared and shown: `compiler=gcc 12.2.0;
boost=1_74`."""

from collections.abc import Mapping

OF_BUILDERS = ("compiler", "linker", "boost", "options", "through", "packages", "recipe")
"""The names of facts that determine the bytes of a kernel."""

LONGEST = 450  # bytes: a name in the history has at most 500


def format_facts(facts: Mapping[str, object]) -> str:
    """The facts in their order, without empty ones; a text too long for the history is cut."""
    parts = [f"{name}={' '.join(str(value).replace(';', ',').split())}" for name, value in facts.items() if value]
    text = "; ".join(parts).encode("ascii", "replace")[:LONGEST].decode()
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def parse_facts(text: str) -> dict[str, str]:
    """Read what `format_facts` wrote."""
    return dict(part.partition("=")[::2] for part in text.split("; ") if part)


def difference(before: str, after: str) -> str:
    """How two such texts differ, for people: `compiler gcc 12.2.0 → gcc 13.3.0, boost 1_74 → 1_83`."""
    old, new = parse_facts(before), parse_facts(after)
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return ", ".join(f"{name} {old.get(name, 'unknown')} → {new.get(name, 'unknown')}" for name in names)
