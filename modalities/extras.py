"""Optional packages: there, or one message with the command that installs them."""

from __future__ import annotations

from importlib.util import find_spec

from modalities._base.errors import InputError


def require(package: str, extra: str) -> None:
    """Raise `InputError` unless `package` can be imported.

    Args:
        package: its import name.
        extra: the extra of graphrec that brings it.

    Example:
        >>> require("no_such_package", "st")
        Traceback (most recent call last):
        ...
        modalities._base.errors.InputError: this needs the package 'no_such_package'; install it ...
    """
    if find_spec(package) is None:
        raise InputError(
            f"this needs the package '{package}'; install it with: "
            f'pip install "graphrec[{extra}]"'
        )
