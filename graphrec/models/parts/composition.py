"""How a composition of `modular` is written down, and spelt out."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationInfo

from graphrec.models.parts.registry import complete_part, part_class, part_names
from graphrec.models.presets import PRESETS
from graphrec.models.validation import mapping
from modalities._base.errors import InputError, UnknownNameError

ONE = {"propagation": "propagation", "item_graph": "item_graph", "fusion": "fusion"}
MANY = {"streams": "stream", "branches": "branch", "losses": "loss"}


def _one_form(value: Any, info: ValidationInfo) -> Any:
    names = part_names(ONE[str(info.field_name)])
    if isinstance(value, (str, Mapping)) or (value is False and "none" in names):
        return value
    off = ", or false" if "none" in names else ""
    raise ValueError(
        f"expected a part's name, or a mapping of its name and options{off}; "
        f"valid names: {', '.join(names)}"
    )


def _many_form(value: Any, info: ValidationInfo) -> Any:
    names = part_names(MANY[str(info.field_name)])
    if isinstance(value, Mapping):
        return value
    raise ValueError(
        f"expected a mapping of names to options, as in model.{info.field_name}.{names[0]}=true; "
        f"valid names: {', '.join(names)}"
    )


Chosen = Annotated[bool | str | Mapping[str, Any], BeforeValidator(_one_form)]
Several = Annotated[Mapping[str, Any], BeforeValidator(_many_form)]

_PLAIN: dict[str, Any] = {
    "dim": 64,
    "score": "dot",
    "epoch": "interactions",
    "negatives": 1,
    "pool": "train_items",
}
SPELT = ("dim", *MANY, *ONE, "score", "epoch", "negatives", "pool")


def complete_composition(given: Mapping[str, Any]) -> dict[str, Any]:
    """Every part with all its options, from the preset and what is laid over it.

    Args:
        given: options of `modular`, `preset` among them; those left out are as the preset says.

    Raises:
        InputError: an unknown preset, part or option, a wrong value, or contradicting choices.
    """
    name, origin = given["preset"], given.get("origin")
    if name not in PRESETS:
        raise UnknownNameError("preset", name, PRESETS)
    if origin is not None and name != "none":
        raise InputError(
            f"these options spell out a composition that came from preset '{origin}', so "
            f"preset '{name}' cannot be laid under them; start from a configuration without "
            "model.origin"
        )
    base = {**_PLAIN, **PRESETS[name]}
    made: dict[str, Any] = {key: given.get(key, base[key]) for key in _PLAIN}
    for slot, kind in ONE.items():
        made[slot] = _complete_one(kind, slot, base[slot], given.get(slot, {}))
    for slot, kind in MANY.items():
        made[slot] = _complete_several(kind, slot, base[slot], given.get(slot, {}))
    came_from = origin or (None if name == "none" else name)
    return {"preset": "none", "origin": came_from, **{key: made[key] for key in SPELT}}


def _complete_one(kind: str, slot: str, base: Chosen, given: Chosen) -> dict[str, Any]:
    """A part's name and options; options of the preset are kept where the part stays the same."""
    start, over = _named(base, slot), _named(given, slot)
    name = over.pop("name", start["name"])
    options = {**start, **over} if name == start.pop("name") else over
    return {"name": name, **complete_part(kind, name, options, slot)}


def _named(part: Chosen, slot: str) -> dict[str, Any]:
    if part is False:
        return {"name": "none"}
    named = {"name": part} if isinstance(part, str) else mapping(part, f"model.{slot}")
    if not isinstance(named.get("name", ""), str) or named.get("name") == "":
        valid = ", ".join(part_names(ONE[slot]))
        raise InputError(f"model.{slot}.name must be one of {valid}; got {named['name']!r}")
    return named


def _complete_several(kind: str, slot: str, base: Several, given: Several) -> dict[str, Any]:
    """Parts by name, the preset's first; False for one that is left out."""
    made: dict[str, Any] = {}
    for name, value in {**base, **mapping(given, f"model.{slot}")}.items():
        part_class(kind, name)
        title = f"{slot}.{name}"
        start, over = (_weighed(options, kind, title) for options in (base.get(name, {}), value))
        if over is False:
            made[name] = False
            continue
        made[name] = complete_part(kind, name, {**(start or {}), **over}, title)
        if kind == "loss" and made[name]["weight"] == 0:
            made[name] = False
    return made


def _weighed(options: Any, kind: str, slot: str) -> Any:
    """Options of a part as a mapping, or False where it is left out."""
    if options is True:
        return {}
    if isinstance(options, Real) and (kind == "loss" or options == 0):
        return {"weight": float(options)} if options else False
    if options is None:
        raise InputError(f"model.{slot} has no value; give options, true, or false to leave it out")
    return mapping(options, f"model.{slot}")
