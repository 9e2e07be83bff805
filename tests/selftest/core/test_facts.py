"""What a number depends on, as text: written, read, told apart; and who built a program, by its own word."""

import subprocess
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from harness.core.facts import LONGEST, difference, format_facts, parse_facts
from harness.kernels.compilers import compilers


@given(st.dictionaries(st.from_regex(r"[a-z ]{1,8}", fullmatch=True), st.text(max_size=600), max_size=6))
def test_facts_are_one_line_that_a_history_keeps(facts: dict[str, str]) -> None:
    text = format_facts(facts)
    assert len(text.encode()) <= LONGEST and text.isprintable()
    assert parse_facts(text).keys() <= facts.keys()


def test_facts_come_back_and_tell_what_changed() -> None:
    old = format_facts({"compiler": "gcc 12.2; a", "linker": "", "boost": "1_74"})
    assert old == "compiler=gcc 12.2, a; boost=1_74"
    assert parse_facts(old) == {"compiler": "gcc 12.2, a", "boost": "1_74"}
    assert difference(old, format_facts({"compiler": "gcc 12.2, a", "boost": "1_83"})) == "boost 1_74 → 1_83"
    assert difference("", "boost=1_83") == "boost unknown → 1_83"


def test_a_program_tells_its_compiler(tmp_path: Path) -> None:
    source, program = tmp_path / "a.c", tmp_path / "a"
    source.write_text("int main() { return 0; }\n")
    subprocess.run(["gcc", "-o", program, source], check=True)
    said = subprocess.run(["gcc", "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    assert compilers(program) == said
    assert compilers(source) == "" and compilers(None) == ""
