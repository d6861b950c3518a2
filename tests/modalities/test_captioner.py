from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from modalities import EncoderSpec, SentenceEncoder
from modalities._base.errors import InputError
from modalities.captioner import Captioner
from modalities.protocol import Pair
from tests.modalities import tiny, tiny_mllm

FAMILIES = [tiny_mllm.llava, tiny_mllm.idefics3, tiny_mllm.qwen2_5_vl]


def pictures() -> list[Image.Image]:
    random = np.random.default_rng(0)
    return [
        Image.fromarray(random.integers(0, 255, (height, 40, 3), dtype=np.uint8))
        for height in (30, 112, 45)
    ]


def by_hand(folder: Path, picture: Image.Image, prompt: str, tokens: int) -> str:
    """One picture, no padding, the most likely token each time, by transformers alone."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    processor = AutoProcessor.from_pretrained(folder)
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    content = [{"type": "image", "image": picture}, {"type": "text", "text": prompt}]
    text = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
    )
    inputs = processor(images=[picture], text=[text], return_tensors="pt")
    ids = inputs.pop("input_ids")
    said: list[int] = []
    masks = {n: inputs.pop(n) for n in ("attention_mask", "mm_token_type_ids") if n in inputs}
    for _ in range(tokens):
        grown = {
            n: torch.cat([m, torch.full((1, len(said)), int(n == "attention_mask"))], 1)
            for n, m in masks.items()
        }
        with torch.no_grad():
            scores = model(input_ids=ids, **grown, **inputs, use_cache=False).logits[0, -1]
        said.append(int(scores.argmax()))
        ids = torch.cat([ids, torch.tensor([[said[-1]]])], 1)
        if said[-1] == 1:
            break
    return " ".join(processor.tokenizer.decode(said, skip_special_tokens=True).split())


@pytest.mark.parametrize("family", FAMILIES)
def test_captions_are_the_likeliest_words(tmp_path: Path, family: Any) -> None:
    folder = family(tmp_path)
    captioner = Captioner.load(folder, prompt="What?", max_new_tokens=6)
    together = captioner.caption(pictures())
    assert together == [captioner.caption([picture])[0] for picture in pictures()]
    assert together[1] == by_hand(folder, pictures()[1], "What?", 6)
    assert Captioner.load(folder, prompt="What?", max_new_tokens=6).caption(pictures()) == together


def test_pictures_and_prompts_matter(tmp_path: Path) -> None:
    folder = tiny_mllm.llava(tmp_path)
    shown = [Image.new("RGB", (32, 32), colour) for colour in ("black", "white", "red")]
    captions = Captioner.load(folder, prompt="?", max_new_tokens=12).caption(shown)
    assert len(set(captions)) > 1
    assert Captioner.load(folder, prompt="Colour", max_new_tokens=12).caption(shown) != captions


def test_padding_on_the_right_would_change_captions(tmp_path: Path) -> None:
    folder = tiny_mllm.qwen2_5_vl(tmp_path)
    captioner = Captioner.load(folder, prompt="What is this?", max_new_tokens=8)
    inputs = captioner._inputs(pictures())
    lengths = inputs["attention_mask"].sum(1)
    assert len(set(lengths.tolist())) > 1
    assert bool(inputs["attention_mask"][:, -1].all())
    assert captioner.processor.tokenizer.padding_side == "left"


def test_the_spec_names_what_changes_captions(tmp_path: Path) -> None:
    folder = tiny_mllm.llava(tmp_path)
    base = Captioner.load(folder).spec
    assert Captioner.load(folder).spec == base
    for change in (
        {"prompt": "x"},
        {"max_new_tokens": 5},
        {"num_beams": 2},
        {"strip_opening": False},
    ):
        assert Captioner.load(folder, **change).spec != base


def test_openings_that_say_nothing_are_removed() -> None:
    captioner = Captioner(None, None, spec=EncoderSpec.of("mllm"))
    assert captioner._cleaned("The image shows  a red\nhat.") == "A red hat."
    assert captioner._cleaned("This picture features shoes") == "Shoes"
    assert captioner._cleaned("Image quality is poor") == "Image quality is poor"
    captioner.strip_opening = False
    assert captioner._cleaned("The image shows a hat") == "The image shows a hat"


def test_models_that_cannot_caption_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no model that turns pictures into text"):
        Captioner.load(tiny.bert(tmp_path / "bert"))
    with pytest.raises(InputError, match="neither a folder nor the id"):
        Captioner.load(tmp_path / "nothing")
    with pytest.raises(InputError, match="hf download some/model"):
        Captioner.load("some/model")


def test_missing_weights_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = tiny_mllm.llava(tmp_path) / "model.safetensors"
    state = load_file(path)
    lost = next(name for name in state if "multi_modal_projector" in name)
    save_file({k: v for k, v in state.items() if k != lost}, path, {"format": "pt"})
    with pytest.raises(InputError, match="lacks 1 of its weights"):
        Captioner.load(tmp_path)


@pytest.mark.parametrize("family", [tiny_mllm.llava, tiny_mllm.qwen2_5_vl])
def test_joint_vectors_are_the_state_of_the_last_token(tmp_path: Path, family: Any) -> None:
    """Texts, pictures and both, through the encoder for all models."""
    pytest.importorskip("sentence_transformers")
    folder = family(tmp_path)
    encoder = SentenceEncoder.load(folder, content="joint", pooling="lasttoken")
    pairs = [
        Pair("a red hat", pictures()[0]),
        Pair("shoes", None),
        Pair(None, pictures()[1]),
        Pair("a much longer text about boots", pictures()[2]),
    ]
    alone = np.concatenate([encoder.encode([pair]) for pair in pairs])
    np.testing.assert_allclose(np.linalg.norm(alone, axis=1), 1, atol=1e-5)
    both = encoder.encode([pairs[0], pairs[3]])
    np.testing.assert_allclose(both, alone[[0, 3]], atol=1e-5)
    np.testing.assert_allclose(encoder.encode(pairs), alone, atol=1e-5)
    assert not np.allclose(alone[0], encoder.encode([Pair("a red hat", pictures()[1])])[0])
