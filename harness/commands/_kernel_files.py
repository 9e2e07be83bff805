"""The options that name a kernel that is already built, for every command that boots."""

import argparse
from pathlib import Path

from harness.errors import HarnessError
from harness.kernels.prebuilt import Files
from harness.lab import Lab


def add_kernel_files(parser: argparse.ArgumentParser) -> None:
    """`--kernel-file`, `--image-file`, `--cmdline`, `--manifest`."""
    group = parser.add_argument_group("a kernel that is already built, in place of a checkout")
    group.add_argument(
        "--kernel-file", type=Path, metavar="FILE", help="loader-stripped.elf, loader.elf, loader.img"
    )
    group.add_argument("--image-file", type=Path, metavar="FILE", help="its disk: usr.img, raw or qcow2")
    group.add_argument("--cmdline", metavar="WORDS", help="(default: the file cmdline beside it)")
    group.add_argument("--manifest", type=Path, metavar="FILE", help="(default: usr.manifest beside it)")


def files_of(kernel: Path | None, disk: Path | None, cmdline: str | None, manifest: Path | None) -> Files | None:
    """The files that were named, if any; raises `HarnessError` for a disk or such without a kernel."""
    if kernel is None:
        if disk or cmdline is not None or manifest:
            raise HarnessError(
                "--image-file, --cmdline and --manifest belong to a kernel that is already built.",
                "Give --kernel-file.",
            )
        return None
    return Files(kernel.absolute(), disk and disk.absolute(), cmdline, manifest and manifest.absolute())


def lab_of(arguments: argparse.Namespace, arch: str | None = None) -> Lab:
    """The lab of what was named: a checkout, files, or neither; `arch` is that of cells which name none."""
    files = files_of(arguments.kernel_file, arguments.image_file, arguments.cmdline, arguments.manifest)
    return Lab(arguments.osv_root, files=files, arch=arch)
