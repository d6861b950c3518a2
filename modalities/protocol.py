"""What an encoder is: content in, vectors out, and a spec that names all that matters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from modalities._base.errors import InputError
from modalities._base.identity import digest

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image

Modality = Literal["image", "text", "audio", "joint", "other"]


@dataclass(frozen=True)
class Pair:
    """A text, a picture, or both, for encoders of kind `joint`.

    Args:
        text: or None.
        picture: a picture, the path of one, or None.
    """

    text: str | None = None
    picture: Path | Image | None = None


Content: TypeAlias = "str | Path | Image | Pair"
"""What one item offers: a text, the path of a file, a picture in memory, or a pair."""


@dataclass(frozen=True)
class EncoderSpec:
    """Everything that changes what an encoder returns; hashable and serialisable.

    Args:
        family: name of the kind of encoder.
        options: (name, value) pairs of plain values, sorted by name.

    Example:
        >>> spec = EncoderSpec.of("tfidf-svd", dim=2, seed=0)
        >>> EncoderSpec.from_dict(spec.to_dict()) == spec
        True
    """

    family: str
    options: tuple[tuple[str, str | int | float | bool | None], ...] = ()

    @classmethod
    def of(cls, family: str, **options: str | int | float | bool | None) -> EncoderSpec:
        """A spec from keyword options."""
        return cls(family, tuple(sorted(options.items())))

    @property
    def digest(self) -> str:
        """Identity of the spec, 32 hex digits."""
        return digest(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: the options by name, and the family under `encoder`."""
        return {**dict(self.options), "encoder": self.family}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> EncoderSpec:
        """The inverse of `to_dict`.

        Raises:
            InputError: `values` does not name an encoder.
        """
        if "encoder" not in values:
            raise InputError(f"a spec needs the key 'encoder', got only {sorted(values)}")
        options = {name: value for name, value in values.items() if name != "encoder"}
        return cls.of(values["encoder"], **options)


@runtime_checkable
class Encoder(Protocol):
    """Turns content into vectors."""

    @property
    def spec(self) -> EncoderSpec:
        """All that changes the output."""

    @property
    def modality(self) -> Modality:
        """What it encodes."""

    @property
    def dim(self) -> int:
        """Length of a vector."""

    def encode(self, batch: Sequence[Content]) -> NDArray[np.float32]:
        """Vectors of a batch, float32 [n, dim]; the batch holds no missing content."""


@runtime_checkable
class Fittable(Protocol):
    """An encoder still to be fitted to the texts it will encode."""

    @property
    def modality(self) -> Modality:
        """What it will encode."""

    def fit(self, corpus: Sequence[Content]) -> Encoder:
        """The encoder for this corpus."""
