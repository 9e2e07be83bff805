"""Rules about cells: what is true of those that match a condition, and the rules that follow from values of
axes."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from harness.core.cell import Cell


@dataclass(frozen=True, slots=True)
class Rule:
    """What is true of the cells that match all of `when`, unless they match all of `unless`."""

    when: Mapping[str, frozenset[str]]
    unless: Mapping[str, frozenset[str]]
    reason: str
    needs: tuple[str, ...] = ()

    def applies(self, cell: Cell) -> bool:
        """Whether this rule applies to the cell."""
        return _matches(self.when, cell) and not (self.unless and _matches(self.unless, cell))

    def because(self, cell: Cell) -> str:
        """The reason, in terms of the cell."""
        return self.reason.format_map(asdict(cell))


def _matches(condition: Mapping[str, frozenset[str]], cell: Cell) -> bool:
    return all(
        not wanted.isdisjoint(cell.options) if axis == "option" else getattr(cell, axis) in wanted
        for axis, wanted in condition.items()
    )


def _rows(axes: Mapping[str, Any], name: str) -> Mapping[str, Mapping[str, Any]]:
    """The data of each value of an axis; empty if the axis only lists its values."""
    values = axes[name]["values"]
    return values if isinstance(values, Mapping) else {}


def root_rules(axes: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The rules that a kernel has only the filesystems that something makes for it."""
    rows = _rows(axes, "fs")
    for kernel in axes["kernel"]["values"]:
        made = [fs for fs, by in rows.items() if kernel in by]
        if others := [fs for fs in rows if fs not in made]:
            reason = f"{{fs}} is no root filesystem of the {kernel} kernel, which has {', '.join(made)}."
            yield {"when": {"kernel": [kernel], "fs": others}, "reason": reason}


def hypervisor_rules(axes: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What each hypervisor needs of the host, as a rule."""
    for name, row in _rows(axes, "hypervisor").items():
        yield {"when": {"hypervisor": [name]}, "needs": row["needs"], "reason": row["reason"]}
