"""Errors are for people: nothing in them acts on a terminal."""

import os
from pathlib import Path

import pytest

from harness.core.errors import HostError
from harness.host.host import Host


def test_what_a_program_said_is_safe_to_show_in_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    qemu = tmp_path / "qemu-system-x86_64"
    qemu.write_text("#!/bin/sh\nprintf 'out of \\033[2J\\302\\233luck\\nat all\\n' >&2; exit 1\n")
    qemu.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(HostError) as caught:
        Host().qemu("x86_64")
    assert "out of \\x9bluck\nat all" in str(caught.value)
    assert str(caught.value) == f"{caught.value.message}\n  {caught.value.hint}".rstrip()
