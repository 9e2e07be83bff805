"""The driver of OpenStack, whole, by the real SDK against a server made of its own fakes; it boots nothing."""

import gc
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bootable_machine import maker
from cloud_harness import kill_at, killed, read
from descriptors import descriptors
from openstack_standin import PASSWORD, SAID, Answer, Cloud, served

import harness
from harness.core.errors import HostError, HypervisorError
from harness.host.cache import Cache
from harness.host.requirements import REQUIREMENTS, check_requirement
from harness.runner.base import Program
from harness.runner.osv.runner import OsvRunner
from harness.runner.verdict import Outcome
from harness.vm.base import ExitCause
from harness.vm.common.cloud_vm import CloudVm
from harness.vm.registry import hypervisor

pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # the SDK's, of itself
HEARD = SAID.encode()
UPLOAD, BOOT = ["list_flavors", "create_image", "upload"], ["create_server"]
LONGEST = 300.0  # seconds, on a busy host
CONSOLE = "os-getConsoleOutput"
SPOKEN = "OSv v0.57.0\nCmdline: /hello\nhello, there is enough to be known again when it comes a second time\n"
WELL = f"{SPOKEN}program exited with status 0\nPowering off.\n"
BADLY = f"{SPOKEN}program exited with status 1\nPowering off.\n"


@pytest.fixture
def cloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Cloud]:
    """A cloud that the user's clouds.yaml names; after the test it has nothing of this harness's, nor does an
    image stay open here until it is collected as garbage."""
    gc.disable()
    request.addfinalizer(gc.enable)
    for name in [name for name in os.environ if name.startswith("OS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("harness.vm.common.cloud_vm.POLL_SECONDS", 0.05)
    with served() as one:
        configure(tmp_path, one, monkeypatch)
        yield one
        assert one.kept() == []
    left = [target for target in descriptors().values() if "/osv-harness-openstack-" in target]
    assert not left


@pytest.fixture
def kept_cloud(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """The cloud, whose reapers do nothing: a test of something else need not wait for them."""
    monkeypatch.setattr("harness.vm.openstack.driver.REMOVE", ("true",))
    yield cloud
    cloud.servers.clear()
    cloud.images.clear()


def configure(
    folder: Path, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, password: str = PASSWORD, **settings: Any
) -> None:
    """Write a clouds.yaml, and name the cloud in it."""
    file = folder / "clouds.yaml"
    auth = {
        "auth_url": f"{cloud.url}/v3", "username": "demo", "password": password, "project_name": "demo",
        "user_domain_name": "Default", "project_domain_name": "Default",
    }  # fmt: skip
    settings = {"region_name": "here", "status_code_retries": 0} | settings
    file.write_text(json.dumps({"clouds": {"standin": {"auth": auth, **settings}}}))
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(file))
    monkeypatch.setenv("OS_CLOUD", "standin")


def started(folder: Path) -> CloudVm:
    vm = hypervisor("openstack").start(maker(folder)("openstack"))
    assert isinstance(vm, CloudVm)
    return vm


def test_a_machine_is_uploaded_booted_heard_and_removed(cloud: Cloud, tmp_path: Path) -> None:
    with closing(started(tmp_path)) as vm:
        assert [name for name in cloud.asked if name in UPLOAD] == UPLOAD
        image = next(iter(cloud.images.values()))
        assert image["name"].startswith("osv-harness-")
        assert (image["disk_format"], image["visibility"]) == ("qcow2", "private")
        (tmp_path / "uploaded").write_bytes(cloud.data[image["id"]])
        subprocess.run(["qemu-img", "convert", "-O", "raw", tmp_path / "uploaded", tmp_path / "boots"], check=True)
        boots = (tmp_path / "boots").read_bytes()
        assert boots[510:].startswith(b"\x55\xaa" + maker(tmp_path)("openstack").cmdline.encode() + b"\0")
        assert cloud.servers == {}
        vm.resume()
        assert read(vm, b"\n") == HEARD
        assert vm.wait_for_exit(0.0) is None
        assert cloud.kept() == [image["name"]] * 2
        vm.stop()
        exit_status = vm.wait_for_exit(0.0)
        assert exit_status
        assert exit_status.cause is ExitCause.STOPPED


def test_a_machine_that_powers_off_has_ended_and_said_all_once(kept_cloud: Cloud, tmp_path: Path) -> None:
    with closing(started(tmp_path)) as vm:
        vm.resume()
        said = read(vm, b"\n")
        vm.press_power_button()
        exit_status = vm.wait_for_exit(LONGEST)
        assert exit_status
        assert exit_status.cause is ExitCause.POWERED_OFF
        while more := vm.console.recv(4096):
            said += more
        assert said == HEARD
        assert vm.hypervisor_error() == ""


Plant = Callable[[Cloud], Answer | None]


def become(status: str, console: str | None = WELL) -> Plant:
    """The server's status and its console become that."""

    def plant(cloud: Cloud) -> None:
        cloud.console = console
        for server in cloud.servers.values():
            server |= {"status": status, "fault": {"code": 500, "message": "out of \x1b[31mluck"}}

    return plant


def stopped(cloud: Cloud) -> None:
    """Somebody has it stopped."""
    become("SHUTOFF")(cloud)
    cloud.stopped_by = "somebody"


@pytest.mark.parametrize(
    ("plant", "outcome", "reason"),
    [
        (become("SHUTOFF"), Outcome.PASSED, "status 0"),
        (become("SHUTOFF", BADLY), Outcome.FAILED, "status 1"),
        (become("SHUTOFF", SPOKEN), Outcome.GUEST_ENDED, "ended before its time"),
        (become("ERROR"), Outcome.HARNESS_ERROR, "is ERROR: out of luck"),
        (become("DELETED"), Outcome.HARNESS_ERROR, "is DELETED"),
        (stopped, Outcome.HARNESS_ERROR, "stopped by a user, somebody"),
        (become("SHUTOFF", "Another text.\n" * 20 + WELL), Outcome.HARNESS_ERROR, "console is missing"),
        (become("SHUTOFF", ""), Outcome.HARNESS_ERROR, "does not give its console"),
        (become("SHUTOFF", None), Outcome.HARNESS_ERROR, "does not have a console available"),
        (lambda cloud: cloud.servers.clear(), Outcome.HARNESS_ERROR, "no such server"),
        (lambda cloud: (500, {"message": "out of \x1b[31mluck"}), Outcome.HARNESS_ERROR, "out of luck"),
    ],
    ids=["well", "status", "early", "error", "deleted", "stopped", "cut", "emptied", "without", "gone", "fails"],
)
def test_what_the_cloud_tells_is_judged(
    kept_cloud: Cloud, tmp_path: Path, plant: Plant, outcome: Outcome, reason: str
) -> None:
    """The console begins well in each, and what happens then happens while it is polled for the second time."""
    kept_cloud.console = SPOKEN
    polls = iter(range(1000))
    kept_cloud.fault = lambda name: plant(kept_cloud) if name == CONSOLE and next(polls) else None
    verdict = run(tmp_path, Program("hello", "/hello", LONGEST))
    assert (verdict.outcome, reason in verdict.reason) == (outcome, True), verdict.reason
    assert verdict.reason.isprintable()


@pytest.mark.parametrize("boots", [False, True])
def test_a_machine_that_says_nothing_is_not_called_a_kernel_that_did_not_boot(
    kept_cloud: Cloud, tmp_path: Path, boots: bool
) -> None:
    """It waits for a host, or its console is not given."""
    kept_cloud.boots, kept_cloud.console = boots, ""
    verdict = run(tmp_path, Program("hello", "/hello", 1.0, boot_limit=1.0))
    assert verdict.outcome is Outcome.HARNESS_ERROR
    assert verdict.reason.startswith("the cloud ")


def run(folder: Path, program: Program) -> Any:
    """The verdict on the program, as a test of the user's has it."""
    image = maker(folder)("openstack").image
    return OsvRunner(image, hypervisor("openstack"), "kvm", Cache(folder / "cache")).run(program).verdict


def test_a_cloud_that_fails_for_a_moment_is_asked_again(
    kept_cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default; a user's clouds.yaml may say otherwise."""
    configure(tmp_path, kept_cloud, monkeypatch, status_code_retries=None)
    fails = iter((None, (503, {"message": "busy"}), (500, {"message": "busy"})))
    kept_cloud.fault = lambda name: next(fails, None) if name in (CONSOLE, "server") else None
    with closing(started(tmp_path)) as vm:
        vm.resume()
        assert read(vm, b"\n") == HEARD
        assert next(fails, None) is None
        assert vm.hypervisor_error() == ""


def test_a_token_that_expires_is_renewed(kept_cloud: Cloud, tmp_path: Path) -> None:
    with closing(started(tmp_path)) as vm:
        kept_cloud.token = "another"
        vm.resume()
        assert read(vm, b"\n") == HEARD
        assert kept_cloud.asked.count("token") == 2


def test_a_cloud_that_does_not_answer_is_told(
    kept_cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(tmp_path, kept_cloud, monkeypatch, api_timeout=1, connect_retries=0)
    over = threading.Event()
    with closing(started(tmp_path)) as vm:
        vm.resume()
        read(vm, b"\n")
        kept_cloud.fault = lambda name: (500, {}) if over.wait(LONGEST) else None
        exit_status = vm.wait_for_exit(LONGEST)
        over.set()
    assert exit_status
    assert exit_status.cause is ExitCause.KILLED
    assert "timed out" in exit_status.detail


@pytest.mark.parametrize("how", ["queued", "short"])
def test_an_image_that_does_not_become_whole_is_not_booted(
    kept_cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr("harness.vm.openstack.cloud.ACTIVE_SECONDS", 0.5)
    monkeypatch.setattr("harness.vm.openstack.cloud.POLL_SECONDS", 0.05)
    kept_cloud.stores = False

    def fault(name: str) -> None:
        if name == "image" and how == "short":
            for image in kept_cloud.images.values():
                image |= {"status": "active", "size": 512}

    kept_cloud.fault = fault
    with pytest.raises(HypervisorError, match="to active" if how == "queued" else "has 512 bytes of the image"):
        started(tmp_path)
    assert "image" in kept_cloud.asked


def test_the_smallest_flavour_that_fits_is_taken_or_the_named_one(
    kept_cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for named, taken in (("", "3"), ("m1.large", "2"), ("2", "2")):
        monkeypatch.setenv("OSV_HARNESS_OPENSTACK_FLAVOR", named)
        with closing(started(tmp_path)) as vm:
            assert vm.command[vm.command.index("--flavor") + 1] == taken
    for named, wrong in (("", "2 cpus, 256 MiB"), ("m1.huge", "m1.huge")):
        monkeypatch.setenv("OSV_HARNESS_OPENSTACK_FLAVOR", named)
        kept_cloud.flavors = [one for one in kept_cloud.flavors if one["name"] == "m1.tiny"]
        with pytest.raises(HypervisorError, match=wrong) as caught:
            started(tmp_path)
        assert "m1.tiny" in caught.value.hint


@pytest.mark.parametrize("refused", [*UPLOAD, *BOOT])
def test_what_the_cloud_refuses_is_told_and_leaves_nothing(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    if refused not in BOOT:  # nothing is there yet that a reaper would have to remove
        monkeypatch.setattr("harness.vm.openstack.driver.REMOVE", ("true",))

    def fault(name: str) -> Answer | None:
        # As both services word an error.
        words = {"code": 403, "message": "quota \x1b[31mexceeded"}
        return (403, {"forbidden": words, "message": words["message"]}) if name == refused else None

    cloud.fault = fault
    with pytest.raises(HypervisorError, match="quota exceeded") as caught, closing(started(tmp_path)) as vm:
        vm.resume()
    assert refused in cloud.asked
    assert "\x1b" not in str(caught.value)
    assert "OS_CLOUD" in caught.value.hint


def test_a_cloud_that_refuses_or_is_not_named_is_told(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = REQUIREMENTS["openstack"].programs[0]  # run without the time limit that `doctor` has
    assert subprocess.run(command, check=True, capture_output=True).stdout.startswith(b"openstacksdk ")
    configure(tmp_path, cloud, monkeypatch, "wrong")
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert "requires authentication" in done.stderr
    assert done.stderr.removesuffix("\n").isprintable()
    with pytest.raises(HypervisorError, match="requires authentication"):
        started(tmp_path)
    monkeypatch.setenv("OS_CLOUD", "elsewhere")
    with pytest.raises(HypervisorError, match="elsewhere"):
        started(tmp_path)
    assert "create_image" not in cloud.asked


def test_a_failure_with_an_address_in_it_is_not_taken_for_a_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_AUTH_URL", "http://127.0.0.1:1/v3")
    for name, value in {"USERNAME": "demo", "PASSWORD": "x", "PROJECT_NAME": "demo"}.items():
        monkeypatch.setenv(f"OS_{name}", value)
    found = check_requirement(REQUIREMENTS["openstack"])
    assert not found.present
    assert found.what == "openstacksdk"
    assert found.found.startswith("openstacksdk fails: OpenStack can't be reached: ")
    assert "127.0.0.1" in found.found


def test_without_the_sdk_its_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.vm.openstack.driver.find_spec", lambda name: None)
    with pytest.raises(HostError, match="missing") as caught:
        started(tmp_path)
    assert "osv-harness[openstack]" in caught.value.hint


def test_doctor_names_the_sdk_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check runs without packages here, only with the harness itself."""
    command = (sys.executable, "-S", *REQUIREMENTS["openstack"].programs[0][1:])
    monkeypatch.setenv("PYTHONPATH", str(Path(harness.__file__).parents[1]))
    found = check_requirement(replace(REQUIREMENTS["openstack"], programs=(command,)))
    assert (found.present, found.found) == (False, "openstacksdk fails: it is not installed")
    assert "osv-harness[openstack]" in found.how_to_get


def test_the_sdk_is_imported_only_where_a_cloud_is_asked() -> None:
    code = "import sys, harness.vm.openstack.driver; sys.exit('openstack' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("step", ["create_image", "upload", *BOOT, CONSOLE])
def test_a_harness_that_is_killed_while_it_asks_leaves_nothing(cloud: Cloud, tmp_path: Path, step: str) -> None:
    """What it asked for comes to be after its death, and after the first search for it."""
    cloud.fault, running = kill_at(step, "list_images")
    killed("openstack", tmp_path, running)
    assert step in cloud.asked
