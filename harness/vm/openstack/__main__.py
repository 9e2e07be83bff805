"""Asks the user's OpenStack cloud outside a run: `check` whether it answers, `remove NAME` what a run left."""

import logging
import sys
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec

from harness.core.errors import HarnessError
from harness.core.text import one_line


def main(arguments: Sequence[str]) -> int:
    """Do as asked; returns the exit status."""
    if find_spec("openstack") is None:
        print("it is not installed", file=sys.stderr)
        return 1
    from harness.vm.openstack.cloud import Cloud, remove

    logging.disable()
    try:
        if arguments[0] == "remove":
            remove(arguments[1])
        else:
            Cloud()
    except HarnessError as error:
        print(one_line(error.message), file=sys.stderr)
        return 1
    print(f"openstacksdk {version('openstacksdk')}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
