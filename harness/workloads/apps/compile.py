"""Small programs that ship with the harness, compiled for a cell's arch once and kept in the cache."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from harness.core.arch import host_arch
from harness.core.errors import BuildError, HostError
from harness.core.events import publish
from harness.core.link_mode import FITTING, LinkMode, linkage
from harness.host.cache import Cache
from harness.host.process.die_with_parent import run_with_parent
from harness.host.temp_dir import temporary_dir
from harness.workloads.apps.app import Source

PACKAGES = {"c": "gcc", "go": "golang-go", "rust": "rustc"}
GO_ARCHES = {"x86_64": "amd64", "aarch64": "arm64"}

PIE = ("-pie", "-fPIE")
C_FLAGS: Mapping[LinkMode, tuple[str, ...]] = {
    LinkMode.LINUX_LD: PIE,
    LinkMode.PIE: PIE,
    LinkMode.NON_PIE: ("-no-pie", "-fno-pie"),
    LinkMode.STATIC: ("-static", "-no-pie", "-fno-pie"),
    LinkMode.STATIC_PIE: ("-static-pie", "-fPIE"),
}
# Through gcc's linker: OSv can't place the thread's own variables that Go's own linker asks for (its issue 1141).
GO_FLAGS: Mapping[LinkMode, tuple[str, ...]] = {
    LinkMode.LINUX_LD: ("-buildmode=pie", "-ldflags=-linkmode=external"),
    LinkMode.PIE: ("-buildmode=pie", "-ldflags=-linkmode=external"),
    LinkMode.NON_PIE: ("-buildmode=exe", "-ldflags=-linkmode=external -extldflags=-no-pie"),
    LinkMode.STATIC: ("-buildmode=exe", "-ldflags=-linkmode=external -extldflags=-static"),
    LinkMode.STATIC_PIE: ("-buildmode=pie", "-ldflags=-linkmode=external -extldflags=-static-pie"),
}
RUST_FLAGS: Mapping[LinkMode, tuple[str, ...]] = {
    LinkMode.LINUX_LD: (),
    LinkMode.PIE: (),
    LinkMode.NON_PIE: ("-C", "relocation-model=static"),
    LinkMode.STATIC: ("-C", "target-feature=+crt-static", "-C", "relocation-model=static"),
    LinkMode.STATIC_PIE: ("-C", "target-feature=+crt-static"),
}


def compiled(source: Source, arch: str, cache: Cache, mode: LinkMode = LinkMode.PIE) -> Path:
    """The host file of the program for `arch`, linked for the launch mode.

    Raises `HostError` without a compiler, `BuildError` with its words, or where it made another kind of program.
    """
    if source.language == "rust" and arch != host_arch():
        raise HostError(f"{source.file.name} is not compiled for {arch} here.", f"Run it on a host of {arch}.")
    command, environment = _compiler(source, arch, mode)
    program = shutil.which(command[0])
    if program is None:
        package = PACKAGES[source.language] + ("" if arch == host_arch() else f"-{arch}-linux-gnu")
        raise HostError(f"{command[0]} is missing, which compiles {source.file.name}.", f"Install {package}.")
    parts = {
        "text": source.file.read_text(),
        "command": command,
        "environment": environment,
        "compiler": _version(program, source.language),
    }

    def make(out: Path) -> None:
        publish("build.started", source.file.name, f"compiling it for {arch}")
        with temporary_dir("osv-harness-compile-") as scratch:
            given = {**os.environ, **environment, "GOCACHE": f"{scratch}/go", "GOPATH": f"{scratch}/path"}
            done = run_with_parent([*command, "-o", str(out / "program"), str(source.file)], given)
        if done.returncode:
            said = "\n".join(done.stderr.strip().splitlines()[:12])
            raise BuildError(f"{source.file.name} does not compile for {arch} as {mode}:\n{said}")
        if (made := linkage(out / "program")) not in FITTING[mode]:
            raise BuildError(f"{source.file.name} was to be {FITTING[mode][0]} and became {made}.")

    return cache.get("app-program", parts, make) / "program"


def _compiler(source: Source, arch: str, mode: LinkMode) -> tuple[list[str], dict[str, str]]:
    """The compiler's command without its files, and what its environment needs."""
    cross = "" if arch == host_arch() else f"{arch}-linux-gnu-"
    if source.language == "c":
        return [f"{cross}gcc", "-O2", "-Wall", *C_FLAGS[mode], *source.flags], {}
    if source.language == "go":
        environment = {"GOARCH": GO_ARCHES[arch], "CGO_ENABLED": "1", "CC": f"{cross}gcc", "GO111MODULE": "off"}
        return ["go", "build", "-trimpath", *GO_FLAGS[mode], *source.flags], environment
    return ["rustc", "-O", *RUST_FLAGS[mode], *source.flags], {}


def _version(program: str, language: str) -> str:
    arguments = ["version"] if language == "go" else ["--version"]
    return subprocess.run([program, *arguments], capture_output=True, text=True).stdout.partition("\n")[0]
