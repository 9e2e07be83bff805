"""A session of QEMU's machine protocol with a peer that goes away in it."""

import gc
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from harness.core.errors import HypervisorError
from harness.vm.qemu.qmp import Qmp

GREETING = {"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "capabilities": []}}


@pytest.fixture
def pid() -> Iterator[int]:
    """A process in whose time the session waits."""
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process.pid
        process.kill()


def greeting(peer: socket.socket, answers: int, released: threading.Event | None = None) -> threading.Thread:
    """A peer that greets, answers so many commands and, when it is `released`, closes its end."""

    def talk() -> None:
        with peer:
            peer.sendall(json.dumps(GREETING).encode() + b"\n")
            for _ in range(answers):
                asked = json.loads(peer.recv(4096))
                answer = {"return": {}} | ({"id": asked["id"]} if "id" in asked else {})
                peer.sendall(json.dumps(answer).encode() + b"\n")
            if released:
                released.wait()

    thread = threading.Thread(target=talk)
    thread.start()
    return thread


@pytest.mark.parametrize("answers", [0, 1])
def test_a_qemu_that_goes_while_its_session_begins_is_told(pid: int, answers: int) -> None:
    """With one answer it goes between two steps of the library, which asserts there that it has not gone."""
    ours, theirs = socket.socketpair()
    thread = greeting(theirs, answers)
    qmp = Qmp(ours, "test", pid)
    try:
        with pytest.raises(HypervisorError, match=r"control socket did not answer: .") as caught:
            qmp.connect()
        assert isinstance(caught.value.__cause__, AssertionError) == bool(answers)
    finally:
        thread.join()
        qmp.close()
    assert ours.fileno() == -1


@pytest.mark.parametrize(("goes", "told"), [(True, "QEMU ended before it sent"), (False, "QEMU sent no")])
def test_waiting_in_vain_for_an_event_leaves_no_task(
    pid: int, goes: bool, told: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Killed forks left some: Python complains of each when it is collected."""
    left: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", left.append)
    ours, theirs = socket.socketpair()
    released = threading.Event()
    thread = greeting(theirs, 1, released)
    qmp = Qmp(ours, "test", pid)
    try:
        qmp.connect()
        if goes:
            released.set()
        with pytest.raises(HypervisorError, match=told):
            qmp.wait_event("MIGRATION", timeout=60 if goes else 0.1)
    finally:
        released.set()
        thread.join()
        qmp.close()
    del qmp
    gc.collect()
    assert (left, caplog.messages) == ([], [])
