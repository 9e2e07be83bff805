"""A client of the GDB remote serial protocol, as far as breakpoints and registers need it.

Source: "GDB Remote Serial Protocol", appendix E of the GDB manual; QEMU's gdbstub.c and gdb-xml/.
"""

import re
import socket
from collections.abc import Callable
from enum import IntEnum

from harness.core.errors import HypervisorError
from harness.host.process.timeout import CpuFairTimeout

ANSWER_SECONDS = 10.0
GENERAL_BYTES = 8  # of each of the first registers, up to the program counter, on x86_64 and aarch64
LONGEST_READ = 2048  # bytes that one packet of QEMU's answers
PAGE = 4096  # bytes, of which all or none are mapped
DESCRIBED = 0x7F0  # bytes of a description that one packet brings


class Access(IntEnum):
    """How data is watched, as the protocol numbers it."""

    WRITE = 2
    READ = 3


class NoAnswer(HypervisorError):
    """The stub is there, and silent."""


class GdbRemote:
    """Talks to the stub of the process `pid` over a connected socket. The guest stays stopped from a stop until
    `resume`."""

    def __init__(self, sock: socket.socket, pid: int) -> None:
        self._socket = sock
        self._pid = pid
        self._received = b""
        self._registers = b""
        self._stopped = ""
        self.accessed: int | None = None
        """The address that was watched and whose access was the last stop; None if it was another."""
        self._described: str | None = None
        self._socket.settimeout(ANSWER_SECONDS)
        self._ask("qXfer:features:read:target.xml:0,1000")  # QEMU reads single registers only after this request

    def fileno(self) -> int:
        """The socket's descriptor: readable when a stop has been reported."""
        return self._socket.fileno()

    def set_breakpoint(self, address: int) -> bool:
        """Set a hardware breakpoint, which works before the memory is mapped; False if the stub has none left.

        Under KVM x86_64 has four and AArch64 two to sixteen. TCG has any number.
        """
        return self._ask(f"Z1,{address:x},1") == "OK"

    def clear_breakpoint(self, address: int) -> None:
        """Remove the hardware breakpoint."""
        self._ask(f"z1,{address:x},1")

    def set_watchpoint(self, access: Access, address: int, length: int) -> bool:
        """Stop the guest at an access to the data, AArch64 before it and x86_64 after it; False if the stub can't.

        QEMU's TCG before 8.0 does not tell of atomic accesses where there are several vCPUs, and before 8.1 it
        tells also of unaligned ones further on in the same page.
        """
        return self._ask(f"Z{access},{address:x},{length:x}") == "OK"

    def clear_watchpoint(self, access: Access, address: int, length: int) -> None:
        """Watch the data no longer."""
        self._ask(f"z{access},{address:x},{length:x}")

    def register(self, number: int) -> int:
        """Return a general register or the program counter of the stopped vCPU, by the stub's numbering.

        All registers are read by one packet `g`, once per stop: under KVM QEMU answers `p` from a stale copy of
        the vCPU, and only `g` updates that.
        """
        return self.field(number * GENERAL_BYTES, GENERAL_BYTES)

    def set_register(self, number: int, value: int) -> None:
        """Set a general register or the program counter of the stopped vCPU.

        It is read before: under KVM QEMU gives back to the vCPU only a copy that was updated. Raises
        `HypervisorError` if the stub can't.
        """
        self.register(number)
        if (answer := self._ask(f"P{number:x}={value.to_bytes(GENERAL_BYTES, 'little').hex()}")) != "OK":
            raise HypervisorError(f"The guest's register {number} could not be set: {answer}.")
        self._registers = b""

    def of_each_vcpu(self, number: int) -> list[int]:
        """That register of every vCPU, all of which are stopped."""
        threads, answer = [], self._ask("qfThreadInfo")
        while answer.startswith("m"):
            threads += answer[1:].split(",")
            answer = self._ask("qsThreadInfo")
        found = [self._choose(thread).register(number) for thread in threads]
        self._choose(self._stopped)
        return found

    def field(self, offset: int, length: int) -> int:
        """Return `length` bytes at an offset of the stub's answer to `g`, as an unsigned number."""
        if not self._registers:
            self._registers = _bytes(self._ask("g"))
        data = self._registers[offset : offset + length]
        if len(data) < length:
            raise HypervisorError(f"The guest's debug socket told {len(self._registers)} bytes of registers.")
        return int.from_bytes(data, "little")

    def named_register(self, name: str) -> int | None:
        """Return a system register by the stub's name for it; None if the stub has none with that name."""
        number = re.search(rf'<reg name="{name}"[^>]*regnum="(\d+)"', self._system_registers())
        if number is None:
            return None
        self.register(0)  # updates the copy from which `p` is answered
        answer = self._ask(f"p{int(number[1]):x}")
        return None if answer.startswith("E") or not answer else int.from_bytes(_bytes(answer), "little")

    def read(self, address: int, length: int) -> bytes:
        """Return `length` bytes of the stopped vCPU's memory; fewer if the next page is not mapped."""
        data = b""
        while len(data) < length:
            start = address + len(data)
            more = min(length - len(data), LONGEST_READ, PAGE - start % PAGE)
            answer = self._ask(f"m{start:x},{more:x}")
            if not answer or answer.startswith("E"):
                break
            data += _bytes(answer)
        return data

    def write(self, address: int, data: bytes) -> None:
        """Write at most 1 KiB into the stopped vCPU's memory. Raises `HypervisorError` if it can't be written."""
        if (answer := self._ask(f"M{address:x},{len(data):x}:{data.hex()}")) != "OK":
            raise HypervisorError(f"The guest's memory at {address:#x} could not be written: {answer}.")

    def resume(self) -> None:
        """Let all vCPUs run; the next stop makes the socket readable."""
        self._registers = b""
        self._send("c")

    def step(self) -> bool:
        """Let the stopped vCPU run one instruction while the others stay stopped; False if the guest ended by
        it."""
        self._registers = b""
        self._send(f"vCont;s:{self._stopped}" if self._stopped else "s")
        try:
            return self._note_stop(self._receive())
        except HypervisorError:
            return False

    def interrupt(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Stop the running guest; returns when it has stopped. `meanwhile` is called once it was asked to."""
        try:
            self._socket.sendall(b"\x03")
        except OSError as error:
            raise HypervisorError(f"The guest's debug socket is gone: {error}.") from error
        meanwhile()
        self._note_stop(self._receive())

    def take_stop(self) -> bool | None:
        """Read what arrived, once the socket is readable: True for the report of a stop, None while there is no
        complete report (only an acknowledgement), False if the guest has ended."""
        try:
            data = self._socket.recv(65536)
        except OSError:
            data = b""
        self._received += data
        reply = self._packet()
        if reply is None:
            return None if data else False
        return self._note_stop(reply)

    def detach(self) -> None:
        """Disconnect from the guest, which then runs on."""
        self._send("D")

    def _note_stop(self, report: str) -> bool:
        """Remember which vCPU stopped; returns whether the report is of a stop and not of the guest's end."""
        thread = re.search(r"thread:([^;]+)", report)
        self._stopped = thread[1] if thread else ""
        accessed = re.search(r"[ra]?watch:([0-9a-f]+)", report)
        self.accessed = int(accessed[1], 16) if accessed else None
        self._registers = b""
        return report[:1] in ("T", "S")

    def _choose(self, thread: str) -> "GdbRemote":
        """Let registers be those of a vCPU, by the stub's name for it."""
        self._ask(f"Hg{thread or 0}")
        self._registers = b""
        return self

    def _system_registers(self) -> str:
        """The stub's description of system registers, requested once."""
        if self._described is None:
            self._described, more = "", True
            while more:
                where = f"{len(self._described):x},{DESCRIBED:x}"
                part = self._ask(f"qXfer:features:read:system-registers.xml:{where}")
                self._described += part[1:] if part[:1] in ("l", "m") else ""
                more = part[:1] == "m"
        return self._described

    def _ask(self, packet: str) -> str:
        self._send(packet)
        reply = self._receive()
        if reply[:1] in ("W", "X"):  # the guest ended before it read the request
            raise HypervisorError("The guest has ended.")
        return reply

    def _send(self, packet: str) -> None:
        data = packet.encode()
        try:
            self._socket.sendall(b"$" + data + b"#%02x" % (sum(data) & 0xFF))
        except OSError as error:
            raise HypervisorError(f"The guest's debug socket is gone: {error}.") from error

    def _receive(self) -> str:
        while (packet := self._packet()) is None:
            self._received += self._more()
        return packet

    def _more(self) -> bytes:
        """Receive more, within `ANSWER_SECONDS` of the process's own time."""
        timeout = CpuFairTimeout(self._pid, ANSWER_SECONDS)
        while left := timeout.seconds():
            self._socket.settimeout(left)
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                continue
            except OSError as error:
                raise HypervisorError(f"The guest's debug socket did not answer: {error}.") from error
            if not data:
                raise HypervisorError("The guest's debug socket was closed.")
            return data
        raise NoAnswer(f"The guest's debug socket did not answer within {ANSWER_SECONDS:.0f} s.")

    def _packet(self) -> str | None:
        """Take the first complete packet out of the received data. QEMU accepts our next packet as the
        acknowledgement of its last, so none is sent separately."""
        start = self._received.find(b"$")
        end = self._received.find(b"#", start + 1)
        if not (0 <= start < end and len(self._received) >= end + 3):
            return None
        packet, self._received = self._received[start + 1 : end], self._received[end + 3 :]
        return packet.decode("ascii", "replace")


def _bytes(answer: str) -> bytes:
    """The bytes of a hexadecimal answer."""
    try:
        return bytes.fromhex(answer)
    except ValueError as error:
        raise HypervisorError(f"The guest's debug socket told no hexadecimal: {answer[:40]!r}.") from error
