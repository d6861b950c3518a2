"""Models by name, their options read from the constructor's signature."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from torch import nn

from graphrec.models.base import Recommender
from graphrec.models.signature import keywords
from modalities._base.docs import argument_help
from modalities._base.errors import InputError, UnknownNameError
from modalities._base.plugins import load_plugins

BUILT_IN = {
    "popularity": "graphrec.models.popularity:Popularity",
    "itemknn": "graphrec.models.itemknn:ItemKNN",
    "contentknn": "graphrec.models.contentknn:ContentKNN",
    "random": "graphrec.models.random:RandomOrder",
    "bpr": "graphrec.models.bpr:BPR",
    "vbpr": "graphrec.models.vbpr:VBPR",
    "ngcf": "graphrec.models.ngcf:NGCF",
    "alpharec": "graphrec.models.alpharec:AlphaRec",
    "mmhcl": "graphrec.models.mmhcl:MMHCL",
    "cm3": "graphrec.models.cm3:CM3",
    "lirdrec": "graphrec.models.lirdrec:LIRDRec",
    "lightgcn": "graphrec.models.lightgcn:LightGCN",
    "freedom": "graphrec.models.freedom:FREEDOM",
    "modular": "graphrec.models.modular:Modular",
}
_registered: dict[str, type[Recommender]] = {}


@dataclass(frozen=True)
class Option:
    """One constructor argument of a model."""

    name: str
    annotation: str
    default: Any
    help: str


def register(name: str, model: type[Recommender]) -> None:
    """Make `model` known as `name` in this process.

    A package does the same for everybody by declaring an entry point in the group
    `graphrec.models`: `name = "package.module:Class"`. A file that calls this is named to the
    command line by `graphrec --plugin FILE`.

    A class that replaces an earlier one of its own name and module, as a notebook's cell does when
    it is run again, takes its place.

    Raises:
        InputError: the name is taken by another model.
    """
    if name in BUILT_IN or not is_same(_registered.get(name, model), model):
        raise InputError(f"a model named '{name}' is registered already; choose another name")
    _registered[name] = model


def is_same(one: type, other: type) -> bool:
    """Whether two classes are one, or made by the same lines run twice."""
    return (one.__module__, one.__qualname__) == (other.__module__, other.__qualname__)


def model_names() -> list[str]:
    """All known names: built in, from entry points, registered."""
    load_plugins()
    external = [point.name for point in entry_points(group="graphrec.models")]
    return list(dict.fromkeys([*BUILT_IN, *external, *_registered]))


def model_class(name: str) -> type[Recommender]:
    """The class registered as `name`.

    Raises:
        UnknownNameError: there is none; the nearest name is suggested.
    """
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        found: type[Recommender] = getattr(import_module(module), attribute)
        return found
    load_plugins()
    if name in _registered:
        return _registered[name]
    for point in entry_points(group="graphrec.models"):
        if point.name == name:
            loaded = point.load()
            if not (isinstance(loaded, type) and issubclass(loaded, Recommender)):
                raise InputError(f"entry point '{name}' ({point.value}) is not a Recommender class")
            return loaded
    hint = "; a file with one of your own is named by 'graphrec --plugin FILE'"
    raise UnknownNameError("model", name, model_names(), hint)


def model_options(model: type[nn.Module]) -> list[Option]:
    """Name, type, default and help of each constructor keyword; help from the docstring."""
    texts = argument_help(inspect.getdoc(model) or "")
    hints = get_type_hints(model.__init__, include_extras=True)
    return [
        Option(
            parameter.name,
            _shown(hints.get(parameter.name, parameter.annotation)),
            parameter.default,
            texts.get(parameter.name, ""),
        )
        for parameter in keywords(model)
    ]


def model_source(model: type[Recommender]) -> str:
    """The `Source:` paragraph of the model's docstring, in one line."""
    found = re.search(r"Source: (.+?)(?:\n\s*\n|$)", inspect.getdoc(model) or "", re.DOTALL)
    return " ".join(found.group(1).split()) if found else ""


def model_summary(model: type[Recommender]) -> str:
    """What the first line of a model's module says of it."""
    doc = inspect.getdoc(inspect.getmodule(model)) or inspect.getdoc(model) or ""
    first = doc.splitlines()[0].rstrip(".") if doc else ""
    return first.partition(": ")[2] or first


def _bound(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


def _shown(hint: Any) -> str:
    """A type in words: bounds of a number, the values to choose from."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        bounds = [bound for field in hint.__metadata__ for bound in getattr(field, "metadata", ())]
        signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
        said = [
            f"{sign} {_bound(getattr(bound, name))}"
            for bound in bounds
            for name, sign in signs.items()
            if hasattr(bound, name)
        ]
        return f"{_shown(hint.__origin__)} {', '.join(said)}".strip()
    if origin is Literal:
        return ", ".join(str(value) for value in arguments)
    if origin in (Union, UnionType):
        return " or ".join(_shown(argument) for argument in arguments)
    if origin is not None:
        return f"{origin.__name__.lower()} of {' to '.join(_shown(a) for a in arguments)}"
    return {type(None): "null", Any: "anything"}.get(hint, getattr(hint, "__name__", str(hint)))
