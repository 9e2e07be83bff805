"""Writes the page: as one file, or with its data in a folder beside it."""

from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from re import compile as pattern
from typing import Any

from harness.core.errors import HarnessError
from harness.core.matrix import Matrix
from harness.core.whole_files import check_writable, write_whole
from harness.report.feeds import badge, feed, latest
from harness.report.html.building import Built, build
from harness.report.html.rendering import rendered, shard_text
from harness.report.model.data import ReportData
from harness.report.morning.commits import Commits

CURE = "Free space there, or give another --output."
MOST_INLINED = 60
"""Only the newest versions, so many of them, can be compared in a page without a folder."""
OURS = pattern(r"(versions|index|plotly|(at|part|test|cell|figure|section)-[0-9a-z-]+)\.js")


def page(report_data: ReportData, matrix: Matrix | None = None, commits: Commits | None = None) -> str:
    """Render the whole page as one file. `commits` looks up subjects, authors and links."""
    return one_file(build(report_data, matrix, commits))


def write(
    report_data: ReportData,
    path: Path,
    matrix: Matrix | None = None,
    commits: Commits | None = None,
    single: bool = False,
) -> list[Path]:
    """Write the page to `path`; returns the paths of the files that people open.

    Unless `single` is set, its data goes to a folder beside it, together with `latest.json`, `feed.atom` and
    `badge.svg`. Raises `HarnessError` if a file can't be written.
    """
    check_writable(path, CURE)
    built = build(report_data, matrix, commits)
    if single:
        write_whole(path, one_file(built), CURE)
        return [path]
    try:
        return _write(built, path)
    except OSError as error:
        raise HarnessError(f"{error.filename or path} can't be written: {error.strerror}.", CURE) from error


def one_file(built: Built) -> str:
    """Render the whole page as one file."""
    at = [name for name in built.shards if name.startswith("at-")]
    older = set(at[: max(0, len(at) - MOST_INLINED)])
    inlined = {name: data for name, data in built.shards.items() if name not in older}
    # A cell's numbers are those of its latest version.
    inlined |= {name: built.shards[name] for name in _of_cells(built.shards["index"]) if name in older}
    return rendered(built.morning, built.values, inlined, _plotly() if built.has_figures else "", older=len(older))


def _of_cells(index: Mapping[str, Any]) -> set[str]:
    return {f"at-{one['version']}" for one in index["about"] if one["version"] is not None}


def _write(built: Built, path: Path) -> list[Path]:
    folder = path.parent / f"{path.stem}-data"
    folder.mkdir(exist_ok=True)
    texts = {f"{name}.js": shard_text(name, data) for name, data in built.shards.items()}
    if built.has_figures:
        texts["plotly.js"] = _plotly()
    digest = sha256("".join(texts.values()).encode()).hexdigest()[:12]
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    for old in folder.iterdir():
        if OURS.fullmatch(old.name) and old.name not in texts:
            old.unlink()
    made = {
        path: rendered(built.morning, built.values, {}, folder=folder.name, digest=digest),
        path.parent / "latest.json": latest(built.morning),
        path.parent / "feed.atom": feed(built.morning, path.name),
        path.parent / "badge.svg": badge(built.morning),
    }
    for file, text in made.items():
        write_whole(file, text, CURE)
    return list(made)


def _plotly() -> str:
    return (files("plotly") / "package_data" / "plotly.min.js").read_text("utf-8")
