"""What Firecracker and Cloud Hypervisor are sent is right by their published schemas."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from openapi import OpenApi
from rest_machines import maker

from harness.core.cell import Cell
from harness.core.machine import Machine
from harness.vm.cloud_hypervisor import api as cloud_hypervisor
from harness.vm.common.rest_client import Request
from harness.vm.firecracker import api as firecracker


@pytest.fixture
def machine(tmp_path: Path) -> Callable[[str], Machine]:
    """Makes a machine with two disks and a network for a hypervisor."""
    return maker(tmp_path)


@pytest.mark.parametrize("kernel", ["osv", "linux"])
@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
@pytest.mark.parametrize(
    ("schema", "version"), [("firecracker-1.17", (1, 17, 0)), ("firecracker-0.23", (0, 23, 0))]
)
def test_everything_that_firecracker_is_sent_is_right(
    machine: Callable[[str], Machine], schema: str, version: tuple[int, ...], arch: str, kernel: str
) -> None:
    """By the current schema, and by that of the version which OSv's own script fetches."""
    api, wanted = OpenApi(schema), machine("firecracker")
    cell = Cell(kernel, arch, "firecracker", "rofs", "all")
    image = replace(wanted.image, cell=cell, initrd=Path("/initrd"))
    wanted = replace(wanted, image=image)
    sent = [
        firecracker.DESCRIBE, *firecracker.configuration(wanted, version), firecracker.START,
        firecracker.POWER_BUTTON, *firecracker.snapshot(), firecracker.restore(version), firecracker.RESUME,
    ]  # fmt: skip
    assert {request.path: api.complaints(request) for request in sent if api.complaints(request)} == {}
    assert sum(request.path.startswith("/drives/") for request in sent) == 2


@pytest.mark.parametrize("kernel", ["osv", "linux"])
def test_everything_that_cloud_hypervisor_is_sent_is_right(machine: Callable[[str], Machine], kernel: str) -> None:
    api, wanted = OpenApi("cloud-hypervisor"), machine("cloud_hypervisor")
    cell = Cell(kernel, "x86_64", "cloud_hypervisor", "rofs", "all")
    image = replace(wanted.image, cell=cell, initrd=Path("/initrd"))
    wanted = replace(wanted, image=image)
    sent = [cloud_hypervisor.PING, cloud_hypervisor.creation(wanted), cloud_hypervisor.BOOT]
    sent += [cloud_hypervisor.POWER_BUTTON, cloud_hypervisor.creation(replace(wanted, share=Path("/srv")))]
    assert {request.path: api.complaints(request) for request in sent if api.complaints(request)} == {}


@pytest.mark.parametrize(
    ("schema", "request_", "complaint"),
    [
        ("firecracker-1.17", Request("PUT", "/machine-config", {"vcpu_count": 1}), "mem_size_mib"),
        ("firecracker-1.17", Request("PUT", "/machine-config", {"vcpu_count": 99, "mem_size_mib": 1}), "maximum"),
        ("firecracker-1.17", Request("PUT", "/vm", {"state": "Paused"}), "there is no PUT /vm"),
        ("firecracker-1.17", Request("PATCH", "/vm", {"state": "paused"}), "paused"),
        ("firecracker-0.23", firecracker.restore((1, 17)), "mem_backend"),
        ("cloud-hypervisor", Request("PUT", "/vm.create", {"payload": {"kernle": "x"}}), "kernle"),
        ("cloud-hypervisor", Request("PUT", "/vm.boot", {}), "no body"),
    ],
)
def test_a_request_that_is_wrong_is_seen(schema: str, request_: Request, complaint: str) -> None:
    """Else the tests above would say nothing."""
    assert any(complaint in words for words in OpenApi(schema).complaints(request_))


def test_an_old_and_a_new_firecracker_are_sent_what_each_knows(machine: Callable[[str], Machine]) -> None:
    old, new = (
        firecracker.configuration(machine("firecracker"), version)[0].body for version in ((0, 23), (1, 0))
    )
    assert old == {**new, "ht_enabled": False}


def test_a_guest_is_told_its_board_and_its_address(machine: Callable[[str], Machine]) -> None:
    source = firecracker.configuration(machine("firecracker"), (1, 12))[1].body
    network = "--ip=eth0,172.16.0.2,255.255.255.252 --defaultgw=172.16.0.1"
    assert source["boot_args"] == f"--nopci {network} --rootfs=rofs --verbose /hello"
    created = cloud_hypervisor.creation(machine("cloud_hypervisor")).body
    assert created["payload"]["cmdline"] == f"{network} --rootfs=rofs --verbose /hello"
    wanted = machine("cloud_hypervisor")
    image = replace(wanted.image, cell=replace(wanted.image.cell, kernel="linux"))
    created = cloud_hypervisor.creation(replace(wanted, image=image)).body
    assert created["payload"]["cmdline"].startswith("ip=172.16.0.2::172.16.0.1:255.255.255.252::eth0:off ")
