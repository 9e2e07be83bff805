"""Writes GitHub's workflows and a shell script from the same steps."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from harness.core.errors import HarnessError
from harness.host.host import LAB_QEMU

FOLDER = Path(__file__).parent
NAMES = ("nightly.yml", "pull-request.yml", "comment.yml")
RUNNERS = (("x86_64", "ubuntu-24.04"), ("aarch64", "ubuntu-24.04-arm"))
"""GitHub's runners on hardware of each arch. Source: docs.github.com, GitHub-hosted runners."""

HOMES = ("harness", "osv")
RUN_DEPTH = " " * 10
JOB, STEP = re.compile(r"  [a-z][\w-]*:"), re.compile(r"      - |    steps:")


@dataclass(frozen=True, slots=True)
class Home:
    """The repository that holds the workflows, `harness` or `osv`; `other` is the name of the other repository."""

    name: str = "harness"
    other: str = "cloudius-systems/osv"

    def __post_init__(self) -> None:
        owner, slash, name = self.other.partition("/")
        if not (
            slash
            and all(word.replace("-", "").replace("_", "").replace(".", "").isalnum() for word in (owner, name))
        ):
            raise HarnessError(
                f"{self.other!r} is no repository's name.", "Write it as on GitHub: cloudius-systems/osv"
            )


def steps() -> dict[str, str]:
    """The shell text of every step, by name."""
    return {name: text.strip("\n") for name, text in tomllib.loads((FOLDER / "steps.toml").read_text()).items()}


def workflow(name: str, kernel: str, home: Home, command: str) -> str:
    """The text of one of `NAMES`. `command` is the command that wrote it, for its reader."""
    texts = steps()
    nightly = name == "nightly.yml"
    compare, cell = (
        ("compare-osv", "osv:qemu-ramfs") if home.name == "osv" else ("compare-harness", "linux:qemu-ramfs")
    )
    afters = ("confirm", "hunt") if kernel == "osv" else ("confirm",)
    rendered = (
        _environment()
        .get_template(name)
        .render(
            command=command,
            kernel=kernel,
            set="nightly" if nightly else "quick",
            measures=nightly,
            home=home.name,
            osv_repository=home.other,
            harness_repository=home.other,
            runners=RUNNERS,
            labs=[*LAB_QEMU],
            afters=", ".join(f"{job}-{arch}" for job in afters for arch, _ in RUNNERS),
            cells_jobs=", ".join(f"cells-{arch}" for arch, _ in RUNNERS),
            compared_cell=cell,
            compare=indent(texts[compare], RUN_DEPTH),
            step={step: indent(text, RUN_DEPTH) for step, text in texts.items()},
        )
    )
    return _tidy(rendered)


def script(kernel: str, chosen: str) -> str:
    """A shell script that runs the night on one machine: the same steps, one after the other."""
    return _tidy(_environment().get_template("night.sh").render(kernel=kernel, set=chosen, step=steps()))


def _environment() -> Environment:
    """The templates, with delimiters that mean nothing to YAML, GitHub or a shell."""
    return Environment(
        loader=FileSystemLoader(FOLDER), undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True,
        variable_start_string="«", variable_end_string="»", line_statement_prefix="%%",
    )  # fmt: skip


def _tidy(text: str) -> str:
    """Put one empty line before each job, and remove those that a macro left between steps."""
    lines: list[str] = []
    for line in text.splitlines():
        separated = not lines or not lines[-1] or lines[-1].lstrip().startswith("#") or lines[-1] == "jobs:"
        if JOB.fullmatch(line) and "jobs:" in lines and not separated:
            lines.append("")
        if STEP.match(line):
            while lines and not lines[-1]:
                lines.pop()
        if line.strip() or (lines and lines[-1]):
            lines.append(line.rstrip())
    return "\n".join(lines).rstrip("\n") + "\n"
