"""Pictures show family, colour and pattern."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from graphrec.data.catalogue import traits as names
from graphrec.data.catalogue.patterns import pattern_sheet
from graphrec.data.catalogue.pictures import Painter
from graphrec.data.catalogue.shapes import arc, blob, box
from graphrec.data.catalogue.silhouettes import SILHOUETTES
from graphrec.data.catalogue.traits import Traits, draw_traits
from graphrec.data.catalogue.vocabulary import COLOURS, FAMILIES, PATTERNS


@pytest.fixture(scope="module")
def traits() -> Traits:
    return draw_traits(1200, seed=0)


@pytest.fixture(scope="module")
def painter(traits: Traits) -> Painter:
    return Painter(traits, seed=0)


def _pixels(painter: Painter, item: int) -> NDArray[np.float64]:
    return np.asarray(painter.paint(item)).astype(np.float64)


def test_every_family_has_a_silhouette_with_room_for_a_pattern() -> None:
    assert set(SILHOUETTES) == set(FAMILIES)
    for layers in SILHOUETTES.values():
        points = np.array([point for layer in layers for point in layer.points])
        assert points.min() >= 4
        assert points.max() <= 96
        main = [np.array(layer.points) for layer in layers if layer.paint == "main"]
        assert sum(_area(polygon) for polygon in main) > 600


def _area(points: NDArray[np.float64]) -> float:
    x, y = points.T
    return abs(float(x @ np.roll(y, 1) - y @ np.roll(x, 1))) / 2


def test_shapes_have_the_size_they_are_asked_for() -> None:
    circle = np.array(arc(50, 50, 10, 10)[:-1])
    assert np.allclose(np.hypot(*(circle - 50).T), 10)
    assert _area(np.array(box("main", 10, 20, 30, 60, 5).points)) == pytest.approx(
        20 * 40 - (4 - np.pi) * 25, rel=0.01
    )
    corners = [(20.0, 20.0), (80.0, 20.0), (80.0, 80.0), (20.0, 80.0)]
    smooth = blob("main", *corners).points
    assert set(corners) <= set(smooth)


def test_plain_products_have_the_colour_they_are_said_to_have(
    traits: Traits, painter: Painter
) -> None:
    palette = np.array(list(COLOURS.values()))
    plain = traits.pattern == names.PATTERN_NAMES.index("plain")
    chosen = [names.FAMILY_NAMES.index(kind) for kind in ("t-shirt", "cushion", "vase", "tote bag")]
    items = np.flatnonzero(plain & np.isin(traits.family, chosen))
    assert len(items) > 30
    right = 0
    for item in items.tolist():
        centre = np.median(_pixels(painter, item)[50:60, 55:70].reshape(-1, 3), axis=0)
        nearest = np.abs(palette - centre).sum(axis=1).argmin()
        right += int(nearest == traits.colour[item])
    assert right >= 0.95 * len(items)


def test_patterned_products_show_two_colours_and_plain_ones_do_not(
    traits: Traits, painter: Painter
) -> None:
    spread: dict[str, list[float]] = {name: [] for name in PATTERNS}
    shirts = np.flatnonzero(traits.family == names.FAMILY_NAMES.index("t-shirt"))
    for item in shirts.tolist():
        body = _pixels(painter, item)[50:90, 48:80]
        spread[names.PATTERN_NAMES[traits.pattern[item]]].append(float(body.std(axis=(0, 1)).max()))
    plain = max(spread.pop("plain"))
    patterned = [value for values in spread.values() for value in values]
    assert min(patterned) > 2 * plain


def test_patterns_differ_and_cover_part_of_the_ground() -> None:
    sheets = {
        name: np.asarray(pattern_sheet(name, 256, 32, np.random.default_rng(0)))
        for name in PATTERNS
    }
    assert not sheets.pop("plain").any()
    for sheet in sheets.values():
        assert 0.15 < (sheet > 0).mean() < 0.8
    for one, other in combinations(sheets.values(), 2):
        assert (one != other).mean() > 0.1


def test_a_stripe_repeats_after_one_step() -> None:
    sheet = np.asarray(pattern_sheet("stripes", 128, 16, np.random.default_rng(0)))
    assert np.array_equal(sheet[:-16], sheet[16:])
    assert np.array_equal(sheet[:8], 255 - sheet[8:16])


def test_families_are_told_apart_by_their_shape(traits: Traits, painter: Painter) -> None:
    items = [
        item
        for family in range(len(FAMILIES))
        for item in np.flatnonzero(traits.family == family)[:4]
    ]
    figures = np.array([_figure(_pixels(painter, item)) for item in items], dtype=float)
    unit = figures / np.linalg.norm(figures, axis=1, keepdims=True)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -1)
    nearest = cosine.argmax(axis=1) // 4
    found = Counter((nearest == np.arange(len(items)) // 4).tolist())
    assert found[True] > 0.7 * len(items)


def _figure(pixels: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray(np.abs(pixels - pixels[0, 0]).sum(axis=2) > 30).ravel()
