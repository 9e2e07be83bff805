"""Writes the folder of a run that was not a pass: everything that is needed to examine and to repeat it."""

import json
import re
import shlex
from dataclasses import asdict
from pathlib import Path

from harness.core.errors import HostError
from harness.core.machine import Image
from harness.kernels.source_lines import SourceLines
from harness.report.backtrace import symbolised
from harness.runner.base import Run

UNSAFE = re.compile(r"[^A-Za-z0-9._+-]")


def write(run: Run, image: Image, accelerator: str, runs: Path, again: str) -> Path:
    """Write the evidence under `runs`, in a folder for the cell and the program; returns that folder.

    `again` is a shell line that repeats the run, from `harness.report.reproduce`. Raises `HostError`, with the
    verdict that would be lost, if it can't be written.
    """
    folder = runs / image.cell.slug / UNSAFE.sub("_", run.program.name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(run, image, accelerator, folder, again)
    except OSError as error:
        verdict = f"{run.program.name} ({run.verdict.outcome}: {run.verdict.reason})"
        raise HostError(
            f"The evidence of {verdict} could not be kept in {folder}: {error.strerror}.",
            "Free space there, or give --runs another folder.",
        ) from error
    return folder


def _write(run: Run, image: Image, accelerator: str, folder: Path, again: str) -> None:
    run.transcript.write(folder)
    (folder / "command.txt").write_text(shlex.join(run.command) + "\n")
    (folder / "reproduce.txt").write_text(again + "\n")
    if run.kernel_log:
        (folder / "kernel-log.txt").write_text(run.kernel_log)
    if run.registers:
        (folder / "registers.txt").write_text(run.registers)
    lines = SourceLines(image.symbols, image.manifest, run.objects)
    frames = symbolised(bytes(run.transcript.raw), lines)
    if fault := run.verdict.observation.fault:
        frames.append(f"the fault: {fault}")
    if frames:
        (folder / "backtrace.txt").write_text("\n".join(frames) + "\n")
    if run.threads:
        (folder / "threads.txt").write_text(run.threads)
    if run.first:
        _write_first(run.first, image, accelerator, folder, again)
    told = summary(run, image, accelerator)
    (folder / "verdict.json").write_text(json.dumps({**told, "vcpus": _vcpus(run, lines)}, indent=1))


def _vcpus(run: Run, lines: SourceLines) -> list[dict[str, object]]:
    """Where each vCPU was at the end: its program counter, and its function and line."""
    places = iter(lines.at(vcpu.pc for vcpu in run.vcpus if vcpu.pc is not None))
    return [
        {"index": vcpu.index, "pc": None if vcpu.pc is None else hex(vcpu.pc),
         "at": None if vcpu.pc is None else str(next(places))}
        for vcpu in run.vcpus
    ]  # fmt: skip


def _write_first(run: Run, image: Image, accelerator: str, folder: Path, again: str) -> None:
    """Write the evidence of a run that was repeated beside that of its second run."""
    apart = folder / "first"
    apart.mkdir(exist_ok=True)
    _write(run, image, accelerator, apart, again)
    for path in apart.iterdir():
        path.replace(folder / f"first-{path.name}")
    apart.rmdir()


def summary(run: Run, image: Image, accelerator: str) -> dict[str, object]:
    """The verdict and its reasons, as plain JSON values."""
    seen = run.verdict.observation
    return {
        "cell": str(image.cell),
        "test": run.program.name,
        "outcome": run.verdict.outcome,
        "reason": run.verdict.reason,
        "identity": run.verdict.identity,
        "status": seen.status,
        "status_from": seen.status_from,
        "ending": seen.exit_status.detail if seen.exit_status else None,
        "faults": [fault.text for fault in seen.faults],
        "printed_faults": [fault.text for fault in seen.printed_faults],
        "complaints": list(seen.interaction.mismatches) if seen.interaction else [],
        "activity": seen.activity,
        "seconds": round(seen.seconds, 3),
        "kept_waiting": round(seen.kept_waiting, 3),
        "steal": round(seen.steal, 3),
        "pauses": [asdict(pause) for pause in seen.pauses],
        "notes": list(run.notes),
        "limit": seen.limit,
        "accelerator": accelerator,
        "origin": run.origin,
        "vcpus": [{"index": vcpu.index, "pc": None if vcpu.pc is None else hex(vcpu.pc)} for vcpu in run.vcpus],
        "image": image.digest,
        "facts": dict(image.facts),
    }
