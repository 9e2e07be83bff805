"""Checks inside a guest by testinfra, if its kernel has a shell.

A row of `[[inside]]` in an app's file, in testinfra's terms: `process` (the name of a running command), `socket`
(`tcp://0.0.0.0:80` listens), `package` (is installed), `file` (exists; with `contains`, has this text).
"""

from collections.abc import Mapping
from typing import Any

from testinfra.backend.base import BaseBackend, CommandResult
from testinfra.host import Host

from harness.runner.interaction import GuestClient


class GuestBackend(BaseBackend):  # type: ignore[misc]  # testinfra is not typed here
    """Runs testinfra's commands by the guest's agent, beside the program."""

    NAME = "osv-harness"

    def __init__(self, client: GuestClient) -> None:
        super().__init__("guest")
        self._client = client

    def run(self, command: str, *args: str, **kwargs: Any) -> CommandResult:
        """Return the command's status and output. Raises `HarnessError` if the guest does not answer."""
        line = self.get_command(command, *args)
        if line.startswith("ps "):  # Debian's busybox lacks the column that testinfra requests
            line = line.replace(",time", ",stat")
        result = self._client.run_command(line)
        return self.result(result.status, line.encode(), result.output, result.errors)


def host(client: GuestClient) -> Host:
    """The guest as testinfra's `host`."""
    return Host(GuestBackend(client))


def mismatch(row: Mapping[str, Any], inside: Host) -> str:
    """What is wrong inside the guest; empty if nothing is."""
    if "process" in row and not inside.process.filter(comm=row["process"]):
        return f"no process {row['process']} runs in the guest"
    if "socket" in row and not inside.socket(row["socket"]).is_listening:
        return f"nothing listens on {row['socket']} in the guest"
    if "package" in row and not inside.package(row["package"]).is_installed:
        return f"the package {row['package']} is not in the guest"
    if "file" in row:
        file = inside.file(row["file"])
        if not file.exists:
            return f"the guest has no file {row['file']}"
        if not file.contains(row.get("contains", "")):
            return f"{row['file']} in the guest does not contain {row['contains']!r}"
    return ""
