from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from modalities import EncoderSpec, captioner
from modalities._base.errors import InputError
from modalities.captioner import PROMPT, Captioner, _answer
from modalities.presets import find_preset
from tests.modalities import tiny, tiny_mllm

FAMILIES = [tiny_mllm.llava, tiny_mllm.idefics3, tiny_mllm.qwen2_5_vl, tiny_mllm.blip2]


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
    text = prompt
    if processor.chat_template:
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
    loaded = Captioner.load(folder, prompt="What?", max_new_tokens=6)
    together = loaded.caption(pictures())
    assert together == [loaded.caption([picture])[0] for picture in pictures()]
    assert loaded.caption([]) == []
    assert together[1] == by_hand(folder, pictures()[1], "What?", 6)
    assert Captioner.load(folder, prompt="What?", max_new_tokens=6).caption(pictures()) == together


@pytest.mark.parametrize("family", FAMILIES)
def test_pictures_and_prompts_matter(tmp_path: Path, family: Any) -> None:
    folder = family(tmp_path)
    shown = [Image.new("RGB", (32, 32), colour) for colour in ("black", "white", "red")]
    captions = Captioner.load(folder, prompt="?", max_new_tokens=12).caption(shown)
    assert len(set(captions)) > 1
    assert Captioner.load(folder, prompt="Colour", max_new_tokens=12).caption(shown) != captions


def test_a_system_text_opens_the_chat(tmp_path: Path) -> None:
    folder = tiny_mllm.llava(tmp_path / "llava")
    plain = Captioner.load(folder, prompt="?", max_new_tokens=12)
    told = Captioner.load(folder, prompt="?", system="Be brief.", max_new_tokens=12)
    assert told.caption(pictures()) != plain.caption(pictures())
    assert "Be brief." in told.processor.tokenizer.decode(told._inputs(pictures())["input_ids"][0])
    with pytest.raises(InputError, match="does not chat"):
        Captioner.load(tiny_mllm.blip2(tmp_path / "blip2"), system="Be brief.")


def test_sampling_that_the_files_ask_for_is_not_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    folder = tiny_mllm.llava(tmp_path)
    greedy = Captioner.load(folder, prompt="?", max_new_tokens=12)
    path = folder / "generation_config.json"
    asked = {"do_sample": True, "temperature": 5.0, "top_k": 100, "max_length": 20}
    path.write_text(json.dumps({**json.loads(path.read_text()), **asked}))
    sampled = Captioner.load(folder, prompt="?", max_new_tokens=12)
    assert sampled.caption(pictures()) == greedy.caption(pictures())
    assert sampled.spec != greedy.spec
    assert not caplog.records  # a line for each batch would tear the progress bar


def test_the_preset_knows_the_prompt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny_mllm.blip2(tmp_path)
    monkeypatch.setattr(captioner, "fetch", lambda source, revision: folder)
    preset = find_preset("Salesforce/blip2-opt-2.7b")
    assert preset is not None
    assert preset.prompt == ""
    known = Captioner.load(preset.id)
    assert (known.prompt, dict(known.spec.options)["prompt"]) == ("", "")
    assert known.origin == {"model": preset.id, "revision": preset.revision}
    assert len(known.caption(pictures())) == 3
    assert Captioner.load("some/model").prompt == PROMPT


def test_a_picture_always_has_its_place(tmp_path: Path) -> None:
    """Files of BLIP-2 that do not state its number of query tokens give the picture none."""
    stated = Captioner.load(tiny_mllm.blip2(tmp_path / "a"), prompt="?", max_new_tokens=12)
    silent = Captioner.load(tiny_mllm.blip2(tmp_path / "b", None), prompt="?", max_new_tokens=12)
    assert silent.caption(pictures()) == stated.caption(pictures())
    silent.processor.num_query_tokens = None
    with pytest.raises(InputError, match="no place in the prompt"):
        silent.caption(pictures())


def test_the_answer_comes_after_the_prompt_where_it_is_repeated() -> None:
    prompt = torch.tensor([[5, 6], [5, 7]])
    answers = torch.tensor([[8, 9, 1], [8, 1, 0]])
    assert torch.equal(_answer(torch.cat([prompt, answers], 1), prompt), answers)
    assert torch.equal(_answer(answers, prompt), answers)
    assert torch.equal(_answer(answers[:, :1], prompt), answers[:, :1])


def test_padding_on_the_right_would_change_captions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_mllm.qwen2_5_vl(tmp_path)
    loaded = Captioner.load(folder, prompt="What is this?", max_new_tokens=8)
    assert json.loads((folder / "tokenizer_config.json").read_text())["padding_side"] == "right"
    mask = loaded._inputs(pictures())["attention_mask"]
    assert len(set(mask.sum(1).tolist())) > 1
    assert bool(mask[:, -1].all())
    left = loaded.caption(pictures())
    monkeypatch.setattr(captioner, "PADDING", "right")
    assert not bool(loaded._inputs(pictures())["attention_mask"][:, -1].all())
    assert loaded.caption(pictures()) != left


def test_the_spec_names_what_changes_captions(tmp_path: Path) -> None:
    folder = tiny_mllm.llava(tmp_path)
    base = Captioner.load(folder).spec
    assert Captioner.load(folder).spec == base
    for change in (
        {"prompt": "x"},
        {"max_new_tokens": 5},
        {"min_new_tokens": 5},
        {"num_beams": 2},
        {"system": "x"},
        {"dtype": "bfloat16"},
        {"strip_opening": False},
    ):
        assert Captioner.load(folder, **change).spec != base
    changed_state(folder, lambda state: {name: 2 * value for name, value in state.items()})
    other = Captioner.load(folder).spec
    assert {name for name, _ in set(base.options) ^ set(other.options)} == {"weights"}
    path = folder / "chat_template.jinja"
    path.write_text("Question: " + path.read_text())
    assert Captioner.load(folder).spec != other


def test_openings_that_say_nothing_are_removed() -> None:
    made = Captioner(None, None, spec=EncoderSpec.of("mllm"))
    assert made._cleaned("The image shows  a red\nhat.") == "A red hat."
    assert made._cleaned("This picture features shoes") == "Shoes"
    assert made._cleaned("In this product photo, we can see a mug") == "A mug"
    assert made._cleaned("In the image there are two mugs") == "Two mugs"
    assert made._cleaned("This is an image of a mug.") == "A mug."
    assert made._cleaned("A photo of a mug") == "A mug"
    for kept in (
        "Image quality is poor",
        "Photo album of leather",
        "This is a mug",
        "",
        "The image",
    ):
        assert made._cleaned(kept) == kept
    made.strip_opening = False
    assert made._cleaned("The image shows a hat") == "The image shows a hat"


def test_models_that_cannot_caption_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no model that turns pictures into text"):
        Captioner.load(tiny.bert(tmp_path / "bert"))
    with pytest.raises(InputError, match="no model that turns pictures into text"):
        Captioner.load(tiny.qwen3(tmp_path / "qwen3"))
    with pytest.raises(InputError, match="neither a folder nor the id"):
        Captioner.load(tmp_path / "nothing")
    with pytest.raises(InputError, match="hf download some/model"):
        Captioner.load("some/model")


def changed_state(folder: Path, change: Any) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, {"format": "pt"})


def without(part: str) -> Any:
    return lambda state: {name: value for name, value in state.items() if part not in name}


def test_missing_weights_are_refused(tmp_path: Path) -> None:
    folder = tiny_mllm.llava(tmp_path)
    changed_state(folder, without("multi_modal_projector.linear_1.bias"))
    with pytest.raises(InputError, match=r"lacks 1 of its weights .*linear_1.bias"):
        Captioner.load(folder)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    folder = tiny_mllm.llava(tmp_path)
    name = "multi_modal_projector.linear_1.bias"
    changed_state(folder, lambda state: {**state, name: torch.zeros(3)})
    with pytest.raises(InputError, match=r"lacks 1 of its weights .*linear_1.bias"):
        Captioner.load(folder)


def test_weights_that_are_tied_are_not_missing(tmp_path: Path) -> None:
    """The last layer is left out of the files only where it is the table of words."""
    apart = tiny_mllm.qwen2_5_vl(tmp_path / "apart")
    tied = tiny_mllm.qwen2_5_vl(tmp_path / "tied", tied=True)
    for folder in (apart, tied):
        changed_state(folder, without("lm_head"))
    with pytest.raises(InputError, match=r"lacks 1 of its weights \(lm_head.weight"):
        Captioner.load(apart)
    model = Captioner.load(tied).model
    assert torch.equal(model.lm_head.weight, model.get_input_embeddings().weight)


def test_damaged_weights_and_pickles_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_mllm.llava(tmp_path)
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match=r"weights in .* damaged"):
        Captioner.load(folder)
    path.rename(folder / "pytorch_model.bin")
    monkeypatch.setattr("torch.load", lambda *args, **kwargs: pytest.fail("a pickle was opened"))
    with pytest.raises(InputError, match="a pickle that can run code"):
        Captioner.load(folder)


def test_code_that_comes_with_a_model_needs_a_word(tmp_path: Path) -> None:
    folder = tiny_mllm.llava(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config.update(model_type="my-own", auto_map={"AutoConfig": "mine.Config"})
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "mine.py").write_text("raise SystemExit('it ran')")
    with pytest.raises(InputError, match="runs code of its own"):
        Captioner.load(folder)
