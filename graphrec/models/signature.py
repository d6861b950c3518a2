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
    fields: dict[str, Any] = {
        parameter.name: (
            hints.get(parameter.name, Any),
            ... if parameter.default is parameter.empty else parameter.default,
        )
        for parameter in keywords(model)
    }
    settings = ConfigDict(
        extra="forbid",
        protected_namespaces=(),
        allow_inf_nan=False,
        ser_json_inf_nan="constants",  # a NaN deep in `Any` must reach the check of its part
    )
    return create_model(f"{model.__name__}Config", __config__=settings, **fields)


def check_options(model: type[nn.Module], options: Mapping[str, Any]) -> None:
    """Raise `InputError` unless each option is what its annotation says.

    Names that the constructor does not have, or lacks, are left to Python, and a constructor whose
    annotations make no configuration is left unchecked.

    Example:
        >>> from graphrec.models.lightgcn import LightGCN
        >>> check_options(LightGCN, {"variant": "fathful"})
        Traceback (most recent call last):
        modalities._base.errors.InputError: model.variant: Input should be 'faithful' or \
'corrected' (got 'fathful')
    """
    section = _config_class(model) if options else None
    if section is None:
        return
    fields = section.model_fields
    known = {name: value for name, value in options.items() if name in fields}
    if any(field.is_required() and name not in known for name, field in fields.items()):
        return
    made = validated(section, known, "model", "model.")
    for name, value in known.items():
        _refuse_converted(name, value, type(getattr(made, name)))


def _config_class(model: type[nn.Module]) -> type[BaseModel] | None:
    try:
        return config_class(model)
    except Exception:  # whatever a third party's annotations hold, its model can be made
        return None


def _refuse_converted(name: str, value: Any, kind: type) -> None:
    """A constructor gets its options as they are, so that '64' or 64.0 is no 64."""
    text = kind in _KINDS and isinstance(value, (str, bytes))
    if text or (kind is int and isinstance(value, float)):
        raise InputError(f"model.{name}: expected {_KINDS[kind]} (got {value!r})")
