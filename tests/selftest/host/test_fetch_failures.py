"""Why something could not be fetched is said: a full disk, a wrong name, a mirror without it, no network."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.core.errors import BuildError
from harness.host import debian_packages, fetch_failures
from harness.host.cache import Cache
from harness.host.host import Host

REACHED = Host().capability("debian-packages").present


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("E: Failed to fetch http://m/Packages  Write error - write (28: No space left on device)", "Free some"),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "Free some"),
        ("E: You don't have enough free space in /var/cache/apt/archives/.", "Free some"),
        ("E: Unable to locate package no-such", "no such package in SOURCE: check the spelling"),
        ("E: Package 'x' has no installation candidate", "no such package"),
        ("ERROR: No matching distribution found for no-such==9", "no such package"),
        ("E: Failed to fetch http://m/x.deb  404  Not Found", "SOURCE answers, and has nothing"),
        ("E: The following signatures couldn't be verified: NO_PUBKEY 6ED0E7B82643E131", "debian-archive-keyring"),
        ("E: Release file for http://m/InRelease is expired (invalid since 3d).", "this host's clock"),
        ("E: Failed to fetch http://m/InRelease  Temporary failure resolving 'm'", "can't resolve the name"),
        ("Could not connect to m:80 (192.0.2.1), connection timed out", "Nothing answers at SOURCE"),
        ("Failed to establish a new connection: [Errno 111] Connection refused", "Nothing answers"),
        ("E: something that apt never said", "Look at these words"),
    ],
)
def test_words_tell_why(words: str, said: str) -> None:
    told = fetch_failures.cure(words, "SOURCE", Path("/cache"), "A_VARIABLE")
    assert said in told
    assert "SOURCE" in told or "A_VARIABLE" in told or "/cache" in told


def _refused(package: str, cache: Path) -> BuildError:
    with pytest.raises(BuildError) as caught:
        debian_packages.fetch([package], "x86_64", Cache(cache))
    assert "chrootless" not in str(caught.value) and "mmdebstrap failed" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("mirror", "said"),
    [("http://127.0.0.1:9", "Nothing answers at"), ("http://no.such.host.invalid", "can't resolve the name")],
)
def test_no_network(mirror: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSV_HARNESS_DEBIAN_MIRROR", mirror)
    error = _refused("hello", tmp_path)
    assert said in error.hint and "OSV_HARNESS_DEBIAN_MIRROR" in error.hint
    assert "InRelease" in error.message


@pytest.mark.skipif(not REACHED, reason="no mirror of Debian's can be reached")
def test_a_package_that_there_is_not(tmp_path: Path) -> None:
    error = _refused("no-such-package-at-all", tmp_path)
    assert "Unable to locate package no-such-package-at-all" in error.message
    assert "check the spelling" in error.hint and "network" not in error.hint


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem in which apt can begin and not end."""
    (folder := tmp_path / "small").mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=30m", "small", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("this user may not mount a tmpfs")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.skipif(not REACHED, reason="no mirror of Debian's can be reached")
def test_a_full_disk(small_disk: Path) -> None:
    error = _refused("hello", small_disk)
    assert f"Free some space where {small_disk} lies" in error.hint and "network" not in error.hint
