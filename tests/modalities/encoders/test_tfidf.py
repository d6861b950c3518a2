from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from modalities import EncoderSpec, TfidfSvd
from modalities._base.errors import InputError

TEXTS = [
    "red wool scarf for cold winters",
    "blue wool scarf for cold winters",
    "warm wool hat for winter",
    "steel water bottle for hiking",
    "insulated steel bottle for hiking trips",
    "hiking backpack with bottle pocket",
]


def test_related_texts_are_nearer() -> None:
    vectors = TfidfSvd.fit(TEXTS, dim=4).encode(TEXTS)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[3]
    assert vectors[3] @ vectors[4] > vectors[3] @ vectors[0]


def test_rank_limits_the_dimension() -> None:
    encoder = TfidfSvd.fit(TEXTS, dim=128)
    assert encoder.dim <= 5
    assert encoder.encode(TEXTS).shape == (6, encoder.dim)


def test_a_single_text() -> None:
    encoder = TfidfSvd.fit(["red wool scarf"], dim=128)
    assert encoder.dim == 1
    np.testing.assert_allclose(np.abs(encoder.encode(["red scarf"])), [[1]])


def test_it_is_the_svd_of_the_tfidf_matrix() -> None:
    """Gram matrices agree with a dense computation by hand: words, pairs, weights and SVD."""
    encoder = TfidfSvd.fit(TEXTS, dim=3)
    vocabulary = encoder.vectoriser.vocabulary_
    tokens = [[w for w in text.split() if w not in ("for", "with")] for text in TEXTS]
    terms = [[*words, *(f"{a} {b}" for a, b in pairwise(words))] for words in tokens]
    assert {term for row in terms for term in row} == set(vocabulary)
    counts = np.zeros((len(TEXTS), len(vocabulary)))
    for row, found in enumerate(terms):
        for term in found:
            counts[row, vocabulary[term]] += 1
    idf = np.log((1 + len(TEXTS)) / (1 + (counts > 0).sum(axis=0))) + 1
    weights = np.where(counts > 0, 1 + np.log(np.maximum(counts, 1)), 0) * idf
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    projected = weights @ np.linalg.svd(weights)[2][:3].T
    unit = projected / np.linalg.norm(projected, axis=1, keepdims=True)
    vectors = encoder.encode(TEXTS)
    np.testing.assert_allclose(vectors @ vectors.T, unit @ unit.T, atol=1e-5)


def test_unknown_words_give_zeros() -> None:
    assert not TfidfSvd.fit(TEXTS, dim=3).encode(["zzz qqq"]).any()


def test_a_corpus_without_words() -> None:
    with pytest.raises(InputError, match="none of 2 texts holds a word"):
        TfidfSvd.fit(["", "..."])


def test_no_texts_and_wrong_content() -> None:
    encoder = TfidfSvd.fit(TEXTS, dim=3)
    assert encoder.encode([]).shape == (0, 3)
    with pytest.raises(InputError, match="expected texts, got PosixPath"):
        encoder.encode([Path("/x")])


def test_the_corpus_is_cleaned() -> None:
    marked = [f"<p class='x'>{text}</p><br>&nbsp;" for text in TEXTS]
    assert TfidfSvd.fit([*marked, "", "<br>"], dim=3).spec == TfidfSvd.fit(TEXTS, dim=3).spec


def test_the_batch_does_not_matter() -> None:
    encoder = TfidfSvd.fit(TEXTS, dim=3)
    one_by_one = np.concatenate([encoder.encode([text]) for text in TEXTS])
    np.testing.assert_array_equal(encoder.encode(TEXTS), one_by_one)


def test_signs_do_not_depend_on_the_solver() -> None:
    components = TfidfSvd.fit(TEXTS, dim=4).components
    largest = np.abs(components).argmax(axis=1)
    assert (components[np.arange(4), largest] > 0).all()


def test_spec_names_the_corpus() -> None:
    first, again = TfidfSvd.fit(TEXTS, dim=3), TfidfSvd.fit(list(TEXTS), dim=3)
    assert first.spec == again.spec
    assert hash(first.spec) == hash(again.spec)
    assert EncoderSpec.from_dict(first.spec.to_dict()) == first.spec
    assert TfidfSvd.fit(TEXTS[:-1], dim=3).spec != first.spec
    assert TfidfSvd.fit(TEXTS, dim=2).spec != first.spec


def test_the_same_in_another_process() -> None:
    code = (
        "from modalities import TfidfSvd\n"
        "from modalities._base.identity import digest\n"
        f"t = {TEXTS!r}\n"
        "print(digest(TfidfSvd.fit(t, dim=3).encode(t)))\n"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1] != ""
