"""What goes wrong with Firecracker and Cloud Hypervisor is told, and leaves nothing.

The server that answers here stands in for the transport only, in each of its moods.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from io import FileIO
from pathlib import Path

import pytest
from rest_machines import BINARIES, CREATES, MARK, StandIn, processes, standing_in

from harness.core.errors import HostError, HypervisorError
from harness.vm.base import ExitCause
from harness.vm.common import rest_client as rest
from harness.vm.registry import hypervisor


@pytest.fixture(params=["firecracker", "cloud_hypervisor"])
def standin(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """The stand-in as the first binary in PATH; when the test is over, nothing of it may be left."""
    with standing_in(request.param, tmp_path, monkeypatch) as one:
        yield one


@pytest.mark.parametrize("change", [{"control": True}, {"deterministic": True}])
def test_what_they_lack_is_refused_before_anything_is_started(standin: StandIn, change: dict[str, bool]) -> None:
    with pytest.raises(HypervisorError) as caught:
        hypervisor(standin.name).start(replace(standin.machine, **change))  # type: ignore[arg-type]
    assert "qemu" in caught.value.hint
    assert not standin.log.exists()


def test_a_binary_that_is_missing_is_named_with_its_cure(
    standin: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    if any((folder / BINARIES[standin.name]).exists() for folder in (Path("/usr/bin"), Path("/bin"))):
        pytest.skip("this host has the binary itself")
    with pytest.raises(HostError) as caught:
        standin.start()
    assert BINARIES[standin.name] in caught.value.message
    assert "https://github.com/" in caught.value.hint


def test_a_process_that_ends_at_once_is_told_in_its_words(
    standin: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OSV_HARNESS_STANDIN", "die")
    with pytest.raises(HypervisorError) as caught:
        standin.start()
    assert "exited with 7" in caught.value.message
    assert "no luck" in caught.value.message
    assert "\x07" not in caught.value.message


def test_a_process_that_never_listens_is_given_up(standin: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSV_HARNESS_STANDIN", "silent")
    monkeypatch.setattr(rest, "START_SECONDS", 0.5)
    with pytest.raises(HypervisorError, match="its socket is silent"):
        standin.start()


@pytest.mark.parametrize(
    ("mood", "words"), [("refuse", "it is"), ("garbage", "broke off at"), ("fail", "broke off at")]
)
def test_an_api_that_errs_is_quoted_safely(
    standin: StandIn, monkeypatch: pytest.MonkeyPatch, mood: str, words: str
) -> None:
    monkeypatch.setenv("OSV_HARNESS_STANDIN", f"{mood} {CREATES[standin.name]}")
    with pytest.raises(HypervisorError) as caught:
        standin.start()
    assert CREATES[standin.name] in caught.value.message
    assert words in caught.value.message
    assert "\x1b" not in caught.value.message


def test_one_that_is_killed_while_it_starts_is_told(standin: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSV_HARNESS_STANDIN", "silent")

    def kill() -> None:
        own = f"{MARK}={standin.log.parent}".encode()
        while not (found := processes(b"rest_standin.py") & processes(own, "environ")):
            time.sleep(0.01)
        for pid in found:
            os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with pytest.raises(HypervisorError, match="SIGKILL"):
            standin.start()
    finally:
        killer.join()


def test_a_guest_that_resets_under_cloud_hypervisor_is_ended_and_not_booted_again() -> None:
    """The events as Cloud Hypervisor writes them, in two pieces; a broken one changes nothing."""
    from harness.vm.cloud_hypervisor.driver import Events
    from harness.vm.common.process import VmProcess

    heard, told = os.pipe()
    with closing(VmProcess("sleep", ["sleep", "600"])) as process:
        events = Events(FileIO(heard), process)
        os.write(told, b'{\n "source": "vm",\n "event": "booted"\n}\n\n{"no": "event"}\n\nno JSON\n\n{"source":')
        time.sleep(0.05)
        assert process.wait() is None
        os.write(told, b' "vm", "event": "rebooting",\n "properties": null}\n\n')
        assert process.wait(20) == -signal.SIGKILL
        os.close(told)
        events.join()
        assert events.cause is ExitCause.RESET
