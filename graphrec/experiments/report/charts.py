"""Charts as SVG: colours come from the page, so that they fit light, dark and print."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 640, 260
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 10, 34
COLOURS = 8

Points = Sequence[tuple[float, float]]
Bands = dict[str, list[tuple[float, float, float]]]
"""Points (x, low, high) by label."""


def line_chart(
    series: Mapping[str, Points],
    x_name: str,
    y_name: str,
    *,
    bands: Mapping[str, Sequence[tuple[float, float, float]]] | None = None,
    width: float = WIDTH,
    zero: bool = False,
) -> str:
    """Lines over a common x; each point has a tooltip.

    Args:
        series: points (x, y) by label.
        x_name: of the horizontal axis.
        y_name: of the vertical axis.
        bands: (x, low, high) by label, shaded behind the line of that label.
        width: of the drawing; a narrower one has larger letters in the same place.
        zero: let y begin at 0, so that heights compare.

    Example:
        >>> "polyline" in line_chart({"a": [(0, 1.0), (1, 2.0)]}, "epoch", "loss")
        True
    """
    drawn = {label: points for label, points in series.items() if points}
    if not drawn:
        return ""
    xs = [x for points in drawn.values() for x, _ in points]
    shaded = {label: (bands or {}).get(label, ()) for label in drawn}
    ys = [y for points in drawn.values() for _, y in points]
    ys += [y for band in shaded.values() for _, *ends in band for y in ends]
    ys += [0.0] if zero else []
    across, up = _Scale(xs, LEFT, width - RIGHT), _Scale(ys, HEIGHT - BOTTOM, TOP)
    parts = [_axes(across, up, x_name, y_name, width)]
    for number, band in enumerate(shaded.values()):
        edge = [(x, low) for x, low, _ in band] + [(x, high) for x, _, high in reversed(band)]
        area = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in edge)
        parts += [f'<polygon class="band c{number % COLOURS}" points="{area}"/>'] if band else []
    for number, (label, points) in enumerate(drawn.items()):
        path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in points)
        colour = f"c{number % COLOURS}"
        parts.append(f'<polyline class="line {colour}" points="{path}"/>')
        parts += [
            f'<circle class="dot {colour}" cx="{across(x):.1f}" cy="{up(y):.1f}" r="2.5">'
            f"<title>{escape(label)}: {_number(y)} at {_number(x)}</title></circle>"
            for x, y in points
        ]
    return _svg("".join(parts), HEIGHT, f"{y_name} over {x_name}", width) + legend(list(drawn))


def interval_chart(rows: Sequence[tuple[str, float, float, float]], name: str) -> str:
    """Means with intervals, one row each, around 0.

    Args:
        rows: label, mean, low, high.
        name: of what is measured.

    Example:
        >>> "a: +0.1000 [+0.0500, +0.1500]" in interval_chart([("a", 0.1, 0.05, 0.15)], "gain")
        True
    """
    if not rows:
        return ""
    step, left = 26, 250
    height = step * len(rows) + BOTTOM
    ends = [0.0, *(value for _, mean, low, high in rows for value in (mean, low, high))]
    across = _Scale(ends, left, WIDTH - RIGHT)
    zero = across(0.0)
    parts = [f'<line class="zero" x1="{zero:.1f}" x2="{zero:.1f}" y1="0" y2="{height - BOTTOM}"/>']
    for place, (label, mean, low, high) in enumerate(rows):
        y = step * place + step / 2
        kind = "up" if low > 0 else "down" if high < 0 else "even"
        said = f"{label}: {mean:+.4f} [{low:+.4f}, {high:+.4f}]"
        name_at = f'x="{left - 12}" y="{y + 4:.1f}" text-anchor="end"'
        parts.append(
            f'<g class="{kind}"><title>{escape(said)}</title>'
            f"<text {name_at}>{escape(_short(label))}</text>"
            f'<line class="bar" x1="{across(low):.1f}" x2="{across(high):.1f}" '
            f'y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<circle cx="{across(mean):.1f}" cy="{y:.1f}" r="4.5"/></g>'
        )
    for tick in across.ticks():
        x = across(tick)
        parts.append(
            f'<text x="{x:.1f}" y="{height - 14}" text-anchor="middle">{_number(tick)}</text>'
        )
    return _svg("".join(parts), height, name)


def bar_chart(
    groups: Sequence[str], series: Mapping[str, Sequence[float | None]], name: str
) -> str:
    """Bars side by side for each group; None leaves a gap.

    Example:
        >>> bar_chart(["head"], {"a": [0.5], "b": [None]}, "recall").count("<rect")
        1
    """
    known = [value for values in series.values() for value in values if value is not None]
    if not known:
        return ""
    up = _Scale([0.0, *known], HEIGHT - BOTTOM, TOP)
    wide = (WIDTH - LEFT - RIGHT) / len(groups)
    bar = min(34.0, 0.8 * wide / len(series))
    parts = [_vertical_axis(up, name)]
    for place, group in enumerate(groups):
        middle = LEFT + wide * (place + 0.5)
        parts.append(
            f'<text x="{middle:.1f}" y="{HEIGHT - 14}" text-anchor="middle">{escape(group)}</text>'
        )
        for number, (label, values) in enumerate(series.items()):
            value = values[place]
            if value is None:
                continue
            x = middle + bar * (number - len(series) / 2)
            parts.append(
                f'<rect class="fill c{number % COLOURS}" x="{x:.1f}" y="{up(value):.1f}" '
                f'width="{bar * 0.9:.1f}" height="{max(up(0.0) - up(value), 0):.1f}">'
                f"<title>{escape(label)}, {escape(group)}: {_number(value)}</title></rect>"
            )
    return _svg("".join(parts), HEIGHT, name) + legend(list(series))


def legend(labels: Sequence[str]) -> str:
    """Which colour is whose."""
    items = "".join(
        f'<li><span class="key c{number % COLOURS}"></span>{escape(label)}</li>'
        for number, label in enumerate(labels)
    )
    return f'<ul class="legend">{items}</ul>'


class _Scale:
    """Values to places, with round ticks."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        low, high = min(values), max(values)
        if low == high:
            low, high = low - 0.5 * abs(low or 1), high + 0.5 * abs(high or 1)
        self.low, self.high, self.start, self.end = low, high, start, end

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, about: int = 5) -> list[float]:
        step = 10 ** math.floor(math.log10((self.high - self.low) / about))
        wanted = (self.high - self.low) / about
        step *= next(factor for factor in (1, 2, 5, 10) if step * factor >= wanted)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(n * step, 12) for n in range(first, last + 1)]


def _axes(across: _Scale, up: _Scale, x_name: str, y_name: str, width: float) -> str:
    parts = [_vertical_axis(up, y_name, width)]
    for tick in across.ticks():
        x = across(tick)
        parts.append(
            f'<text x="{x:.1f}" y="{HEIGHT - 18}" text-anchor="middle">{_number(tick)}</text>'
        )
    middle = (LEFT + width - RIGHT) / 2
    parts.append(
        f'<text x="{middle}" y="{HEIGHT - 3}" text-anchor="middle">{escape(x_name)}</text>'
    )
    return "".join(parts)


def _vertical_axis(up: _Scale, name: str, width: float = WIDTH) -> str:
    parts = []
    for tick in up.ticks():
        y = up(tick)
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{width - RIGHT:g}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_number(tick)}</text>'
        )
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(
        f'<text transform="translate(12 {middle}) rotate(-90)" text-anchor="middle">'
        f"{escape(name)}</text>"
    )
    return "".join(parts)


def _svg(content: str, height: float, name: str, width: float = WIDTH) -> str:
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(name)}">'
        f"{content}</svg>"
    )


def _number(value: float) -> str:
    return f"{value:.4g}"


def _short(label: str, length: int = 34) -> str:
    return label if len(label) <= length else label[: length - 1] + "\u2026"
