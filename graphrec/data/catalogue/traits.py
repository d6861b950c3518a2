"""The hidden truth about each synthetic item, from which texts, pictures and demand follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphrec.data.catalogue.randomness import stream
from graphrec.data.catalogue.vocabulary import BRANDS, COLOURS, FAMILIES, PATTERNS, STYLES, USES

FAMILY_NAMES = tuple(FAMILIES)
COLOUR_NAMES = tuple(COLOURS)
PATTERN_NAMES = tuple(PATTERNS)
STYLE_NAMES = tuple(STYLES)
USE_NAMES = tuple(USES)
BRAND_NAMES = tuple(BRANDS)
MATERIAL_NAMES = tuple(sorted({m for family in FAMILIES.values() for m in family.materials}))

NEW_SHARE = 0.03
NO_PICTURE_SHARE = 0.04
NO_TEXT_SHARE = 0.03
COLOUR_TOLD_SHARE = 0.35
PATTERN_TOLD_SHARE = 0.25
PER_LINE = 6
KEPT: Mapping[str, float] = {
    "family": 1.0,
    "colour": 0.6,
    "pattern": 0.6,
    "style": 0.85,
    "use": 0.6,
    "brand": 0.9,
    "material": 0.6,
}
"""Share of a product line's items that have the line's value of a trait; the rest vary."""
_PLAIN_SHARE = 0.22
_TRUE_TO_BRAND_SHARE = 0.8

Codes = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Traits:
    """What the items are. Codes index the `..._NAMES` of this module; all arrays are [I].

    Args:
        family: told by pictures and texts.
        colour: seen in pictures; texts tell it where `colour_told`.
        pattern: seen in pictures; texts tell it where `pattern_told`.
        style: told by texts only.
        use: told by texts only.
        brand: told by texts only.
        material: told by texts only.
        price: asking price.
        new: too new to have training interactions.
        has_picture: there is a picture.
        has_text: there is a title, a description and attributes.
        colour_told: the text names the colour.
        pattern_told: the text names the pattern.
    """

    family: Codes
    colour: Codes
    pattern: Codes
    style: Codes
    use: Codes
    brand: Codes
    material: Codes
    price: NDArray[np.float64]
    new: Flags
    has_picture: Flags
    has_text: Flags
    colour_told: Flags
    pattern_told: Flags

    def __len__(self) -> int:
        return len(self.family)


def draw_traits(n_items: int, seed: int) -> Traits:
    """Draw the items of a catalogue.

    Items come in product lines of about `PER_LINE`, whose members share most traits, as they do
    in shops: this is what makes the neighbours of an item in picture and text worth knowing.

    Example:
        >>> traits = draw_traits(1200, seed=0)
        >>> len(traits), int(traits.new.sum()), int((~traits.has_picture).sum())
        (1200, 36, 48)
    """
    random = stream(seed, "items")
    line = random.permutation(np.arange(n_items) % max(1, n_items // PER_LINE))
    lines = _draw_lines(int(line.max()) + 1, random)
    others = _draw_lines(n_items, random, lines["family"][line])
    chosen = {
        name: np.where(random.random(n_items) < KEPT[name], lines[name][line], others[name])
        for name in KEPT
    }
    return Traits(
        **chosen,
        price=_prices(chosen["family"], random),
        new=_some(n_items, NEW_SHARE, random),
        has_picture=~_some(n_items, NO_PICTURE_SHARE, random),
        has_text=~_some(n_items, NO_TEXT_SHARE, random),
        colour_told=_some(n_items, COLOUR_TOLD_SHARE, random),
        pattern_told=_some(n_items, PATTERN_TOLD_SHARE, random),
    )


def _draw_lines(
    n: int, random: np.random.Generator, family: Codes | None = None
) -> dict[str, Codes]:
    """Traits of n product lines, or of n single items of the given families."""
    if family is None:
        family = random.permutation(np.arange(n) % len(FAMILY_NAMES))
    pattern = random.integers(1, len(PATTERN_NAMES), n)
    pattern[random.random(n) < _PLAIN_SHARE] = PATTERN_NAMES.index("plain")
    brand = random.integers(len(BRAND_NAMES), size=n)
    return {
        "family": family,
        "colour": random.integers(len(COLOUR_NAMES), size=n),
        "pattern": pattern,
        "style": _styles(brand, random),
        "use": _of_family(family, "uses", USE_NAMES, random),
        "brand": brand,
        "material": _of_family(family, "materials", MATERIAL_NAMES, random),
    }


def _styles(brand: Codes, random: np.random.Generator) -> Codes:
    known = np.array([[STYLE_NAMES.index(s) for s in styles] for styles in BRANDS.values()])
    typical = known[brand, random.integers(2, size=len(brand))]
    other = random.integers(len(STYLE_NAMES), size=len(brand))
    return np.where(random.random(len(brand)) < _TRUE_TO_BRAND_SHARE, typical, other)


def _of_family(
    family: Codes, trait: str, names: tuple[str, ...], random: np.random.Generator
) -> Codes:
    choices = [
        [names.index(name) for name in getattr(FAMILIES[kind], trait)] for kind in FAMILY_NAMES
    ]
    place = random.random(len(family))
    return np.array([choices[f][int(p * len(choices[f]))] for f, p in zip(family, place)])


def _prices(family: Codes, random: np.random.Generator) -> NDArray[np.float64]:
    typical = np.array([FAMILIES[kind].price for kind in FAMILY_NAMES])[family]
    spread = np.exp(random.normal(0.0, 0.35, len(family)))
    return np.floor(np.asarray(typical * spread)) + 0.9


def _some(n: int, share: float, random: np.random.Generator) -> Flags:
    chosen: NDArray[Any] = np.zeros(n, dtype=np.bool_)
    chosen[random.permutation(n)[: round(n * share)]] = True
    return chosen
