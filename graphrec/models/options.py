"""Types shared by the options of several models."""

from __future__ import annotations

from typing import Literal, TypeVar

from graphrec.nn.losses import Regulariser

Variant = Literal["faithful", "corrected"]
Init = Literal["xavier_uniform", "xavier_normal", "normal"]
T = TypeVar("T")

__all__ = ["Init", "Regulariser", "Variant", "chosen"]


def chosen(given: T | None, variant: Variant, *, faithful: T, corrected: T) -> T:
    """The option as given, or where it is None the value its variant stands for.

    Example:
        >>> chosen(None, "corrected", faithful="norm", corrected="l2")
        'l2'
        >>> chosen("norm", "corrected", faithful="norm", corrected="l2")
        'norm'
    """
    if given is not None:
        return given
    return faithful if variant == "faithful" else corrected
