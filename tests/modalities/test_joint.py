"""Multimodal language models as encoders of texts, pictures, and both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from modalities import Pair, SentenceEncoder
from tests.modalities import tiny_mllm

pytest.importorskip("sentence_transformers")

FAMILIES = [tiny_mllm.llava, tiny_mllm.qwen2_5_vl, tiny_mllm.idefics3]


def picture(seed: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (height, 40, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


ITEMS: list[dict[str, Any]] = [
    {"image": picture(0, 30), "text": "a red hat"},
    {"text": "shoes"},
    {"image": picture(1, 112)},
    {"image": picture(2, 45), "text": "a much longer text about boots"},
]
PAIRS = [Pair(item.get("text"), item.get("image")) for item in ITEMS]


def by_hand(folder: Path, item: dict[str, Any]) -> Any:
    """State of the last layer at the last token, to length 1, by transformers alone."""
    from transformers import AutoModel, AutoProcessor

    processor = AutoProcessor.from_pretrained(folder)
    content = [{"type": kind, kind: value} for kind, value in item.items()]
    text = processor.apply_chat_template([{"role": "user", "content": content}], tokenize=False)
    pictures = [item["image"]] if "image" in item else None
    inputs = processor(images=pictures, text=[text], return_tensors="pt")
    with torch.no_grad():
        model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
        last = model(**inputs).last_hidden_state[0, -1]
    return (last / last.norm()).numpy()


def modules(folder: Path, side: str) -> Any:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling

    head = Transformer(str(folder))
    head.processor.tokenizer.padding_side = side
    parts = [head, Pooling(32, "lasttoken"), Normalize()]
    return SentenceTransformer(modules=parts, device="cpu").eval()


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("family", FAMILIES)
def test_last_token_modules_on_either_side(tmp_path: Path, family: Any, side: str) -> None:
    folder = family(tmp_path)
    expected = np.stack([by_hand(folder, item) for item in ITEMS])
    model = modules(folder, side)
    together = model.encode(ITEMS, batch_size=len(ITEMS))
    np.testing.assert_allclose(together, expected, atol=1e-5)
    alone = np.concatenate([model.encode([item]) for item in ITEMS])
    np.testing.assert_allclose(alone, expected, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_encoder_gives_the_state_of_the_last_token(tmp_path: Path, family: Any) -> None:
    folder = family(tmp_path)
    expected = np.stack([by_hand(folder, item) for item in ITEMS])
    encoder = SentenceEncoder.load(folder, content="joint", pooling="lasttoken")
    assert (encoder.modality, encoder.dim) == ("joint", 32)
    alone = np.concatenate([encoder.encode([pair]) for pair in PAIRS])
    np.testing.assert_allclose(alone, expected, atol=1e-5)
    for side in ("left", "right"):
        encoder.model[0].processor.tokenizer.padding_side = side
        np.testing.assert_allclose(encoder.encode(PAIRS), expected, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_text_and_picture_both_matter(tmp_path: Path, family: Any) -> None:
    encoder = SentenceEncoder.load(family(tmp_path), content="joint", pooling="lasttoken")
    first, second = picture(0, 30), picture(1, 30)
    texts, pictures = ("hat", "hat", "shoe", "hat", None), (first, second, first, None, first)
    pairs = [Pair(text, shown) for text, shown in zip(texts, pictures)]
    vectors = encoder.encode(pairs)
    apart = np.abs(vectors[:, None] - vectors[None]).max(axis=-1)
    assert apart[~np.eye(len(pairs), dtype=bool)].min() > 1e-4


def test_a_text_cannot_claim_a_picture(tmp_path: Path) -> None:
    """The model's own mark for pictures, written in a title, stays words."""
    encoder = SentenceEncoder.load(tiny_mllm.llava(tmp_path), content="joint", pooling="lasttoken")
    assert np.isfinite(encoder.encode([Pair("<image> hat", picture(0, 30)), Pair("<image>")])).all()


def test_a_prompt_opens_the_chat(tmp_path: Path) -> None:
    """It reaches items without a text, too."""
    folder = tiny_mllm.qwen2_5_vl(tmp_path)
    bare = SentenceEncoder.load(folder, content="joint", pooling="lasttoken", prompt="")
    told = SentenceEncoder.load(folder, content="joint", pooling="lasttoken", prompt="Represent.")
    assert bare.spec != told.spec
    difference = np.abs(bare.encode(PAIRS) - told.encode(PAIRS)).max(axis=1)
    assert difference.min() > 1e-3
