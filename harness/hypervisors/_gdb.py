"""A client of the GDB remote serial protocol, as much of it as breakpoints and registers need.

Source: "GDB Remote Serial Protocol", appendix E of the GDB manual.
"""

import socket

from harness.errors import HypervisorError
from harness.patience import Patience

ANSWER_SECONDS = 10.0


class GdbRemote:
    """Speaks to the stub of the process `pid` over a connected socket. The guest stands still from a stop until
    `resume`."""

    def __init__(self, sock: socket.socket, pid: int) -> None:
        self._socket = sock
        self._pid = pid
        self._received = b""
        self._socket.settimeout(ANSWER_SECONDS)
        self._ask("qXfer:features:read:target.xml:0,1000")  # QEMU reads single registers for those who asked

    def fileno(self) -> int:
        """The socket's descriptor: readable when a stop has been reported."""
        return self._socket.fileno()

    def set_breakpoint(self, address: int) -> bool:
        """A hardware breakpoint, which needs no memory to be there yet; False if the stub has none left."""
        return self._ask(f"Z1,{address:x},1") == "OK"

    def clear_breakpoint(self, address: int) -> None:
        """Take the breakpoint back."""
        self._ask(f"z1,{address:x},1")

    def register(self, number: int) -> int:
        """A register of the vCPU that stopped, by the stub's numbering, as an unsigned number."""
        return int.from_bytes(bytes.fromhex(self._ask(f"p{number:x}")), "little")

    def read(self, address: int, length: int) -> bytes:
        """`length` bytes, at most 2 KiB, of the stopped vCPU's memory; shorter where it is not mapped."""
        answer = self._ask(f"m{address:x},{length:x}")
        return b"" if answer.startswith("E") else bytes.fromhex(answer)

    def write(self, address: int, data: bytes) -> None:
        """Put at most 1 KiB into the stopped vCPU's memory; raises `HypervisorError` if it can't be written."""
        if (answer := self._ask(f"M{address:x},{len(data):x}:{data.hex()}")) != "OK":
            raise HypervisorError(f"The guest's memory at {address:#x} could not be written: {answer}.")

    def resume(self) -> None:
        """Let all vCPUs run; the next stop makes the socket readable."""
        self._send("c")

    def interrupt(self) -> None:
        """Stop the running guest; returns when it stands."""
        try:
            self._socket.sendall(b"\x03")
        except OSError as error:
            raise HypervisorError(f"The guest's debug socket is gone: {error}.") from error
        self._receive()

    def take_stop(self) -> bool | None:
        """Read what has come, once the socket is readable: True for the report of a stop, None while there
        is no whole report (an acknowledgement came alone), False when the guest has ended."""
        try:
            data = self._socket.recv(65536)
        except OSError:
            data = b""
        self._received += data
        reply = self._packet()
        if reply is None:
            return None if data else False
        return reply[:1] in ("T", "S")

    def detach(self) -> None:
        """Remove this client from the guest, which then runs on."""
        self._send("D")

    def _ask(self, packet: str) -> str:
        self._send(packet)
        reply = self._receive()
        if reply[:1] in ("W", "X"):  # its end was reported before it read the question
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
        """What comes next, within seconds of the process's own time."""
        patience = Patience(self._pid, ANSWER_SECONDS)
        while left := patience.seconds():
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
        raise HypervisorError(f"The guest's debug socket did not answer within {ANSWER_SECONDS:.0f} s.")

    def _packet(self) -> str | None:
        """Take the first whole packet out of what was received. QEMU takes the next packet that we send as
        the acknowledgement of its last, so none is sent by itself."""
        start = self._received.find(b"$")
        end = self._received.find(b"#", start + 1)
        if not (0 <= start < end and len(self._received) >= end + 3):
            return None
        packet, self._received = self._received[start + 1 : end], self._received[end + 3 :]
        return packet.decode("ascii", "replace")
