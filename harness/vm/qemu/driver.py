"""QEMU with a full machine: `q35` on x86_64, `virt` on aarch64. Every socket is an inherited descriptor."""

import fcntl
import os
import re
import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from io import FileIO
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.close_on_error import close_on_error
from harness.core.errors import HypervisorError
from harness.core.machine import Machine
from harness.host.host import Host
from harness.host.netns import in_new_netns
from harness.host.process.cpu_time import ran_and_waited
from harness.host.process.supervised import SupervisedProcess
from harness.vm.base import Endpoint, ExitCause, ExitStatus, Template, Vcpu
from harness.vm.common.process import VmProcess
from harness.vm.disks.virtiofsd import line, start_virtiofsd
from harness.vm.network.guest_network import GuestNetwork, wiring_of
from harness.vm.qemu import migration
from harness.vm.qemu.command_line import DETERMINISTIC_CPUS, Board, Wires, board_for, command_line
from harness.vm.qemu.devices import Memory
from harness.vm.qemu.plugin.compiler import compiled, plugin_words
from harness.vm.qemu.qcow2_overlay import overlay_of, with_overlays, with_unnamed_overlays, write_overlay
from harness.vm.qemu.qmp import Qmp

if TYPE_CHECKING:  # it wants numpy, which only hunts need
    from harness.vm.qemu.plugin.trace import Trace

LONG_CONSOLE = 1 << 20  # bytes, the most that a pipe of an ordinary user's may hold
SHUTDOWN_CAUSES = {
    "guest-shutdown": ExitCause.POWERED_OFF,
    "guest-reset": ExitCause.RESET,
    "guest-panic": ExitCause.PANICKED,
    "host-qmp-quit": ExitCause.STOPPED,
}


class QemuVm:
    """One QEMU process, its sockets, and the servers of its guest."""

    def __init__(
        self, process: VmProcess, console: socket.socket | FileIO, ours: Mapping[str, socket.socket], name: str,
        share: SupervisedProcess | None, held: ExitStack,
    ) -> None:  # fmt: skip
        """Take ownership of what is on the stack `held`: the process, the sockets and the share."""
        self._process = process
        self._share = share
        self._joined: GuestNetwork | None = None
        self.pid = process.pid
        self.started = process.started
        self.command = process.command
        self.console = console
        self.debug = ours.get("debug")
        self.control = ours.get("control")
        self.qmp = Qmp(ours["monitor"], name, self.pid)
        held.callback(self.qmp.close)
        self._held = held.pop_all()

    def connect(self, machine: Machine) -> None:
        """Wait until QEMU has accepted its arguments; raises `HypervisorError` with its messages if it does
        not."""
        try:
            self.qmp.connect()
            if wiring_of(machine):
                self._joined = GuestNetwork(self.pid, machine)
                self._held.callback(self._joined.close)
        except HypervisorError as error:
            exit_status = self.wait_for_exit(timeout=1.0)
            words = self.words()
            status = f" ({exit_status.detail})" if exit_status else ""
            raise HypervisorError(
                f"QEMU did not start{status}: {words or error.message}",
                f"Its command was: {' '.join(self.command)}",
            ) from error

    def resume(self) -> None:
        self.qmp.execute("cont")

    def press_power_button(self) -> None:
        self.qmp.execute("system_powerdown")

    def stop(self) -> None:
        self.qmp.execute("quit")

    def ports(self) -> Mapping[int, int]:
        """The forwarded ports: as QEMU reports them, which chose the host's ports itself, so that no two guests
        can race for one; or the forwarder's, which were bound in the same way."""
        if self._joined:
            return self._joined.ports
        table = self.qmp.monitor("info usernet")
        rows = re.findall(r"TCP\[HOST_FORWARD\]\s+\S+\s+127\.0\.0\.1\s+(\d+)\s+\S+\s+(\d+)", table)
        return {int(guest): int(host) for host, guest in rows}

    def endpoint(self, port: int) -> Endpoint | None:
        return self._joined.endpoint(port) if self._joined else None

    def wait_for_exit(self, timeout: float = 5.0) -> ExitStatus | None:
        status = self._process.wait(timeout)
        if status is None:
            return None
        if status < 0:
            return ExitStatus(ExitCause.KILLED, self._process.describe(status))
        for event in reversed(self.qmp.last_events()):
            if event["event"] == "SHUTDOWN":
                reason = event["data"]["reason"]
                return ExitStatus(SHUTDOWN_CAUSES.get(reason, ExitCause.KILLED), reason)
        return ExitStatus(
            ExitCause.REFUSED if status else ExitCause.POWERED_OFF,
            f"{self._process.describe(status)}: {self.words()}",
        )

    def vcpus(self) -> tuple[Vcpu, ...]:
        try:
            rows = self.qmp.execute("query-cpus-fast")
            found = []
            for row in rows:
                index = row["cpu-index"]
                text = self.qmp.monitor("info registers", cpu=index)
                pc = re.search(r"\b(?:RIP|PC)\s*=\s*([0-9a-f]+)", text)
                ran, waited = ran_and_waited(self.pid, row["thread-id"])
                found.append(Vcpu(index, int(pc[1], 16) if pc else 0, ran, waited))
            return tuple(found)
        except (HypervisorError, OSError, ValueError):
            return ()

    def code(self, vcpu: int, address: int, length: int) -> bytes:
        try:
            text = self.qmp.monitor(f"x /{length}xb {address:#x}", cpu=vcpu)
        except (HypervisorError, OSError):
            return b""
        found = bytes(int(byte, 16) for byte in re.findall(r"\b0x([0-9a-f]{2})\b", text))
        return found if len(found) == length else b""

    def registers(self) -> str:
        try:
            return self.qmp.monitor("info registers -a")
        except HypervisorError:
            return ""

    def set_balloon(self, mib: int) -> None:
        self.qmp.execute("balloon", value=mib << 20)

    def instructions(self) -> int:
        return int(self.qmp.execute("query-replay")["icount"])

    def hypervisor_error(self) -> str:
        try:
            status = self.qmp.execute("query-status")["status"]
        except HypervisorError as error:
            return error.message
        return f"QEMU stopped the guest: {status}" if status in ("io-error", "internal-error") else ""

    def words(self) -> str:
        """The last output of QEMU and of virtiofsd."""
        words = self._process.log_tail()
        return f"{words} (virtiofsd: {self._share.log_tail()})" if self._share else words

    def close(self) -> None:
        self._process.close()  # first: QMP's end waits for an answer of one that runs
        self._held.close()


class Qemu:
    """Starts QEMU machines, takes snapshots of them and clones these. `boards` is the default board of each
    arch."""

    counted_arches = frozenset(DETERMINISTIC_CPUS)
    has_debug_stub = True

    def __init__(self, name: str, boards: dict[str, str], host: Host | None = None) -> None:
        self.name = name
        self._boards = boards
        self._host = host or Host()

    def start(self, machine: Machine) -> QemuVm:
        return self._spawn(machine, memory=None)

    def start_traced(self, machine: Machine, trace: "Trace") -> QemuVm:
        """Start the deterministic machine with the plugin that writes down what its vCPUs do. Raises `HostError`
        without a compiler for that, besides what `start` raises."""
        return self._spawn(machine, None, trace.words(self._plugin("trace", machine)), trace.descriptors)

    def identity(self, machine: Machine) -> str:
        """QEMU's version and its whole command line, so that a snapshot is not used if any word of it changes."""
        qemu = self._host.qemu(machine.image.cell.arch)
        words = command_line(str(qemu.path), self._board(machine), machine, Wires(0, 0, 0, 0, 0), None)
        return f"{qemu.version} {' '.join(words)}"

    def start_template(self, template: Template) -> QemuVm:
        for index, disk in enumerate(template.machine.image.disks):
            with overlay_of(template, index).open("wb") as file:
                write_overlay(disk, file.fileno())
        nodes = template.machine.devices.nodes
        for node in range(nodes):
            with (template.folder / f"ram{node}").open("wb") as file:
                file.truncate((template.machine.memory // nodes) << 20)
        machine = with_overlays(template, kept=True)
        return self._spawn(machine, Memory(str(template.folder / "ram"), shared=True))

    def freeze(self, vm: QemuVm, template: Template) -> None:
        vm.qmp.execute("stop")
        migration.save(vm.qmp, template.folder / "state", vm.words)
        vm.qmp.execute("quit")
        vm.wait_for_exit()
        vm.close()

    def fork(self, template: Template) -> QemuVm:
        memory = Memory(str(template.folder / "ram"), shared=False)
        vm = self._spawn(with_overlays(template, kept=False), memory, ["-incoming", "defer"])
        with close_on_error(vm):
            try:
                migration.load(vm.qmp, template.folder / "state", vm.words)
            except HypervisorError as error:
                raise HypervisorError(f"QEMU could not fork the guest: {vm.words() or error.message}") from error
        return vm

    def _spawn(
        self, machine: Machine, memory: Memory | None, more: Sequence[str] = (), inherited: Sequence[int] = ()
    ) -> QemuVm:
        binary = self._host.qemu(machine.image.cell.arch).path
        board = self._board(machine)
        names = ["monitor", "debug"] + (["control"] if machine.control else [])
        with ExitStack() as held, ExitStack() as stack:
            console, their_console = _console(machine)
            held.callback(console.close)
            stack.callback(their_console.close)
            ours, theirs = {}, {"console": their_console.fileno()}
            for name in names:
                mine, other = socket.socketpair()
                ours[name] = held.enter_context(mine)
                theirs[name] = stack.enter_context(other).fileno()
            share = None
            if machine.share:
                listening, connected = line()
                theirs["share"] = stack.enter_context(connected).fileno()
                share = held.enter_context(start_virtiofsd(machine.share, listening))
            wires = Wires(
                theirs["console"], theirs["monitor"], theirs["debug"], theirs.get("control", -1),
                theirs.get("share", -1),
            )  # fmt: skip
            machine, overlays = with_unnamed_overlays(machine, stack)
            command = command_line(str(binary), board, machine, wires, memory)
            for index, fds in overlays.items():
                command += [word for fd in fds for word in ("-add-fd", f"fd={fd},set={index}")]
                command += ["-set", f"drive.disk{index}.cache=unsafe"]
            if machine.schedule and machine.cpus > 1:
                command += plugin_words(self._plugin("turns", machine))
            command += more
            wiring = wiring_of(machine)
            if wiring:
                command = in_new_netns(command, wiring, machine.devices.nic_queues)
            given = [*theirs.values(), *chain.from_iterable(overlays.values()), *inherited]
            process = held.enter_context(VmProcess("QEMU", command, fds=given))
            vm = QemuVm(process, console, ours, str(machine.image.cell), share, held)
        with close_on_error(vm):
            vm.connect(machine)
        return vm

    def _plugin(self, name: str, machine: Machine) -> Path:
        return compiled(name, self._host.cache, self._host.qemu(machine.image.cell.arch).version)

    def _board(self, machine: Machine) -> Board:
        return board_for(machine, self._boards)


def driver() -> Qemu:
    """The driver for the axis value `qemu`."""
    return Qemu("qemu", {"x86_64": "q35", "aarch64": "virt"})


def _console(machine: Machine) -> tuple[socket.socket | FileIO, socket.socket | FileIO]:
    """Our end of the console's line, and the machine's.

    A deterministic machine's is never full, for a guest that waits for room runs instructions meanwhile. A socket
    is full after 280 letters: each that is sent by itself takes 768 bytes of its buffer.
    """
    if not machine.deterministic:
        return socket.socketpair()
    ours, theirs = os.pipe()
    fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, LONG_CONSOLE)
    return FileIO(ours, "r"), FileIO(theirs, "w")
