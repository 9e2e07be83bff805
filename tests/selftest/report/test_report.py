"""Reports in words: Markdown, a terminal's text, OpenMetrics, and what all of them rest on."""

import re
from dataclasses import replace
from io import StringIO

import pytest
from markdown_it import MarkdownIt
from rich.console import Console
from test_report_history import BEGAN, CELLS, DAY, HERE, STEP, history, version

from harness.analysis.ab.sequential_test import Decision, Judgement
from harness.core.matrix import Matrix
from harness.metrics.history.records import VerdictRecord
from harness.metrics.records import Metric, Sample, Version
from harness.report.html.documents import Compared, records
from harness.report.html.load_figures import load_figures
from harness.report.html.matrix_grid import grid
from harness.report.html.rendering import script_text
from harness.report.html.trends import stacks, trends
from harness.report.markdown import code, markdown
from harness.report.model.data import LONGEST_TEXT, ReportData, safe_text
from harness.report.model.figures import Kind
from harness.report.model.formatting import moment, percent, shown
from harness.report.model.highlights import by_cause, unexpected
from harness.report.model.outcomes import by_test, counts
from harness.report.model.series import series_of
from harness.report.model.timeline import Timeline
from harness.report.openmetrics import openmetrics
from harness.report.terminal import show

HOSTILE = (
    "<script>alert(1)</script>", "<img src=x>", "</details><h1>x", "[a](http://x)", "![a](http://x)",
    "@maintainer", "#12 owner/repo#3", "http://example.org", "`code` ``two``", "a | b || c", "\\| \\` \\",
    "**bold** _it_ ~~s~~", "\x1b[31mred\x07", "\u202egnp", "line\nbreak\r\n# head", "```\nfence",
    "[red]rich[/red]", '"quoted"\\', "&lt;b&gt;", "x" * 999,
)  # fmt: skip


def hostile() -> ReportData:
    """The history with hostile words wherever a guest, a kernel's tree or another runner can put some."""
    told = history()
    samples = [
        replace(
            sample,
            subject=f"{sample.subject}{HOSTILE[number % len(HOSTILE)]}",
            cell=f"{sample.cell}{HOSTILE[(number + 3) % len(HOSTILE)]}",
            version=replace(sample.version, described=HOSTILE[(number + 7) % len(HOSTILE)]),
            environment=replace(sample.environment, host=HOSTILE[(number + 9) % len(HOSTILE)]),
            metric=replace(sample.metric, unit=HOSTILE[(number + 11) % len(HOSTILE)]),
        )
        for number, sample in enumerate(told.samples)
    ]
    judged = [
        replace(
            one,
            test=HOSTILE[number % len(HOSTILE)],
            cell=f"{one.cell}{HOSTILE[(number + 1) % len(HOSTILE)]}",
            reason=HOSTILE[(number + 2) % len(HOSTILE)],
            outcome=HOSTILE[(number + 3) % len(HOSTILE)],
            suite=HOSTILE[(number + 5) % len(HOSTILE)],
            version=replace(one.version, described=HOSTILE[(number + 7) % len(HOSTILE)]),
            expected=False,
        )
        for number, one in enumerate(told.judged[:200])
    ]
    findings = [
        replace(told.findings[0], subject=words, cell=words, after=Version(words, words, words), cause=0)
        for words in HOSTILE
    ]
    return ReportData(samples, judged, told.documents, findings)


@pytest.mark.parametrize("told", [history(), hostile()], ids=["plain", "hostile"])
def test_markdown_holds_no_markup_but_its_own(told: ReportData) -> None:
    """Every text stands in a code span: no HTML, link, image, heading, mention, or square too many."""
    written = markdown(told)
    assert len(written) < 65_536
    tokens = MarkdownIt("commonmark").enable(["table", "linkify"], ignoreInvalid=True).parse(written)
    html = [token.content.strip() for token in tokens if token.type == "html_block"]
    assert html == ["<details><summary>Every cell</summary>", "</details>"]
    inside = [child for token in tokens for child in token.children or []]
    assert {child.type for child in inside} <= {"text", "code_inline", "strong_open", "strong_close", "softbreak"}
    headings = [token.tag for token in tokens if token.type == "heading_open"]
    assert headings == ["h3"]
    plain = " ".join(child.content for child in inside if child.type == "text")
    assert not re.search(r"[@#<>\[\]\x00-\x1f\u202e]|http", plain)
    for table in re.findall(r"(?:^\|.*\n)+", written, re.MULTILINE):
        assert len({row.count("|") for row in table.splitlines()}) == 1


@pytest.mark.parametrize("text", HOSTILE)
def test_a_code_span_shows_what_it_was_given(text: str) -> None:
    """One line, one span, nothing else."""
    spans = MarkdownIt("commonmark").parseInline(f"{code(safe_text(text))} end")[0].children or []
    assert [span.type for span in spans] == ["code_inline", "text"]
    assert spans[1].content == " end"


@pytest.mark.parametrize("told", [history(), hostile(), ReportData()], ids=["plain", "hostile", "empty"])
def test_openmetrics_is_valid(told: ReportData) -> None:
    """As prometheus_client's own parser reads it: every family once, units as suffixes, an end."""
    parser = pytest.importorskip("prometheus_client.openmetrics.parser")
    text = openmetrics(told)
    assert text.endswith("# EOF\n")
    families = list(parser.text_string_to_metric_families(text))
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    assert all(family.name.endswith(family.unit) for family in families)
    for line in text.splitlines():
        assert line.isprintable()


def test_openmetrics_tells_the_latest() -> None:
    """In base units, with what the number is about."""
    parser = pytest.importorskip("prometheus_client.openmetrics.parser")
    families = {family.name: family for family in parser.text_string_to_metric_families(openmetrics(history()))}
    memory = {one.labels["cell"]: one.value for one in families["osv_metric_memory_minimum_bytes"].samples}
    assert memory[CELLS[0]] == 26 * 2**20
    assert families["osv_metric_boot_wall_seconds"].unit == "seconds"
    verdicts = {
        one.labels["outcome"]: one.value
        for one in families["osv_verdicts"].samples
        if one.labels["cell"] == CELLS[0]
    }
    assert verdicts == {"passed": 27, "crashed": 1, "skipped": 1, "failed as expected": 1}
    assert len(families["osv_latest_version"].samples) == len(CELLS)


@pytest.mark.parametrize("told", [history(), hostile(), ReportData()], ids=["plain", "hostile", "empty"])
def test_the_terminal_gets_nothing_but_text(told: ReportData) -> None:
    """No escape sequence, no markup that was read, every finding's cause and every unexpected verdict named."""
    out = StringIO()
    show(told, Console(file=out, width=200, highlight=False))
    written = out.getvalue()
    assert all(character.isprintable() or character == "\n" for character in written)
    if told.findings and told.findings[0].cell in CELLS:
        assert "tst-03.so" in written
        assert "-5.56%" in written
    elif told.findings:
        assert "[red]rich[/red]" in written


def test_safe_text_is_one_short_line() -> None:
    """Escapes, controls and what reorders text are shown; long text is cut, and says so."""
    assert safe_text("a\x1b[31mb\nc\x00") == "ab\\x0ac\\x00"
    assert safe_text("\u202e\ud800") == "\\u202e\\ud800"
    assert safe_text("x" * 1000) == f"{'x' * LONGEST_TEXT} … 700 more"


def test_data_can_not_end_its_script() -> None:
    """Whatever the text, no angle bracket or ampersand is left in it."""
    assert not re.search("[<>&]", script_text(["</script>", "<!--", "]]>", "&lt;"]))


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (6_710_886, "B", "6.4 MiB"), (24, "MiB", "24 MiB"), (2048, "MiB", "2 GiB"), (0.0123, "s", "12.3 ms"),
        (90, "s", "90 s"), (1500, "us", "1.5 ms"), (137e6, "instructions", "137 M instructions"),
        (123, "symbols", "123 symbols"), (18_000, "requests/s", "18 k requests/s"), (0, "B", "0 B"),
        (-4096, "B", "-4 KiB"), (float("nan"), "s", "nan ns"),
    ],
)  # fmt: skip
def test_numbers_are_readable(value: float, unit: str, words: str) -> None:
    """With a prefix that suits them."""
    assert shown(value, unit) == words


def test_changes_and_times_are_readable() -> None:
    """With a sign; and what is no date is nothing."""
    assert (percent(0.0213), percent(-0.5)) == ("+2.13%", "-50%")
    assert (moment(BEGAN), moment(0), moment(1e30)) == ("2026-09-21 14:13", "", "")


def test_versions_stand_in_the_order_of_commits() -> None:
    """However late an old commit is measured; without dates and git's counts, in the order of measuring."""
    metric = Metric("boot.wall", "s")
    old, new = version(CELLS[0], 1), version(CELLS[0], 2)
    samples = [
        Sample(metric, 1, CELLS[0], "", new, HERE, "1", 10),
        Sample(metric, 1, CELLS[0], "", old, HERE, "2", 20),
    ]
    assert [row["commit"] for row in Timeline(ReportData(samples)).to_json()] == [old.commit, new.commit]
    undated = [replace(one, version=replace(one.version, committed=0)) for one in samples]
    assert [row["commit"] for row in Timeline(ReportData(undated)).to_json()] == [old.commit, new.commit]
    undated = [replace(one, version=replace(one.version, committed=0, described="a kernel")) for one in samples]
    assert [row["commit"] for row in Timeline(ReportData(undated)).to_json()] == [new.commit, old.commit]


def test_trends_bear_their_findings() -> None:
    """Where the finding's first version at the new level stands, on the line of its cell."""
    told = history()
    timeline = Timeline(told)
    figures, drawn = trends(series_of(told, timeline), told.findings, timeline)
    boot = next(figure for figure in figures if figure.id == drawn["boot.instructions", CELLS[0], ""])
    assert [(mark.line, mark.x, mark.worse) for mark in boot.marks] == [(0, STEP, True), (1, STEP, True)]
    assert not any("drivers" in figure.title for figure in figures)
    wall = next(figure for figure in figures if figure.title == "boot.wall" and figure.about.startswith("osv"))
    assert set(wall.lines[0].counts) == {5}
    assert all(
        low < y < high for low, y, high in zip(wall.lines[0].low, wall.lines[0].y, wall.lines[0].high, strict=True)
    )


def test_a_finding_about_a_part_has_a_trend() -> None:
    """So that it can be marked."""
    told = history()
    part = replace(told.findings[0], metric=Metric("boot.instructions.drivers", "instructions", exact=True))
    timeline = Timeline(told)
    _, drawn = trends(series_of(told, timeline), [part], timeline)
    assert ("boot.instructions.drivers", CELLS[0], "") in drawn


def test_phases_are_stacked_in_order_and_sections_by_size() -> None:
    """The first phase at the bottom; the greatest section likewise."""
    told = history()
    figures = stacks(series_of(told, Timeline(told)))
    assert {figure.kind for figure in figures} == {Kind.STACK}
    boot = next(figure for figure in figures if figure.title.startswith("Boot"))
    assert [line.name for line in boot.lines] == ["bios", "loader", "elf", "drivers", "rootfs", "program"]
    size = next(figure for figure in figures if "section" in figure.title)
    assert [line.name for line in size.lines][:3] == ["text", "bss", "rodata"]


def test_loads_become_curves_and_seconds() -> None:
    """Two versions of each cell, as far into the tail as there are answers; what can't be read is counted."""
    told = history()
    broken = replace(told.documents[0], body={"tool": "wrk"})
    hollow = replace(told.documents[0], body={**told.documents[0].body, "histogram": "AAAA"})
    figures, unread = load_figures(replace(told, documents=[*told.documents, broken, hollow]), Timeline(told))
    assert unread == 2
    assert [figure.kind for figure in figures] == [Kind.CURVE, Kind.SECONDS, Kind.SECONDS]
    assert len(figures[0].lines) == 2 * len(CELLS)
    assert max(figures[0].lines[0].x) == pytest.approx(3.6)
    assert list(figures[0].lines[0].y) == sorted(figures[0].lines[0].y)


def test_a_comparison_is_a_table_and_another_record_its_text() -> None:
    """What a newer harness wrote, and this one can't read, is shown as it is."""
    load = history().documents[0]
    judged = Judgement(Metric("boot.wall", "s"), Decision.CHANGED, 0.03, (0.02, 0.04), 0.001, 20, 0.01)
    comparison = replace(load, kind="comparison", body={"judgements": [judged.to_json()]})
    newer = replace(load, kind="comparison", body={"judgements": [{"metric": "<b>"}]})
    first, second = records(ReportData(documents=[comparison, newer]))
    assert first.judgements == [Compared("boot.wall", "+3%", "+2% … +4%", 20, "▲ worse", "bad")]
    assert "<b>" in second.text


def test_the_grid_shows_what_was_not_run_and_why() -> None:
    """Cells stand by their filesystem; a cell of no known name has a place too."""
    told = history()
    odd = replace(told.judged[0], cell="<odd>")
    made = grid(by_test(replace(told, judged=[*told.judged, odd])), Matrix.load())
    assert [row.name for row in made.rows] == ["<odd>", "linux x86_64 qemu all", "osv x86_64 qemu all"]
    linux = dict(zip(made.columns, made.rows[1].squares, strict=True))
    assert linux["rofs"].standing == "bad"
    assert linux["zfs"].why == "Debian's cloud kernel has no ZFS."
    assert (linux["ramfs"].standing, linux["ramfs"].why) == ("none", "")


def test_a_variant_of_a_machine_has_a_row_of_its_own() -> None:
    """It once stood in the square of the machine without a variant, whose verdicts were gone."""
    plain = replace(history().judged[0], cell="osv:x86_64-qemu-rofs-all", outcome="passed", expected=True)
    judged = [*(replace(plain, test=test) for test in "abc"), replace(plain, cell=f"{plain.cell}/numa")]
    made = grid(by_test(ReportData(judged=judged)), Matrix.load())
    rofs = made.columns.index("rofs")
    assert {row.name: row.squares[rofs].counts[0].number for row in made.rows} == {
        "osv x86_64 qemu all": 3, "osv x86_64 qemu all /numa": 1,
    }  # fmt: skip


def test_verdicts_are_counted_as_a_person_takes_them() -> None:
    """An expected failure is no alarm; a pass that was to fail has a class of its own."""
    one = history().judged[0]
    judged = [
        replace(one, test="a", outcome="failed", expected=True),
        replace(one, test="b", outcome="passed", expected=False),
        replace(one, test="c", outcome="skipped", expected=True),
        replace(one, test="d", outcome="new_kind", expected=False),
    ]
    found = {count.words: (count.standing, count.symbol) for count in counts(by_test(ReportData(judged=judged)))}
    assert found == {
        "passed unexpectedly": ("stale", "✓"), "new kind": ("bad", "?"), "skipped": ("good", "↷"),
        "failed as expected": ("expected", "✗"),
    }  # fmt: skip


def test_what_is_not_as_expected_says_since_when() -> None:
    """The first version of the present row of bad verdicts, not of an older one."""
    one = history().judged[0]

    def judged(number: int, good: bool) -> VerdictRecord:
        outcome = "passed" if good else "crashed"
        return replace(
            one, outcome=outcome, expected=good, version=version(one.cell, number), taken=BEGAN + number * DAY
        )

    rows = unexpected(
        by_test(ReportData(judged=[judged(n, good) for n, good in enumerate([True, False, True, False, False])]))
    )
    assert [row.since for row in rows] == [version(one.cell, 3).described]


def test_findings_stand_by_what_matters() -> None:
    """Worse ones first, those of a cause together, what a rerun refuted last."""
    first, second, third, _ = history().findings
    better = replace(first, change=-0.9, cause=0)
    refuted = replace(first, cause=2, confirmed=False)
    causes = by_cause([better, refuted, first, second, third])
    assert [(cause.first.metric, len(cause.others)) for cause in causes] == [
        ("app.nginx.steady.throughput", 2), ("boot.instructions", 0), ("boot.instructions", 0),
    ]  # fmt: skip
    assert not causes[1].first.worse
    assert causes[2].first.confirmed == "not seen again in a rerun"
