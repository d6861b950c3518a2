from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from modalities import EncoderSpec, Modality, PictureDescriptor, TfidfSvd, encode_items, summary
from modalities._base.errors import InputError


def disc(colour: str) -> Image.Image:
    picture = Image.new("RGB", (96, 96), "white")
    ImageDraw.Draw(picture).ellipse((20, 20, 76, 76), fill=colour)
    return picture


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
    assert encoder.seen == ["bb", "a"]  # the longest first
    assert store.values().tolist() == [[1, 1], [2, 1], [0, 0], [1, 1], [0, 0], [2, 1], [0, 0]]
    assert store.present.tolist() == [True, True, False, True, False, True, False]
    assert summary(store) == "7 items: 4 encoded, 3 without text"
    assert store.spec == {"encoder": "counting"}


def test_bad_pictures_are_rows_with_a_code(tmp_path: Path) -> None:
    disc("#c02020").save(tmp_path / "good.png")
    (tmp_path / "page.png").write_text("<html>")
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:150])
    (tmp_path / "empty.png").write_bytes(b"")
    contents = [
        tmp_path / "good.png",
        tmp_path / "page.png",
        None,
        tmp_path / "cut.png",
        tmp_path / "gone.png",
        tmp_path / "empty.png",
        float("nan"),
        str(tmp_path / "cut.png"),
        disc("#c02020"),
        "",
        tmp_path,
    ]
    store = encode_items(PictureDescriptor(), list("abcdefghijk"), contents, progress=False)
    assert np.flatnonzero(store.present).tolist() == [0, 8]
    assert store.errors == [
        None,
        "not-a-picture",
        "missing",
        "truncated",
        "missing",
        "empty",
        "missing",
        "truncated",
        None,
        "missing",
        "missing",
    ]
    np.testing.assert_array_equal(store.values()[0], store.values()[8])
    assert summary(store) == (
        "11 items: 2 encoded, 5 without picture, 4 unreadable: "
        "2 truncated, 1 not-a-picture, 1 empty"
    )


def test_nothing_to_encode() -> None:
    with pytest.raises(InputError, match="none of 2 items has text content"):
        encode_items(Counting(), ["a", "b"], [None, ""], progress=False)
    with pytest.raises(InputError, match="2 item ids came with 1 contents"):
        encode_items(Counting(), ["a", "b"], ["x"], progress=False)


def test_wrong_calls_are_refused_before_any_work() -> None:
    encoder = Counting()
    with pytest.raises(InputError, match="occur more than once"):
        encode_items(encoder, ["a", "a"], ["x", "y"], progress=False)
    with pytest.raises(InputError, match="batch_size must be at least 1"):
        encode_items(encoder, ["a"], ["x"], batch_size=0, progress=False)
    encoder.modality = "audio"
    with pytest.raises(InputError, match="not 'audio' content"):
        encode_items(encoder, ["a"], ["x"], progress=False)
    assert encoder.seen == []


class Fragile(Counting):
    """Fails on, or says nothing of, certain texts."""

    def encode(self, batch: Sequence[Any]) -> NDArray[np.float32]:
        if "bad" in batch:
            raise RuntimeError("cannot read 'bad'")
        strange = {"nan": np.nan, "huge": 1e300, "zero": 0.0}
        return np.array([[strange.get(text, len(text)), 0] for text in batch])


@pytest.mark.filterwarnings("ignore:overflow")
def test_one_bad_input_does_not_end_the_job() -> None:
    contents = ["one", "bad", "three", "nan", "zero", "huge", "bad", "one"]
    store = encode_items(Fragile(), list("abcdefgh"), contents, progress=False)
    assert store.values()[:, 0].tolist() == [3, 0, 5, 0, 0, 0, 0, 3]
    assert store.errors == [
        None,
        "encoder-failed",
        None,
        "not-finite",
        "zero-vector",
        "not-finite",
        "encoder-failed",
        None,
    ]
    assert summary(store).startswith("8 items: 3 encoded, 5 not encoded: ")
    assert "2 encoder-failed" in summary(store)


def test_a_failure_on_everything_is_told() -> None:
    with pytest.raises(InputError, match=r"1 encoder-failed \(cannot read 'bad'\)"):
        encode_items(Fragile(), ["a"], ["bad"], progress=False)


class Misshapen(Counting):
    def encode(self, batch: Sequence[Any]) -> NDArray[np.float32]:
        return np.ones((len(batch), 5), dtype=np.float32)


def test_an_encoder_that_contradicts_itself() -> None:
    with pytest.raises(InputError, match=r"returned \(2, 5\) for 2 inputs, expected \(2, 2\)"):
        encode_items(Misshapen(), ["a", "b"], ["x", "y"], progress=False)


def test_the_batch_size_does_not_matter(tmp_path: Path) -> None:
    colours = ("#c02020", "#20c020", "#2020c0", "#c020c0", "#20c0c0")
    for number, colour in enumerate(colours):
        disc(colour).save(tmp_path / f"{number}.png")
    paths, ids = [tmp_path / f"{number}.png" for number in range(5)], list("abcde")
    stores = [
        encode_items(PictureDescriptor(), ids, paths, batch_size=size, progress=False)
        for size in (1, 2, 64)
    ]
    for store in stores[1:]:
        np.testing.assert_array_equal(store.values(), stores[0].values())
        assert store.feature_id == stores[0].feature_id


def test_large_pictures_come_in_small_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Sizes(Counting):
        modality: Modality = "image"

        def encode(self, batch: Sequence[Any]) -> NDArray[np.float32]:
            self.seen.append(str(len(batch)))
            return np.ones((len(batch), 2), dtype=np.float32)

    monkeypatch.setattr("modalities.chunks._BATCH_PIXELS", 96 * 96 + 1)
    encoder = Sizes()
    pictures = [disc(colour) for colour in ("red", "green", "blue")]
    encode_items(encoder, list("abc"), pictures, progress=False)
    assert encoder.seen == ["2", "1"]


def test_identity_follows_the_bytes_of_a_picture(tmp_path: Path) -> None:
    disc("#c02020").save(tmp_path / "a.png")
    disc("#c02020").save(tmp_path / "b.png")
    disc("#c02020").save(tmp_path / "c.png", compress_level=0)
    ids = [
        encode_items(PictureDescriptor(), ["x"], [tmp_path / name], progress=False).feature_id
        for name in ("a.png", "b.png", "c.png")
    ]
    assert ids[0] == ids[1] != ids[2]


def test_an_encoded_store_survives_the_disk(tmp_path: Path) -> None:
    texts = ["red wool scarf", None, "blue wool scarf", "<i>red</i> wool scarf", "zzz"]
    encoder = TfidfSvd.fit([text for text in texts[:3] if text], dim=2)
    store = encode_items(encoder, list("abcde"), texts, progress=False)
    store.save(tmp_path / "s")
    back = type(store).load(tmp_path / "s")
    np.testing.assert_array_equal(back.values(), store.values())
    assert back.errors == store.errors == [None, "missing", None, None, "zero-vector"]
    assert back.digests[0] == back.digests[3] != back.digests[2]
    assert EncoderSpec.from_dict(back.spec) == encoder.spec
