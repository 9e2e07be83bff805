"""Launch modes: what a cell's name says of them, what is compiled for them, and that each runs."""

import subprocess
from pathlib import Path

import pytest
from osv_standin import config_of

from harness.core.arch import host_arch
from harness.core.errors import BuildError, CellError, HostError, LaunchError
from harness.core.link_mode import ACCEPTED_LINKAGE, Linkage, LinkMode, check_launch, launch_of, linkage
from harness.core.matrix import Matrix
from harness.host import debian_packages
from harness.kernels.osv import build_config, test_modules, toolchain
from harness.kernels.rootfs.elf_dependencies import locate
from harness.runner.osv.runner import words_of
from harness.runner.session import Session
from harness.runner.verdict import Outcome
from harness.workloads.apps import app as apps
from harness.workloads.apps.compile import compile_program
from harness.workloads.apps.run import image_of, run_app

LINUX = "linux:qemu-rofs"
ON_LINUX = [mode for mode in LinkMode if mode is not LinkMode.LINUX_LD]


def test_the_matrix_has_every_mode_and_no_other() -> None:
    assert set(Matrix.load().launches) == {*LinkMode}


def test_a_cell_has_one_mode_and_its_name_says_which(session: Session) -> None:
    plain = session.cell("osv:qemu-rofs+hide_symbols/nvme")
    (one,) = session.matrix.vary([plain], link_modes=["static"])
    assert str(one).endswith("-qemu-rofs-all+hide_symbols+static/nvme")
    assert launch_of(plain) is None and launch_of(one) is LinkMode.STATIC
    (other,) = session.matrix.vary([one], link_modes=["linux_ld"])
    assert other.options == ("hide_symbols", "linux_ld")
    assert session.matrix.vary([one], link_modes=[]) == [one]
    assert len({str(cell) for cell in session.matrix.vary([plain], link_modes=list(LinkMode))}) == len(LinkMode)


@pytest.mark.parametrize(
    ("name", "mode", "reason"),
    [
        ("osv:qemu-rofs", "statc", "static"),
        ("osv:qemu-rofs+pie+static", "pie", "one launch mode: not pie and static"),
        (LINUX, "linux_ld", "through its own ld.so"),
    ],
)
def test_a_mode_that_makes_no_sense_is_refused_with_the_reason(
    session: Session, name: str, mode: str, reason: str
) -> None:
    with pytest.raises(CellError, match=reason):
        session.matrix.vary([session.cell(name)], link_modes=[mode])


def test_what_starts_a_program_of_osv(session: Session) -> None:
    loaders = [words_of(session.cell(f"osv:{arch}-qemu-rofs+linux_ld")).before for arch in ("x86_64", "aarch64")]
    assert loaders == ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"]
    assert {words_of(session.cell(f"osv:qemu-rofs+{mode}")).before for mode in ON_LINUX} == {""}


@pytest.mark.parametrize("mode", LinkMode)
def test_a_compiled_program_is_linked_as_its_mode_says(session: Session, mode: LinkMode) -> None:
    source = apps.app("hello", session.cell(LINUX)).source
    assert source
    assert linkage(compile_program(source, host_arch(), session.cache, mode)) is ACCEPTED_LINKAGE[mode][0]


def test_kinds_of_files_are_told_apart(tmp_path: Path) -> None:
    text = tmp_path / "empty.c"
    text.write_text("int f(void) { return 0; }\n")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", tmp_path / "lib.so", text], check=True)
    assert linkage(tmp_path / "lib.so") is Linkage.SHARED
    with pytest.raises(BuildError, match="no ELF file"):
        linkage(text)


def test_a_prebuilt_program_is_launched_as_it_is_linked(session: Session) -> None:
    """Debian's nginx is a PIE; OSv's kernel would start it by ld.so too."""
    cell = session.cell(f"{LINUX}+pie")
    program = apps.app("nginx", cell).contents.programs[0]
    tree = debian_packages.fetch(apps.app("nginx", cell).contents.packages, cell.arch, session.cache)
    found = locate(tree.root, program, "nginx")
    check_launch(cell, "nginx", found)
    check_launch(session.cell("osv:qemu-rofs+linux_ld"), "nginx", found)
    refused = session.cell(f"{LINUX}+static")
    with pytest.raises(LaunchError, match="nginx can't be launched as static: its program is a position-indep"):
        image_of(session, refused, apps.app("nginx", refused))
    with pytest.raises(LaunchError, match="stress-ng"):
        session.image(refused)


@pytest.mark.parametrize("mode", ON_LINUX)
@pytest.mark.parametrize("name", ["hello", "static"])
def test_linux_runs_every_mode(session: Session, mode: LinkMode, name: str) -> None:
    """The same sources in a guest of each mode: threads, thread-local data, files, floating point."""
    cell = session.cell(f"{LINUX}+{mode}")
    done = run_app(session, cell, apps.app(name, cell))
    assert done.run.verdict.outcome is Outcome.PASSED, done.run.verdict.reason
    assert str(done.image.cell) == str(cell)


@pytest.mark.parametrize(
    ("mode", "module", "steps"),
    [
        ("", "tests", 0),
        ("+linux_ld", "tests-with-linux-ld", 0),
        ("+pie", "tests-with-linux-ld", 0),
        ("+static", "tests-static", 4),
    ],
)
def test_each_mode_has_its_module_of_tests(session: Session, mode: str, module: str, steps: int) -> None:
    cell = session.cell(f"osv:x86_64-qemu-rofs{mode}")
    contents = build_config.tests_of(cell)
    assert (contents.modules, contents.manifest) == (module, f"modules/{module}/usr.manifest")
    commands = config_of(cell, contents).commands(1)
    assert len(commands) == steps + 1 and f"image={module}" in commands[-1]
    assert ("dl=linux" in commands[-1]) == (mode == "+linux_ld")
    assert ("ld-linux-x86-64.so.2" in contents.append_manifest) == (mode == "+linux_ld")


@pytest.mark.parametrize("mode", test_modules.COPIES)
def test_a_copied_module_is_edited_inside_the_tree(tmp_path: Path, mode: LinkMode) -> None:
    """The very steps, on a Makefile with the lines that they are about."""
    folder = tmp_path / "modules/tests-with-linux-ld"
    folder.mkdir(parents=True)
    makefile = (
        "COMMON = -O2 -fpie -DBOOST_TEST_DYN_LINK\n"
        "LIBS = libgcc_s.so.1\n"
        "libtls.o: CXXFLAGS:=$(subst -fpie,-fPIC,$(CXXFLAGS))\n"
        "tests := tst-a libtls.so libtls_gold.so tst-tls tst-tls-gold \\\n"
        "$(out)/tests-with-linux-ld/tst-a\n"
    )
    (folder / "Makefile").write_text(makefile)
    (folder / "create_static.sh").write_text("rm -rf ${OUT}/tests-with-linux-ld/static\n")
    module = test_modules.COPIES[mode].module
    for step in test_modules.steps_of(module):
        subprocess.run(step, cwd=tmp_path, check=True)
    text = (tmp_path / "modules" / module / "Makefile").read_text()
    assert (folder / "Makefile").read_text() == makefile
    assert f"$(out)/{module}/tst-a" in text and "with-linux-ld" not in text
    if mode is LinkMode.NON_PIE:
        assert "-O2 -fno-pie -no-pie " in text and "subst -fno-pie -no-pie,-fPIC" in text
    else:
        wanted = {LinkMode.STATIC: "LDFLAGS += -static -no-pie", LinkMode.STATIC_PIE: "LDFLAGS += -static-pie"}
        assert f"LIBS =\n{wanted[mode]}\n" in text and "tst-tls" not in text and "DYN_LINK" not in text


def test_tests_of_a_mode_are_not_cross_built(session: Session) -> None:
    other = {"x86_64": "aarch64", "aarch64": "x86_64"}[host_arch()]
    toolchain.check_tests(session.cell(f"osv:{other}-qemu-rofs"))
    with pytest.raises(HostError, match=r"manifest_from_host\.sh"):
        toolchain.check_tests(session.cell(f"osv:{other}-qemu-rofs+static"))
