from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from modalities import ClipEncoder, make_encoder
from modalities._base.errors import InputError
from tests.modalities import tiny

open_clip = pytest.importorskip("open_clip")


def pictures() -> list[Image.Image]:
    random = np.random.default_rng(0)
    sizes = ((40, 32), (64, 90), (33, 33))
    return [Image.fromarray(random.integers(0, 255, (*size, 3), dtype=np.uint8)) for size in sizes]


def test_pictures_as_open_clip_encodes_them(tmp_path: Path) -> None:
    tiny.open_clip(tmp_path)
    encoder = ClipEncoder.load(tmp_path)
    model, _, prepare = open_clip.create_model_and_transforms(
        f"local-dir:{tmp_path}", require_pretrained=True
    )
    model.eval()
    with torch.no_grad():
        rows = model.encode_image(torch.stack([prepare(picture) for picture in pictures()]))
    expected = (rows / rows.norm(dim=1, keepdim=True)).numpy()
    np.testing.assert_allclose(encoder.encode(pictures()), expected, atol=1e-5)
    alone = np.concatenate([encoder.encode([picture]) for picture in pictures()])
    np.testing.assert_allclose(alone, expected, atol=1e-5)
    assert encoder.dim == 24


def test_preprocessing_of_the_folder_is_used(tmp_path: Path) -> None:
    import json

    tiny.open_clip(tmp_path)
    before = ClipEncoder.load(tmp_path)
    path = tmp_path / "open_clip_config.json"
    config = json.loads(path.read_text())
    config["preprocess_cfg"]["mean"] = [0.1, 0.2, 0.3]
    path.write_text(json.dumps(config))
    after = ClipEncoder.load(tmp_path)
    assert before.spec != after.spec
    assert not np.allclose(before.encode(pictures()), after.encode(pictures()), atol=1e-3)


def test_missing_weights_are_refused(tmp_path: Path) -> None:
    tiny.open_clip(tmp_path)
    (tmp_path / "open_clip_model.safetensors").unlink()
    with pytest.raises(InputError, match="cannot load"):
        ClipEncoder.load(tmp_path)


def test_names_are_checked_before_anything_is_downloaded() -> None:
    with pytest.raises(InputError, match="did you mean 'ViT-B-32"):
        ClipEncoder.load("ViT-B-23/openai")
    with pytest.raises(InputError, match="did you mean 'laion2b_s34b_b79k'"):
        ClipEncoder.load("ViT-B-32/laion2b_s34b_b97k")
    with pytest.raises(InputError, match="name an architecture and its weights"):
        ClipEncoder.load("ViT-B-32")


def test_weights_out_of_reach_are_one_message(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Without a connection"):
        ClipEncoder.load("ViT-B-32/laion2b_s34b_b79k")


def test_texts_share_the_space(tmp_path: Path) -> None:
    tiny.open_clip(tmp_path)
    assert make_encoder(f"open_clip:{tmp_path}", content="text").modality == "text"
    encoder = ClipEncoder.load(tmp_path, content="text")
    plain, marked = encoder._prepare("a b"), encoder._prepare("a <end_of_text> b")
    end = int(plain.max())
    assert (int((plain == end).sum()), int((marked == end).sum())) == (1, 1)
    assert encoder.encode(["a red hat", "a <end_of_text> b"]).shape == (2, 24)
