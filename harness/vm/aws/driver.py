"""AWS: machines in Amazon's cloud, driven by the tool `aws`, which pip install 'osv-harness[aws]' brings; they
cost money.

The bootable disk becomes a snapshot by EBS's direct API, and then an image, from which the machine boots. Only
what has the run's own name in the cloud is changed, and a reaper removes it.
"""

import base64
import hashlib
import json
import os
import secrets
from collections.abc import Sequence
from typing import Any

from harness.core.close_on_error import close_on_error
from harness.core.errors import HypervisorError
from harness.core.machine import Machine
from harness.host.process.reaper import Reaper
from harness.host.temp_dir import temporary_dir
from harness.vm.aws import commands
from harness.vm.common.cloud_vm import CloudVm
from harness.vm.common.command_line_tool import COMMAND_SECONDS, program, run_tool
from harness.vm.common.unsupported import reject_network, reject_unsupported
from harness.vm.disks.bootable import write_bootable

CURE = "pip install 'osv-harness[aws]', and tell it of an account: aws configure."
KIND = os.environ.get("OSV_HARNESS_AWS_INSTANCE", "t3.small")
ENDED = {"terminated", "shutting-down", "stopped"}
BY_ITSELF, BY_USER = "Client.InstanceInitiatedShutdown", "Client.UserInitiatedShutdown"
"""Why a machine ended: it powered off, or somebody asked AWS for that. Source: the EC2 API's StateReason."""
SNAPSHOT_SECONDS = 660.0
"""How long AWS may take with a snapshot; its tool gives up by itself after 600 s."""


class AwsInstance:
    """One machine; creating the object creates the image that it boots from."""

    running = "running"

    def __init__(self, name: str, machine: Machine, reaper: Reaper) -> None:
        self.name = name
        self._reaper = reaper
        self._asked_to_end = False
        snapshot = self._upload(name, machine)
        self._image = self._answer(commands.register_image(name, snapshot))["ImageId"]
        self._instance = ""
        self.command = tuple(commands.run_instance(name, self._image, KIND))

    def run(self) -> None:
        self._asked_to_end = False
        self._instance = self._answer(self.command)["Instances"][0]["InstanceId"]

    def output(self) -> bytes:
        text = self._tool(commands.console_output(self._instance)).removesuffix("\n")  # which the tool adds
        return b"" if text == "None" else text.encode()

    def state(self) -> str:
        word, code, reason = self._answer(commands.state(self._instance)) or ("unknown", "", "")
        if word not in ENDED:
            return str(word)
        if code != BY_ITSELF and not (code == BY_USER and self._asked_to_end):
            raise HypervisorError(f"AWS ended the machine, which is {word}: {code}: {reason or 'without a word'}")
        return ""

    def power_off(self) -> None:
        self._asked_to_end = True
        self._tool(commands.stop_instance(self._instance))

    def _answer(self, command: Sequence[str]) -> Any:
        return json.loads(self._tool(command))

    def _tool(self, command: Sequence[str], seconds: float = COMMAND_SECONDS) -> str:
        return run_tool(command, inherited=self._reaper.inherited(), seconds=seconds)

    def _upload(self, name: str, machine: Machine) -> str:
        """Upload the disk as a snapshot, without its zero blocks, which a new snapshot has already."""
        with temporary_dir("osv-harness-aws-") as folder:
            raw, block = folder / "raw", folder / "block"
            write_bootable(machine, raw)
            gib = -(-raw.stat().st_size // (1 << 30))
            snapshot = str(self._answer(commands.start_snapshot(name, gib))["SnapshotId"])
            written = 0
            with raw.open("rb") as file:
                for index, data in enumerate(iter(lambda: file.read(commands.BLOCK), b"")):
                    if data.strip(b"\0"):
                        block.write_bytes(data.ljust(commands.BLOCK, b"\0"))
                        checksum = base64.b64encode(hashlib.sha256(block.read_bytes()).digest()).decode()
                        self._tool(commands.put_block(snapshot, index, str(block), commands.BLOCK, checksum))
                        written += 1
            self._tool(commands.complete_snapshot(snapshot, written))
            self._tool(commands.await_snapshot(snapshot), SNAPSHOT_SECONDS)
            return snapshot


class Aws:
    """Starts machines at AWS."""

    name = "aws"

    def start(self, machine: Machine) -> CloudVm:
        reject_unsupported(machine, "AWS", "nvme")
        reject_network(machine, "AWS")
        program("aws", CURE)
        name = f"osv-harness-{secrets.token_hex(6)}"
        reaper = Reaper(commands.undo(name))
        with close_on_error(reaper):
            return CloudVm(AwsInstance(name, machine, reaper), reaper)


def driver() -> Aws:
    """The driver for the axis value `aws`."""
    return Aws()
