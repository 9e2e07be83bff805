"""Snapshots of OSv just before it reads its command, and clones that get another command.

The snapshot's guest boots with a placeholder as long as the longest command. A breakpoint of the debug stub stops
it when everything has booted and `prepare_commands(char*)` is entered with the placeholder's address; the command
of a clone is written there before it continues. Before that its main thread is made to sleep. OSv starts the
threads that it made before its scheduler when the first cpu is idle for the first time, and programs that run
earlier meet a kernel without them; the last to begin are those that fill the pools of small objects. Clones share,
besides the boot, OSv's random state and the time of day of the snapshot. `osv::getcmdline()` returns the
placeholder. Source: OSv's loader.cc (do_main_thread, prepare_commands), core/commands.cc (parse_cmdline),
core/sched.cc (cpu::idle, start_early_threads), core/mempool.cc (smp_allocator).
"""

import json

from harness.core.close_on_error import close_on_error
from harness.core.errors import HypervisorError
from harness.core.machine import Image, Machine
from harness.host.cache import Cache
from harness.kernels.symbols import Symbols
from harness.runner.guest import Guest
from harness.runner.osv.exit_checkpoints import MAIN_THREAD
from harness.runner.osv.kernel_memory import REGISTERS
from harness.runner.snapshot_cache import cached_template
from harness.vm.base import Hypervisor, SupportsSnapshots, Template, Vm, snapshots_of
from harness.vm.gdb_remote import GdbRemote

RECIPE = 5  # raised when the code below makes another template of the same machine
ENTRIES = ("_Z16prepare_commandsB5cxx11Pc", "_Z16prepare_commandsPc")
LONGEST_COMMAND = 512  # bytes; arch/aarch64/arch-dtb.cc takes 1024 with the kernel's arguments
POINT = "point.json"
# The debug stub's number of the register with the command's address at the entry. The function returns a vector,
# the address for which x86_64 passes as a first argument, and aarch64 in x8.
# Source: Itanium C++ ABI, 3.1.3.1; System V ABI, AMD64, 3.2.3; Procedure Call Standard for Arm64, 6.9.
ADDRESS = {"x86_64": 4, "aarch64": 0}
SLEEP, SLEEP_MICROSECONDS, MOST_SLEEPS = "usleep", 20_000, 100
POOLS_FILLED = "smp_allocator"
"""A byte of the kernel, which is not 0 from then on."""
RED_ZONE = 256  # bytes below the stack pointer that are left alone
# A jump to itself. Source: Intel SDM, volume 2, JMP; Arm ARM, C6.2, B.
SPIN = {"x86_64": bytes.fromhex("ebfe"), "aarch64": bytes.fromhex("00000014")}


class OsvTemplates:
    """The snapshots of one image, one for each size of guest."""

    def __init__(
        self, image: Image, forks: SupportsSnapshots, cache: Cache, symbols: Symbols, entry: int, sleep: int,
        limit: float,
    ) -> None:  # fmt: skip
        self._image = image
        self._forks = forks
        self._cache = cache
        self._symbols = symbols
        self._entry = entry
        self._sleep = sleep
        self._limit = limit

    def takes(self, command: str) -> bool:
        """Whether a clone can get the command."""
        return 0 < len(command.encode()) < LONGEST_COMMAND and "\0" not in command

    def template(self, machine: Machine) -> Template:
        """The snapshot of the machine, which has no command yet, from the cache or a new one."""
        padded = machine.with_command("x" * LONGEST_COMMAND)
        return cached_template(self._cache, self._forks, padded, self._make, f"{padded.memory} MiB", recipe=RECIPE)

    def fork(self, machine: Machine, command: str) -> tuple[Vm, GdbRemote, int]:
        """A stopped guest that will run the command, with its debug stub and its main thread's stack pointer.

        `machine` has no command yet. Raises `HypervisorError` if the snapshot can't be made or the clone does not
        accept the command.
        """
        template = self.template(machine)
        point = json.loads((template.folder / POINT).read_text())
        vm = self._forks.fork(template)
        with close_on_error(vm):
            gdb = _stub(vm)
            gdb.write(point["command"], command.encode() + b"\0")
        return vm, gdb, point["stack"]

    def _make(self, template: Template) -> None:
        vm = self._forks.start_template(template)
        with Guest(template.machine, vm) as guest:
            gdb = _stub(vm)
            if not gdb.set_breakpoint(self._entry):
                raise HypervisorError("The guest's debug stub has no breakpoint left.")
            self._run_to_entry(guest, gdb, "did not boot")
            arch = self._image.cell.arch
            address, stack = gdb.register(ADDRESS[arch]), gdb.register(REGISTERS[arch].stack)
            if gdb.read(address, LONGEST_COMMAND) != b"x" * LONGEST_COMMAND:
                raise HypervisorError("OSv's command is not where this harness looks for it.")
            self._let_boot_end(guest, gdb)
            self._pause(gdb)
            (template.folder / POINT).write_text(json.dumps({"command": address, "stack": stack}))
            self._forks.freeze(vm, template)

    def _run_to_entry(self, guest: Guest, gdb: GdbRemote, otherwise: str) -> None:
        """Run the guest until it is at the entry. Raises `HypervisorError`, with what it did `otherwise`."""
        stopped = False

        def take_stop() -> bool:
            nonlocal stopped
            stopped = gdb.take_stop() or False
            return True

        guest.console.watched[gdb.fileno()] = take_stop
        gdb.resume()
        guest.wait_within(lambda: stopped, self._limit)
        del guest.console.watched[gdb.fileno()]
        if not stopped:
            last = "; ".join(line.text for line in guest.transcript.tail(3))
            raise HypervisorError(f"The template's guest {otherwise}. The console's last lines: {last}")

    def _let_boot_end(self, guest: Guest, gdb: GdbRemote) -> None:
        """Have the main thread sleep until the threads of the boot have begun, once if that can't be seen."""
        filled = self._symbols.data(POOLS_FILLED)
        for _ in range(MOST_SLEEPS):
            self._let_sleep(guest, gdb)
            if filled is None or gdb.read(filled.address, 1) != b"\0":
                return
        raise HypervisorError("The threads of OSv's boot did not begin.")

    def _let_sleep(self, guest: Guest, gdb: GdbRemote) -> None:
        """Have the main thread call usleep() where it stands, as a debugger calls a function."""
        registers = REGISTERS[self._image.cell.arch]
        before = {number: gdb.register(number) for number in range(registers.pc)}  # all but the program counter
        stack = before[registers.stack] - RED_ZONE
        if registers.link is None:
            gdb.write(stack, self._entry.to_bytes(8, "little"))
        else:
            gdb.set_register(registers.link, self._entry)
        gdb.set_register(registers.stack, stack)
        gdb.set_register(registers.arguments[0], SLEEP_MICROSECONDS)
        gdb.set_register(registers.pc, self._sleep)
        self._run_to_entry(guest, gdb, f"did not come back from {SLEEP}()")
        for number, value in before.items():
            gdb.set_register(number, value)

    def _pause(self, gdb: GdbRemote) -> None:
        """Turn the stop at the breakpoint into a plain one, because QEMU starts no guest from a `debug` state: let
        it spin in place, and interrupt it."""
        gdb.clear_breakpoint(self._entry)
        spin = SPIN[self._image.cell.arch]
        code = gdb.read(self._entry, len(spin))
        gdb.write(self._entry, spin)
        gdb.resume()
        gdb.interrupt()
        gdb.write(self._entry, code)


def templates_of(
    image: Image, hypervisor: Hypervisor, cache: Cache, symbols: Symbols | None, limit: float
) -> OsvTemplates | None:
    """The snapshots of the image; None if its kernel can't be stopped or the hypervisor can't clone. `limit` is
    the longest boot of a snapshot's guest, in seconds."""
    forks = snapshots_of(hypervisor)
    if forks is None or not forks.has_debug_stub or symbols is None or (sleep := symbols.find(SLEEP)) is None:
        return None
    for name in ENTRIES:
        entry = symbols.find(name)
        if entry and symbols.returns_of_calls(MAIN_THREAD, name):  # a compiler may have made it part of its caller
            return OsvTemplates(image, forks, cache, symbols, entry.address, sleep.address, limit)
    return None


def _stub(vm: Vm) -> GdbRemote:
    if vm.debug is None:
        raise HypervisorError("The hypervisor offers no debug stub.")
    return GdbRemote(vm.debug, vm.pid)
