"""A debug stub's end of the GDB remote serial protocol, for tests that say what it answers."""

import socket
from abc import ABC, abstractmethod


class DebugStub(ABC):
    """Answers each packet that comes."""

    def serve(self, sock: socket.socket) -> None:
        """Answer until the other end is closed."""
        received = b""
        while data := sock.recv(4096):
            received += data
            while b"#" in received[:-2]:
                packet, _, received = received.partition(b"#")
                received = received[2:]
                sock.sendall(b"+$%s#00" % self.answer(packet.lstrip(b"+$").decode()).encode())

    @abstractmethod
    def answer(self, packet: str) -> str:
        """The answer to one packet."""
