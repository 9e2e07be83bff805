"""The driver of AWS, whole, by the real `aws` against moto's servers of EC2 and EBS. They boot nothing."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import aws_forks
import pytest
from bootable_machine import maker
from cloud_harness import kill_at, killed, read
from moto_cloud import Cloud, served

from harness.core.errors import HypervisorError
from harness.core.events import Event, subscribed
from harness.host.process.reaper import Reaper
from harness.vm.aws.driver import BY_ITSELF, BY_USER, AwsInstance
from harness.vm.base import ExitCause, ExitStatus
from harness.vm.common.cloud_vm import CloudVm
from harness.vm.disks.bootable import write_bootable
from harness.vm.registry import hypervisor

LONGEST = 300.0  # seconds, on a busy host
CONSOLE = "moto.ec2.responses.general.SAMPLE_CONSOLE_OUTPUT"
SAID = "The kernel spoke.\n" * 8
STEPS = (
    "StartSnapshot", "PutSnapshotBlock", "CompleteSnapshot", "DescribeSnapshots", "RegisterImage", "RunInstances",
    "GetConsoleOutput",
)  # fmt: skip


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """An account at moto's, for `aws` and the driver."""
    with (
        pytest.MonkeyPatch.context() as monkeypatch,
        aws_forks.installed(tmp_path_factory.mktemp("bin")) as programs,
    ):
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nobody")
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        monkeypatch.setenv("AWS_DEFAULT_OUTPUT", "text")  # as a user may have it
        monkeypatch.setattr("moto.settings.EC2_ENABLE_INSTANCE_TYPE_VALIDATION", True)
        with served() as cloud:
            monkeypatch.setenv("AWS_ENDPOINT_URL", cloud.url)
            yield cloud


@pytest.fixture
def cloud(account: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """The account, which has nothing more of this harness's after a test than before."""
    monkeypatch.setattr("harness.vm.common.cloud_vm.POLL_SECONDS", 0.05)
    monkeypatch.setattr("harness.vm.common.cloud_vm.AFTER_END", 2)
    monkeypatch.setattr(CONSOLE, SAID)
    before = account.kept()
    account.asked.clear()
    yield account
    account.fault = lambda name: None
    assert account.kept() == before


@pytest.fixture(scope="module")
def uploaded(account: Cloud, tmp_path_factory: pytest.TempPathFactory) -> AwsInstance:
    """A machine whose image is uploaded once, to be started often; moto forgets it."""
    return AwsInstance("osv-harness-once", maker(tmp_path_factory.mktemp("disks"))("aws"), Reaper(["true"]))


def test_a_machine_is_uploaded_booted_heard_and_removed(cloud: Cloud, tmp_path: Path) -> None:
    before = cloud.kept()
    machine = maker(tmp_path)("aws")
    write_bootable(machine, tmp_path / "disk")
    disk = (tmp_path / "disk").read_bytes()
    with closing(hypervisor("aws").start(machine)) as vm:
        assert cloud.kept() == sorted([*before, "ami", "snap"])
        assert cloud.disk(len(disk)) == disk
        assert not cloud.machines
        vm.resume()
        assert isinstance(vm, CloudVm)
        assert read(vm, SAID.encode()).decode() == SAID
        assert len(cloud.machines) == 1
        assert vm.wait_for_exit(0.0) is None
        vm.stop()
        exit_status = vm.wait_for_exit(0.0)
        assert exit_status
        assert exit_status.cause is ExitCause.STOPPED


class Machine:
    """A started machine, and what a test does to it."""

    def __init__(self, cloud: Cloud, vm: CloudVm, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cloud = cloud
        self.vm = vm
        self.says: Callable[[str], None] = lambda text: monkeypatch.setattr(CONSOLE, text)
        self.setenv = monkeypatch.setenv

    def refuse(self, step: str, status: int, code: str, message: str, times: int = 1000) -> None:
        """Have AWS refuse a step some times."""
        left = iter(range(times))
        self.cloud.fault = lambda name: (
            (status, code, message) if name == step and next(left, None) is not None else None
        )

    def end(self, code: str = BY_ITSELF, words: str = "shut down") -> None:
        self.cloud.end(code, words)


@pytest.fixture
def started(cloud: Cloud, uploaded: AwsInstance, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """A machine of the uploaded image, which is no more after the test."""
    with closing(CloudVm(uploaded, Reaper(["true"]))) as vm:
        vm.resume()
        yield Machine(cloud, vm, monkeypatch)
    for _ in cloud.machines:
        cloud.end(BY_USER, "the test is over")


def ended(machine: Machine) -> ExitStatus:
    exit_status = machine.vm.wait_for_exit(LONGEST)
    assert exit_status
    return exit_status


def test_a_machine_that_powers_off_has_ended_and_said_all_once(started: Machine) -> None:
    said = read(started.vm, SAID.encode())
    started.says(f"{SAID}Powering off.\n")
    started.end()
    assert ended(started) == ExitStatus(ExitCause.POWERED_OFF, "the cloud says that it has powered off")
    while more := started.vm.console.recv(4096):
        said += more
    assert said.decode() == f"{SAID}Powering off.\n"
    assert started.vm.hypervisor_error() == ""


def test_a_machine_that_is_asked_to_end_has_powered_off(started: Machine) -> None:
    started.vm.press_power_button()
    assert ended(started).cause is ExitCause.POWERED_OFF


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (BY_USER, "User initiated shutdown"),
        ("Server.InsufficientInstanceCapacity", "There is no capacity"),
    ],
)
def test_a_machine_that_the_cloud_or_somebody_ended_did_not_power_off(
    started: Machine, code: str, words: str
) -> None:
    """Whatever its console says by then."""
    started.says(f"{SAID}Powering off.\n")
    started.end(code, words)
    exit_status = ended(started)
    assert exit_status.cause is ExitCause.KILLED
    assert f"{code}: {words}" in exit_status.detail


@pytest.mark.parametrize(
    ("step", "status", "code", "message"),
    [
        ("GetConsoleOutput", 503, "Unavailable", "out of luck"),
        ("GetConsoleOutput", 400, "ExpiredToken", "The security token has expired"),
        ("DescribeInstances", 400, "InvalidInstanceID.NotFound", "There is no such instance"),
    ],
)
def test_a_cloud_that_fails_says_nothing_of_the_machines_end(
    started: Machine, step: str, status: int, code: str, message: str
) -> None:
    read(started.vm, SAID.encode())
    started.says(f"{SAID}Powering off.\n")
    started.refuse(step, status, code, message)
    exit_status = ended(started)
    assert exit_status.cause is ExitCause.KILLED
    assert code in exit_status.detail
    assert message in exit_status.detail
    assert started.vm.hypervisor_error() == exit_status.detail


def test_a_cloud_that_fails_for_a_moment_is_asked_again(started: Machine) -> None:
    started.setenv("AWS_MAX_ATTEMPTS", "3")
    started.refuse("GetConsoleOutput", 503, "Unavailable", "busy", times=1)
    assert read(started.vm, SAID.encode()).decode() == SAID
    started.end()
    assert ended(started).cause is ExitCause.POWERED_OFF
    assert started.vm.hypervisor_error() == ""


def test_a_cloud_that_can_not_be_reached_is_told(started: Machine) -> None:
    started.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert "Could not connect" in ended(started).detail


def test_a_console_of_which_some_is_missing_is_no_evidence(started: Machine) -> None:
    """A status that is not 0 may have been there."""
    read(started.vm, SAID.encode())
    started.says("Another text.\n" * 20 + "Powering off.\n")
    started.end()
    exit_status = ended(started)
    assert exit_status.cause is ExitCause.KILLED
    assert "some of the console is missing" in exit_status.detail


def test_of_a_machine_that_was_never_heard_nothing_is_known(started: Machine) -> None:
    started.says("")
    looks, looked = iter((False,)), threading.Event()
    started.cloud.fault = lambda name: looked.set() if name == "DescribeInstances" and next(looks, True) else None
    assert looked.wait(LONGEST)  # the answer to the first is known by the second
    assert "gave nothing of the machine's console" in started.vm.hypervisor_error()
    started.end()
    exit_status = ended(started)
    assert exit_status.cause is ExitCause.KILLED
    assert "does not give its console" in exit_status.detail


def test_what_the_cloud_refuses_to_start_is_told(
    cloud: Cloud, uploaded: AwsInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.fault = lambda name: (400, "InstanceLimitExceeded", "quota exceeded") if name == "RunInstances" else None
    with pytest.raises(HypervisorError, match="quota exceeded"):
        uploaded.run()
    cloud.fault = lambda name: None
    command = tuple(word if word != "t3.small" else "t9.huge" for word in uploaded.command)
    monkeypatch.setattr(uploaded, "command", command)
    with pytest.raises(HypervisorError, match=r"t9\.huge' does not exist"):
        uploaded.run()


def test_a_snapshot_that_is_refused_is_told_and_leaves_nothing(cloud: Cloud, tmp_path: Path) -> None:
    refused = (400, "ServiceQuotaExceededException", "quota exceeded")
    cloud.fault = lambda name: refused if name == "CompleteSnapshot" else None
    with pytest.raises(HypervisorError, match="quota exceeded"):
        hypervisor("aws").start(maker(tmp_path)("aws"))
    assert "StartSnapshot" in cloud.asked


def test_who_pays_is_told_what_could_not_be_removed(cloud: Cloud, uploaded: AwsInstance) -> None:
    events: list[Event] = []
    with subscribed(events.append), closing(CloudVm(uploaded, Reaper(["false"]))) as vm:
        vm.stop()
    assert [(event.kind, event.about) for event in events] == [("cloud.left", "osv-harness-once")]


@pytest.mark.parametrize("step", STEPS)
def test_a_harness_that_is_killed_while_it_asks_leaves_nothing(cloud: Cloud, tmp_path: Path, step: str) -> None:
    """What it asked for comes to be after its death."""
    cloud.fault, running = kill_at(step)
    killed("aws", tmp_path, running)
    assert step in cloud.asked
