from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from graphrec.data.dataset import Dataset, build_dataset
from graphrec.data.feature_folder import (
    EncodingRequest,
    damage,
    drop_features,
    encode_features,
    export_captions,
    export_features,
    feature_rows,
)
from graphrec.data.source import Source
from modalities import FeatureStore
from modalities._base.errors import InputError
from modalities.encoders.hashing import HashingText
from tests.modalities import tiny, tiny_mllm

TITLES = ["Red hat", "Blue hat", None, "Green boots", "Red hat"]
BRANDS = ["Acme", None, None, "Bolt", "Acme"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five items with titles and brands, four with a picture."""
    pictures = []
    for number, colour in enumerate(("red", "blue", "green", "white")):
        Image.new("RGB", (16, 16), colour).save(tmp_path / f"{number}.png")
        pictures.append([str(tmp_path / f"{number}.png")])
    items = pl.DataFrame(
        {
            "item_id": [f"i{n}" for n in range(5)],
            "title": TITLES,
            "brand": BRANDS,
            "images": [*pictures, []],
        }
    )
    events = pl.DataFrame(
        {
            "user": [f"u{n % 4}" for n in range(20)],
            "item": [f"i{n % 5}" for n in range(20)],
            "label": pl.Series([[0, 0, 0, 1, 2][(n // 4) % 5] for n in range(20)], dtype=pl.Int8),
        }
    )
    source = Source("tiny", events, items=items, item_ids=[f"i{n}" for n in range(5)])
    build_dataset(source).save(tmp_path / "data")
    return tmp_path / "data"


def test_texts_are_encoded_and_listed(folder: Path) -> None:
    before = Dataset.load(folder)
    store, said = encode_features(
        folder, EncodingRequest("text", "hashing", "{title} by {brand}"), progress=False
    )
    assert store is not None
    dataset = Dataset.load(folder)
    assert dataset.feature_ids == {"text": store.feature_id}
    assert (dataset.data_id, dataset.split_id) == (before.data_id, before.split_id)
    expected = HashingText().encode(["Red hat by Acme", "Blue hat"])
    np.testing.assert_array_equal(
        dataset.features["text"].rows([0, 1]), expected.astype(np.float16)
    )
    assert dataset.features["text"].present.tolist() == [True, True, False, True, True]
    assert store.spec["content"] == "{title} by {brand}"
    assert "3 inputs encoded" in said[-1]
    _, said = encode_features(
        folder, EncodingRequest("text", "hashing", "{title} by {brand}"), progress=False
    )
    assert "0 inputs encoded, 3 taken over" in said[-1]


def test_pictures_are_what_picture_encoders_get(folder: Path, tmp_path: Path) -> None:
    store, _ = encode_features(folder, EncodingRequest("image", "pictures"), progress=False)
    assert store is not None
    assert store.present.tolist() == [True, True, True, True, False]
    assert store.modality == "image"
    clip = tiny.open_clip(tmp_path / "clip")
    request = EncodingRequest("clip", f"open_clip:{clip}", "image")
    assert encode_features(folder, request, progress=False)[0] is not None
    assert list(Dataset.load(folder).features) == ["image", "clip"]


def test_captions_are_made_once_and_encoded_with_the_title(folder: Path, tmp_path: Path) -> None:
    model = tiny_mllm.llava(tmp_path / "llava")
    request = EncodingRequest(
        "caption",
        "hashing",
        "{title}. {caption}",
        caption=f"mllm:{model}",
        caption_options={"max_new_tokens": 4},
    )
    store, said = encode_features(folder, request, progress=False)
    assert store is not None
    assert said[0].startswith("captions: 4 inputs encoded")
    captions = (folder / "captions" / "caption" / "captions.jsonl").read_text().splitlines()
    first = json.loads(captions[0])
    assert json.loads(captions[4])["error"] == "missing"
    expected = HashingText().encode([f"Red hat. {first['caption']}"])[0]
    np.testing.assert_array_equal(store.rows([0])[0], expected.astype(np.float16))
    assert store.spec["captions"]["max_new_tokens"] == 4
    other = EncodingRequest(
        "caption",
        "hashing",
        "{caption}",
        caption=f"mllm:{model}",
        caption_options={"max_new_tokens": 4},
        replace=True,
    )
    assert encode_features(folder, other, progress=False)[1][0].startswith("captions: 0 inputs")
    export_captions(folder, "caption", tmp_path / "c.csv")
    assert pl.read_csv(tmp_path / "c.csv")["item_id"].to_list() == [f"i{n}" for n in range(5)]
    assert [row["made by"][:8] for row in feature_rows(folder)] == ["hashing ", "captions"]


def test_both_together_for_joint_encoders(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    model = tiny_mllm.qwen2_5_vl(tmp_path / "qwen")
    request = EncodingRequest(
        "joint", f"st:{model}", "image + {title}", options={"pooling": "lasttoken"}
    )
    store, _ = encode_features(folder, request, progress=False)
    assert store is not None
    assert store.modality == "joint"
    assert store.present.all()


def test_vectors_from_elsewhere(folder: Path, tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    np.savez(tmp_path / "v.npz", features=values, item_ids=np.array(["i3", "i0", "elsewhere"]))
    request = EncodingRequest("audio", f"file:{tmp_path / 'v.npz'}", options={"kind": "audio"})
    store, _ = encode_features(folder, request)
    assert store is not None
    assert store.present.tolist() == [True, False, False, True, False]
    np.testing.assert_array_equal(Dataset.load(folder).features["audio"].rows([3])[0], values[0])
    with pytest.raises(InputError, match="there already"):
        encode_features(folder, request)


def test_features_leave_as_others_read_them(folder: Path, tmp_path: Path) -> None:
    encode_features(folder, EncodingRequest("text", "hashing", "{title}"), progress=False)
    export_features(folder, "text", tmp_path / "out")
    values = np.load(tmp_path / "out" / "text_feat.npy", allow_pickle=False)
    present = np.load(tmp_path / "out" / "text_present.npy", allow_pickle=False)
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, Dataset.load(folder).features["text"].values())
    assert present.tolist() == [True, True, False, True, True]
    assert (tmp_path / "out" / "item_ids.txt").read_text().split() == [f"i{n}" for n in range(5)]


def test_features_can_be_dropped(folder: Path) -> None:
    encode_features(folder, EncodingRequest("text", "hashing", "{title}"), progress=False)
    drop_features(folder, "text")
    assert list(Dataset.load(folder).features) == []
    assert not (folder / "features" / "text").exists()
    with pytest.raises(InputError, match="unknown modality"):
        drop_features(folder, "text")


def test_damage_is_found_and_mended(folder: Path) -> None:
    request = EncodingRequest("text", "hashing", "{title}", rows_per_part=2)
    encode_features(folder, request, progress=False)
    good = FeatureStore.load(folder / "features" / "text").values().copy()
    assert damage(folder) == {"text": []}
    part = folder / "features" / "text" / "part-000001.safetensors"
    data = bytearray(part.read_bytes())
    data[-10] ^= 1
    part.write_bytes(data)
    assert len(damage(folder)["text"]) == 1
    encode_features(folder, request, progress=False)
    assert damage(folder) == {"text": []}
    np.testing.assert_array_equal(FeatureStore.load(folder / "features" / "text").values(), good)


def test_a_split_shares_features_and_keeps_its_own(folder: Path, tmp_path: Path) -> None:
    encode_features(folder, EncodingRequest("text", "hashing", "{title}"), progress=False)
    Dataset.load(folder).save(tmp_path / "copy")
    before = Dataset.load(tmp_path / "copy").features["text"].values().copy()
    request = EncodingRequest("text", "hashing", "{brand}", replace=True)
    encode_features(folder, request, progress=False)
    np.testing.assert_array_equal(Dataset.load(tmp_path / "copy").features["text"].values(), before)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (EncodingRequest("text", "hashign", "{title}"), "did you mean 'hashing'"),
        (EncodingRequest("text", "hashing", "{titel}"), "did you mean 'title'"),
        (EncodingRequest("text", "hashing", "image"), "encodes text, not image"),
        (EncodingRequest("../x", "hashing", "{title}"), "letters, digits"),
        (EncodingRequest("text", "hashing", "{title}", caption="clip:x"), "mllm:SOURCE"),
        (EncodingRequest("text", "file:none.npy"), "does not exist"),
        (
            EncodingRequest("t", "hashing", caption="mllm:x", caption_options={"promt": "?"}),
            "did you mean 'prompt'",
        ),
        (
            EncodingRequest("t", "hashing", caption="mllm:x", caption_options={"num_beams": "b"}),
            "valid integer",
        ),
        (EncodingRequest("text", "hashing", "{title}", options={"dims": 1}), "mean 'dim'"),
    ],
)
def test_mistakes_leave_nothing(folder: Path, request_: EncodingRequest, message: str) -> None:
    with pytest.raises(InputError, match=message):
        encode_features(folder, request_, progress=False)
    assert list(Dataset.load(folder).features) == []
    assert not (folder / "features").exists() or not list((folder / "features").iterdir())


def test_only_datasets_of_graphrec_are_written_into(tmp_path: Path) -> None:
    (tmp_path / "x.inter").write_text("userID\titemID\tx_label\n0\t0\t0\n")
    with pytest.raises(InputError, match=r"graphrec data import .* --out NEW"):
        encode_features(tmp_path, EncodingRequest("text", "hashing", "{title}"))


def test_two_processes_share_the_command(folder: Path, tmp_path: Path) -> None:
    Dataset.load(folder).save(tmp_path / "alone")
    request = EncodingRequest("text", "hashing", "{title}", rows_per_part=1)
    encode_features(tmp_path / "alone", request, progress=False)
    command = [sys.executable, "-m", "graphrec", "encode", str(folder), "--name", "text"]
    command += ["--encoder", "hashing", "--content", "{title}", "--rows-per-part", "1"]
    root = str(Path(__file__).parents[2])
    processes = [
        subprocess.Popen(
            command,
            env={**os.environ, "RANK": str(rank), "WORLD_SIZE": "2", "PYTHONPATH": root},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    both = folder / "features" / "text"
    for file in sorted((tmp_path / "alone" / "features" / "text").iterdir()):
        assert (both / file.name).read_bytes() == file.read_bytes()
    assert Dataset.load(folder).feature_ids == Dataset.load(tmp_path / "alone").feature_ids
