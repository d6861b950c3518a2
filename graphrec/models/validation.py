"""Nested values turned into typed sections, with errors that name the option."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from modalities._base.errors import InputError, nearest

S = TypeVar("S", bound=BaseModel)


def validated(section: type[S], values: Any, title: str, prefix: str) -> S:
    """The section made of `values`.

    Args:
        section: a pydantic class.
        values: a mapping of its fields.
        title: of the section, for a message about the whole.
        prefix: of the names of its options, such as `training.`.

    Raises:
        InputError: not a mapping, an unknown key (the nearest is named) or a wrong value.
    """
    given = mapping(values, title)
    reject_unknown(given, list(section.model_fields), prefix)
    try:
        made = section(**given)
    except ValidationError as error:
        raise InputError(_readable(error, prefix)) from None
    for key, value in given.items():
        if isinstance(value, bool) and type(getattr(made, key)) in (int, float):
            raise InputError(f"{prefix}{key}: expected a number (got {value!r})")
    return made


def mapping(values: Any, title: str) -> dict[str, Any]:
    """A copy of `values`, which must be key: value pairs."""
    if not isinstance(values, Mapping):
        raise InputError(f"section '{title}' must hold key: value pairs, got {values!r}")
    return dict(values)


def reject_unknown(values: Mapping[str, Any], valid: Sequence[str], prefix: str) -> None:
    """Raise `InputError` for the first key that is not valid, naming the nearest."""
    for key in values:
        if key not in valid:
            near = nearest(str(key), valid)
            hint = f"did you mean '{prefix}{near}'? " if near else ""
            listed = ", ".join(f"{prefix}{name}" for name in valid) or "none"
            raise InputError(f"unknown option '{prefix}{key}'; {hint}Valid: {listed}")


def _readable(error: ValidationError, prefix: str) -> str:
    first = error.errors()[0]
    key = str(first["loc"][0]) if first["loc"] else ""
    expected = first["msg"].removeprefix("Value error, ")
    return f"{prefix}{key}: {expected} (got {first.get('input')!r})"
