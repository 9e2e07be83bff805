"""Saves and loads the state of a QEMU guest without its RAM, which is in a file already.

Source: QEMU's docs/devel/migration.rst, qapi/migration.json (`x-ignore-shared`).
"""

from collections.abc import Callable
from pathlib import Path

from harness.core.errors import HypervisorError
from harness.vm.qemu.qmp import Qmp


def save(qmp: Qmp, state: Path, words: Callable[[], str]) -> None:
    """Write the stopped guest's state. Raises `HypervisorError` with QEMU's output, from `words`."""
    _prepare(qmp)
    qmp.execute("migrate", uri=f"exec:cat > {_quoted(state)}")
    _finish(qmp, words)


def load(qmp: Qmp, state: Path, words: Callable[[], str]) -> None:
    """Load the state into a QEMU that waits for it. Raises `HypervisorError` with QEMU's output, from `words`."""
    _prepare(qmp)
    qmp.execute("migrate-incoming", uri=f"exec:cat {_quoted(state)}")
    _finish(qmp, words)


def _prepare(qmp: Qmp) -> None:
    """Leave RAM out of the stream, and request progress events."""
    capabilities = [{"capability": name, "state": True} for name in ("x-ignore-shared", "events")]
    qmp.execute("migrate-set-capabilities", capabilities=capabilities)


def _finish(qmp: Qmp, words: Callable[[], str]) -> None:
    while (status := qmp.wait_event("MIGRATION")["data"]["status"]) != "completed":
        if status == "failed":
            raise HypervisorError("QEMU could not move the guest's state.", words())


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "'\\''") + "'"
