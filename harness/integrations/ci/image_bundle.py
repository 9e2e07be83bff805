"""Writes a built image as a folder that another machine boots with `--kernel-file` and `--image-file`."""

import json
import shutil
from pathlib import Path

from harness.core.errors import HostError, of_system
from harness.core.machine import Image
from harness.kernels.base import Origin
from harness.kernels.source_lines import PROGRAMS

MANIFEST_OF = {"osv": "usr.manifest", "linux": "manifest"}


def write_bundle(image: Image, origin: Origin, folder: Path) -> None:
    """Copy the image's files into the folder, under the names that `harness.kernels.prebuilt.kernel` looks for.

    Raises `HostError` if they can't be written.
    """
    files = {
        "kernel": image.kernel,
        "initrd": image.initrd,
        "disk": image.disks[0].path if image.disks else None,
        "loader.elf": image.symbols,
        MANIFEST_OF[image.cell.kernel]: image.manifest,
    }
    origin_fields = {
        "commit": origin.commit, "described": origin.described, "committed": origin.committed,
        "builder": origin.builder, "lineage": origin.lineage,
    }  # fmt: skip
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, source in files.items():
            if source:
                shutil.copyfile(source, folder / name)
        # These files give the source lines of programs. OSv's scripts stay: only who builds runs them.
        if image.manifest and (programs := image.manifest.parent / PROGRAMS).is_dir():
            shutil.copytree(programs, folder / PROGRAMS, dirs_exist_ok=True)
        if image.share:
            # A tar keeps modes and links, which CI artifacts seldom do.
            shutil.make_archive(str(folder / "root"), "tar", image.share)
        (folder / "cmdline").write_text(image.cmdline + "\n")
        (folder / "origin.json").write_text(json.dumps(origin_fields))
    except OSError as error:
        why = of_system(error)
        raise HostError(f"{image.cell} could not be packed into {folder}: {why.message}", why.hint) from error
