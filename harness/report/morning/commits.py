"""Looks up the subject, the author and the link of commits in a checkout, if there is one."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.core.errors import HarnessError
from harness.kernels.osv.checkout import run_git
from harness.report.model.data import safe_text

HASH = re.compile(r"[0-9a-f]{7,64}")
GITHUB = re.compile(
    r"(?:https://|git@|ssh://git@)github\.com[:/]([A-Za-z0-9-]{1,39})/([A-Za-z0-9._-]{1,100}?)(?:\.git)?/?"
)
MOST = 50
ASKED = 500
"""Commits that one call of git asks about: they are arguments on its command line."""
SHORT = 8


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit. `link` is its page on GitHub, or empty. All texts are safe to print."""

    hash: str
    subject: str = ""
    author: str = ""
    link: str = ""

    @property
    def short(self) -> str:
        """The first digits of its hash."""
        return self.hash[:SHORT]


@dataclass(frozen=True, slots=True)
class Commits:
    """Looks up commits in the checkout at `root`. Without one, only hashes are known."""

    root: Path | None = None
    _known: dict[tuple[str, str], tuple[Sequence[Commit], int]] = field(default_factory=dict, compare=False)
    _web: list[str] = field(default_factory=list, compare=False)

    def one(self, name: str) -> Commit:
        """Look up the commit with that hash."""
        found, _ = self._asked("one", name, ["-1", name]) if self.root and HASH.fullmatch(name) else ((), 0)
        return found[0] if found else Commit(name, link=self._link(name))

    def many(self, names: Iterable[str]) -> dict[str, Commit]:
        """Look up several commits at once; returns, by hash, those that the checkout has."""
        wanted = [name for name in names if HASH.fullmatch(name)]
        found = {}
        for start in range(0, len(wanted) if self.root else 0, ASKED):
            what = ["--no-walk=unsorted", "--ignore-missing", *wanted[start : start + ASKED]]
            found.update({one.hash: one for one in self._log(what)[0]})
        return found

    def between(self, good: str, bad: str) -> tuple[Sequence[Commit], int]:
        """The commits after `good` up to `bad`, without merges, the newest first, at most `MOST` of them; and
        how many there are in all."""
        if not (self.root and HASH.fullmatch(good) and HASH.fullmatch(bad)):
            return (), 0
        return self._asked(good, bad, [f"{good}..{bad}"])

    def _asked(self, first: str, second: str, what: Sequence[str]) -> tuple[Sequence[Commit], int]:
        key = first, second
        if key not in self._known and self.root:
            found, count = self._log([*(["--no-merges"] if first != "one" else []), *what])
            self._known[key] = found[:MOST], count
        return self._known.get(key, ((), 0))

    def _log(self, what: Sequence[str]) -> tuple[list[Commit], int]:
        """The commits that `git log` lists, and how many they are; none if git fails."""
        try:
            lines = run_git(self.root or Path(), "log", "--format=%H%x00%an%x00%s", *what, "--")
        except HarnessError:
            return [], 0
        rows = [line.split("\0") for line in lines.decode("utf-8", "replace").split("\n") if line]
        found = [
            Commit(row[0], safe_text(row[2]), safe_text(row[1]), self._link(row[0]))
            for row in rows
            if len(row) == 3
        ]
        return found, len(rows)

    def _link(self, name: str) -> str:
        """The commit's page on GitHub if the checkout was cloned from there, else an empty text."""
        if not (self.root and HASH.fullmatch(name)):
            return ""
        if not self._web:
            try:
                url = run_git(self.root, "config", "--get", "remote.origin.url").decode("utf-8", "replace").strip()
            except HarnessError:
                url = ""
            where = GITHUB.fullmatch(url)
            self._web.append(f"https://github.com/{where[1]}/{where[2]}/commit/" if where else "")
        return f"{self._web[0]}{name}" if self._web[0] else ""
