"""In which order tests begin: by what was recorded on this host, else by what ships."""

from pathlib import Path

import pytest

from harness.host.cache import Cache
from harness.runner import catalog
from harness.runner.durations import Durations
from harness.runner.session import Session

CELL = "linux:qemu-rofs"


def test_the_longest_begin_first_on_a_host_that_has_run_none(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was recorded there comes before what ships; what neither knows is short."""
    monkeypatch.setattr(session, "durations", Durations(Cache(tmp_path)))
    cell = session.cell(CELL)
    typical = catalog.typical_seconds("linux", session.recorded_accelerator(cell))
    ordered = [program.name for _, program in session.longest_first([cell])]
    listed = [name for name in ordered if name in typical]
    assert len(listed) == len(typical) > 10 and ordered[: len(listed)] == listed
    assert listed == sorted(listed, key=lambda name: -typical[name])
    session.durations.record(cell, session.recorded_accelerator(cell), {listed[0]: 0.1, ordered[-1]: 1000.0})
    again = [program.name for _, program in session.longest_first([cell])]
    assert again[0] == ordered[-1] and again.index(listed[0]) == len(typical)


def test_typical_seconds_are_scaled_as_limits_are() -> None:
    ratio = catalog.scale("kvm") / catalog.scale("tcg")
    under_tcg = catalog.typical_seconds("linux", "tcg")
    assert catalog.typical_seconds("linux", "kvm") == pytest.approx(
        {name: seconds * ratio for name, seconds in under_tcg.items()}
    )
    assert under_tcg and all(seconds >= 2 for seconds in under_tcg.values())
