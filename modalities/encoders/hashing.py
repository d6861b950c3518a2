"""A text encoder without weights and without a corpus: hashed words."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modalities._base.errors import InputError
from modalities.protocol import Content, EncoderSpec, Modality


class HashingText:
    r"""Words and word pairs hashed into `dim` places with random signs, normalised.

    x_j = sum_{w : h(w) = j} sign(w) n(w), x <- x / \|x\|, with n(w) the count of w in the text.
    Nothing is fitted, so vectors of new items fit old ones for ever.

    Source: Feature Hashing for Large Scale Multitask Learning, 2009, arXiv 0902.2206.

    Args:
        dim: length of the vectors.

    Example:
        >>> encoder = HashingText(dim=256)
        >>> a, b, c = encoder.encode(["red wool scarf", "red scarf of wool", "steel bottle"])
        >>> bool(a @ b > a @ c)
        True
    """

    modality: Modality = "text"

    def __init__(self, *, dim: int = 512) -> None:
        if dim < 2:
            raise InputError(f"dim of the hashing encoder must be at least 2, got {dim}")
        self.dim = dim

    @property
    def spec(self) -> EncoderSpec:
        """All that changes the output."""
        return EncoderSpec.of("hashing", dim=self.dim, version=1)

    def encode(self, batch: Sequence[Content]) -> NDArray[np.float32]:
        """Unit vectors, float32 [n, dim]; a text without a word becomes zeros."""
        if not batch:
            return np.zeros((0, self.dim), dtype=np.float32)
        return np.asarray(self._vectoriser.transform(batch).toarray(), dtype=np.float32)

    @cached_property
    def _vectoriser(self) -> Any:
        from sklearn.feature_extraction.text import HashingVectorizer

        return HashingVectorizer(
            n_features=self.dim,
            ngram_range=(1, 2),
            stop_words="english",
            token_pattern=r"(?u)\b\w+\b",
        )
