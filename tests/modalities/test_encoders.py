from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from modalities import (
    Encoder,
    EncoderSpec,
    Modality,
    PictureDescriptor,
    TfidfSvd,
    encode_items,
    summary,
)
from modalities._base.errors import InputError

TEXTS = [
    "red wool scarf for cold winters",
    "blue wool scarf for cold winters",
    "warm wool hat for winter",
    "steel water bottle for hiking",
    "insulated steel bottle for hiking trips",
    "hiking backpack with bottle pocket",
]


def drawn(shape: str, colour: str) -> Image.Image:
    picture = Image.new("RGB", (96, 96), "white")
    draw = ImageDraw.Draw(picture)
    if shape == "disc":
        draw.ellipse((20, 20, 76, 76), fill=colour)
    else:
        for x in range(16, 80, 16):
            draw.rectangle((x, 12, x + 6, 84), fill=colour)
    return picture


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


def test_unknown_words_give_zeros() -> None:
    assert not TfidfSvd.fit(TEXTS, dim=3).encode(["zzz qqq"]).any()


def test_a_corpus_without_words() -> None:
    with pytest.raises(InputError, match="none of 2 texts holds a word"):
        TfidfSvd.fit(["", "..."])


def test_spec_names_the_corpus() -> None:
    first, again = TfidfSvd.fit(TEXTS, dim=3), TfidfSvd.fit(list(TEXTS), dim=3)
    assert first.spec == again.spec
    assert hash(first.spec) == hash(again.spec)
    assert EncoderSpec.from_dict(first.spec.to_dict()) == first.spec
    assert TfidfSvd.fit(TEXTS[:-1], dim=3).spec != first.spec
    assert TfidfSvd.fit(TEXTS, dim=2).spec != first.spec


def test_both_encoders_are_the_same_in_another_process(tmp_path: Path) -> None:
    drawn("disc", "#c02020").save(tmp_path / "x.png")
    code = (
        "from modalities import TfidfSvd, PictureDescriptor\n"
        "from modalities._base.identity import digest\n"
        f"t = {TEXTS!r}\n"
        f"p = [{str(tmp_path / 'x.png')!r}]\n"
        "print(digest(TfidfSvd.fit(t, dim=3).encode(t), PictureDescriptor().encode(p)))\n"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert runs[0].stdout == runs[1].stdout != ""


def test_pictures_tell_colour_and_shape() -> None:
    encoder = PictureDescriptor()
    red, pink, blue, striped = encoder.encode(
        [
            drawn("disc", "#c02020"),
            drawn("disc", "#d03030"),
            drawn("disc", "#2030c0"),
            drawn("stripes", "#c02020"),
        ]
    )
    assert red.shape == (encoder.dim,)
    assert red @ pink > red @ blue
    assert red @ pink > red @ striped
    assert np.linalg.norm(red) == pytest.approx(1, rel=1e-5)
    assert isinstance(encoder, Encoder)


def test_plain_and_tiny_pictures_are_finite() -> None:
    pictures = [Image.new("RGB", size, "white") for size in ((1, 1), (1, 600), (300, 200))]
    vectors = PictureDescriptor().encode(pictures)
    assert np.isfinite(vectors).all()
    assert vectors.any(axis=1).all()


class Counting:
    """An encoder that counts what it is given."""

    modality: Modality = "text"
    dim = 2

    def __init__(self) -> None:
        self.seen: list[str] = []

    @property
    def spec(self) -> EncoderSpec:
        return EncoderSpec.of("counting")

    def encode(self, batch: Sequence[Any]) -> NDArray[np.float32]:
        self.seen += batch
        return np.array([[len(text), 1] for text in batch], dtype=np.float32)


def test_equal_inputs_are_encoded_once_and_missing_ones_never() -> None:
    encoder = Counting()
    contents = ["a", "bb", None, "a", "", "<b>bb</b>", float("nan")]
    store = encode_items(encoder, list("tuvwxyz"), contents, batch_size=1, progress=False)
    assert encoder.seen == ["a", "bb"]
    assert store.values().tolist() == [[1, 1], [2, 1], [0, 0], [1, 1], [0, 0], [2, 1], [0, 0]]
    assert store.present.tolist() == [True, True, False, True, False, True, False]
    assert summary(store) == "7 items: 4 encoded, 3 missing"
    assert store.spec == {"encoder": "counting"}


def test_bad_pictures_are_rows_with_a_code(tmp_path: Path) -> None:
    drawn("disc", "#c02020").save(tmp_path / "good.png")
    (tmp_path / "page.png").write_text("<html>")
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:150])
    contents = [
        tmp_path / "good.png",
        tmp_path / "page.png",
        None,
        tmp_path / "cut.png",
        tmp_path / "gone.png",
    ]
    store = encode_items(PictureDescriptor(), list("abcde"), contents, progress=False)
    assert store.present.tolist() == [True, False, False, False, False]
    assert store.errors == [None, "not-a-picture", "missing", "truncated", "missing"]


def test_nothing_to_encode() -> None:
    with pytest.raises(InputError, match="none of 2 items has text content"):
        encode_items(Counting(), ["a", "b"], [None, ""], progress=False)
    with pytest.raises(InputError, match="2 item ids came with 1 contents"):
        encode_items(Counting(), ["a", "b"], ["x"], progress=False)
