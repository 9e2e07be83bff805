"""`python -m benchmarks NAME`: one benchmark, whose figures are comparable among themselves only."""

import argparse
from pathlib import Path

from benchmarks import bisecting, equals, image, judgement, load, nights, ordering, short
from benchmarks.farm import simulation
from benchmarks.hunting import hunts, replays
from harness.runner.session import Session


def _parser() -> argparse.ArgumentParser:
    """What the command line takes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "name",
        choices=[
            "image", "overhead", "rebuild", "fork", "console", "load", "judgement", "equals", "bisecting",
            "nights", "hunting", "replaying", "farm", "ordering",
        ],
    )  # fmt: skip
    parser.add_argument("--cell", default="qemu-rofs")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--osv-root", type=Path)
    parser.add_argument(
        "--built-tree", type=Path, help="image: an OSv tree with its own `scripts/build image=tests fs=rofs` done"
    )
    parser.add_argument(
        "--only", nargs="*", default=["upstream", "bare", "harness", "forked"], help="image: the runs to make"
    )
    parser.add_argument(
        "--folder", type=Path, default=Path("judgement-work"), help="judgement: for Otava's environment"
    )
    parser.add_argument("--jobs", type=int, default=1, help="judgement, bisecting: processes at a time")
    parser.add_argument(
        "--nights", type=int, nargs="*", default=[30, 90, 365], help="nights: how many a history is of"
    )
    parser.add_argument("--cells", type=int, default=nights.CELLS, help="nights: how many of x86_64")
    parser.add_argument("--history", default="", help="nights: the URL of an empty database (default: files)")
    parser.add_argument(
        "--count", type=int, default=judgement.RUNS, help="judgement: series of each kind, and comparisons"
    )
    parser.add_argument("--workers", type=int, default=200, help="farm: how many it has")
    parser.add_argument("--tasks", type=int, default=20_000, help="farm: how many it is given, of --seconds each")
    parser.add_argument("--seconds", type=float, default=1.0, help="farm: how long a task waits")
    parser.add_argument("--races", nargs="*", default=[], help="hunting, replaying: of these only")
    parser.add_argument("--seeds", type=int, default=100, help="hunting: schedules that are tried of each race")
    parser.add_argument("--reruns", type=int, default=50, help="hunting: plain runs; replaying: runs of a seed")
    parser.add_argument("--seed-number", type=int, default=1, help="replaying: which schedule")
    return parser


def main() -> None:
    """Run the named benchmark."""
    arguments = _parser().parse_args()
    if arguments.name == "bisecting":
        bisecting.bisecting(arguments.jobs)
        return
    if arguments.name == "nights":
        nights.nights(arguments.nights, arguments.history, arguments.cells)
        return
    if arguments.name == "farm":
        simulation.farm(arguments.workers, arguments.tasks, arguments.seconds)
        return
    if arguments.name == "judgement":
        judgement.judgement(arguments.folder, arguments.jobs, arguments.count)
        return
    session = Session(arguments.osv_root)
    if arguments.name == "load":
        load.load(arguments.rounds)
    elif arguments.name == "hunting":
        hunts.hunting(session, arguments.cell, arguments.races, arguments.seeds, arguments.reruns)
    elif arguments.name == "replaying":
        replays.replaying(session, arguments.cell, arguments.races, arguments.reruns, arguments.seed_number)
    elif arguments.name == "equals":
        equals.equals(session, arguments.cell)
    elif arguments.name == "ordering":
        ordering.ordering(session, arguments.cell, arguments.rounds)
    elif arguments.name == "console":
        short.console(arguments.rounds)
    elif arguments.name == "image":
        if "upstream" in arguments.only and arguments.built_tree:
            image.upstream(session, arguments.cell, arguments.built_tree)
        for name in ("bare", "harness", "forked"):
            if name in arguments.only:
                getattr(image, name)(session, arguments.cell)
    else:
        {"overhead": short.overhead, "rebuild": short.rebuild, "fork": short.fork}[arguments.name](
            session, arguments.cell, arguments.rounds
        )


if __name__ == "__main__":
    main()
