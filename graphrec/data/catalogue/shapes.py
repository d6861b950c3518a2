"""Layers that silhouettes are built of: polygons and broken lines.

They lie on a canvas of 100 x 100 units, y pointing down. Curves are broken into short lines, so
that any affine change applies to every layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, pi, sin
from typing import Literal

Paint = Literal["main", "shade", "tint", "ink", "white", "metal", "wood", "flame", "shadow"]
Point = tuple[float, float]


@dataclass(frozen=True)
class Layer:
    """One painted shape.

    Args:
        points: corners, in units.
        paint: `main` is the product's colour and pattern; `shade` and `tint` are its colour,
            darker and lighter; the others are fixed.
        width: 0 fills the polygon; otherwise the line through the points is this thick.
        outline: draw the border of a filled polygon.
    """

    points: tuple[Point, ...]
    paint: Paint = "main"
    width: float = 0.0
    outline: bool = True


def poly(paint: Paint, *points: Point) -> Layer:
    """A filled polygon."""
    return Layer(points, paint)


def arc(
    x: float, y: float, rx: float, ry: float, start: float = 0.0, end: float = 360.0
) -> tuple[Point, ...]:
    """Points of an elliptic arc, clockwise from `start` to `end` degrees (0 is to the right)."""
    steps = max(8, int(abs(end - start) / 9))
    angles = [(start + (end - start) * n / steps) * pi / 180 for n in range(steps + 1)]
    return tuple((x + rx * cos(a), y + ry * sin(a)) for a in angles)


def oval(paint: Paint, x: float, y: float, rx: float, ry: float, outline: bool = True) -> Layer:
    """A filled ellipse around (x, y)."""
    return Layer(arc(x, y, rx, ry)[:-1], paint, outline=outline)


def box(paint: Paint, x0: float, y0: float, x1: float, y1: float, r: float = 0.1) -> Layer:
    """A filled rectangle with corners rounded by r."""
    corners = (
        (x1 - r, y1 - r, 0),
        (x0 + r, y1 - r, 90),
        (x0 + r, y0 + r, 180),
        (x1 - r, y0 + r, 270),
    )
    return Layer(tuple(p for x, y, a in corners for p in arc(x, y, r, r, a, a + 90)), paint)


def blob(paint: Paint, *points: Point) -> Layer:
    """A filled closed curve through the points (Catmull-Rom)."""
    n = len(points)
    smooth: list[Point] = []
    for i in range(n):
        a, b, c, d = (points[(i + j - 1) % n] for j in range(4))
        smooth += [_between(a, b, c, d, t / 6) for t in range(6)]
    return Layer(tuple(smooth), paint)


def line(paint: Paint, width: float, points: Sequence[Point]) -> Layer:
    """A broken line of the given thickness."""
    return Layer(tuple(points), paint, width)


def _between(a: Point, b: Point, c: Point, d: Point, t: float) -> Point:
    def one(p: float, q: float, r: float, s: float) -> float:
        slope, bend, twist = r - p, 2 * p - 5 * q + 4 * r - s, 3 * q - p - 3 * r + s
        return q + 0.5 * t * (slope + t * (bend + t * twist))

    return one(a[0], b[0], c[0], d[0]), one(a[1], b[1], c[1], d[1])
