"""Finds which accesses of two threads race, in the record of what a guest's vCPUs did.

An access of one thread stands between two of another to the same memory, and no order in which these two are
together gives the same: a read between two writes, or a write beside a read. Source: Lu et al., "AVIO: Detecting
Atomicity Violations via Access Interleaving Invariants", 2006. If a thread was stopped after an access to what
another wrote meanwhile, that is a conflict, too, even if the thread never comes back to it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Self, SupportsIndex

import numpy as np
import numpy.typing as npt

from harness.vm.qemu.plugin.trace import REST, Kind, Records

NEAR = 300
"""Accesses of a thread between its two, at most: a longer time is no oversight of a lock, but a new beginning."""
BEFORE = 64
"""Accesses of a thread before it stood still that are looked at."""
Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Access:
    """An instruction that reads or writes memory: after so many of the guest, on a vCPU, by a thread."""

    count: int
    pc: int
    vcpu: int
    thread: int
    writes: bool


@dataclass(frozen=True, slots=True)
class Conflict:
    """Accesses to the address: of one thread, of another meanwhile, and of the first again, if it came back; seen
    so many times."""

    address: int
    before: Access
    between: Access
    after: Access | None
    times: int = 1

    @property
    def places(self) -> tuple[int, ...]:
        """The instructions, in their order."""
        return tuple(one.pc for one in (self.before, self.between, self.after) if one)


@dataclass(frozen=True, slots=True)
class Switch:
    """A thread that a vCPU no longer ran: its last instruction, and its calls, the innermost first.

    `to_vcpu` is the vCPU that ran then; the same if OSv switched to the thread `to_thread`. `rests` is whether it
    gave way by itself, by an instruction that waits.
    """

    count: int
    vcpu: int
    thread: int
    pc: int
    frames: tuple[int, ...]
    to_vcpu: int
    to_thread: int
    rests: bool


def conflicts(records: Records) -> list[Conflict]:
    """The last conflict of each combination of instructions, the rarest first and of those the last: what happens
    in each round does not tell why one was lost."""
    positions = np.flatnonzero(records["kind"] <= Kind.STORED)
    accesses = records[positions]
    runs = _Runs.of(accesses)
    found: dict[tuple[int, ...], Conflict] = {}
    for one in (*_interleaved(accesses, runs), *_unfinished(records, accesses, positions, runs)):
        known = found.get(one.places)
        if known is None:
            found[one.places] = one
        else:
            found[one.places] = replace(max(known, one, key=lambda it: it.between.count), times=known.times + 1)
    whole = {one.places[:2] for one in found.values() if one.after}
    chosen = (one for one in found.values() if one.after or one.places not in whole)
    return sorted(chosen, key=lambda one: (one.times, -one.between.count))


def switches(records: Records) -> Iterator[Switch]:
    """All switches of the record."""
    for index in np.flatnonzero(records["kind"] == Kind.LEFT):
        one = records[index]
        yield Switch(
            int(one["count"]), int(one["vcpu"]), int(one["stack"]), int(one["pc"]), frames_after(records, index),
            int(one["address"]), int(one["other"]), bool(one["flow"] == REST),
        )  # fmt: skip


def frames_after(records: Records, index: SupportsIndex) -> tuple[int, ...]:
    """The frames that follow a record."""
    found = []
    for one in records[int(index) + 1 :]:
        if one["kind"] != Kind.FRAME:
            break
        found.append(int(one["pc"]))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Runs:
    """Accesses to one address after the other, without another thread's between: where each run begins and ends in
    `order`, which sorts all accesses by address and time."""

    order: Indices
    begins: Indices
    ends: Indices
    address: npt.NDArray[np.uint64]
    thread: npt.NDArray[np.uint16]
    written: Indices

    @classmethod
    def of(cls, accesses: Records) -> Self:
        """The runs of all addresses."""
        order = np.argsort(accesses["address"], kind="stable")
        address, thread = accesses["address"][order], accesses["stack"][order]
        begins = np.flatnonzero(np.r_[True, (address[1:] != address[:-1]) | (thread[1:] != thread[:-1])])
        written = np.r_[0, np.cumsum(accesses["kind"][order] == Kind.STORED)]
        return cls(order, begins, np.r_[begins[1:], len(order)], address[begins], thread[begins], written)

    @property
    def writes(self) -> Indices:
        """How many writes each run has."""
        return self.written[self.ends] - self.written[self.begins]

    def first_write(self, runs: Indices) -> Indices:
        """The place in `order` of the first write of each run."""
        return np.searchsorted(self.written, self.written[self.begins[runs]] + 1) - 1


def _interleaved(accesses: Records, runs: _Runs) -> Iterator[Conflict]:
    """Accesses between two of another thread, by address."""
    by, at = runs.thread, runs.address
    middle = np.flatnonzero((at[:-2] == at[2:]) & (by[:-2] == by[2:])) + 1
    first, last = runs.order[runs.ends[middle - 1] - 1], runs.order[runs.begins[middle + 1]]
    first_writes, last_writes = (accesses["kind"][one] == Kind.STORED for one in (first, last))
    both_write = first_writes & last_writes
    writes, reads = runs.writes, runs.ends - runs.begins - runs.writes
    torn = np.where(both_write, reads[middle] > 0, writes[middle] > 0)
    polls = ~first_writes & ~last_writes & (accesses["pc"][first] == accesses["pc"][last])
    own = _own_number(accesses)
    chosen = torn & ~polls & (own[last] - own[first] <= NEAR)
    for run, one, other, reader in zip(
        middle[chosen], first[chosen], last[chosen], both_write[chosen], strict=True
    ):
        inside = runs.order[runs.begins[run] : runs.ends[run]]
        wanted = inside[accesses["kind"][inside] == (Kind.LOADED if reader else Kind.STORED)]
        before, between, after = (_access(accesses[index]) for index in (one, wanted[-1], other))
        yield Conflict(int(accesses["address"][one]), before, between, after)


def _own_number(accesses: Records) -> Indices:
    """How many accesses its thread had made before each."""
    order = np.argsort(accesses["stack"], kind="stable")
    thread = accesses["stack"][order]
    begins = np.flatnonzero(np.r_[True, thread[1:] != thread[:-1]])
    lengths = np.diff(np.r_[begins, len(order)])
    number = np.empty(len(order), np.intp)
    number[order] = np.arange(len(order)) - np.repeat(begins, lengths)
    return number


def _unfinished(records: Records, accesses: Records, positions: Indices, runs: _Runs) -> Iterator[Conflict]:
    """Accesses of programs' threads that were stopped soon after them, to what another accessed until they went
    on."""
    pairs = np.flatnonzero(runs.address[:-1] == runs.address[1:])
    first = runs.order[runs.ends[pairs] - 1]
    has_write = runs.writes[pairs + 1] > 0
    writes = accesses["kind"][first] == Kind.STORED
    place = np.where(has_write, runs.first_write(pairs + 1), runs.begins[pairs + 1])
    second = runs.order[np.minimum(place, len(runs.order) - 1)]
    one, other = positions[first], positions[second]
    chosen = has_write | writes
    one, other = one[chosen], other[chosen]
    left = (records["kind"] == Kind.LEFT) & (records["size"] == 1) & (records["flow"] != REST)
    for thread in np.unique(records["stack"][left]):
        own = np.flatnonzero(records["stack"] == thread)
        stops = np.flatnonzero(left[own])
        mine = records["stack"][one] == thread
        number = np.searchsorted(own, one[mine])
        stop = np.searchsorted(stops, number)
        known = stop < len(stops)
        stop_number = stops[np.minimum(stop, len(stops) - 1)]
        following = _after_frames(records, own, stop_number)
        stood = (own[stop_number] < other[mine]) & (other[mine] < following)
        near = known & stood & (stop_number - number <= BEFORE)
        for index, between in zip(one[mine][near], other[mine][near], strict=True):
            record = records[index]
            yield Conflict(int(record["address"]), _access(record), _access(records[between]), None)


def _after_frames(records: Records, own: Indices, stops: Indices) -> Indices:
    """Where a thread went on after each stop: the place of its first record that is no frame, in all records."""
    whole = np.flatnonzero(records["kind"][own] != Kind.FRAME)
    following = np.searchsorted(whole, stops, side="right")
    places = own[whole[np.minimum(following, len(whole) - 1)]]
    return np.where(following < len(whole), places, len(records))


def _access(record: np.void) -> Access:
    return Access(
        int(record["count"]), int(record["pc"]), int(record["vcpu"]), int(record["stack"]),
        bool(record["kind"] == Kind.STORED),
    )  # fmt: skip


def within(conflict: Conflict, is_inside: Callable[[int], bool]) -> bool:
    """Whether all of its instructions are inside."""
    return all(is_inside(pc) for pc in conflict.places)
