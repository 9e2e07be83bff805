"""Runs OSv's unittests of its REST API against a guest; prints each outcome as a line of JSON.

It is a separate program: it runs in Debian's Python, which has `requests`, and imports upstream's code and none of
ours. Its argument is JSON: `checkout`, `listings` (the module that describes the API), `folder` (of the tests),
`port` on 127.0.0.1, and `left out`, parts of names with reasons.
"""

import argparse
import json
import sys
import unittest
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

Fault = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]


class JsonResult(unittest.TestResult):
    """Prints the outcome of each test as soon as it is known."""

    def addSuccess(self, test: unittest.TestCase) -> None:
        print_result(test.id(), "passed")

    def addFailure(self, test: unittest.TestCase, err: Fault) -> None:
        print_result(test.id(), "failed", f"{err[0].__name__ if err[0] else ''}: {err[1]}")

    addError = addFailure


def print_result(test: str, outcome: str, said: str = "") -> None:
    """Print one line."""
    print(json.dumps({"test": test, "outcome": outcome, "said": said[:500]}), flush=True)


def each(suite: unittest.TestSuite | unittest.TestCase) -> Iterator[unittest.TestCase]:
    """The tests of a suite of suites. Raises `ImportError` for one that could not be loaded."""
    if isinstance(suite, unittest.TestSuite):
        for one in suite:
            yield from each(one)
    elif "_FailedTest" in suite.id():
        raise ImportError(suite.id())
    else:
        yield suite


def main() -> None:
    """Find the tests, skip those that are left out, run the rest."""
    options: dict[str, Any] = json.loads(sys.argv[1])
    modules = Path(options["checkout"]) / "modules"
    tests = modules / "httpserver-api/tests"
    sys.path[:0] = [str(modules.parent / "scripts"), str(tests)]
    import basetest  # type: ignore[import-not-found]
    from osv import client  # type: ignore[import-not-found]

    base = basetest.Basetest
    base.config = argparse.Namespace(
        connect=True, check_jvm=False, host="127.0.0.1", port=options["port"], hypervisor="qemu",
        jsondir=str(modules / options["listings"] / "api-doc/listings"), cert=None, key=None, cacert=None,
        no_verify=None,
    )  # fmt: skip
    base._client = client.Client(base.config)
    base.start_image()
    selected = unittest.TestSuite()
    for test in each(unittest.TestLoader().discover(str(tests / options["folder"]), pattern="test*.py")):
        reasons = [why for part, why in options["left out"].items() if part in test.id()]
        if reasons:
            print_result(test.id(), "skipped", reasons[0])
        else:
            selected.addTest(test)
    selected.run(JsonResult())


if __name__ == "__main__":
    main()
