"""Is this host ready to run linux cells? With `--hosts ssh://runner` the same of another, before it is trusted.

The checks go through testinfra and need nothing of the host but a shell; what to check is the harness's own data.
"""

import base64
import re
import shlex

import pytest
from testinfra.host import Host

from harness.host.accelerator_probe import ANSWERS, GUESTS, LIMITS, command
from harness.host.debian_packages import SUITE, mirror
from harness.host.host import ARCHES, MINIMUM_QEMU, QEMU_PACKAGES
from harness.host.requirements import LINUX, REQUIREMENTS, SBIN_PATHS

REQUIRED = [need for need in REQUIREMENTS.values() if need.required_for & LINUX]
PATH = ":".join(SBIN_PATHS)


@pytest.mark.parametrize("need", REQUIRED, ids=lambda need: need.name)
def test_programs_run_and_files_are_there(host: Host, need: object) -> None:
    for program, *arguments in need.programs:  # type: ignore[attr-defined]
        done = host.run(f"PATH=$PATH:{PATH} {shlex.join([program, *arguments])}")
        said = re.search(r"\d+\.\d+", done.stdout + done.stderr)  # wrk tells its version and then exits with 1
        assert done.rc == 0 or said, f"{program}: {done.stderr}"
    for file in need.files:  # type: ignore[attr-defined]
        assert host.file(str(file)).exists


@pytest.mark.parametrize("arch", ARCHES)
def test_qemu_is_new_enough(host: Host, arch: str) -> None:
    done = host.run(f"qemu-system-{arch} -version")
    assert done.rc == 0, f"{done.stderr} (the package is {QEMU_PACKAGES[arch]})"
    version = done.stdout.partition("version ")[2].split()[0]
    assert tuple(map(int, version.split("."))) >= MINIMUM_QEMU


@pytest.mark.parametrize("arch", ARCHES)
def test_a_tiny_guest_answers(host: Host, arch: str) -> None:
    """The guest travels as text, for all that the host has to have is a shell, base64 and QEMU."""
    guest = base64.b64encode(GUESTS[arch].lstrip(b"\0")).decode()
    zeros = len(GUESTS[arch]) - len(GUESTS[arch].lstrip(b"\0"))
    qemu = shlex.join(command(f"qemu-system-{arch}", arch, "tcg", "GUEST")).replace("GUEST", '"$file"')
    done = host.run(
        'file=$(mktemp); trap "rm -f $file" EXIT; '
        f"{{ head -c {zeros} /dev/zero; echo {guest} | base64 -d; }} >$file; "
        f"timeout {LIMITS['tcg']:.0f} {qemu} </dev/null"
    )
    assert (done.rc, done.stdout_bytes) == ANSWERS[arch], done.stderr


def test_there_is_room(host: Host) -> None:
    kibibytes = int(host.check_output("df -Pk /var/tmp | tail -1").split()[3])
    assert kibibytes > 4 << 20, "images and packages take up to 4 GiB"
    assert int(host.check_output("nproc")) >= 1


def test_debians_archive_answers(host: Host) -> None:
    """Asked of apt, which knows of this host's proxies."""
    asked = f"{mirror()}/debian/dists/{SUITE}/InRelease"
    done = host.run(
        'file=$(mktemp); trap "rm -f $file" EXIT; '
        f"/usr/lib/apt/apt-helper download-file {asked} $file >&2 && grep -m1 '^Codename:' $file"
    )
    assert done.stdout.split() == ["Codename:", SUITE], done.stderr
