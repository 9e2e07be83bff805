"""Makes frozen dataclasses with slots at the cost of ordinary ones, for who reads a million of them."""

from collections.abc import Callable
from dataclasses import fields, make_dataclass
from typing import Any, TypeVar

Record = TypeVar("Record")


def quick_maker(kind: type[Record]) -> Callable[..., Record]:
    """A constructor of `kind`, a frozen dataclass with slots, that takes all its fields by place and runs no
    `__post_init__`.

    A frozen dataclass sets each field by a call of `object.__setattr__`, which takes five times as long as an
    assignment. This makes an object of a class that has the same slots and is not frozen, and then gives it the
    right class, which Python allows where the slots are the same.
    """

    def become(made: Any) -> None:
        made.__class__ = kind

    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    return make_dataclass(f"Open{kind.__name__}", names, slots=True, namespace={"__post_init__": become})
