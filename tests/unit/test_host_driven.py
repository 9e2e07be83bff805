"""OSv's tests that need the host to take part. Source: the checkout's scripts/tests/test_net.py, modules/."""

import contextlib
import socket
from pathlib import Path

import pytest

from harness.core.cell import Cell
from harness.core.link_mode import launch_of
from harness.host.netns import HOST_ADDRESS, NFS_EXPORT
from harness.integrations.pytest_plugin.outcomes import GuestRun
from harness.kernels.osv.build_config import is_cross
from harness.runner.base import Program
from harness.runner.interaction import GuestClient, Interaction
from harness.runner.session import Session
from harness.workloads.upstream import rest_api, tracing

PORT = 7777


def test_tcp_close_without_reading(run_guest: GuestRun, cell: Cell) -> None:
    """A guest closes a connection whose data it has not read, while the host goes on sending; it ends well."""
    if cell.kernel != "osv":
        pytest.skip("the program is one of OSv's own tests")
    ending = "" if launch_of(cell) else ".so"
    program = Program(
        "tcp_close_without_reading",
        f"/tests/misc-tcp-close-without-reading{ending}",
        limit=120,
        network=True,
        forwards=(PORT,),
    )
    run_guest(cell, program, Interaction(act=send_until_closed, line="listening...", long_running=False))


def test_balloon(run_guest: GuestRun, cell: Cell) -> None:
    """The host takes three quarters of the guest's memory and gives it back; the guest's free memory follows."""
    if cell.kernel != "osv" or cell.hypervisor != "qemu" or cell.profile not in ("all", "virtio-pci"):
        pytest.skip("it needs a virtio balloon, and the program is one of OSv's own")
    if mode := launch_of(cell):
        pytest.skip(f"its program asks the kernel's inside, and is a shared object only: not {mode}")
    program = Program(
        "misc-balloon.so",
        "/tests/misc-balloon.so",
        limit=120,
        prints=(r"(?s)free=5\d{8} .*free=1\d{8} .*free=[45]\d{8} ",),
        variant="balloon",
    )
    run_guest(cell, program, Interaction(act=take_and_give_back, line="balloon: t=2 ", long_running=False))


@pytest.mark.parametrize("name", rest_api.MODULES)
def test_rest_api(run_guest: GuestRun, session: Session, cell: Cell, name: str) -> None:
    """OSv's own tests of its REST API, asked of a guest that serves it."""
    checkout = checkout_with_the_api(session, cell, name)
    interaction = rest_api.interaction(checkout, name, cell)
    run_guest(cell, rest_api.program(name), interaction, rest_api.MODULES[name])


def test_tracing(run_guest: GuestRun, session: Session, cell: Cell) -> None:
    """A guest traces itself, and OSv's own trace.py shows what it did."""
    checkout = checkout_with_the_api(session, cell, tracing.SERVER)
    modules = rest_api.MODULES[tracing.SERVER]
    symbols = run_guest.image_of_modules(cell, modules).symbols
    assert symbols
    run_guest(cell, tracing.program(), tracing.interaction(checkout, symbols), modules)


def test_nfs(run_guest: GuestRun, cell: Cell) -> None:
    """OSv's own test of its NFS client (modules/nfs-tests), against a server that the run starts."""
    if cell.kernel != "osv" or cell.hypervisor not in ("qemu", "qemu_microvm"):
        pytest.skip("the program is one of OSv's own, and its server is in a network of QEMU's guests")
    if mode := launch_of(cell):
        pytest.skip(f"its program is a shared object, not {mode}")
    if cell.fs in rest_api.READ_ONLY:
        pytest.skip(f"it makes its mount points in the root, and {cell.fs} is read-only")
    command = f"/tst-nfs.so --server {HOST_ADDRESS} --share {NFS_EXPORT}"
    program = Program("tst-nfs.so", command, limit=900, network=True, variant="nfs")
    run_guest(cell, program, modules="nfs,nfs-tests")


def checkout_with_the_api(session: Session, cell: Cell, server: str) -> Path:
    """The checkout that the API's server is built from; ends the test where the cell can't have it."""
    if cell.kernel != "osv":
        pytest.skip("the API is OSv's own")
    if mode := launch_of(cell):
        pytest.skip(f"what serves the API is a shared object, not {mode}")
    if session.osv_root is None:
        pytest.skip("what serves the API is built from an OSv checkout, and none is named")
    if server == rest_api.WITH_OPENSSL and is_cross(cell):
        pytest.skip(f"{server} has this host's own openssl in it, which is none of {cell.arch}")
    return session.osv_root


def take_and_give_back(client: GuestClient) -> None:
    """Take memory for ten seconds: the guest tells how much is free once a second."""
    client.set_memory(128)
    client.gone.wait(10)
    client.set_memory(512)


def send_until_closed(client: GuestClient) -> None:
    """Send to the guest until it, or its end, breaks the connection."""
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", client.ports[PORT]), timeout=30) as line,
    ):
        while True:
            line.sendall(b"." * 1024)
