"""What code of a user's own may put into the core types: a field of another kind is refused where it is written."""

from __future__ import annotations

from typing import Any, TypeVar

Kind = TypeVar("Kind")


def tuple_of(kind: type[Kind], values: Any, *, field: str) -> tuple[Kind, ...]:
    """`values`, a tuple or a list, as a tuple.

    >>> tuple_of(str, ["a", "b"], field="Step.observation")
    ('a', 'b')

    Raises:
        ValueError: it is neither, or something in it is no `kind`.
    """
    if not isinstance(values, tuple | list):
        raise ValueError(f"{field}: {values!r:.100}: give a tuple of {kind.__name__}")
    for each in values:
        if not isinstance(each, kind):
            raise ValueError(f"{field}: {each!r:.100} in it: give a tuple of {kind.__name__}")
    return values if isinstance(values, tuple) else tuple(values)


def require(kind: type[Any], value: Any, *, field: str) -> None:
    """Raises ValueError: `value` is no `kind`."""
    if not isinstance(value, kind):
        raise ValueError(f"{field}: {value!r:.100}: give a {kind.__name__}")


def truth(value: Any, *, field: str) -> bool:
    """`value` as true or false, also numpy's.

    >>> truth(2 > 1, field="Verdict.resolved")
    True

    Raises:
        ValueError: it is neither, such as what a function without `return` gives.
    """
    if isinstance(value, bool) or type(value).__name__ in ("bool", "bool_"):
        return bool(value)
    raise ValueError(f"{field}: {value!r:.100}: give True or False")
