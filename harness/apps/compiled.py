"""Small programs that ship with the harness, compiled for a cell's arch once and kept in the cache."""

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.apps import Source
from harness.cache import Cache
from harness.errors import BuildError, HostError
from harness.events import publish
from harness.matrix import host_arch

PACKAGES = {"c": "gcc", "go": "golang-go", "rust": "rustc"}
GO_ARCHES = {"x86_64": "amd64", "aarch64": "arm64"}


def compiled(source: Source, arch: str, cache: Cache) -> Path:
    """The host file of the program for `arch`.

    Raises `HostError` without a compiler, `BuildError` with its words.
    """
    if source.language == "rust" and arch != host_arch():
        raise HostError(f"{source.file.name} is not compiled for {arch} here.", f"Run it on a host of {arch}.")
    command, environment = _compiler(source, arch)
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
        with TemporaryDirectory(prefix="osv-harness-compile-") as scratch:
            given = {**os.environ, **environment, "GOCACHE": f"{scratch}/go", "GOPATH": f"{scratch}/path"}
            done = subprocess.run(
                [*command, "-o", str(out / "program"), str(source.file)], env=given, capture_output=True, text=True
            )
        if done.returncode:
            said = "\n".join(done.stderr.strip().splitlines()[:12])
            raise BuildError(f"{source.file.name} does not compile for {arch}:\n{said}")

    return cache.get("app-program", parts, make) / "program"


def _compiler(source: Source, arch: str) -> tuple[list[str], dict[str, str]]:
    """The compiler's command without its files, and what its environment needs.

    All make position-independent executables: OSv takes them as they are.
    """
    cross = "" if arch == host_arch() else f"{arch}-linux-gnu-"
    if source.language == "c":
        return [f"{cross}gcc", "-O2", "-Wall", "-pie", "-fPIE", *source.flags], {}
    if source.language == "go":
        environment = {"GOARCH": GO_ARCHES[arch], "CGO_ENABLED": "1", "CC": f"{cross}gcc", "GO111MODULE": "off"}
        return ["go", "build", "-buildmode=pie", "-trimpath", *source.flags], environment
    return ["rustc", "-O", *source.flags], {}


def _version(program: str, language: str) -> str:
    arguments = ["version"] if language == "go" else ["--version"]
    return subprocess.run([program, *arguments], capture_output=True, text=True).stdout.partition("\n")[0]
