"""Orders the versions of a kernel along the first parents of one branch. Versions of other branches stay beside
it, at the version where their branch left.

The parent of a version is the nearest measured commit before it along first parents. If the graph of commits is
not known (old histories, and imports), the descriptions by `git describe` order the versions: the count of commits
since a tag grows along every line. Dates alone don't suffice, because one clock may be wrong. But if both the date
of the commit and the date of the first measurement contradict the counts, the versions are on different branches.
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
"""How `git describe --tags --match 'v[0-9]*'` describes a commit. The harness adds `+changes` for uncommitted
changes."""

Key = tuple[tuple[int, ...], int, bool]

APART = 0.001
"""The least seconds between the times of two versions of a line."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a version beside its commit: its description, the date of its commit (0 if unknown), and
    when it was first measured; both in seconds since 1970."""

    described: str
    committed: float
    taken: float

    @property
    def key(self) -> Key | None:
        """The number of the tag, the commits since it, and whether there are uncommitted changes; None for
        other descriptions."""
        found = DESCRIBED.fullmatch(self.described)
        if not found:
            return None
        return tuple(map(int, found[1].split("."))), int(found[2] or 0), bool(found[3])


@dataclass(frozen=True, slots=True)
class Ancestry:
    """All versions of one kernel (`seen`), each with its parent or None.

    - `line` are the versions of one branch, oldest first, each with a time that grows along the line (seconds
      since 1970).
    - `left` are the other versions, each with the version of the line where its branch left it, or None.
    """

    seen: Mapping[Node, Seen]
    parents: Mapping[Node, Node | None]
    line: Mapping[Node, float]
    left: Mapping[Node, Node | None]

    def of(self, nodes: Iterable[Node]) -> "Ancestry":
        """The order for a series that has these versions alone. If none of them is on the line, it is the
        longest line of their own."""
        wanted = set(nodes)
        if not wanted or not wanted.isdisjoint(self.line):
            return self
        return _along(_tip(wanted, self.seen, self.parents), self.seen, self.parents)

    def order(self) -> list[Node]:
        """All versions, each after its parent: the line, with the versions that left it behind the place where
        they left."""
        at = {node: place for place, node in enumerate(_parents_first(self.parents))}

        def place(node: Node) -> tuple[float, bool, int]:
            base = node if node in self.line else self.left.get(node)
            return self.line[base] if base else -inf, node not in self.line, at[node]

        return sorted(self.seen, key=place)


def node_of(version: Version) -> Node:
    """The node of a version: its commit, and whether it had uncommitted changes."""
    return version.commit, version.described.endswith(CHANGED)


def ancestry(seen: Mapping[Node, Seen], graph: Graph, branch: str = "") -> Ancestry:
    """Order these versions of one kernel along `branch`.

    `branch` is the beginning of a commit's hash, or a version's description. If it is empty, the branch with most
    of the versions is taken.
    """
    parents = _parents(seen, graph)
    tip = _named(branch, seen, graph) if branch else None
    return _along(tip or _tip(set(seen), seen, parents), seen, parents)


def _named(branch: str, seen: Mapping[Node, Seen], graph: Graph) -> Node | None:
    """The newest measured version of the branch; None if there is none."""
    for node, one in seen.items():
        if node[0].startswith(branch) or one.described == branch:
            return node
    tip = next((commit for commit in graph if commit.startswith(branch)), None)
    return _measured_before((tip, True), seen, graph) if tip else None


def _parents(seen: Mapping[Node, Seen], graph: Graph) -> dict[Node, Node | None]:
    """The parent of each version: the nearest measured one before it."""
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
    """The first measured commit before this one along first parents; with uncommitted changes only if this has
    some."""
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
    """The first of the `earlier` versions, greatest count first, that the clocks don't contradict and that is
    the only one with its count: of two, one is of another branch. Uncommitted changes precede no commit."""
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
    """Whether both the commit dates and the first measurements contradict the counts."""
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
    """The newest version of the branch that has most of these versions."""
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
