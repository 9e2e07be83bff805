"""The order of a kernel's versions: along the first parents of one branch; others are beside it, where they left.

A version's parent is the nearest commit before it that was measured, along first parents. Where the graph of
commits is not known (histories of before it was recorded, and imports), git's description of a commit tells: the
count of commits since a tag grows along every line. Dates alone don't, for one clock may be wrong; but where both
the commit's date and its first measurement say that the greater count came first, they are on different branches.
"""

import re
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from itertools import groupby
from math import inf

from harness.metrics.records import Version

Graph = Mapping[str, tuple[str, ...]]
"""Each commit with its parents, the first parent first."""

Node = tuple[str, bool]
"""A commit, and whether it had uncommitted changes. Builds of one commit are one point of a series."""

CHANGED = "+changes"
DESCRIBED = re.compile(r"v(\d+(?:\.\d+)*)(?:-(\d+)(?:-g[0-9a-f]+)?)?(\+changes)?")
"""As `git describe --tags --match 'v[0-9]*'` names a commit, and the harness one with uncommitted changes."""

Key = tuple[tuple[int, ...], int, bool]

APART = 0.001
"""Seconds between the times of two versions of a line at least."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a version beside its commit: its name, its date (0 if unknown), its first measurement."""

    described: str
    committed: float
    taken: float

    @property
    def key(self) -> Key | None:
        """The tag's number, the commits since it, and whether there are changes on top; None for other names."""
        found = DESCRIBED.fullmatch(self.described)
        if not found:
            return None
        return tuple(map(int, found[1].split("."))), int(found[2] or 0), bool(found[3])


@dataclass(frozen=True, slots=True)
class Ancestry:
    """All versions of one kernel (`seen`), each with its parent or None.

    `line` are those of one branch, oldest first, each with a time that grows along it (seconds since 1970); `left`
    are the others, each with the version of the line where its branch left it, or None.
    """

    seen: Mapping[Node, Seen]
    parents: Mapping[Node, Node | None]
    line: Mapping[Node, float]
    left: Mapping[Node, Node | None]

    def of(self, nodes: Iterable[Node]) -> "Ancestry":
        """For a series that has only these: along its own longest line where it has nothing on this one."""
        wanted = set(nodes)
        if not wanted or not wanted.isdisjoint(self.line):
            return self
        return _along(_tip(wanted, self.seen, self.parents), self.seen, self.parents)

    def order(self) -> list[Node]:
        """Every version after its parent: along the line, with what left it there behind each."""
        at = {node: place for place, node in enumerate(_parents_first(self.parents))}

        def place(node: Node) -> tuple[float, bool, int]:
            base = node if node in self.line else self.left.get(node)
            return self.line[base] if base else -inf, node not in self.line, at[node]

        return sorted(self.seen, key=place)


def node_of(version: Version) -> Node:
    """The version as a place among others."""
    return version.commit, version.described.endswith(CHANGED)


def ancestry(seen: Mapping[Node, Seen], graph: Graph, branch: str = "") -> Ancestry:
    """The order of these versions of one kernel along `branch`: the beginning of a commit's name, or a version as
    it is described; if none is named, along the branch on which most of them lie."""
    parents = _parents(seen, graph)
    tip = _named(branch, seen, graph) if branch else None
    return _along(tip or _tip(set(seen), seen, parents), seen, parents)


def _named(branch: str, seen: Mapping[Node, Seen], graph: Graph) -> Node | None:
    """The newest version that was measured on the branch."""
    for node, one in seen.items():
        if node[0].startswith(branch) or one.described == branch:
            return node
    tip = next((commit for commit in graph if commit.startswith(branch)), None)
    return _measured_before((tip, True), seen, graph) if tip else None


def _parents(seen: Mapping[Node, Seen], graph: Graph) -> dict[Node, Node | None]:
    """Each version's nearest one before it."""
    dated = all(one.committed > 0 for one in seen.values())
    found: dict[Node, Node | None] = {}
    keyed: list[tuple[Key, Node]] = []
    last: Node | None = None

    def place(node: Node) -> tuple[Key, float, float]:
        one = seen[node]
        return one.key or ((), 0, False), one.committed if dated else one.taken, one.taken

    for node in sorted(seen, key=place):
        key, (commit, changed) = seen[node].key, node
        if changed and (commit, False) in seen:
            found[node] = commit, False
        elif key is None:
            found[node], last = _measured_before(node, seen, graph) or last, node
        else:
            known = commit in graph
            # Of two commits that are both in the graph, it alone tells.
            earlier = (one for one in reversed(keyed) if not (known and one[1][0] in graph))
            found[node] = _measured_before(node, seen, graph) or _nearest(node, key, earlier, seen)
        if key is not None:
            keyed.append((key, node))
    return found


def _measured_before(node: Node, seen: Mapping[Node, Seen], graph: Graph) -> Node | None:
    """The first commit before this along first parents that was measured, as it is; or with uncommitted changes,
    where this has some."""
    walked: set[str] = set()
    before = graph.get(node[0], ())[:1]
    while before and before[0] not in walked:  # a forged graph may have a circle
        for changed in (False, True)[: 1 + node[1]]:
            if (before[0], changed) in seen:
                return before[0], changed
        walked.add(before[0])
        before = graph.get(before[0], ())[:1]
    return None


def _nearest(node: Node, key: Key, earlier: Iterable[tuple[Key, Node]], seen: Mapping[Node, Seen]) -> Node | None:
    """Of the versions `earlier` by count, greatest first, the first that no two clocks contradict, and that is the
    only one with its count: of two, one is of another branch. Uncommitted changes are before no commit."""
    for _, alike in groupby(earlier, lambda one: one[0]):
        before = [
            other
            for count, other in alike
            if count < key and (node[1] or not other[1]) and not _contradicted(seen[other], seen[node])
        ]
        if len(before) == 1:
            return before[0]
    return None


def _contradicted(earlier: Seen, later: Seen) -> bool:
    """Whether both clocks say the opposite of what the counts say."""
    dated = earlier.committed > 0 and later.committed > 0
    return dated and earlier.committed > later.committed and earlier.taken > later.taken


def _parents_first(parents: Mapping[Node, Node | None]) -> list[Node]:
    done: dict[Node, None] = {}
    for node in parents:
        above: dict[Node, None] = {}
        at: Node | None = node
        while at is not None and at not in done and at not in above:
            above[at] = None
            at = parents[at]
        done.update(dict.fromkeys(reversed(above)))
    return list(done)


def _tip(wanted: Set[Node], seen: Mapping[Node, Seen], parents: Mapping[Node, Node | None]) -> Node | None:
    """The newest version of the branch on which most of these lie."""
    depth: dict[Node | None, int] = {None: 0}
    for node in _parents_first(parents):
        depth[node] = depth.get(parents[node], 0) + (node in wanted)
    return max(wanted, key=lambda node: (depth[node], seen[node].taken), default=None)


def _along(tip: Node | None, seen: Mapping[Node, Seen], parents: Mapping[Node, Node | None]) -> Ancestry:
    down: dict[Node, None] = {}
    at = tip
    while at is not None and at not in down:
        down[at] = None
        at = parents[at]
    line: dict[Node, float] = {}
    latest = -inf
    for node in reversed(down):
        # One clock may be slow: what was measured before had been committed before.
        latest = max(min(seen[node].committed or inf, seen[node].taken), latest + APART)
        line[node] = latest
    left: dict[Node, Node | None] = {}
    for node in _parents_first(parents):
        if node not in line:
            before = parents[node]
            left[node] = before if before is None or before in line else left.get(before)
    return Ancestry(seen, parents, line, left)
