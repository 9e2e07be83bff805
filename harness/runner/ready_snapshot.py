"""A guest whose program is ready to serve, as a template: what starts slowly is started once, and then forked."""

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
    machine: Machine, command: str, visit: Interaction, forks: SupportsSnapshots, cache: Cache,
    begin: Callable[[Guest], tuple[Callable[[], bool], Mapping[str, Any]]],
) -> tuple[Vm, Mapping[str, Any]]:  # fmt: skip
    """A fork, stopped, of the machine in which `command` answers, and what `begin` noted.

    Where there is no such template yet, `begin` starts the guest and the program in it; it returns whether the
    guest is over, and a note for those who will watch the forks. Raises `HypervisorError` if the program does not
    get ready.
    """

    def make(template: Template) -> None:
        with Guest(machine, forks.start_template(template)) as guest:
            over, note = begin(guest)
            visitor = GuestClient(guest, replace(visit, act=lambda visitor: None), lambda: None)
            late = visitor.watch_until_ready(guest, over)
            came = visitor.result()
            if late or came.trouble or not came.ready:
                raise HypervisorError(f"The program did not get ready: {came.trouble or late or 'it was over'}.")
            (template.folder / NOTE).write_text(json.dumps(note))
            forks.freeze(guest.vm, template)

    about = f"until {command.split()[0]} answers"
    template = cached_template(cache, forks, machine, make, about, ready=command)
    note = json.loads((template.folder / NOTE).read_text())
    return forks.fork(template), note
