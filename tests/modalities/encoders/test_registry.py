from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from modalities import Encoder, EncoderSpec, Modality, encode, make_encoder, register_encoder
from modalities._base.errors import InputError
from modalities.encoders import registry


def test_weights_free_encoders_by_name() -> None:
    assert make_encoder("hashing", dim=32).encode(["a red hat"]).shape == (1, 32)  # type: ignore[union-attr]
    assert make_encoder("pictures").modality == "image"
    assert make_encoder("tfidf", dim=4).fit(["red hat", "blue hat", "red coat"]).dim <= 4  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("hashign", {}, "did you mean 'hashing'"),
        ("st", {}, "needs an address"),
        ("hashing:abc", {}, "takes no address"),
        ("hashing", {"dims": 3}, "did you mean 'dim'"),
        ("hashing", {"dim": "many"}, "valid integer"),
        ("hashing", {"dim": 1}, "at least 2"),
        ("sentence-transformers/all-MiniLM-L6-v2", {}, "write the encoder as 'st:sentence-"),
        ("st:intfloat/e5-base-v3x/y", {}, "neither a folder nor the id"),
    ],
)
def test_mistakes_are_named(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_encoder(name, **options)


def test_content_must_fit() -> None:
    with pytest.raises(InputError, match="encodes text, not image"):
        make_encoder("hashing", content="image")


def test_a_class_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REGISTERED", {})

    @register_encoder("length")
    class Length:
        modality: Modality = "text"
        dim = 1
        spec = EncoderSpec.of("length")

        def encode(self, batch: Sequence[Any]) -> Any:
            return np.array([[len(text)] for text in batch], dtype=np.float32)

    assert isinstance(make_encoder("length"), Encoder)
    store = encode(["abc", None, "z"], encoder="length", progress=False)
    assert store.values().tolist() == [[3], [0], [1]]
    assert "length" in registry.encoder_families()


def test_an_entry_point_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint

    entry = EntryPoint("theirs", "modalities.encoders.hashing:HashingText", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry])
    registry._announced.cache_clear()
    try:
        assert make_encoder("theirs", dim=16).dim == 16  # type: ignore[union-attr]
        assert "theirs" in registry.encoder_families()
    finally:
        monkeypatch.undo()
        registry._announced.cache_clear()


def test_an_absent_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modalities.extras.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'pip install "graphrec\[st\]"'):
        make_encoder("st:some/model")
