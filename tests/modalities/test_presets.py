from __future__ import annotations

import re

import pytest

from modalities._base.errors import InputError
from modalities.encoders.registry import FAMILIES
from modalities.presets import check_preset, find_preset, presets


def test_enough_are_known_and_named_once() -> None:
    names = [preset.name for preset in presets()]
    assert len(names) >= 30
    assert len(set(names)) == len(names)
    assert {preset.modality for preset in presets()} == {"text", "image", "joint", "caption"}


def test_names_can_be_given_to_the_command() -> None:
    for preset in presets():
        family = preset.name.partition(":")[0]
        assert family in FAMILIES or (family, preset.modality) == ("mllm", "caption")
        if preset.modality != "caption":
            assert preset.modality in FAMILIES[family].modalities


def test_cells_are_possible() -> None:
    for preset in presets():
        assert preset.revision is None or re.fullmatch(r"[0-9a-f]{40}", preset.revision)
        assert preset.pooling in (None, "mean", "cls", "lasttoken", "model")
        assert preset.dim is None or 64 <= preset.dim <= 8192
        assert preset.parameters is None or preset.parameters > 10**7


def test_doubtful_cells_stay_unknown() -> None:
    doubtful = find_preset("Alibaba-NLP/gte-Qwen2-1.5B-instruct")
    assert doubtful is not None
    assert (doubtful.dim, doubtful.pooling) == (None, None)
    e5 = find_preset("st:intfloat/e5-base-v2")
    assert e5 is not None
    assert e5.prompt == "passage: "


@pytest.mark.parametrize(
    ("name", "cell", "expected"),
    [
        ("Qwen/Qwen3-Embedding-0.6B", "pooling", "lasttoken"),
        ("ibm-granite/granite-embedding-english-r2", "pooling", "cls"),
        ("intfloat/multilingual-e5-base", "max_length", None),
        ("Snowflake/snowflake-arctic-embed-l-v2.0", "pooling", None),
        ("Snowflake/snowflake-arctic-embed-m-v2.0", "remote_code", True),
        ("google/embeddinggemma-300m", "prompt", "title: none | text: "),
        ("Alibaba-NLP/gme-Qwen2-VL-2B-Instruct", "prompt", "You are a helpful assistant."),
        ("jinaai/jina-embeddings-v3", "prompt", None),
        ("BAAI/bge-m3", "prompt", ""),
        ("hyp1231/blair-roberta-large", "licence", None),
        ("nvidia/NV-Embed-v2", "licence", "CC-BY-NC-4.0"),
        ("facebook/dinov2-base", "revision", "f9e44c814b77203eaa57a6bdbbd535f21ede1415"),
        ("Salesforce/blip2-opt-2.7b", "dim", None),
    ],
)
def test_cells(name: str, cell: str, expected: object) -> None:
    preset = find_preset(name)
    assert preset is not None
    assert getattr(preset, cell) == expected


def test_unknown_names_have_no_preset() -> None:
    assert find_preset("intfloat/e5-base-v3") is None


def test_a_folder_that_contradicts_is_refused() -> None:
    minilm = find_preset("sentence-transformers/all-MiniLM-L6-v2")
    assert minilm is not None
    check_preset(minilm, dim=384, pooling="mean", revision=minilm.revision)
    check_preset(minilm, dim=None, pooling=None, revision=None)
    with pytest.raises(InputError, match="dim 384, and its files say 768"):
        check_preset(minilm, dim=768, pooling="mean", revision=None)
    with pytest.raises(InputError, match="pooling mean, and its files say cls"):
        check_preset(minilm, dim=384, pooling="cls", revision=minilm.revision)
    check_preset(minilm, dim=768, pooling="cls", revision="another")
