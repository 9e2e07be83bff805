"""The options that name a prebuilt kernel, for every command that boots."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from harness.cli.declaration import option
from harness.cli.options import FILE, Common
from harness.kernels.prebuilt.kernel import files_of
from harness.runner.session import Session


@dataclass
class KernelFiles(Common):
    """A prebuilt kernel, in place of a checkout's."""

    kernel_file: Annotated[
        Path | None,
        option(
            "--kernel-file", type=FILE, metavar="FILE",
            help="a kernel that is already built: loader-stripped.elf, loader.elf, loader.img",
        ),
    ]  # fmt: skip
    image_file: Annotated[
        Path | None,
        option("--image-file", type=FILE, metavar="FILE", help="that kernel's disk: usr.img, raw or qcow2"),
    ]
    cmdline: Annotated[
        str | None,
        option("--cmdline", metavar="WORDS", help="that kernel's (default: the file cmdline beside it)"),
    ]
    manifest: Annotated[
        Path | None,
        option(
            "--manifest", type=FILE, metavar="FILE", help="that kernel's (default: usr.manifest beside it)"
        ),
    ]


def session_of(arguments: KernelFiles, arch: str | None = None, fork: bool = False) -> Session:
    """The session for a checkout, for files, or for neither.

    `arch` is the arch of cells that name none; with `fork`, OSv's guests are forks.
    """
    files = files_of(arguments.kernel_file, arguments.image_file, arguments.cmdline, arguments.manifest)
    return Session(arguments.osv_root, files=files, arch=arch, fork=fork)
