"""Apache Otava on the same series, from an environment of its own."""

import json
import os
import subprocess
import venv
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.judgement import series

PACKAGE = "apache-otava==0.8.0"
MOST = (1e-8, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
"""Its greatest p-values: its threshold. 0.001 is its default."""
DEFAULT = 1e-3
PART = 50


def environment(folder: Path) -> Path:
    """The Python of an environment with Otava and nothing else, made where there is none yet."""
    python = folder / "otava" / "bin" / "python"
    if not python.exists():
        venv.create(folder / "otava", with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", PACKAGE], check=True)
    return python


def points(folder: Path, jobs: int, count: int, nights: bool) -> dict[str, dict[str, list[list[list[int]]]]]:
    """Change points by kind, `quiet` or `shifted`, number of the series, and threshold; kept in the folder."""
    python = environment(folder)
    tasks = [(*task, nights) for task in _tasks(count)]
    with ThreadPoolExecutor(jobs) as pool:
        parts = list(pool.map(lambda task: _part(python, folder, *task), tasks))
    found: dict[str, dict[str, list[list[list[int]]]]] = {}
    for (kind, shifted, *_), part in zip(tasks, parts, strict=True):
        found.setdefault(kind, {}).setdefault("shifted" if shifted else "quiet", []).extend(part)
    return found


def _tasks(count: int) -> Iterator[tuple[str, bool, int, int]]:
    for start in range(0, count, PART):
        for kind in series.KINDS:
            for shifted in (False, True):
                yield kind, shifted, start, min(count, start + PART)


def _part(
    python: Path, folder: Path, kind: str, shifted: bool, start: int, end: int, nights: bool
) -> list[list[list[int]]]:
    which = f"{list(series.KINDS).index(kind)}-{shifted:d}-{nights:d}"
    kept = folder / f"otava-{series.SEED}-{which}-{start}-{end}.json"
    if not kept.exists():
        every = [series.one(kind, at, shifted, nights).tolist() for at in range(start, end)]
        kept.write_text(json.dumps(said_of(python, every, MOST)))
    found: list[list[list[int]]] = json.loads(kept.read_text())
    return found


def said_of(python: Path, every: Sequence[Sequence[float]], most: Sequence[float]) -> list[list[list[int]]]:
    """Otava's change points of each series at each of these greatest p-values."""
    ran = subprocess.run(
        [python, Path(__file__).with_name("otava_points.py")],
        input=json.dumps({"most": list(most), "series": [list(one) for one in every]}),
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[list[list[int]]] = json.loads(ran.stdout)
    return found
