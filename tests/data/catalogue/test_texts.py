"""What the texts tell and what they leave to the pictures."""

from __future__ import annotations

import re

import numpy as np
import polars as pl
import pytest

from graphrec.data.catalogue import traits as names
from graphrec.data.catalogue.texts import text_table
from graphrec.data.catalogue.traits import Traits, draw_traits
from graphrec.data.catalogue.vocabulary import FAMILIES, PATTERNS, STYLES, USES


@pytest.fixture(scope="module")
def traits() -> Traits:
    return draw_traits(1200, seed=0)


@pytest.fixture(scope="module")
def table(traits: Traits) -> pl.DataFrame:
    return text_table(traits, seed=0)


def test_attributes_are_true_where_told(traits: Traits, table: pl.DataFrame) -> None:
    for column, codes, values in (
        ("brand", traits.brand, names.BRAND_NAMES),
        ("category", traits.family, names.FAMILY_NAMES),
        ("colour", traits.colour, names.COLOUR_NAMES),
        ("pattern", traits.pattern, names.PATTERN_NAMES),
        ("material", traits.material, names.MATERIAL_NAMES),
        ("style", traits.style, names.STYLE_NAMES),
    ):
        told = table[column].to_list()
        assert {value for value in told if value is not None} == set(values)
        assert all(
            value is None or value == values[code] for value, code in zip(told, codes, strict=True)
        )


def test_colour_and_pattern_are_told_by_some_texts_only(
    traits: Traits, table: pl.DataFrame
) -> None:
    texts = table.select(pl.concat_str("title", "description", separator=" ")).to_series()
    words = [set(re.findall(r"[\w-]+", (text or "").lower())) for text in texts]
    colours, adjectives = set(names.COLOUR_NAMES), set(PATTERNS.values())
    for item, said in enumerate(words):
        has = bool(traits.has_text[item])
        colour = names.COLOUR_NAMES[traits.colour[item]]
        pattern = PATTERNS[names.PATTERN_NAMES[traits.pattern[item]]]
        assert said & colours == ({colour} if has and traits.colour_told[item] else set())
        assert said & adjectives == ({pattern} if has and traits.pattern_told[item] else set())
    assert 0.3 < np.mean([table["colour"].is_not_null().mean()]) < 0.4
    assert 0.2 < np.mean([table["pattern"].is_not_null().mean()]) < 0.3


def test_descriptions_tell_material_style_and_use(traits: Traits, table: pl.DataFrame) -> None:
    for item, text in enumerate(table["description"]):
        if text is None:
            continue
        style = STYLES[names.STYLE_NAMES[traits.style[item]]]
        assert f"made of {names.MATERIAL_NAMES[traits.material[item]]}." in text
        assert sum(sentence in text for sentence in style.sentences) == 1
        assert sum(sentence in text for sentence in USES[names.USE_NAMES[traits.use[item]]]) == 1


def test_titles_name_brand_and_product(traits: Traits, table: pl.DataFrame) -> None:
    for item, title in enumerate(table["title"]):
        if title is not None:
            assert title.startswith(names.BRAND_NAMES[traits.brand[item]])
            assert title.endswith(FAMILIES[names.FAMILY_NAMES[traits.family[item]]].nouns)


def test_families_are_evenly_filled_and_keep_to_their_materials(traits: Traits) -> None:
    sizes = np.bincount(traits.family, minlength=len(FAMILIES))
    assert sizes.min() >= 48
    assert sizes.max() <= 54
    for family, material, use in zip(traits.family, traits.material, traits.use, strict=True):
        kind = FAMILIES[names.FAMILY_NAMES[family]]
        assert names.MATERIAL_NAMES[material] in kind.materials
        assert names.USE_NAMES[use] in kind.uses
