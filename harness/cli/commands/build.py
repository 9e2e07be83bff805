"""Build a cell's image, or find it in the cache, and say what it is made of and how big it is."""


from dataclasses import dataclass
from typing import Annotated

from harness.cli import completion as complete
from harness.cli.declaration import declare, option
from harness.cli.options import CellNames, Common
from harness.cli.output import screen, table
from harness.core.events import subscribed
from harness.core.text import printable_lines
from harness.report.model.formatting import shown
from harness.report.progress import Progress
from harness.runner.session import Session
from harness.workloads.apps.app import app
from harness.workloads.apps.run import image_of


@dataclass
class Arguments(Common):
    """The cells, and the content of their images."""

    cell: CellNames
    app: Annotated[
        str | None,
        option(
            "--app", metavar="NAME", shell_complete=complete.apps,
            help="with this app in it (default: the in-guest tests)",
        ),
    ]  # fmt: skip
    files: Annotated[bool, option("--files", is_flag=True, help="list every file of the image")]


@declare(__doc__)
def command(arguments: Arguments) -> int:
    """Build the images in the given order."""
    session = Session(arguments.osv_root)
    for name in arguments.cell:
        cell = session.cell(name)
        with subscribed(Progress()):
            image = image_of(session, cell, app(arguments.app, cell)) if arguments.app else session.image(cell)
        rows = table("", "")
        rows.add_row("cell", str(cell))
        files = [("kernel", image.kernel), ("initrd", image.initrd)] + [
            ("disk", disk.path) for disk in image.disks
        ]
        for what, path in files:
            if path:
                rows.add_row(what, f"{path}  {shown(path.stat().st_size, 'B')}")
        rows.add_row("command line", image.cmdline)
        for fact, value in image.facts.items():
            rows.add_row(fact, value)
        screen().print(rows)
        if arguments.files and image.manifest:
            for line in printable_lines(image.manifest.read_bytes()):
                screen().print(line, markup=False)
    return 0
