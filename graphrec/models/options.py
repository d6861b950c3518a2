"""Types shared by the options of several models."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import Field

from graphrec.nn.losses import Regulariser
from modalities._base.errors import InputError

Variant = Literal["faithful", "corrected"]
Init = Literal["xavier_uniform", "xavier_normal", "normal"]
Size = Annotated[int, Field(ge=1)]
Depth = Annotated[int, Field(ge=0)]
Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Temperature = Annotated[float, Field(gt=0)]
Concentration = Annotated[float, Field(gt=0)]
T = TypeVar("T")

__all__ = [
    "Concentration",
    "Depth",
    "Init",
    "Regulariser",
    "Share",
    "Size",
    "Temperature",
    "Variant",
    "Weight",
    "checked_limits",
    "chosen",
]


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


def checked_limits(low: float, high: float, names: str) -> tuple[float, float]:
    """Ends of an interval.

    Raises:
        InputError: the lower is above the higher.
    """
    if low > high:
        raise InputError(f"{names}: the lower limit {low} is above the higher, {high}")
    return low, high
