"""Parts of `modular` by kind and name, and their options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from graphrec.models.parts.base import Part
from graphrec.models.registry import is_same
from graphrec.models.signature import config_class
from graphrec.models.validation import mapping, validated
from modalities._base.errors import InputError, UnknownNameError
from modalities._base.plugins import load_plugins

KINDS = ("stream", "propagation", "item_graph", "fusion", "branch", "loss")
_parts: dict[str, dict[str, type[Part]]] = {kind: {} for kind in KINDS}
P = TypeVar("P", bound=type[Part])


def register_part(kind: str, name: str) -> Callable[[P], P]:
    """Make a class known as part `name` of a kind, as a decorator.

    Raises:
        UnknownNameError: there is no such kind.
        InputError: the name is taken.

    Example:
        >>> from graphrec.models.parts.terms import Term
        >>> @register_part("loss", "size")
        ... class Size(Term):
        ...     def __init__(self, plan, *, weight: float = 1.0) -> None:
        ...         super().__init__(weight)
        ...
        ...     def forward(self, state, batch):
        ...         return {"size": state.items.square().mean()}
        >>> "size" in part_names("loss")
        True
    """
    if kind not in _parts:
        raise UnknownNameError("kind of part", kind, KINDS)

    def register(part: P) -> P:
        if kind == "loss" and "weight" not in config_class(part).model_fields:
            raise InputError(f"loss '{name}' needs an option 'weight'; derive it from Term")
        if not is_same(_parts[kind].get(name, part), part):
            raise InputError(f"a {kind} named '{name}' is registered already; choose another name")
        _parts[kind][name] = part
        return part

    return register


def part_names(kind: str) -> list[str]:
    """The parts of a kind."""
    load_plugins()
    return list(_parts[kind])


def part_class(kind: str, name: str) -> type[Part]:
    """The class of a part.

    Raises:
        UnknownNameError: there is none; the nearest name is suggested.
    """
    if name not in _parts[kind]:
        load_plugins()
    if name not in _parts[kind]:
        raise UnknownNameError(kind.replace("_", " "), name, _parts[kind])
    return _parts[kind][name]


def complete_part(kind: str, name: str, options: Mapping[str, Any], slot: str) -> dict[str, Any]:
    """The options of a part, all of them, validated.

    Args:
        kind: of the part.
        name: of the part.
        options: those given.
        slot: where they stand in the configuration, for messages.

    Raises:
        InputError: an unknown name or option, or a wrong value.
    """
    section = config_class(part_class(kind, name))
    made = validated(section, mapping(options, f"model.{slot}"), slot, f"model.{slot}.")
    return made.model_dump(mode="json")
