"""Unpacks the ELF kernel inside a bzImage.

Loaded through its PVH entry it starts without firmware and without unpacking itself, which under TCG takes half a
second of every boot. Hypervisors that cannot load a bzImage can load it too.
"""

import lzma
import struct
from pathlib import Path

from harness.core.errors import BuildError

# Of the header at the start of a bzImage: Documentation/x86/boot.rst.
SETUP_SECTORS = 0x1F1
MAGIC = 0x202
PAYLOAD = 0x248  # offset and length, from the end of the setup sectors
# LZ4's legacy frame: the only one that the kernel's build uses. Debian packs its cloud kernels so since bookworm,
# and the others with xz.
LZ4_LEGACY = b"\x02\x21\x4c\x18"
XZ = b"\xfd7zXZ\0"


def unpack_vmlinux(bzimage: Path, out: Path) -> None:
    """Write the ELF kernel that a bzImage holds. Raises `BuildError` if it is packed in another way."""
    data = bzimage.read_bytes()
    if data[MAGIC : MAGIC + 4] != b"HdrS":
        raise BuildError(f"{bzimage} is no bzImage.", "Choose another kernel package.")
    offset, length = struct.unpack_from("<II", data, PAYLOAD)
    start = (data[SETUP_SECTORS] + 1) * 512 + offset
    # The last four bytes are the unpacked length.
    payload, (unpacked,) = data[start : start + length - 4], struct.unpack_from("<I", data, start + length - 4)
    if payload.startswith(XZ):
        elf = lzma.decompress(payload)
    elif payload.startswith(LZ4_LEGACY):
        elf = b"".join(_blocks(payload))
    else:
        raise BuildError(f"{bzimage} is packed with neither LZ4 nor xz.", "Choose a kernel of Debian bookworm.")
    if len(elf) != unpacked or elf[:4] != b"\x7fELF":
        raise BuildError(f"{bzimage} is damaged: {len(elf)} bytes came out, not {unpacked}.", "Fetch it again.")
    out.write_bytes(elf)


def _blocks(frame: bytes) -> list[bytes]:
    blocks = []
    at = 4
    while at < len(frame):
        (length,) = struct.unpack_from("<I", frame, at)
        blocks.append(lz4_block(frame[at + 4 : at + 4 + length]))
        at += 4 + length
    return blocks


def lz4_block(packed: bytes) -> bytes:
    """The content of one LZ4 block (lz4_Block_format.md): literals and copies of earlier bytes in turn."""
    out = bytearray()
    at = 0
    while True:
        token = packed[at]
        at += 1
        literals = token >> 4
        if literals == 15:
            more = 255
            while more == 255:
                more = packed[at]
                literals += more
                at += 1
        out += packed[at : at + literals]
        at += literals
        if at >= len(packed):
            return bytes(out)
        distance = packed[at] | packed[at + 1] << 8
        at += 2
        copied = (token & 15) + 4
        if copied == 19:
            more = 255
            while more == 255:
                more = packed[at]
                copied += more
                at += 1
        start = len(out) - distance
        if distance >= copied:
            out += out[start : start + copied]
        else:  # the copy overlaps what it makes: a repeated pattern
            pattern = out[start:]
            out += (pattern * (copied // distance + 1))[:copied]
