"""A server of NFS in a guest's network: a guest writes there, and reads it again by its next mount."""

import pytest
from cells_here import runnable

from harness.host import debian_packages
from harness.host.netns import HOST_ADDRESS, NFS_EXPORT
from harness.kernels.linux.kernel import kernel_packages
from harness.kernels.linux.modules import boot_modules
from harness.kernels.rootfs.contents import Contents
from harness.runner.base import Program
from harness.runner.session import Session
from harness.runner.verdict import Outcome

SCRIPT = f"""set -e
while read -r module; do insmod "/boot-modules/$module.ko"; done < /boot-modules/nfsv{{version}}
share() {{{{ mount -t nfs{{kind}} -o {{options}},addr={HOST_ADDRESS} {HOST_ADDRESS}:{NFS_EXPORT} /mnt; }}}}
share
[ -z "$(ls /mnt)" ] && echo empty at first
echo written over NFS > /mnt/file
umount /mnt
share
cat /mnt/file
"""


@pytest.mark.parametrize(
    ("version", "kind", "options"), [(3, "", "vers=3,nolock,proto=tcp"), (4, "4", "vers=4.1,clientaddr=0.0.0.0")]
)
def test_a_guest_writes_to_its_own_server(session: Session, version: int, kind: str, options: str) -> None:
    cell = runnable(session, "linux:x86_64-qemu-rofs/nfs")
    tree = debian_packages.fetch(kernel_packages(cell.arch), cell.arch, session.cache)
    [release] = (tree.root / "lib/modules").iterdir()
    needed = boot_modules(release, [f"nfsv{version}"])
    script = SCRIPT.format(version=version, kind=kind, options=options)
    texts, made = {"/script": script}, {}
    for path, file in needed.items():
        if isinstance(file.content, bytes):
            texts[path] = file.content.decode()
        else:
            made[path] = file.content
    contents = Contents(("busybox-static",), (), texts=texts, made=made, folders=("/mnt",))
    program = Program("nfs", "sh /script", limit=60, network=True, prints=("empty at first", "written over NFS"))
    done = session.run_on(session.image_with(cell, contents), program)
    assert done.verdict.outcome is Outcome.PASSED, done.verdict.reason
