"""Clones guests whose program is ready to serve: a slow program is started once, and then cloned."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from harness.core.errors import HypervisorError
from harness.core.machine import Machine
from harness.host.cache import Cache
from harness.runner.guest import Guest
from harness.runner.interaction import GuestClient, Interaction
from harness.runner.snapshot_cache import cached_template
from harness.vm.base import SupportsSnapshots, Template, Vm

NOTE = "program.json"


def fork_ready(
    machine: Machine, command: str, interaction: Interaction, forks: SupportsSnapshots, cache: Cache,
    begin: Callable[[Guest], tuple[Callable[[], bool], Mapping[str, Any]]],
) -> tuple[Vm, Mapping[str, Any]]:  # fmt: skip
    """A stopped clone of the machine in which `command` answers, and the note of `begin`.

    If no snapshot exists yet, `begin` starts the guest and the program in it; it returns whether the guest is
    over, and a note for those who observe the clones. Raises `HypervisorError` if the program does not become
    ready.
    """

    def make(template: Template) -> None:
        with Guest(machine, forks.start_template(template)) as guest:
            over, note = begin(guest)
            client = GuestClient(guest, replace(interaction, act=lambda client: None), lambda: None)
            late = client.watch_until_ready(guest, over)
            result = client.result()
            if late or result.harness_error or not result.ready:
                reason = result.harness_error or late or "it was over"
                raise HypervisorError(f"The program did not get ready: {reason}.")
            (template.folder / NOTE).write_text(json.dumps(note))
            forks.freeze(guest.vm, template)

    about = f"until {command.split()[0]} answers"
    template = cached_template(cache, forks, machine, make, about, ready=command)
    note = json.loads((template.folder / NOTE).read_text())
    return forks.fork(template), note
