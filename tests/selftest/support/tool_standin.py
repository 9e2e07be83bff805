"""Stands in for hypervisors' command-line tools, as far as their transport: it boots nothing.

It is run by the name of a tool (`xl`, `vmrun`, `VBoxManage`, `VBoxHeadless`, `gcloud`), writes its arguments down,
and does with files in OSV_HARNESS_STANDIN's folder what the tool would do with a machine: `runs` is there while
one does, and `why`, if it is there, says how it is to end. With `unbuilt` a Xen domain has its name and stays so.
"""

import os
import re
import socket
import sys
import time
from pathlib import Path

FOLDER = Path(os.environ.get("OSV_HARNESS_STANDIN", "."))
RUNS, WHY, STARTED, UNBUILT = (FOLDER / name for name in ("runs", "why", "started", "unbuilt"))
SAID = "the stand-in was told to start"


def until_gone() -> None:
    """Live as long as the machine."""
    while RUNS.exists():
        time.sleep(0.01)


def until_started() -> None:
    """Wait until the machine is told to run."""
    while RUNS.exists() and not STARTED.exists():
        time.sleep(0.01)


def destroy() -> None:
    """The machine is no more."""
    RUNS.unlink(missing_ok=True)


def xl(verb: str, *rest: str) -> int:
    """A domain: `create -F` stays, and tells the reason of the end."""
    if verb == "create":
        RUNS.write_text(Path(rest[-1]).read_text())
        if not UNBUILT.exists():
            print("Waiting for domain osv (domid 1) to die [pid 1]", flush=True)
        until_gone()
        print(f"Domain 1 has shut down, reason code {WHY.read_text() if WHY.exists() else 0} 0x0")
        return 0
    if not RUNS.exists():
        print("\x1b[1mno such domain", file=sys.stderr)
        return 1
    if verb == "console":
        until_started()
        print(SAID, flush=True)
        until_gone()
    elif verb == "unpause":
        STARTED.touch()
    elif verb == "destroy":
        destroy()
    elif verb == "vcpu-list":
        print("Name ID VCPU CPU State Time(s) Affinity\nosv 1 0 1 -b- 12.5 all / all")
    return 0


def on_serial(path: str) -> None:
    """A guest on the socket, once it runs."""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(path)
        until_started()
        line.sendall(f"{SAID}\n".encode())
        until_gone()


def vmrun(verb: str, *rest: str) -> int:
    """A machine in a process of its own."""
    file = Path(rest[0]) if rest else Path()
    if verb == "start":
        RUNS.write_text(file.read_text())
        if os.fork() == 0:
            os.setsid()
            os.closerange(0, 3)  # else who started the tool waits for its output's end
            on_serial(str(file.with_name("serial")))
            os._exit(0)
    elif verb == "list":
        print("Total running VMs: 1" if RUNS.exists() else "Total running VMs: 0")
        if RUNS.exists():
            print((FOLDER / "file").read_text())
    elif verb == "unpause":
        STARTED.touch()
    elif verb == "stop":
        destroy()
    if verb == "start":
        (FOLDER / "file").write_text(str(file))
    return 0


def vboxmanage(*words: str) -> int:
    """A registry: it remembers the serial socket, and starts and ends the machine."""
    if "--uartmode1" in words:
        (FOLDER / "serial").write_text(words[-1])
    if words[-1] == "resume":
        STARTED.touch()
    if words[-1] == "poweroff":
        destroy()
    return 0


def vboxheadless(*words: str) -> int:
    """The machine."""
    RUNS.touch()
    on_serial((FOLDER / "serial").read_text())
    return 0


def gcloud(*words: str) -> int:
    """A cloud: it tells all that was said each time."""
    what = " ".join(words)
    if "instances create" in what:
        RUNS.touch()
    elif "get-serial-port-output" in what:
        print(SAID)
    elif "instances describe" in what:
        print("RUNNING" if RUNS.exists() else "TERMINATED")
    elif "instances delete" in what:
        destroy()
    return 0


if __name__ == "__main__":
    name = Path(sys.argv[1]).name
    with (FOLDER / "log").open("a") as log:
        log.write(" ".join([name, *sys.argv[2:]]) + "\n")
    refused = os.environ.get("OSV_HARNESS_STANDIN_REFUSES", "")
    if refused and re.search(refused, " ".join([name, *sys.argv[2:]])):
        print("\x1b[31mout of luck", file=sys.stderr)
        sys.exit(9)
    sys.exit(globals()[name.lower()](*sys.argv[2:]))
