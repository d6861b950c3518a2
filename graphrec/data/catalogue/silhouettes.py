"""Silhouettes: what the pictures of each product family are drawn from."""

from __future__ import annotations

from collections.abc import Mapping

from graphrec.data.catalogue.shapes import Layer, arc, blob, box, line, oval, poly

Silhouette = tuple[Layer, ...]


def _shadow(x: float, y: float, rx: float) -> Layer:
    return oval("shadow", x, y, rx, 4, outline=False)


_SOCK = ((37, 13), (61, 13), (61, 50), (77, 64), (85, 76), (77, 87), (63, 85), (43, 69), (37, 54))
_CANOPY = (
    *arc(50, 50, 40, 36, 180, 360),
    *arc(76.7, 50, 13.3, 6, 0, -180),
    *arc(50, 50, 13.3, 6, 0, -180),
    *arc(23.3, 50, 13.3, 6, 0, -180),
)
_CUSHION = (
    *((14 + 4.5 * n, 18 + 0.075 * n * (16 - n)) for n in range(16)),
    *((86 - 0.075 * n * (16 - n), 18 + 4.1 * n) for n in range(16)),
    *((86 - 4.5 * n, 84 - 0.075 * n * (16 - n)) for n in range(16)),
    *((14 + 0.075 * n * (16 - n), 84 - 4.1 * n) for n in range(16)),
)

SILHOUETTES: Mapping[str, Silhouette] = {
    "mug": (
        _shadow(48, 83, 30),
        line("shade", 7, arc(67, 53, 16, 16, -85, 85)),
        box("main", 22, 26, 68, 83, 9),
        oval("tint", 45, 27, 23, 5),
    ),
    "teapot": (
        _shadow(50, 83, 30),
        line("shade", 6, arc(76, 54, 13, 15, -100, 100)),
        blob(
            "shade", (32, 60), (20, 52), (14, 38), (7, 33), (12, 29), (20, 33), (26, 43), (36, 46)
        ),
        box("shade", 37, 76, 63, 83, 2),
        oval("main", 50, 56, 28, 24),
        oval("tint", 50, 34, 15, 5),
        oval("shade", 50, 27, 4.5, 4.5),
    ),
    "bottle": (
        _shadow(50, 90, 20),
        box("tint", 43, 18, 57, 36, 3),
        blob(
            "main",
            (44, 30),
            (56, 30),
            (66, 42),
            (66, 66),
            (65, 88),
            (50, 90),
            (35, 88),
            (34, 66),
            (34, 42),
        ),
        box("ink", 41, 9, 59, 21, 3),
    ),
    "plate": (
        _shadow(50, 86, 34),
        oval("main", 50, 50, 40, 38),
        line("tint", 3, arc(50, 50, 26, 24.5)),
    ),
    "t-shirt": (
        poly(
            "main",
            (35, 18),
            (43, 23),
            (57, 23),
            (65, 18),
            (90, 33),
            (81, 50),
            (71, 45),
            (71, 86),
            (29, 86),
            (29, 45),
            (19, 50),
            (10, 33),
        ),
        line("shade", 3, arc(50, 17, 13, 9, 150, 30)),
    ),
    "dress": (
        poly(
            "main",
            (37, 12),
            (42, 12),
            (46, 23),
            (54, 23),
            (58, 12),
            (63, 12),
            (62, 34),
            (59, 44),
            (80, 86),
            (50, 90),
            (20, 86),
            (41, 44),
            (38, 34),
        ),
        poly("shade", (40.5, 41), (59.5, 41), (60.5, 47), (39.5, 47)),
    ),
    "sneakers": (
        _shadow(50, 80, 42),
        blob(
            "main",
            (11, 70),
            (10, 48),
            (15, 36),
            (25, 42),
            (38, 37),
            (47, 41),
            (62, 54),
            (80, 58),
            (90, 66),
            (88, 71),
            (50, 71),
        ),
        blob("tint", (76, 58), (89, 63), (90, 71), (72, 71)),
        line("white", 2.5, ((41, 47), (48, 40))),
        line("white", 2.5, ((47, 51), (54, 45))),
        line("white", 2.5, ((53, 56), (60, 50))),
        box("white", 8, 69, 92, 79, 4),
    ),
    "cap": (
        _shadow(52, 72, 38),
        Layer(arc(44, 62, 32, 36, 180, 360)),
        line("shade", 1.2, arc(44, 62, 13, 36, 180, 360)),
        oval("shade", 44, 26, 4, 2.5),
        blob(
            "shade", (12, 61), (44, 60), (76, 58), (94, 66), (90, 71), (70, 66), (44, 66), (13, 66)
        ),
    ),
    "socks": (
        Layer(blob("shade", *((x - 17, y - 3) for x, y in _SOCK)).points, "shade"),
        blob("main", *_SOCK),
        blob("tint", (73, 62), (85, 75), (77, 88), (65, 85), (68, 74)),
        box("tint", 35, 10, 63, 22, 3),
    ),
    "scarf": (
        line("shade", 3, ((31, 84), (29, 92))),
        line("shade", 3, ((38, 85), (37, 93))),
        line("shade", 3, ((45, 86), (45, 94))),
        line("shade", 3, ((59, 76), (60, 84))),
        line("shade", 3, ((66, 75), (68, 83))),
        poly("main", (54, 34), (68, 32), (73, 75), (56, 78)),
        poly("main", (34, 34), (54, 36), (48, 87), (27, 85)),
        line("main", 13, arc(50, 28, 27, 14)),
    ),
    "backpack": (
        _shadow(50, 89, 30),
        line("ink", 4, arc(50, 18, 9, 9, 180, 360)),
        box("shade", 15, 54, 30, 82, 5),
        box("shade", 70, 54, 85, 82, 5),
        box("main", 23, 17, 77, 89, 17),
        line("ink", 1.5, arc(50, 44, 22, 8, 160, 20)),
        box("shade", 32, 58, 68, 83, 5),
        box("tint", 46, 58, 54, 66, 1),
    ),
    "tote bag": (
        _shadow(50, 88, 36),
        line("shade", 4.5, arc(50, 38, 17, 28, 180, 360)),
        poly("main", (20, 36), (80, 36), (85, 88), (15, 88)),
        line("shade", 2, ((20, 39), (80, 39))),
    ),
    "umbrella": (
        line("wood", 3.5, ((50, 46), (50, 82))),
        line("wood", 3.5, arc(56, 82, 6, 7, 180, 0)),
        line("ink", 2.5, ((50, 9), (50, 16))),
        Layer(_CANOPY, "main"),
        line("shade", 1.2, arc(50, 50, 13.3, 36, 180, 360)),
    ),
    "suitcase": (
        line("metal", 3.5, ((38, 26), (38, 8), (62, 8), (62, 26))),
        oval("ink", 32, 89, 4, 4),
        oval("ink", 68, 89, 4, 4),
        box("main", 23, 23, 77, 87, 8),
        line("shade", 2.5, ((37, 24), (37, 86))),
        line("shade", 2.5, ((63, 24), (63, 86))),
        box("metal", 45, 23, 55, 30, 2),
    ),
    "lamp": (
        _shadow(50, 89, 26),
        line("metal", 4, ((50, 52), (50, 86))),
        oval("ink", 50, 87, 19, 4),
        poly("main", (37, 12), (63, 12), (80, 56), (20, 56)),
        oval("tint", 50, 56, 30, 3.5),
    ),
    "armchair": (
        line("wood", 4, ((25, 76), (21, 91))),
        line("wood", 4, ((75, 76), (79, 91))),
        box("main", 22, 14, 78, 68, 14),
        box("shade", 24, 54, 76, 78, 4),
        box("tint", 27, 50, 73, 64, 5),
        box("main", 10, 42, 28, 80, 8),
        box("main", 72, 42, 90, 80, 8),
    ),
    "cushion": (
        _shadow(50, 86, 40),
        Layer(_CUSHION, "main"),
        oval("shade", 50, 51, 3.5, 3.5),
    ),
    "vase": (
        _shadow(50, 88, 24),
        blob(
            "main",
            (42, 13),
            (58, 13),
            (56, 27),
            (70, 46),
            (70, 64),
            (59, 86),
            (50, 88),
            (41, 86),
            (30, 64),
            (30, 46),
            (44, 27),
        ),
        oval("tint", 50, 14, 9, 3),
    ),
    "wall clock": (
        oval("main", 50, 50, 39, 39),
        oval("white", 50, 50, 26, 26),
        *(
            line("ink", 1.8, (a, b))
            for a, b in zip(arc(50, 50, 21, 21, 0, 330)[::3], arc(50, 50, 24, 24, 0, 330)[::3])
        ),
        line("ink", 3, ((50, 50), (50, 33))),
        line("ink", 3, ((50, 50), (62, 57))),
        oval("shade", 50, 50, 3, 3),
    ),
    "candle": (
        _shadow(50, 88, 30),
        box("main", 26, 40, 74, 88, 6),
        oval("white", 50, 41, 24, 5.5),
        line("ink", 1.8, ((50, 41), (50, 31))),
        blob("flame", (50, 8), (56, 22), (54, 31), (50, 33), (46, 31), (44, 22)),
    ),
    "notebook": (
        box("white", 27, 15, 81, 89, 3),
        box("main", 23, 12, 78, 86, 3),
        box("shade", 23, 12, 33, 86, 2),
        box("white", 43, 26, 68, 40, 1),
        line("ink", 1.2, ((47, 31), (64, 31))),
        line("ink", 1.2, ((47, 35), (58, 35))),
        line("ink", 2.2, ((73, 12), (73, 86))),
    ),
    "phone case": (
        box("main", 28, 8, 72, 92, 9),
        box("ink", 33, 13, 52, 34, 5),
        oval("metal", 39, 19, 3.6, 3.6),
        oval("metal", 46, 27, 3.6, 3.6),
    ),
    "headphones": (
        line("shade", 8, arc(50, 56, 33, 42, 180, 360)),
        line("tint", 3, arc(50, 56, 33, 42, 205, 335)),
        box("ink", 25, 50, 36, 84, 4),
        box("ink", 64, 50, 75, 84, 4),
        box("main", 8, 46, 31, 88, 10),
        box("main", 69, 46, 92, 88, 10),
    ),
    "skateboard": (
        line("metal", 5, ((27, 26), (73, 26))),
        line("metal", 5, ((27, 74), (73, 74))),
        *(box("ink", x, y, x + 8, y + 12, 3) for x in (22, 70) for y in (20, 68)),
        box("main", 33, 5, 67, 95, 17),
        *(oval("metal", x, y, 1.5, 1.5) for x in (45, 55) for y in (23, 29, 71, 77)),
    ),
}
"""Layers of each family, by its name, painted in order."""
