"""The initramfs of one lab: its kernel's modules, busybox, the mounts, and the command."""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.host.in_lab import HOST_FACTS_FILE
from harness.integrations.nested_kvm.host_view import View
from harness.kernels.rootfs.filesystems import File, Folder, Link, Node, write_initramfs

HISTORY = Path("/lab/history.sqlite")
"""Where records go if the command names no history."""

INIT = Path(__file__).with_name("init.sh")
APPLETS = (
    "[ cat chmod cp echo env find grep head hostname ifconfig insmod kill ln ls mkdir mount mv ps readlink rm sed",
    "setsid sh sleep stty switch_root sync tail test true umount uname",
)


def write(
    out: Path, kernel: Path, view: View, command: Sequence[str], environment: Mapping[str, str], terminal: bool,
    host_facts: Mapping[str, object],
) -> None:  # fmt: skip
    """Write the initramfs for the command, whose words are passed unchanged.

    `kernel` is the folder that `nested_kvm.kernel` made. `host_facts` is what `harness.host.in_lab` reads in the
    lab.
    """
    files: dict[str, Node] = {f"/{name}": Folder() for name in ("dev", "proc", "sys", "new")}
    files |= {
        "/init": Link("lab/init"),
        "/lab/init": File(INIT.read_bytes(), 0o755),
        "/lab/modprobe": Link("init"),
        "/lab/bin/busybox": File(kernel / "busybox", 0o755),
        "/lab/home": Folder(),
        "/lab/tmp": Folder(0o1777),
        "/lab/root": Folder(),
        "/lab/shown": File(_mounts(view).encode()),
        "/lab/settings": File(_settings(view, terminal).encode()),
        str(HOST_FACTS_FILE): File(json.dumps(host_facts, default=str).encode()),
        "/lab/command": File(_command(command, environment).encode()),
    }
    files |= {f"/lab/bin/{name}": Link("busybox") for name in " ".join(APPLETS).split()}
    files |= {f"/lab/boot-modules/{path.name}": File(path) for path in (kernel / "boot-modules").iterdir()}
    files |= {f"/lab/root{path}": node for path, node in view.copied.items()}
    write_initramfs(files, out)


def tags(view: View) -> dict[str, Path]:
    """The name of each share, and the folder that it shows."""
    return {f"lab{number}": folder for number, folder in enumerate((*view.folders.values(), *view.writable))}


def _mounts(view: View) -> str:
    """Shell commands that mount the shares, parents first."""
    rows: list[tuple[Path, list[str]]] = []
    for tag, place in zip(tags(view), (*view.folders, *view.writable), strict=True):
        words = ["show_writable", tag, str(place), tag] if place in view.writable else ["show", tag, str(place)]
        rows.append((place, words))
    if view.covered:
        rows.append((view.cwd, ["cover", str(view.cwd)]))
    # The sort is stable: two mounts at one path keep their order.
    return "".join(f"{shlex.join(words)}\n" for _, words in sorted(rows, key=lambda row: row[0].parts))


def _settings(view: View, terminal: bool) -> str:
    written = "/lab/upper/cwd" if view.covered else str(view.cwd)
    values = {"cwd": str(view.cwd), "written": written, "terminal": "yes" if terminal else "no"}
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())


def _command(command: Sequence[str], environment: Mapping[str, str]) -> str:
    lines = ["echo $$ > /lab/pid"]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    return "\n".join([*lines, f"exec {shlex.join(command)}", ""])
