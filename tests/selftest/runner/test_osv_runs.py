"""What surrounds a program on OSv: its environment, the image's /init, its root. On real guests, by OSV_ROOT."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from recording import Recorder

from harness.kernels.rootfs.contents import Contents
from harness.runner.base import Program
from harness.runner.osv import watching_tracer
from harness.runner.osv.runner import OsvRunner
from harness.runner.session import Session
from harness.runner.verdict import Outcome
from harness.vm import gdb_remote
from harness.vm.gdb_remote import GdbRemote, NoAnswer
from harness.vm.registry import hypervisor

FAULT = "/tmp/faults/fault.so"


@pytest.mark.parametrize("value", ["a b", "a\tb", 'say "no"', "back\\slash", "semi;colon & more!", "--nonsense"])
def test_an_environment_value_reaches_the_program_whole(
    osv_with_faults: Callable[[str], Recorder], value: str
) -> None:
    prints = (f"^it is <{re.escape(value)}>$",)
    program = Program("environment", f"{FAULT} environment", 60, environment=(("PLANTED", value),), prints=prints)
    verdict = osv_with_faults("x86_64").run(program).verdict
    assert verdict.outcome is Outcome.PASSED, verdict.reason


@pytest.mark.parametrize("root", ["rofs", "ext", "zfs"])
def test_a_root_that_is_not_there_is_no_fault_of_the_test(
    osv_with_faults: Callable[[str], Recorder], root: str
) -> None:
    whole = osv_with_faults("x86_64").image
    image = replace(whole, disks=(), cmdline=f"--rootfs={root}")
    session = Session()
    runner = OsvRunner(image, hypervisor("qemu"), session.accelerator(image.cell), session.cache)
    verdict = runner.run(Program("hello", "/tests/tst-hello.so", 60)).verdict
    assert verdict.outcome is Outcome.BOOT_FAILED, verdict.reason
    assert "could not mount its root" in verdict.reason


@pytest.fixture(scope="module")
def osv_with_init(session: Session, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], OsvRunner]:
    """Runners of OSv whose /init has one command."""
    if session.osv_root is None:
        pytest.skip("no OSv checkout is named (OSV_ROOT)")
    if (compiler := shutil.which("cc")) is None:
        pytest.skip("no C compiler")
    source = tmp_path_factory.mktemp("init") / "ends.c"
    source.write_text("#include <stdlib.h>\nint main(int c, char **v) { return c > 1 ? atoi(v[1]) : 0; }\n")
    program = source.with_suffix(".so")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(program), str(source)], check=True)

    def runner(command: str) -> OsvRunner:
        cell = session.cell("osv:x86_64-qemu-rofs-all")
        made: dict[str, Path] = {"/ends.so": program, "/other.so": program}
        image = session.image_with(
            cell, Contents(("libc6",), ("/ends.so",), texts={"/init/10": command}, made=made)
        )
        return OsvRunner(image, hypervisor("qemu"), session.accelerator(cell), session.cache)

    return runner


@pytest.mark.parametrize(
    ("init", "test", "outcome"),
    [
        ("/ends.so", "/ends.so 1", "failed"),
        ("/other.so", "/ends.so 1", "failed"),
        ("/ends.so 1", "/ends.so", "passed"),
        ("/other.so 1", "/ends.so", "passed"),
        ("/other.so &", "/ends.so 1", "failed"),
        ("/other.so 1 &", "/ends.so; /ends.so 3", "failed"),
    ],
)
def test_the_status_is_the_tests_and_not_that_of_init(
    osv_with_init: Callable[[str], OsvRunner], init: str, test: str, outcome: str
) -> None:
    verdict = osv_with_init(init).run(Program("test", test, 60)).verdict
    assert verdict.outcome == outcome, verdict.reason


def test_a_guest_that_the_host_stops_while_it_is_looked_at_goes_on(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The debug stub is silent then; its answer comes when nobody waits for it any more."""
    if session.osv_root is None:
        pytest.skip("no OSv checkout is named (OSV_ROOT)")
    cell = session.cell("osv:x86_64-qemu-rofs")
    if session.accelerator(cell) != "tcg":
        pytest.skip("guests are looked at under TCG")
    silent: list[NoAnswer] = []
    interrupt = GdbRemote.interrupt

    def stopped_once(stub: GdbRemote) -> None:
        if silent:
            interrupt(stub)
            return
        os.kill(stub._pid, signal.SIGSTOP)
        try:
            interrupt(stub)
        except NoAnswer as error:
            silent.append(error)
            raise
        finally:
            os.kill(stub._pid, signal.SIGCONT)

    monkeypatch.setattr(GdbRemote, "interrupt", stopped_once)
    monkeypatch.setattr(gdb_remote, "ANSWER_SECONDS", 1.0)
    monkeypatch.setattr(watching_tracer, "FIRST_LOOK", 1.0)
    runner = OsvRunner(session.image(cell), hypervisor("qemu"), "tcg", session.cache)
    verdict = runner.run(session.program(cell, "tst-libc-locking.so")).verdict
    assert silent
    assert verdict.outcome is Outcome.PASSED, verdict.reason
