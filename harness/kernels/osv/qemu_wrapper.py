"""Replaces QEMU when OSv's build boots OSv to fill a zfs disk; run by its path, in the build's own process.

It undoes three things of OSv's run.py and upload_manifest.py:

- They use KVM wherever /dev/kvm exists, even if it runs no guest.

- gdb listens on a fixed port, so that two builds collide.

- The uploader connects as soon as QEMU listens on the forwarded port, long before the guest does: on a loaded host
the guest resets that connection. So the port is forwarded only when the guest says that it waits.
"""

import socket
import subprocess
import sys
from collections.abc import Sequence

READY = b"Waiting for connection from host"
"""What OSv's tools/cpiod prints once it listens."""

FORWARD = "hostfwd="


def translate(accelerator: str, arguments: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """The arguments for QEMU, and the port forwards that were removed from them: network backend and rule."""
    kept: list[str] = []
    forwards: list[tuple[str, str]] = []
    words = iter(arguments)
    for word in words:
        if word == "-enable-kvm":
            continue
        if word in ("-gdb", "-accel"):
            next(words)
        elif word == "-cpu":
            model = next(words)
            if not model.startswith("host"):
                kept += [word, model]
        elif word == "-netdev":
            backend, taken = _without_forwards(next(words))
            kept += [word, backend]
            forwards += taken
        else:
            kept.append(word)
    kept += ["-accel", "kvm", "-cpu", "host"] if accelerator == "kvm" else ["-accel", "tcg"]
    return kept, forwards


def run(accelerator: str, qemu: str, arguments: Sequence[str]) -> int:
    """Run QEMU until it ends and pass its output on; returns its exit status."""
    kept, forwards = translate(accelerator, arguments)
    monitor, theirs = socket.socketpair()
    with monitor, theirs:
        kept += ["-chardev", f"socket,id=harness,fd={theirs.fileno()}", "-mon", "chardev=harness"]
        with subprocess.Popen([qemu, *kept], stdout=subprocess.PIPE, pass_fds=[theirs.fileno()]) as process:
            assert process.stdout is not None
            for line in process.stdout:
                sys.stdout.buffer.write(line)
                sys.stdout.buffer.flush()
                if READY in line:
                    _forward(monitor, forwards)
        return process.returncode


def _without_forwards(backend: str) -> tuple[str, list[tuple[str, str]]]:
    words = backend.split(",")
    name = next((word.removeprefix("id=") for word in words if word.startswith("id=")), "")
    rules = [(name, word.removeprefix(FORWARD)) for word in words if word.startswith(FORWARD)]
    return ",".join(word for word in words if not word.startswith(FORWARD)), rules


def _forward(monitor: socket.socket, forwards: Sequence[tuple[str, str]]) -> None:
    monitor.settimeout(60)
    _await_prompt(monitor)
    for name, rule in forwards:
        monitor.sendall(f"hostfwd_add {name} {rule}\n".encode())
        _await_prompt(monitor)


def _await_prompt(connection: socket.socket) -> None:
    """Read up to the monitor's prompt: it has then executed the last command and waits for the next."""
    output = b""
    while not output.endswith(b"(qemu) ") and (more := connection.recv(4096)):
        output += more


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], sys.argv[2], sys.argv[3:]))
