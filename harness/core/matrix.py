"""The matrix: which cells exist, what their names mean, and why some combinations are invalid.

All of it is data in `matrix.toml`, and in `variants.toml` for the variants of machines; this module reads those
files, parses cell names and looks up rules.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations, product
from pathlib import Path
from types import MappingProxyType
from typing import Any

from harness.core import project
from harness.core.arch import host_arch
from harness.core.builders import Builder, builders, host_rules
from harness.core.cell import Cell
from harness.core.errors import CellError, HarnessError
from harness.core.rules import Rule, hypervisor_rules, root_rules
from harness.core.suggestions import did_you_mean, nearest, offer

NAME_AXES = ("arch", "hypervisor", "fs", "profile")
ANY = "*"


@dataclass(frozen=True, slots=True)
class Axis:
    """One dimension of the matrix: its values, and other spellings of them."""

    name: str
    values: tuple[str, ...]
    aliases: Mapping[str, str]
    default: str | None

    def value(self, word: str) -> str | None:
        """The value that a word stands for; `_` may stand for `-`, which separates the parts of a cell's name."""
        spelled = {value.replace("-", "_"): value for value in self.values} | dict(self.aliases)
        return word if word in self.values else spelled.get(word)

    def words(self) -> list[str]:
        """All words that are accepted for this axis."""
        return [*self.values, *self.aliases]


class Matrix:
    """All cells, the rules that say which are valid, and the named sets."""

    def __init__(
        self,
        data: Mapping[str, Any],
        variant_rules: Sequence[Mapping[str, Any]] = (),
        by_name: Mapping[str, Builder] = MappingProxyType({}),
    ) -> None:
        """`variant_rules` apply only to cells with a variant, so they need not say so. `by_name` are the builders.
        Raises `CellError` if the data names an unknown axis, value or group."""
        self.axes = {name: _axis(name, row) for name, row in data["axis"].items()}
        self.launches: Mapping[str, str] = data["launch"]
        self.builders = {row.option: f"built by {row.what}" for row in by_name.values()}
        self.options: Mapping[str, str] = data["option"] | data["launch"] | self.builders
        kinds = {"build": data["option"], "launch": data["launch"], "builder": self.builders}
        by_kind = {name: list(options) for name, options in kinds.items()}
        self._groups: Mapping[str, list[str]] = data["group"] | by_kind
        self.rules = tuple(self._rule(row) for row in (*data["rule"], *root_rules(data["axis"])))
        self.variant_rules = tuple(self._rule(row) for row in variant_rules)
        self.gaps = tuple(self._rule(row) for row in data.get("gap", ()))
        needs = (*hypervisor_rules(data["axis"]), *data["host_rule"], *host_rules(by_name))
        self.host_rules = tuple(self._rule(row) for row in needs)
        every = [{"option": [[option] for option in self.builders]}]
        self.sets: Mapping[str, list[dict[str, list[Any]]]] = {"builders": every} | data["set"]

    @classmethod
    def load(cls, path: Path | None = None) -> "Matrix":
        """Read the matrix from the file; by default the project's `matrix.toml`, or the one that ships. Raises
        `HarnessError` if a part is missing or has the wrong shape."""
        file = path or project.file("matrix.toml")
        of_variants = project.file("variants.toml")
        data, variants = project.read(file), project.read(of_variants)
        try:
            data["axis"]["variant"] = {"values": list(variants["variant"])}
            return cls(data, variants["rule"], builders())
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            lacks = isinstance(error, KeyError)
            raise HarnessError(
                f"{file} and {of_variants} are no matrix: {f'there is no {error}' if lacks else error}.",
                f"Compare them with {project.SHIPPED}.",
            ) from error

    def parse(self, text: str, kernel: str, arch: str | None = None) -> Cell:
        """Parse a cell's name: `[kernel:][arch][-hypervisor][-fs][-profile][+option…][/variant]`, each part
        optional.

        Options may also follow with `-`, as in names of tox environments, which can't have a `+`. `kernel` is used
        if the name gives none; so is `arch`, by default this host's. A value that is both a hypervisor and a
        profile (`xen`) is read as the first that its place allows. Raises `CellError` with the nearest names; it
        does not check whether the cell is valid, as `cell` does.
        """
        text, slash, word = text.partition("/")
        variant = self.named("variant", word) if slash else ""
        prefix, colon, rest = text.rpartition(":")
        kernel = self.named("kernel", prefix if colon else kernel)
        name, *options = rest.split("+")
        values = {axis: self.axes[axis].default or "" for axis in NAME_AXES}
        values["arch"] = arch or host_arch()
        words = name.split("-") if name else []
        found, unread = self._read(words)
        while unread and unread[-1] in self.options:
            options.append(unread.pop())
            words.pop()
        if unread:
            around = f"{prefix}{colon}", "".join(f"+{option}" for option in options)
            raise self._no_such_cell(text, words, unread, around)
        self._check_options(options)
        values |= found
        return Cell(
            kernel, values["arch"], values["hypervisor"], values["fs"], values["profile"], tuple(options), variant
        )

    def cell(self, text: str, kernel: str, arch: str | None = None) -> Cell:
        """The valid cell with that name. Raises what `parse` and `check` raise."""
        return self.check(self.parse(text, kernel, arch))

    def find(self, text: str) -> Cell | None:
        """The cell with that full name, or None: for names in a history, many of which may not exist here and need
        no suggestions."""
        name = text.partition("/")[0].rpartition(":")[2].partition("+")[0]
        unread = self._read(name.split("-") if name else [])[1]
        if any(word not in self.options for word in unread):
            return None
        try:
            return self.parse(text, "")
        except CellError:
            return None

    def with_options(self, cell: Cell, options: Sequence[str]) -> Cell:
        """The cell with these options added. Raises `CellError` if one is unknown or the result is invalid."""
        self._check_options((*cell.options, *options))
        return self.check(replace(cell, options=(*cell.options, *options)))

    def vary(
        self, cells: Iterable[Cell], variants: Sequence[str] = (), link_modes: Sequence[str] = ()
    ) -> list[Cell]:
        """Each cell with each of the variants and each of the link modes instead of its own; it keeps its own if
        none are given. Raises `CellError` if one is unknown or a result is invalid."""
        names = [self.named("variant", name) for name in variants]
        if unknown := [mode for mode in link_modes if mode not in self.launches]:
            raise CellError(f"There is no launch mode {unknown[0]!r}.", did_you_mean(unknown[0], self.launches))
        found = []
        for cell in cells:
            others = tuple(one for one in cell.options if one not in self.launches)
            options = [(*others, mode) for mode in link_modes] or [cell.options]
            pairs = product(names or [cell.variant], options)
            found += [self.check(replace(cell, variant=name, options=chosen)) for name, chosen in pairs]
        return found

    def named(self, axis: str, word: str) -> str:
        """The axis value that a word stands for. Raises `CellError` with the nearest words."""
        if axis not in self.axes:
            raise CellError(f"There is no axis {axis!r}.", did_you_mean(axis, self.axes))
        value = self.axes[axis].value(word)
        if value is None:
            raise CellError(f"There is no {axis} {word!r}.", did_you_mean(word, self.axes[axis].words()))
        return value

    def short(self, cell: Cell) -> str:
        """The name that people write, without kernel, this host's arch and the default profile.

        `parse(short(cell), cell.kernel)` is the cell again.
        """
        values = [cell.hypervisor, cell.fs]
        if cell.arch != host_arch():
            values.insert(0, cell.arch)
        if cell.profile != self.axes["profile"].default:
            values.append(cell.profile)
        variant = f"/{cell.variant}" if cell.variant else ""
        return "-".join(values) + "".join(f"+{option}" for option in cell.options) + variant

    def rule_against(self, cell: Cell) -> Rule | None:
        """The rule that makes the cell invalid, or None if it is valid."""
        rules = (*self.rules, *self.variant_rules) if cell.variant else self.rules
        return next((rule for rule in rules if rule.applies(cell)), None)

    def invalid(self, cell: Cell) -> str | None:
        """Why the cell is invalid, or None if it is valid."""
        rule = self.rule_against(cell)
        return rule.because(cell) if rule else None

    def check(self, cell: Cell) -> Cell:
        """Return the cell if it is valid. Raises `CellError` with the rule's reason."""
        if reason := self.invalid(cell):
            hint = "`osv-harness matrix` lists what is valid."
            raise CellError(f"The cell {self.short(cell)} makes no sense: {reason}", hint)
        return cell

    def cells(self, kernel: str, options: tuple[str, ...] = ()) -> Iterator[Cell]:
        """Every combination of the axes for one kernel, valid or not, with these options."""
        for arch, hypervisor, fs, profile in product(*(self.axes[axis].values for axis in NAME_AXES)):
            yield Cell(self.named("kernel", kernel), arch, hypervisor, fs, profile, options)

    def set(self, name: str, kernel: str, arch: str | None = None) -> list[Cell]:
        """The valid cells of a named set, each once, in the set's order. `arch` is used for rows that name none.
        Raises `CellError` with the nearest names."""
        if name not in self.sets:
            raise CellError(f"There is no set {name!r}.", did_you_mean(name, self.sets))
        defaults: dict[str, list[Any]] = {axis: [self.axes[axis].default] for axis in NAME_AXES}
        defaults |= {"arch": [arch or host_arch()], "option": [[]]}
        cells: dict[Cell, None] = {}
        for row in self.sets[name]:
            for arch, hypervisor, fs, profile, options in product(*(defaults | row).values()):
                cell = Cell(self.named("kernel", kernel), arch, hypervisor, fs, profile, tuple(options))
                if not self.invalid(cell):
                    cells[cell] = None
        return list(cells)

    def _check_options(self, options: Sequence[str]) -> None:
        for option in options:
            if option not in self.options:
                raise CellError(f"There is no option {option!r}.", did_you_mean(option, self.options))
        for kind, all_of_it in (("launch mode", self.launches), ("builder", self.builders)):
            if len(several := sorted({*options} & {*all_of_it})) > 1:
                raise CellError(f"A cell has one {kind}: not {' and '.join(several)}.", "Keep one of them.")

    def _read(self, words: list[str]) -> tuple[dict[str, str], list[str]]:
        """The axis values that the words stand for, in the order of the axes, and the remaining words from the
        first unknown one. A value may be several words long (`virtio-pci`); the longest match wins."""
        found: dict[str, str] = {}
        for axis in NAME_AXES:
            for length in range(len(words), 0, -1):
                value = self.axes[axis].value("-".join(words[:length]))
                if value is not None:
                    found[axis] = value
                    words = words[length:]
                    break
        return found, words

    def _no_such_cell(self, text: str, words: list[str], unread: list[str], around: tuple[str, str]) -> CellError:
        """An error that points at the first wrong word and suggests whole names. `around` is the text before and
        after the words."""
        wrong = unread[0]
        places = [axis for axis in NAME_AXES if self.axes[axis].value(wrong)]
        if places:
            happened = f"{wrong!r} ({places[0]}) is out of place; the order is {', '.join(NAME_AXES)}."
            offered = [order for order in permutations(words[:5]) if not self._read(list(order))[1]]
        else:
            happened = f"{wrong!r} is no value of any axis."
            read = words[: len(words) - len(unread)]
            values = [value for axis in NAME_AXES for value in nearest(wrong, self.axes[axis].values)]
            offered = [(*read, value, *unread[1:]) for value in values]
        names = ["-".join(order) for order in offered if not self._read("-".join(order).split("-"))[1]]
        if not names:
            valid = (self.short(cell) for cell in self.cells("osv") if not self.invalid(cell))
            names = nearest("-".join(words), list(valid))
        whole = [around[0] + name + around[1] for name in dict.fromkeys(names)][:5]
        return CellError(f"There is no cell {text!r}: {happened}", offer(whole))

    def _rule(self, row: Mapping[str, Any]) -> Rule:
        when, unless = (self._condition(row.get(part, {})) for part in ("when", "unless"))
        return Rule(when, unless, row["reason"], tuple(row.get("needs", ())))

    def _condition(self, row: Mapping[str, list[str]]) -> dict[str, frozenset[str]]:
        return {axis: frozenset(self._expand(axis, words)) for axis, words in row.items()}

    def _expand(self, axis: str, words: list[str]) -> Iterator[str]:
        for word in words:
            if word == ANY:
                yield from self.options if axis == "option" else self.axes[axis].values
            elif word.startswith("@"):
                if word[1:] not in self._groups:
                    raise CellError(f"There is no group {word!r}.", did_you_mean(word[1:], self._groups))
                yield from self._expand(axis, self._groups[word[1:]])
            elif axis != "option":
                yield self.named(axis, word)
            elif word in self.options:
                yield word
            else:
                raise CellError(f"There is no option {word!r}.", did_you_mean(word, self.options))


def _axis(name: str, row: Mapping[str, Any]) -> Axis:
    return Axis(name, tuple(row["values"]), row.get("aliases", {}), row.get("default"))
