"""The weights-free default for text: TF-IDF and truncated SVD."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modalities._base.errors import InputError
from modalities._base.identity import digest
from modalities.content import clean_text
from modalities.protocol import Content, EncoderSpec, Modality


@dataclass(frozen=True, eq=False)
class TfidfSvd:
    r"""Latent semantic analysis: words and word pairs, weighted, projected, normalised.

    x = V^T tfidf(text) / \|V^T tfidf(text)\| with V the leading right singular vectors of the
    corpus matrix; tf is sublinear (1 + ln tf), idf smoothed. The corpus only shapes vocabulary
    and V: no interaction is seen. The spec holds the digest of the corpus, which with the options
    determines the fitted state: unlike the state itself it is the same on every machine.

    Source: Indexing by Latent Semantic Analysis, 1990, doi 10.1002/(SICI)1097-4571(199009)41:6.

    Args:
        spec: the options and the digest of the corpus.
        components: V^T, float64 [dim, vocabulary].
        vectoriser: the fitted scikit-learn vectoriser.

    Example:
        >>> texts = ["red wool scarf", "blue wool scarf", "steel water bottle"]
        >>> encoder = TfidfSvd.fit(texts, dim=2)
        >>> encoder.encode(["green wool scarf"]).shape
        (1, 2)
    """

    spec: EncoderSpec
    components: NDArray[np.float64] = field(repr=False)
    vectoriser: Any = field(repr=False)

    modality: Modality = "text"

    @classmethod
    def fit(cls, texts: Sequence[str], *, dim: int = 128, seed: int = 0) -> TfidfSvd:
        """Learn vocabulary and projection from a corpus.

        Args:
            texts: the corpus, cleaned here by `clean_text`; empty texts are left out.
            dim: length of the vectors; at most the rank of the corpus and one less than its
                texts or words, whichever are fewer.
            seed: of the randomised SVD.

        Raises:
            InputError: no text holds a word.
        """
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.utils.extmath import randomized_svd

        corpus = [text for text in map(clean_text, texts) if text]
        # A word of one item alone relates it to no other, unless the corpus is tiny.
        vectoriser = TfidfVectorizer(
            ngram_range=(1, 2),
            sublinear_tf=True,
            min_df=2 if len(corpus) >= 100 else 1,
            max_features=50_000,
            stop_words="english",
            token_pattern=r"(?u)\b\w+\b",
        )
        try:
            matrix = vectoriser.fit_transform(corpus)
        except ValueError:
            raise InputError(
                f"none of {len(texts)} texts holds a word to learn from; "
                "check which columns make up the text"
            ) from None
        rank = max(1, min(dim, min(matrix.shape) - 1))
        _, strengths, components = randomized_svd(
            matrix, rank, n_iter=5, random_state=seed, flip_sign=False
        )
        kept = strengths > 1e-6 * strengths[0]
        components = _fixed_signs(components[kept])
        options: dict[str, str | int] = {"dim": len(components), "seed": seed}
        spec = EncoderSpec.of("tfidf-svd", corpus=digest(corpus), version=1, **options)
        return cls(spec, components, vectoriser)

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return len(self.components)

    def encode(self, batch: Sequence[Content]) -> NDArray[np.float32]:
        """Unit vectors, float32 [n, dim]; a text without a known word becomes zeros.

        Raises:
            InputError: something else than a text was given.
        """
        other = next((text for text in batch if not isinstance(text, str)), None)
        if other is not None:
            raise InputError(f"expected texts, got {type(other).__name__}")
        if not batch:
            return np.zeros((0, self.dim), dtype=np.float32)
        projected = self.vectoriser.transform(batch) @ self.components.T
        norms = np.linalg.norm(projected, axis=1, keepdims=True)
        unit = np.divide(projected, norms, out=np.zeros_like(projected), where=norms > 1e-12)
        return np.asarray(unit, dtype=np.float32)


def _fixed_signs(components: NDArray[np.float64]) -> NDArray[np.float64]:
    largest = np.abs(components).argmax(axis=1)
    signs = np.sign(components[np.arange(len(components)), largest])
    return np.asarray(components * signs[:, None])


class TfidfRecipe:
    """The options of `TfidfSvd`, before it has seen a corpus.

    Args:
        dim: see `TfidfSvd.fit`.
        seed: see `TfidfSvd.fit`.

    Example:
        >>> TfidfRecipe(dim=2).fit(["red wool", "blue wool", "blue silk"]).dim
        2
    """

    modality: Modality = "text"

    def __init__(self, *, dim: int = 128, seed: int = 0) -> None:
        if dim < 1:
            raise InputError(f"dim must be at least 1, got {dim}")
        self.dim, self.seed = dim, seed

    def fit(self, corpus: Sequence[Content]) -> TfidfSvd:
        """The encoder fitted to `corpus`."""
        return TfidfSvd.fit([str(text) for text in corpus], dim=self.dim, seed=self.seed)
