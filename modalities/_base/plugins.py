"""Python files and modules of the user's own, imported for what they register."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from modalities._base.errors import InputError
from modalities._base.identity import digest

VARIABLE = "GRAPHREC_PLUGINS"
"""Environment variable: files and modules, separated as in PATH; worker processes inherit it."""

GROUP = "graphrec.plugins"
"""Entry points of installed packages: modules."""

_begun: set[str] = set()


def add_plugins(names: Iterable[str]) -> None:
    """Name plugins for this process and those it starts, and import them.

    Args:
        names: Python files, or modules that can be imported.

    Raises:
        InputError: a file does not exist, or one of them cannot be imported.
    """
    given = list(dict.fromkeys([*_named(), *map(_full, names)]))
    for name in given:
        _load(name)
    os.environ[VARIABLE] = os.pathsep.join(given)


def load_plugins() -> None:
    """Import each plugin once: those named by the environment, and those of installed packages.

    Raises:
        InputError: a file does not exist, or a plugin cannot be imported.
    """
    for name in [*_announced(), *_named()]:
        _load(name)


def _named() -> list[str]:
    listed = (name.strip() for name in os.environ.get(VARIABLE, "").split(os.pathsep))
    return [_full(name) for name in listed if name]


def _full(name: str) -> str:
    return str(Path(name).resolve()) if name.endswith(".py") else name


@cache
def _announced() -> tuple[str, ...]:
    return tuple(entry.value for entry in entry_points(group=GROUP))


def _load(name: str) -> None:
    if name in _begun:
        return
    _begun.add(name)
    try:
        _from_file(Path(name)) if name.endswith(".py") else import_module(name)
    except InputError as error:
        _begun.discard(name)
        raise InputError(f"plugin '{name}': {error}") from None
    except (Exception, SystemExit) as error:
        _begun.discard(name)
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        hint = "" if name.endswith(".py") else " (the name of a file must end in .py)"
        raise InputError(f"plugin '{name}' cannot be imported: {reason}{hint}") from error


def _from_file(path: Path) -> None:
    if not path.is_file():
        raise InputError("the file does not exist")
    name = f"{path.stem}_{digest(str(path))[:8]}"
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
