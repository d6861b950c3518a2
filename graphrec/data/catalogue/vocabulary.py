"""The words and values the synthetic products are made of; all brands are invented."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

RGB = tuple[int, int, int]


class Family(NamedTuple):
    """A kind of product.

    Args:
        nouns: what titles call it; the first is the family's usual name.
        materials: what it may be made of.
        uses: what it may be sold for, keys of `USES`.
        price: a typical price.
    """

    nouns: tuple[str, ...]
    materials: tuple[str, ...]
    uses: tuple[str, ...]
    price: float


class Style(NamedTuple):
    """A way products look and feel, told by words only.

    Args:
        words: adjectives.
        sentences: of descriptions.
    """

    words: tuple[str, ...]
    sentences: tuple[str, ...]


COLOURS: Mapping[str, RGB] = {
    "red": (206, 48, 48),
    "orange": (236, 132, 42),
    "yellow": (240, 198, 48),
    "green": (66, 150, 78),
    "teal": (24, 150, 156),
    "blue": (48, 98, 196),
    "purple": (128, 76, 172),
    "pink": (236, 122, 164),
    "brown": (136, 92, 60),
    "grey": (106, 112, 122),
}

PATTERNS: Mapping[str, str] = {
    "plain": "plain",
    "stripes": "striped",
    "dots": "dotted",
    "checks": "checked",
    "zigzag": "zigzag",
    "floral": "floral",
    "terrazzo": "terrazzo",
}
"""Name of each pattern and its adjective."""

STYLES: Mapping[str, Style] = {
    "minimalist": Style(
        ("minimalist", "pared-down", "understated"),
        (
            "Clean lines and nothing superfluous, for lovers of minimalist design.",
            "An understated, minimalist form that leaves out every ornament.",
            "Pared-down Scandinavian simplicity.",
        ),
    ),
    "vintage": Style(
        ("vintage", "retro", "heritage"),
        (
            "Modelled on a vintage piece from the fifties.",
            "Retro charm with the patina of a flea-market find.",
            "A nostalgic, heritage look that never dates.",
        ),
    ),
    "playful": Style(
        ("playful", "cheerful", "whimsical"),
        (
            "A playful, whimsical design that makes people smile.",
            "Cheerful and a little silly, in the best way.",
            "Whimsical details brighten up rainy mornings.",
        ),
    ),
    "rugged": Style(
        ("rugged", "heavy-duty", "hard-wearing"),
        (
            "Rugged construction with reinforced edges, made for rough handling.",
            "Heavy-duty and hard-wearing, tested well beyond normal life.",
            "Built tough, with a rugged outdoor character.",
        ),
    ),
    "elegant": Style(
        ("elegant", "refined", "graceful"),
        (
            "Elegant proportions and a refined finish.",
            "A graceful silhouette with a touch of luxury.",
            "Refined, elegant and quietly luxurious.",
        ),
    ),
    "sporty": Style(
        ("sporty", "athletic", "dynamic"),
        (
            "Sporty and light, designed with athletes.",
            "A dynamic, athletic shape that wants to move.",
            "For an active life: sporty, light, fast.",
        ),
    ),
    "bohemian": Style(
        ("bohemian", "boho", "folk-inspired"),
        (
            "Bohemian spirit with artisan, folk-inspired details.",
            "A relaxed boho mood, as if brought home from a bazaar.",
            "Free-spirited and artisan-made, a bohemian favourite.",
        ),
    ),
    "industrial": Style(
        ("industrial", "workshop", "utilitarian"),
        (
            "An industrial, utilitarian look with exposed joints.",
            "Workshop aesthetics: raw, honest, utilitarian.",
            "Inspired by factory lofts and industrial fittings.",
        ),
    ),
}

USES: Mapping[str, tuple[str, ...]] = {
    "everyday": (
        "A reliable companion for every day.",
        "Made for daily life, from breakfast to bedtime.",
        "The one you will reach for daily.",
    ),
    "travel": (
        "Travels well: it fits cabin luggage and survives long journeys.",
        "Ideal for trips, flights and weekends away.",
        "A travel favourite for long train journeys.",
    ),
    "office": (
        "At home on any desk, in the office or the home office.",
        "Looks right in meetings and at the office.",
        "Keeps a working day at the desk pleasant.",
    ),
    "camping": (
        "Takes camping, rain and campfire smoke in its stride.",
        "Packed first when the tent goes up.",
        "For campsites, trails and nights under the stars.",
    ),
    "gift": (
        "Arrives in a gift box with a card.",
        "A birthday or housewarming gift that is actually used.",
        "Gift-wrapped on request, a present for the hard-to-please.",
    ),
    "children": (
        "Sized and safety-tested for children.",
        "Kids love it, parents can clean it.",
        "Made for small hands and school-age children.",
    ),
    "party": (
        "Brings guests together at parties and dinners.",
        "For garden parties, festivals and long evenings.",
        "Made to be noticed at a party.",
    ),
    "small homes": (
        "Saves space in studio flats and small homes.",
        "Stores compactly: a blessing in tiny apartments.",
        "Designed for small rooms and narrow shelves.",
    ),
}
"""What products are sold for, told in descriptions only."""

BRANDS: Mapping[str, tuple[str, str]] = {
    "Nordvale": ("minimalist", "elegant"),
    "Plainfold": ("minimalist", "industrial"),
    "Ostrel": ("minimalist", "sporty"),
    "Marrow & Finch": ("vintage", "elegant"),
    "Old Tannery": ("vintage", "rugged"),
    "Penny Arcadia": ("vintage", "playful"),
    "Wobblekin": ("playful", "bohemian"),
    "Hullabaloo Goods": ("playful", "sporty"),
    "Brackwater": ("rugged", "industrial"),
    "Ridgepine": ("rugged", "sporty"),
    "Maison Clairvel": ("elegant", "vintage"),
    "Sable Court": ("elegant", "minimalist"),
    "Velostride": ("sporty", "minimalist"),
    "Kinetta": ("sporty", "playful"),
    "Luma Hollow": ("bohemian", "vintage"),
    "Saffron Caravan": ("bohemian", "elegant"),
    "Ferrotype": ("industrial", "vintage"),
    "Union Anvil": ("industrial", "rugged"),
}
"""Invented brands and the two styles each is known for."""

_WEAR = ("cotton", "linen", "merino wool", "recycled polyester")
_WARE = ("stoneware", "porcelain", "enamel", "recycled glass")
_BAGS = ("canvas", "leather", "nylon", "recycled polyester")
_ACTIVE = ("everyday", "travel", "office", "camping", "gift", "children", "party")
_HOME = ("everyday", "office", "gift", "children", "party", "small homes")

FAMILIES: Mapping[str, Family] = {
    "mug": Family(("mug", "coffee mug", "cup"), _WARE, _ACTIVE, 14),
    "teapot": Family(("teapot", "tea pot"), _WARE, _HOME, 34),
    "bottle": Family(
        ("bottle", "water bottle", "flask"),
        ("stainless steel", "aluminium", "recycled glass", "enamel"),
        _ACTIVE,
        24,
    ),
    "plate": Family(("plate", "dinner plate"), (*_WARE, "bamboo"), _HOME, 16),
    "t-shirt": Family(("t-shirt", "tee", "shirt"), _WEAR, _ACTIVE, 25),
    "dress": Family(("dress", "summer dress"), (*_WEAR, "silk"), _ACTIVE, 69),
    "sneakers": Family(("sneakers", "trainers"), (*_BAGS, "merino wool"), _ACTIVE, 85),
    "cap": Family(("cap", "baseball cap"), (*_WEAR, "canvas"), _ACTIVE, 22),
    "socks": Family(("socks", "crew socks"), (*_WEAR[:1], *_WEAR[2:], "bamboo"), _ACTIVE, 9),
    "scarf": Family(("scarf", "shawl"), (*_WEAR, "silk"), _ACTIVE, 32),
    "backpack": Family(("backpack", "rucksack", "daypack"), _BAGS, _ACTIVE, 75),
    "tote bag": Family(("tote bag", "tote", "shopper"), (*_BAGS, "linen"), _ACTIVE, 28),
    "umbrella": Family(("umbrella",), ("nylon", "recycled polyester", "cotton"), _ACTIVE, 29),
    "suitcase": Family(
        ("suitcase", "trolley case"), ("aluminium", "leather", "nylon", "canvas"), _ACTIVE, 140
    ),
    "lamp": Family(("lamp", "table lamp"), ("linen", "brass", "bamboo", "silk"), _HOME, 64),
    "armchair": Family(
        ("armchair", "lounge chair"), ("leather", "linen", "velvet", "merino wool"), _HOME, 320
    ),
    "cushion": Family(
        ("cushion", "throw pillow"), ("linen", "velvet", "cotton", "silk"), _HOME, 24
    ),
    "vase": Family(("vase", "flower vase"), (*_WARE, "brass"), _HOME, 38),
    "wall clock": Family(
        ("wall clock", "clock"), ("oak", "brass", "aluminium", "bamboo"), _HOME, 48
    ),
    "candle": Family(
        ("candle", "scented candle"),
        ("beeswax", "soy wax", "stoneware", "recycled glass"),
        _HOME,
        19,
    ),
    "notebook": Family(
        ("notebook", "journal"), ("leather", "linen", "recycled paper", "canvas"), _ACTIVE, 15
    ),
    "phone case": Family(
        ("phone case", "phone cover"), ("leather", "silicone", "bamboo", "aluminium"), _ACTIVE, 26
    ),
    "headphones": Family(
        ("headphones", "headset"), ("aluminium", "leather", "oak", "silicone"), _ACTIVE, 110
    ),
    "skateboard": Family(
        ("skateboard", "cruiser board"), ("maple", "bamboo", "aluminium", "oak"), _ACTIVE, 79
    ),
}
"""The product families; each has a silhouette of the same name."""

FILLER: tuple[str, ...] = (
    "Ships within two working days.",
    "Thirty days to change your mind.",
    "Comes with a two-year warranty.",
    "One of our bestsellers last season.",
    "See the size chart before ordering.",
    "Small variations are part of the process.",
    "Spare parts available.",
    "Colours may differ slightly on screen.",
)
"""Sentences that say nothing about a product."""
