"""Wall and cpu seconds of calls, in turns, so that whatever else the host does is shared by what is compared."""

import resource
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from time import monotonic


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds: on the clock, and of cpu by this process and all that it waited for."""

    wall: float
    cpu: float


def cpu_seconds() -> float:
    """Cpu seconds that this process and its ended descendants have used, user and system."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def cost(call: Callable[[], object]) -> Cost:
    """What one call costs."""
    cpu, began = cpu_seconds(), monotonic()
    call()
    return Cost(monotonic() - began, cpu_seconds() - cpu)


def in_turns(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[Cost]]:
    """The costs of each call, made once before and then `rounds` times in turns."""
    for call in calls.values():
        call()
    costs: dict[str, list[Cost]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            costs[name].append(cost(call))
    return costs


def print_table(costs: Mapping[str, list[Cost]]) -> None:
    """Medians and least values in milliseconds, and medians as ratios of the first row's."""
    base = next(iter(costs.values()))
    wall, cpu = median(row.wall for row in base), median(row.cpu for row in base)
    print("| what | rounds | wall ms (least) | of first | cpu ms (least) | of first |")
    print("|---|---|---|---|---|---|")
    for name, rows in costs.items():
        walls, cpus = [row.wall for row in rows], [row.cpu for row in rows]
        on_clock = f"{median(walls) * 1e3:.0f} ({min(walls) * 1e3:.0f}) | {median(walls) / wall:.2f}"
        of_cpu = f"{median(cpus) * 1e3:.0f} ({min(cpus) * 1e3:.0f}) | {median(cpus) / cpu:.2f}"
        print(f"| {name} | {len(rows)} | {on_clock} | {of_cpu} |")
