"""Compiles the small programs that ship with the harness, once per arch, and caches them."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from harness.core.arch import host_arch
from harness.core.errors import BuildError, HostError
from harness.core.events import publish
from harness.core.link_mode import ACCEPTED_LINKAGE, LinkMode, linkage
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
# By gcc's linker: OSv can't place the thread-local variables of Go's own linker (its issue 1141).
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


def compile_program(source: Source, arch: str, cache: Cache, mode: LinkMode = LinkMode.PIE) -> Path:
    """The compiled program for `arch`, linked for the launch mode.

    Raises `HostError` if there is no compiler, `BuildError` with its output, or if it linked in another way.
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
            env = {**os.environ, **environment, "GOCACHE": f"{scratch}/go", "GOPATH": f"{scratch}/path"}
            done = run_with_parent([*command, "-o", str(out / "program"), str(source.file)], env)
        if done.returncode:
            output = "\n".join(done.stderr.strip().splitlines()[:12])
            raise BuildError(f"{source.file.name} does not compile for {arch} as {mode}:\n{output}")
        if (actual := linkage(out / "program")) not in ACCEPTED_LINKAGE[mode]:
            raise BuildError(f"{source.file.name} was to be {ACCEPTED_LINKAGE[mode][0]} and became {actual}.")

    return cache.get("app-program", parts, make) / "program"


def _compiler(source: Source, arch: str, mode: LinkMode) -> tuple[list[str], dict[str, str]]:
    """The compiler's command without files, and additions to its environment."""
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
