"""The page of what was measured: docs/results/judgement.md and its plots, from the text in page.md."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import beta  # type: ignore[import-untyped]

from benchmarks.judgement import series
from benchmarks.judgement.beside_otava import DEFAULT, MOST
from benchmarks.judgement.comparing import Compared
from benchmarks.judgement.detecting import NEAR, Outcome
from benchmarks.judgement.otava_series import Said

RESULTS = Path(__file__).parents[2] / "docs/results"
Outcomes = Mapping[tuple[str, bool], Sequence[Outcome]]
Otava = Mapping[str, Mapping[str, Sequence[Sequence[Sequence[int]]]]]


def write(
    both: Mapping[bool, Outcomes],
    otavas_both: Mapping[bool, Otava],
    bounded: Mapping[str, tuple[float, float]],
    compared: Mapping[tuple[int, float, bool], Sequence[Compared]],
    own: Sequence[Said],
) -> None:
    """docs/results/judgement.md, with a plot for each kind of noise. Both are with bad nights and without."""
    outcomes, otava = both[False], otavas_both[False]
    text = Path(__file__).with_name("page.md").read_text()
    tables = {
        "alone": _alone(outcomes, bounded),
        "nights": _with_nights(both[True]),
        "by-times": _by_times(both[True]),
        "otava-nights": _beside(both[True], otavas_both[True]),
        "reruns-nights": _reruns(both[True]),
        "own": _own(own),
        "otava": _beside(outcomes, otava),
        "reruns": _reruns(outcomes),
        "comparisons": _comparisons(compared),
        "count": f"{len(next(iter(outcomes.values()))):,}",
    }
    for name, table in tables.items():
        text = text.replace(f"<!--{name}-->", table)
    (RESULTS / "judgement.md").write_text(text)
    for kind in series.KINDS:
        _plot(kind, outcomes, otava[kind], bounded[kind])


def file_of(kind: str) -> str:
    """The plot's name."""
    return f"judgement-{kind.split()[0].replace('(1)', '1').lower()}.svg"


def ours(outcomes: Outcomes, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """False alarms and steps found at every threshold, the highest first."""
    quiet = np.array([one.greatest for one in outcomes[kind, False]])
    near = np.array([one.near for one in outcomes[kind, True]])
    thresholds = np.sort(np.concatenate([quiet, near[np.isfinite(near)]]))[::-1]
    return np.array([(quiet >= at).mean() for at in thresholds]), np.array(
        [(near >= at).mean() for at in thresholds]
    )


def otavas(found: Mapping[str, Sequence[Sequence[Sequence[int]]]]) -> tuple[list[float], list[float]]:
    """False alarms and steps found at each of its greatest p-values."""
    alarms = [float(np.mean([bool(one[at]) for one in found["quiet"]])) for at in range(len(MOST))]
    near = [
        float(np.mean([any(abs(point - series.BEGINS) <= NEAR for point in one[at]) for one in found["shifted"]]))
        for at in range(len(MOST))
    ]
    return alarms, near


def _alone(outcomes: Outcomes, bounded: Mapping[str, tuple[float, float]]) -> str:
    rows = []
    for kind in series.ALL:
        false = sum(one.raised for one in outcomes[kind, False])
        found, count = sum(one.found for one in outcomes[kind, True]), len(outcomes[kind, True])
        alarms, near = ours(outcomes, kind)
        at_one = float(near[alarms <= 0.01].max())
        told, untold = bounded[kind]
        rows.append(
            (kind, _rate(false, count), _rate(found, count), f"{at_one:.1%}", f"{untold:.1%}", f"{told:.1%}")
        )
    return _table(
        ("noise", "quiet series raised", "steps found, default", "found at 1%", "bound", "bound, place told"), rows
    )


def _beside(outcomes: Outcomes, otava: Otava) -> str:
    rows = []
    for kind in series.KINDS:
        alarms, near = ours(outcomes, kind)
        for most, false, found in zip(MOST, *otavas(otava[kind]), strict=True):
            reached = near[alarms <= false]
            better = float(reached.max()) if len(reached) else 0.0
            name = f"{most:g}" + (" (default)" if most == DEFAULT else "")
            rows.append((kind, name, f"{false:.1%}", f"{found:.1%}", f"{better:.1%}"))
    return _table(("noise", "Otava's p", "its false alarms", "it finds", "ours finds, no more alarms"), rows)


def _with_nights(outcomes: Outcomes) -> str:
    rows = []
    for kind in series.ALL:
        quiet, stepped = outcomes[kind, False], outcomes[kind, True]
        told, bad = (
            sum(one.told for one in quiet),
            sum(int((series.bad_nights(kind, at, False) != 1).sum()) for at in range(len(quiet))),
        )
        rows.append(
            (
                kind,
                _rate(sum(one.raised for one in quiet), len(quiet)),
                _rate(sum(one.found for one in stepped), len(stepped)),
                _rate(sum(one.great_found for one in stepped), len(stepped)),
                f"{told} of {bad}",
            )
        )
    heads = ("noise", "quiet series raised", "2-sigma steps found", "12% steps found once", "nights told, quiet")
    return _table(heads, rows)


def _by_times(outcomes: Outcomes) -> str:
    """The same, by what the nights multiply by, of all kinds of noise together."""
    rows = []
    for times in series.NIGHTS:
        quiet, stepped = (
            [
                one
                for kind in series.ALL
                for at, one in enumerate(outcomes[kind, shifted])
                if series.times_of(at) == times
            ]
            for shifted in (False, True)
        )
        raised = _rate(sum(one.raised for one in quiet), len(quiet))
        found, great = (
            _rate(sum(getattr(one, what) for one in stepped), len(stepped)) for what in ("found", "great_found")
        )
        rows.append((f"{times:g}", raised, found, great))
    return _table(("nights times", "quiet series raised", "2-sigma steps found", "12% steps found once"), rows)


def _own(said: Sequence[Said]) -> str:
    rows = []
    for one in said:
        theirs = ", ".join(str(at) for at in one.otava)
        ours = ", ".join(f"{step.index} ({step.change:+.1%})" for step in one.ours)
        nights = ", ".join(f"{night.index} ({1 + night.change:.2f} times)" for night in one.nights)
        rows.append((one.where, str(one.points), theirs or "none", ours or "none", nights or "none"))
    return _table(("where it stands", "points", "Otava", "steps", "nights"), rows)


def _reruns(outcomes: Outcomes) -> str:
    rows = []
    for kind in series.ALL:
        quiet, stepped = outcomes[kind, False], outcomes[kind, True]
        rows.append(
            (
                kind,
                _rate(sum(one.confirmed for one in quiet), len(quiet)),
                _rate(sum(one.confirmed_step for one in stepped), len(stepped)),
                f"{np.mean([one.suspected for one in quiet]):.2f}",
                f"{2 * np.mean([one.pairs for one in quiet]):.0f}",
                f"{2 * np.mean([one.pairs for one in stepped]):.0f}",
            )
        )
    heads = ("noise", "false", "steps found", "suspicions, quiet", "reruns, quiet", "reruns, stepped")
    return _table(heads, rows)


def _comparisons(compared: Mapping[tuple[int, float, bool], Sequence[Compared]]) -> str:
    rows = []
    for (metrics, shift, nights), runs in compared.items():
        found = _rate(sum(one.found for one in runs), len(runs)) if shift else ""
        pairs = f"{np.mean([one.pairs for one in runs if one.found or not shift]):.0f}"
        held = f"{np.mean([one.held for one in runs]):.1%}"
        what = (f"{shift:.0%} in one" if shift else "A/A") + (", bad nights" if nights else "")
        rows.append(
            (what, str(metrics), _rate(sum(one.alarms > 0 for one in runs), len(runs)), found, pairs, held)
        )
    return _table(
        ("shift", "metrics", "comparisons with a false alarm", "shift found", "pairs to decide", "interval held"),
        rows,
    )


def _rate(hits: int, count: int) -> str:
    """As percents with the exact 95% interval (Clopper and Pearson 1934)."""
    low = float(beta.ppf(0.025, hits, count - hits + 1)) if hits else 0.0
    high = float(beta.ppf(0.975, hits + 1, count - hits)) if hits < count else 1.0
    return f"{hits / count:.1%} ({low:.1%} to {high:.1%})"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def _plot(
    kind: str,
    outcomes: Outcomes,
    otava: Mapping[str, Sequence[Sequence[Sequence[int]]]],
    bounded: tuple[float, float],
) -> None:
    """Found against false alarms, on a logarithmic axis, with the bound at 1%."""
    matplotlib.rcParams["svg.hashsalt"] = "judgement"
    figure, axes = plt.subplots(figsize=(6.4, 4))
    axes.step(*ours(outcomes, kind), where="post", label="this detector")
    axes.plot(*otavas(otava), "o-", label="Otava 0.8.0")
    axes.plot([0.01], [bounded[0]], "k_", markersize=14, label="bound at 1%: noise, size and place told")
    axes.plot([0.01], [bounded[1]], "k+", markersize=10, label="bound at 1%: noise and size told")
    axes.axvline(0.01, color="grey", linewidth=0.6)
    axes.set_xscale("symlog", linthresh=0.001)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("quiet series with at least one alarm")
    axes.set_ylabel(f"steps found within {NEAR} points")
    axes.set_title(kind)
    axes.legend(loc="lower right", fontsize=8)
    figure.tight_layout()
    figure.savefig(RESULTS / file_of(kind), metadata={"Date": None})
    plt.close(figure)
