"""What a worker can do, found by trying, and what a cell requires: words that client and worker derive in the same
way."""

import hashlib
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import harness
from harness.core import project
from harness.core.arch import host_arch
from harness.core.cell import Cell
from harness.core.errors import HarnessError, HostError
from harness.host.cache import digest_of
from harness.host.host import ARCHES
from harness.kernels.osv.checkout import Checkout
from harness.kernels.osv.toolchain import ingredients, toolchain
from harness.runner.session import Session
from harness.vm.registry import driver_names

CODE = Path(harness.__file__).parent
TOOLS, HOST = "tools-", "host-"


def capabilities(session: Session, without: Collection[str] = ()) -> frozenset[str]:
    """The words for everything that this host can do, except those in `without`."""
    host = session.host
    asked = {
        requirement.format(arch=arch)
        for rule in session.matrix.host_rules
        for requirement in rule.needs
        for arch in ARCHES
    }
    found = {name for name in asked if host.capability(name).present}
    found |= {f"hypervisor-{name}" for name in driver_names()}
    for arch in ARCHES:
        try:
            accelerator = host.accelerator(arch)
        except HostError:
            continue
        if host.capability(f"{accelerator}-{arch}").present:
            found |= {f"arch-{arch}", f"arch-{arch}-{accelerator}"}
    found |= {"kernel-linux", code_version(), f"{HOST}{os.uname().nodename}"}
    if session.osv_root:
        found |= {"kernel-osv", f"osv-{checkout_digest(session.osv_root)}", *_tools(session)}
    return frozenset(found) - set(without)


def _tools(session: Session) -> Iterator[str]:
    """For each arch, one word for the versions of compiler, libraries and QEMU: builds and exact counts of workers
    with the same word may be compared."""
    for arch in ARCHES:
        cell = session.cell(f"osv:{arch}-qemu-ramfs")
        with suppress(HarnessError):
            made_with = {"tools": toolchain(cell), "libraries": ingredients(cell) if arch == host_arch() else ""}
            yield f"{TOOLS}{arch}-{digest_of({**made_with, 'qemu': session.host.qemu(arch).version})[:16]}"


def requirements(session: Session, cell: Cell, checkout: str, accelerator: str = "") -> tuple[str, ...]:
    """What a worker must be able to do to run the cell, built from a checkout with this digest."""
    found = {f"arch-{cell.arch}", f"hypervisor-{cell.hypervisor}", f"kernel-{cell.kernel}", code_version()}
    for rule in session.matrix.host_rules:
        if rule.applies(cell):
            found |= {requirement.format(arch=cell.arch) for requirement in rule.needs}
    if checkout:
        found.add(f"osv-{checkout}")
    if accelerator:
        found.add(f"arch-{cell.arch}-{accelerator}")
    return tuple(sorted(found))


def missing_capabilities(
    session: Session, cell: Cell, wanted: frozenset[str], workers: Mapping[str, Collection[str]]
) -> str:
    """Why no worker can do what is wanted for the cell: a sentence for people. `workers` are capabilities by
    name."""
    if not workers:
        return "the farm has no worker"
    missing = sorted(wanted.difference(*workers.values()))
    if not missing:
        return f"no single worker has all of {', '.join(sorted(wanted))}"
    reasons = [
        rule.because(cell)
        for rule in session.matrix.host_rules
        if rule.applies(cell) and {requirement.format(arch=cell.arch) for requirement in rule.needs} & set(missing)
    ]
    return " ".join([f"no worker has {', '.join(missing)}", *(f"({reason})" for reason in reasons)])


def checkout_digest(root: Path) -> str:
    """The digest of an OSv checkout's content, with uncommitted changes and submodules: 16 hex digits."""
    return Checkout(root).state().digest[:16]


def code_version() -> str:
    """The digest of this harness's code and data, as a capability: another version would judge by other rules."""
    digest = hashlib.sha256()
    shipped = (path for kind in ("py", "sh", "toml") for path in CODE.rglob(f"*.{kind}"))
    named = [(path.relative_to(CODE), path) for path in sorted(shipped)]
    named += [(path.relative_to(project.folder()), path) for path in project.own_files()]
    for name, path in named:
        digest.update(f"{name} {path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    return f"harness-{digest.hexdigest()[:16]}"
