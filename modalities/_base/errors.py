"""Errors a user can act on: each message says what was expected, what came, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Something the user gave is wrong; the command line prints the message alone."""


class UnknownNameError(InputError):
    """A name that is none of the valid ones; the message suggests the nearest.

    Args:
        kind: what the name stands for, such as "model".
        name: the name that came.
        choices: the valid names.
        hint: more to say.

    Example:
        >>> print(UnknownNameError("model", "lightgnc", ["bpr", "lightgcn"]))
        unknown model 'lightgnc'; did you mean 'lightgcn'? Valid: bpr, lightgcn
    """

    def __init__(self, kind: str, name: str, choices: Iterable[str], hint: str = "") -> None:
        valid = sorted(choices)
        near = nearest(name, valid)
        meant = f" did you mean '{near}'?" if near else ""
        listed = ", ".join(valid) if valid else "none"
        super().__init__(f"unknown {kind} '{name}';{meant} Valid: {listed}{hint}")


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """The valid name most like `name`, or None when nothing is near.

    Example:
        >>> nearest("epoch", ["epochs", "seed"])
        'epochs'
    """
    found = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.6)
    return found[0] if found else None
