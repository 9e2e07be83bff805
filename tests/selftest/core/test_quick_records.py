"""Records that are made quickly are the records that they would have been."""

from dataclasses import FrozenInstanceError, dataclass, fields, replace

import pytest

from harness.core.quick_records import quick_maker


@dataclass(frozen=True, slots=True)
class Pair:
    """Two of something."""

    first: str
    second: float = 2.0


def test_a_quickly_made_record_is_the_record() -> None:
    quick = quick_maker(Pair)("one", 3.5)
    assert type(quick) is Pair and quick == Pair("one", 3.5) and hash(quick) == hash(Pair("one", 3.5))
    assert repr(quick) == repr(Pair("one", 3.5)) and replace(quick, first="two") == Pair("two", 3.5)
    assert [field.name for field in fields(quick)] == ["first", "second"]
    with pytest.raises(FrozenInstanceError):
        quick.first = "two"  # type: ignore[misc]


def test_no_field_may_be_left_out() -> None:
    with pytest.raises(TypeError):
        quick_maker(Pair)("one")
