"""Types shared by the options of several models."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import Field

from graphrec.nn.losses import Regulariser
from modalities._base.errors import InputError

Variant = Literal["faithful", "corrected"]
Init = Literal["xavier_uniform", "xavier_normal", "normal"]
Size = Annotated[int, Field(ge=1, le=1_000_000)]
Count = Annotated[int, Field(ge=0, le=1_000_000)]
Depth = Annotated[int, Field(ge=0, le=1000)]
Nodes = Annotated[int, Field(ge=2)]
"""How many to contrast: one alone has nothing to differ from."""
Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Cosine = Annotated[float, Field(ge=-1, le=1)]
Temperature = Annotated[float, Field(ge=1e-4)]
Concentration = Annotated[float, Field(ge=0.01, le=1e6)]
"""Of a Beta distribution; draws of float32 follow it between these bounds."""
T = TypeVar("T")

__all__ = [
    "Concentration",
    "Cosine",
    "Count",
    "Depth",
    "Init",
    "Nodes",
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
