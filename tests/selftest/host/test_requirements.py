"""What a host must have: programs that count only if they run, and the packages that bring them."""

from pathlib import Path

import pytest
from executable import executable

from harness.cli import main
from harness.core.errors import HostError
from harness.core.events import Event, subscribed
from harness.host.cache import Cache
from harness.host.host import Host
from harness.host.install import install, install_what_can_be, missing_packages
from harness.host.requirements import REQUIREMENTS, Capability, Requirement, check_requirement


def test_a_program_counts_only_if_it_runs(folder: Path) -> None:
    need = Requirement("it", "testing", frozenset({"linux"}), (("first", "-V"), ("second", "-V")), ("p",))
    executable(folder / "first", "#!/bin/sh\necho first of all; echo first 1.2\n")
    assert check_requirement(need).found == "missing: second"
    assert check_requirement(need).how_to_get == "apt-get install p"
    executable(folder / "second", "#!/bin/sh\necho cannot >&2; exit 1\n")
    refused = check_requirement(need)
    assert not refused.present and refused.found == "second -V fails: cannot"
    assert "apt-get" not in refused.how_to_get, "it is installed"
    executable(folder / "second", "#!/bin/sh\nprintf '\\033[1msecond 3.4\\033[m\\n' >&2; exit 1\n")
    assert check_requirement(need).present, "some programs tell their version and then exit with 1"
    assert check_requirement(need).found == "first 1.2; second 3.4"
    assert check_requirement(need).how_to_get == ""


def test_what_is_required_depends_on_the_kernels_asked_about(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.host.host.check_surroundings", lambda cpus, folder: [])

    def required(*kernels: str) -> set[str]:
        return {row.name for row in Host(cache).capabilities(kernels) if row.required}

    assert {"qemu-x86_64", "qemu-aarch64", "tcg-x86_64", "debian-packages", "squashfs"} <= required("linux")
    assert not {"osv-build", "kvm-x86_64", "firecracker"} & required("linux")
    assert required("linux", "osv") - required("linux") >= {"osv-build", "osv-compiler-aarch64"}


def test_every_need_of_the_matrix_is_a_capability(cache: Cache) -> None:
    from harness.core.matrix import Matrix

    host = Host(cache)
    for rule in Matrix.load().host_rules:
        for need in rule.needs:
            for arch in ("x86_64", "aarch64"):
                assert host.capability(need.format(arch=arch)).name == need.format(arch=arch)


def test_an_unknown_capability_ends_with_the_nearest(cache: Cache) -> None:
    with pytest.raises(HostError, match="firecracker"):
        Host(cache).capability("firecraker")


def test_only_what_is_absent_and_required_is_installed() -> None:
    rows = [
        Capability("a", "a", "", present=True, packages=("have",), required=True),
        Capability("b", "b", "", present=False, packages=("want", "also"), required=True),
        Capability("c", "c", "", present=False, packages=("may",)),
    ]
    assert missing_packages(rows) == ["also", "want"]
    assert missing_packages(rows, optional=True) == ["also", "may", "want"]


def test_packages_are_installed_by_apt_as_root(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    executable(folder / "apt-get", f'#!/bin/sh\necho "$DEBIAN_FRONTEND $*" >>{tmp_path}/asked\n')
    install(["b", "a"])
    assert (tmp_path / "asked").read_text().splitlines() == [
        "noninteractive update -q",
        "noninteractive install -y --no-install-recommends b a",
    ]


def test_without_root_the_one_command_to_run_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    executable(folder / "sudo", "#!/bin/sh\nexit 1\n")
    with pytest.raises(HostError) as caught:
        install(["wrk"])
    command = "apt-get install -y --no-install-recommends wrk"
    assert caught.value.hint == f"Run: sudo apt-get update && sudo {command}"
    (folder / "sudo").unlink()
    executable(folder / "apt-get", "#!/bin/sh\nexit 1\n")
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(HostError, match="there is no sudo") as caught:
        install(["wrk"])
    assert caught.value.hint == f"As root, run: apt-get update && {command}"


def test_an_apt_that_fails_is_no_success(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    executable(folder / "apt-get", '#!/bin/sh\n[ "$1" = update ]\n')
    with pytest.raises(HostError, match=r"apt-get install .* failed"):
        install(["wrk"])


APT = r"""#!/bin/sh
echo "$*" >> {asked}
case "$*" in
    *--simulate*virtiofsd*) echo "E: Unable to locate package virtiofsd" >&2; exit 100 ;;
    *virtiofsd*) exit 100 ;;
esac
"""


@pytest.mark.parametrize(("user", "asked_apt"), [(0, True), (1000, False)])
def test_of_all_what_can_be_had_is_installed_and_the_rest_is_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: int, asked_apt: bool
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: user)
    executable(folder / "apt-get", APT.format(asked=tmp_path / "asked"))
    executable(folder / "sudo", "#!/bin/sh\nexit 1\n")
    rows = [
        Capability("servers", "", "", packages=("redis-server",)), Capability("wrk", "", "", packages=("wrk",)),
        Capability("virtiofsd", "", "", packages=("virtiofsd",)), Capability("vmware", "", "", cure="Buy it."),
    ]  # fmt: skip
    told: list[Event] = []
    command = "apt-get install -y --no-install-recommends redis-server wrk"
    if not asked_apt:
        with pytest.raises(HostError) as caught:
            install_what_can_be(rows)
        assert caught.value.hint == f"Run: sudo apt-get update && sudo {command}"
        return
    with subscribed(told.append):
        left_out = install_what_can_be(rows)
    assert left_out == {"virtiofsd": "Unable to locate package virtiofsd", "vmware": "Buy it."}
    asked = [f"apt-get {line}" for line in (tmp_path / "asked").read_text().splitlines()]
    assert [line for line in asked if "--simulate" not in line] == ["apt-get update -q", command]
    assert [event.about for event in told if event.kind == "host.servers"] == ["redis-server"]


@pytest.mark.parametrize(
    ("which", "installed", "said"),
    [("all", "wrk", "not installed: xen: say so: --install xen"), ("xen", "xen", ""), ("wkr", "", "wrk")],
)
def test_xens_hypervisor_is_installed_for_its_name_alone(
    which: str, installed: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Capability] = []
    rows = [Capability("xen", "", "", packages=("xen",)), Capability("wrk", "", "", packages=("wrk",))]
    monkeypatch.setattr("harness.cli.commands.doctor.Host.capabilities", lambda host, kernels: rows)
    monkeypatch.setattr("harness.cli.commands.doctor.install_what_can_be", lambda rows: asked.extend(rows) or {})
    assert main(["doctor", "--install", which]) == (0 if installed else 2)
    shown = capsys.readouterr()
    assert [row.name for row in asked] == installed.split()
    assert said in shown.out + shown.err


def test_what_linux_cells_need_can_all_be_installed() -> None:
    for need in REQUIREMENTS.values():
        assert need.packages or need.cure, f"{need.name} does not say how to get it"
