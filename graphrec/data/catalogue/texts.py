"""Titles, descriptions and attributes, told from the traits with gaps as in real shops."""

from __future__ import annotations

import numpy as np
import polars as pl

from graphrec.data.catalogue.randomness import stream
from graphrec.data.catalogue.traits import (
    BRAND_NAMES,
    COLOUR_NAMES,
    FAMILY_NAMES,
    MATERIAL_NAMES,
    PATTERN_NAMES,
    STYLE_NAMES,
    USE_NAMES,
    Traits,
)
from graphrec.data.catalogue.vocabulary import FAMILIES, FILLER, PATTERNS, STYLES, USES

COLUMNS = (
    "title",
    "description",
    "brand",
    "category",
    "colour",
    "pattern",
    "material",
    "style",
    "price",
)
_ATTRIBUTE_SHARE = 0.8


def text_table(traits: Traits, seed: int) -> pl.DataFrame:
    """The text columns of the item table, one row per item, null where nothing is told."""
    random = stream(seed, "texts")
    rows = [_row(traits, item, random) for item in range(len(traits))]
    empty = dict.fromkeys(COLUMNS)
    told = [row if has else empty for row, has in zip(rows, traits.has_text)]
    return pl.DataFrame(told, schema=dict.fromkeys(COLUMNS, pl.String))


def _row(traits: Traits, item: int, random: np.random.Generator) -> dict[str, str | None]:
    kind = FAMILY_NAMES[traits.family[item]]
    brand, material = BRAND_NAMES[traits.brand[item]], MATERIAL_NAMES[traits.material[item]]
    style = STYLE_NAMES[traits.style[item]]
    colour = COLOUR_NAMES[traits.colour[item]] if traits.colour_told[item] else None
    pattern = PATTERN_NAMES[traits.pattern[item]] if traits.pattern_told[item] else None
    noun, word = _one(FAMILIES[kind].nouns, random), _one(STYLES[style].words, random)
    parts = [brand, _maybe(0.75, word, random), colour, pattern and PATTERNS[pattern]]
    title = " ".join(filter(None, [*parts, _maybe(0.6, material, random), noun]))
    sentences = [
        f"{_capital(noun)} made of {material}.",
        _one(STYLES[style].sentences, random),
        _one(USES[USE_NAMES[traits.use[item]]], random),
        _maybe(0.7, _one(FILLER, random), random),
    ]
    order = random.permutation(len(sentences))
    return {
        "title": _capital(title),
        "description": " ".join(filter(None, [sentences[n] for n in order])),
        "brand": brand,
        "category": kind,
        "colour": colour,
        "pattern": pattern,
        "material": _maybe(_ATTRIBUTE_SHARE, material, random),
        "style": _maybe(_ATTRIBUTE_SHARE, style, random),
        "price": f"{traits.price[item]:.2f}",
    }


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _one(choices: tuple[str, ...], random: np.random.Generator) -> str:
    return choices[int(random.integers(len(choices)))]


def _maybe(share: float, text: str, random: np.random.Generator) -> str | None:
    return text if random.random() < share else None
