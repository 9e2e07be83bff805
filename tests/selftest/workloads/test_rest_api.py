"""How OSv's own tests of its REST API are run here: on a checkout of our own, whose tests end in every way."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.runner.session import Session
from harness.workloads.upstream import rest_api

BASETEST = """
import unittest

class Basetest(unittest.TestCase):
    config = None

    @classmethod
    def start_image(cls):
        assert cls.config.connect and cls.config.host == "127.0.0.1"
"""
CLIENT = "class Client:\n    def __init__(self, args):\n        self.args = args\n"
TESTS = """
import basetest

class testos(basetest.Basetest):
    def test_port(self):
        self.assertEqual(self.config.port, 8123)

    def test_vendor(self):
        self.assertEqual("Cloudius", "another")

    def test_crash(self):
        raise ValueError("no JSON")

    def test_put_file_cmd(self):
        raise AssertionError("it was to be left out")
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The parts of a checkout that the script takes."""
    tests = tmp_path / "modules/httpserver-api/tests"
    (tests / "api").mkdir(parents=True)
    (tests / "basetest.py").write_text(BASETEST)
    (tests / "api/testos.py").write_text(TESTS)
    (tmp_path / "scripts/osv").mkdir(parents=True)
    (tmp_path / "scripts/osv/__init__.py").write_text("")
    (tmp_path / "scripts/osv/client.py").write_text(CLIENT)
    return tmp_path


def ask(checkout: Path, cell: str) -> subprocess.CompletedProcess[str]:
    asked = {
        "checkout": str(checkout), "listings": "httpserver-api", "folder": "api", "port": 8123,
        "left out": rest_api.left_out(Session().cell(cell)),
    }  # fmt: skip
    command = [sys.executable, "-I", "-B", str(rest_api.SCRIPT), json.dumps(asked)]
    return subprocess.run(command, capture_output=True, text=True)


def test_each_test_has_its_own_outcome(checkout: Path) -> None:
    done = ask(checkout, "osv:qemu-rofs")
    assert done.returncode == 0, done.stderr
    rows = {row["test"].rpartition(".")[2]: row for row in map(json.loads, done.stdout.splitlines())}
    assert {name: row["outcome"] for name, row in rows.items()} == {
        "test_port": "passed", "test_vendor": "failed", "test_crash": "failed", "test_put_file_cmd": "skipped",
    }  # fmt: skip
    assert "another" in rows["test_vendor"]["said"] and "no JSON" in rows["test_crash"]["said"]
    assert "rofs is read-only" in rows["test_put_file_cmd"]["said"]
    assert not list(checkout.rglob("__pycache__"))


def test_what_writes_is_asked_of_a_root_that_can_be_written(checkout: Path) -> None:
    rows = [json.loads(line) for line in ask(checkout, "osv:qemu-zfs").stdout.splitlines()]
    assert [row["outcome"] for row in rows if "put_file" in row["test"]] == ["failed"]


def test_a_test_that_cant_be_loaded_is_no_verdict(checkout: Path) -> None:
    (checkout / "modules/httpserver-api/tests/api/testos.py").write_text("import no_such_module\n")
    done = ask(checkout, "osv:qemu-rofs")
    assert done.returncode != 0 and "ImportError" in done.stderr
    assert "failed" not in done.stdout
