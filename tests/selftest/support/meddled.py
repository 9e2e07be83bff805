"""What is done to a guest from outside while its program runs, and the hypervisor whose guests that becomes of."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from harness.vm.base import Template, Vm, snapshots_of
from harness.vm.gdb_remote import GdbRemote
from harness.vm.registry import hypervisor

PATIENCE = 120.0  # seconds


def kill_qemu(vm: Vm) -> None:
    os.kill(vm.pid, signal.SIGKILL)


def stop_qemu(vm: Vm) -> None:
    os.kill(vm.pid, signal.SIGSTOP)


def cut_monitor(vm: Any) -> None:
    vm.qmp._socket.shutdown(socket.SHUT_RDWR)


def cut_control_line(vm: Any) -> None:
    vm.control.shutdown(socket.SHUT_RDWR)


RIP, EFLAGS = 16, 17  # Source: gdb's order of x86_64's registers
KERNEL = 0xFFFF800000000000
INTERRUPTS = 0x200
HALT = b"\xf4"
"""The instruction that waits for an interrupt: the kernel's, with interrupts on, for programs may not."""


def idles(gdb: GdbRemote) -> bool:
    return gdb.read(gdb.register(RIP) - 1, 1) == HALT


def serves_a_program(gdb: GdbRemote) -> bool:
    """It is in the kernel, with interrupts on."""
    return gdb.register(RIP) >= KERNEL and bool(gdb.register(EFLAGS) & INTERRUPTS) and not idles(gdb)


def write_kernel_code(code: str, once: Callable[[GdbRemote], bool] = idles) -> Callable[[Vm], None]:
    """Put machine code where the kernel stands: in its idle loop, where the program sleeps."""

    def act(vm: Vm) -> None:
        assert vm.debug
        vm.debug.sendall(b"\x03")  # only a guest that stands answers the stub's client
        vm.debug.recv(4096)
        gdb = GdbRemote(vm.debug, vm.pid)
        while not once(gdb):
            gdb.resume()
            time.sleep(0.1)
            gdb.interrupt()
        gdb.write(gdb.register(RIP), bytes.fromhex(code))
        gdb.resume()

    return act


class Meddled:
    """A hypervisor whose forks something is done to from outside, a moment after they began to run.

    Each power is written out: `isinstance` of a runtime-checkable Protocol does not see what `__getattr__` gives,
    since Python 3.12, and a hypervisor that seems unable to fork would be meddled with nowhere.
    """

    name = "qemu"

    def __init__(self, act: Callable[[Vm], None]) -> None:
        self._act = act
        self._threads: list[threading.Thread] = []
        self._done: list[BaseException | None] = []
        driver = hypervisor("qemu")
        forks = snapshots_of(driver)
        assert forks
        self._forks = forks
        self.start, self.identity = driver.start, forks.identity
        self.has_debug_stub = forks.has_debug_stub
        self.start_template, self.freeze = forks.start_template, forks.freeze

    def fork(self, template: Template) -> Vm:
        vm: Any = self._forks.fork(template)
        resume = vm.resume

        def resume_and_meddle() -> None:
            resume()
            self._threads.append(threading.Timer(0.5, self._meddle, (vm,)))
            self._threads[-1].start()

        vm.resume = resume_and_meddle
        return vm

    def _meddle(self, vm: Vm) -> None:
        try:
            self._act(vm)
        except BaseException as error:
            self._done.append(error)
            raise
        self._done.append(None)

    def assert_done(self) -> None:
        """What was to be done was done, once, and went well."""
        for thread in self._threads:
            thread.join(PATIENCE)
        assert self._done == [None]
