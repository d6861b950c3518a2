"""A constructor's keywords as a typed configuration."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, create_model
from torch import nn

from graphrec.models.validation import validated
from modalities._base.errors import InputError

_configs: dict[type[nn.Module], type[BaseModel]] = {}
_KINDS: Mapping[type, str] = {bool: "True or False", int: "a whole number", float: "a number"}


def keywords(model: type[nn.Module]) -> list[inspect.Parameter]:
    """The keyword-only parameters of a constructor."""
    parameters = list(inspect.signature(model.__init__).parameters.values())[2:]
    return [p for p in parameters if p.kind is p.KEYWORD_ONLY]


def config_class(model: type[nn.Module]) -> type[BaseModel]:
    """The typed configuration of a model or part, from its constructor's keywords."""
    if model not in _configs:
        _configs[model] = _make_config(model)
    return _configs[model]


def _make_config(model: type[nn.Module]) -> type[BaseModel]:
    hints = get_type_hints(model.__init__, include_extras=True)
    fields: dict[str, Any] = {p.name: _field(p, hints.get(p.name, Any)) for p in keywords(model)}
    settings = ConfigDict(
        extra="forbid",
        protected_namespaces=(),
        allow_inf_nan=False,
        ser_json_inf_nan="constants",  # a NaN deep in `Any` must reach the check of its part
    )
    return create_model(f"{model.__name__}Config", __config__=settings, **fields)


def _field(parameter: inspect.Parameter, hint: Any) -> tuple[Any, Any]:
    """Type and default; a default of None is valid, whatever the annotation says."""
    if parameter.default is parameter.empty:
        return hint, ...
    return (hint | None if parameter.default is None else hint), parameter.default


def check_options(model: type[nn.Module], options: Mapping[str, Any]) -> None:
    """Raise `InputError` unless each option is what its annotation says.

    Names that the constructor does not have, or lacks, are left to Python, a constructor whose
    annotations make no configuration is left unchecked, and what goes through `**` is checked
    against the next class that has a constructor.

    Example:
        >>> from graphrec.models.lightgcn import LightGCN
        >>> check_options(LightGCN, {"variant": "fathful"})
        Traceback (most recent call last):
        modalities._base.errors.InputError: model.variant: Input should be 'faithful' or \
'corrected' (got 'fathful')
    """
    passed_on = dict(options)
    for owner in model.__mro__:
        if not passed_on or "__init__" not in vars(owner):
            continue
        section = _config_class(owner)
        known = {name: passed_on.pop(name) for name in section.model_fields if name in passed_on}
        if not any(f.is_required() and n not in known for n, f in section.model_fields.items()):
            made = validated(section, known, "model", "model.")
            for name, value in known.items():
                _refuse_converted(name, value, type(getattr(made, name)))
        kinds = [p.kind for p in inspect.signature(vars(owner)["__init__"]).parameters.values()]
        if inspect.Parameter.VAR_KEYWORD not in kinds:
            return


def _config_class(model: type[nn.Module]) -> type[BaseModel]:
    try:
        return config_class(model)
    except Exception:  # whatever a third party's annotations hold, its model can be made
        return create_model("Unchecked")


def _refuse_converted(name: str, value: Any, kind: type) -> None:
    """A constructor gets its options as they are, so that '64' or 64.0 is no 64."""
    text = kind in _KINDS and isinstance(value, (str, bytes))
    if text or (kind is int and isinstance(value, float)):
        raise InputError(f"model.{name}: expected {_KINDS[kind]} (got {value!r})")
