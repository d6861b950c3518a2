"""Metrics over the levels of an axis: of models trained at each, or trained once and spoiled."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graphrec.experiments.compare import Comparison, Variant
from graphrec.experiments.plan import SHORT
from graphrec.experiments.report.charts import Bands
from graphrec.serving.run import Run
from graphrec.training.robustness import Curve, curves_of
from modalities.corruptions import SPOILING

NAMES = {
    "missing": "share of items without features",
    "noise": "noise (1: as much as signal)",
    "shuffled": "share of items with others' features",
    "flipped": "share of training interactions replaced",
}
"""What the levels of an axis are, where its name does not say."""
Axes = Mapping[str, Mapping[str, float | str]]


@dataclass(frozen=True)
class Panel:
    """Lines over levels, a chart for each metric.

    Args:
        title: what was done.
        x_name: what the levels are.
        lines: points (level, value) by metric, then label.
        bands: (level, low, high) by metric, then label.
        notes: what a reader has to know.
        damage: the levels are of damage to the data, and not of an option.
    """

    title: str
    x_name: str
    lines: dict[str, dict[str, list[tuple[float, float]]]]
    bands: dict[str, Bands] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    damage: bool = True


def trained_panels(
    study: Mapping[str, Any] | None, runs: Sequence[Run], comparisons: Sequence[Comparison]
) -> list[Panel]:
    """A panel for each axis of a study whose values are numbers.

    Args:
        study: what `study.json` holds.
        runs: of the study.
        comparisons: of these runs, one for each split.
    """
    axes: Axes = {run["folder"]: run.get("axes", {}) for run in study["runs"]} if study else {}
    configs = {run.path.name: run.config for run in runs}
    names = dict.fromkeys(axis for places in axes.values() for axis in places)
    panels = [
        _trained_panel(axis, axes, configs, comparisons)
        for axis in names
        if all(isinstance(p[axis], (int, float)) for p in axes.values() if axis in p)
    ]
    return [panel for panel in panels if panel is not None]


def spoiled_panels(
    runs: Iterable[Run], labels: Mapping[str, str], metrics: Sequence[str]
) -> list[Panel]:
    """A panel for each kind of damage that finished runs were measured under.

    Args:
        runs: the runs.
        labels: of their variants, by folder.
        metrics: to show.
    """
    found: dict[tuple[str, str, tuple[str, ...]], dict[str, list[Curve]]] = {}
    for run in runs:
        for curve in curves_of(run.path):
            kind = (curve.kind, curve.split, tuple(sorted(curve.modalities)))
            found.setdefault(kind, {}).setdefault(labels[str(run.path)], []).append(curve)
    return [_spoiled_panel(*kind, curves, metrics) for kind, curves in found.items()]


def _trained_panel(
    axis: str,
    axes: Axes,
    configs: Mapping[str, Mapping[str, Any]],
    comparisons: Sequence[Comparison],
) -> Panel | None:
    scores: dict[str, dict[float, list[Variant]]] = {}
    for comparison in comparisons:
        for variant in comparison.variants:
            folder = Path(variant.runs[0]).name
            place = _place(axis, axes.get(folder, {}), configs[folder])
            if place is not None:
                scores.setdefault(place[0], {}).setdefault(place[1], []).append(variant)
    if max((len(levels) for levels in scores.values()), default=0) < 2:
        return None
    splits = len(comparisons)
    metrics = comparisons[0].metrics
    lines: dict[str, dict[str, list[tuple[float, float]]]] = {m: {} for m in metrics}
    bands: dict[str, Bands] = {m: {} for m in metrics}
    for label, levels in scores.items():
        for metric in metrics:
            of = [(x, [one.scores[metric] for one in levels[x]]) for x in sorted(levels)]
            lines[metric][label] = [(x, statistics.fmean(s.mean for s in them)) for x, them in of]
            bands[metric][label] = [
                (x, *them[0].interval)
                if splits == 1
                else (x, min(s.mean for s in them), max(s.mean for s in them))
                for x, them in of
            ]
    note = (
        "Bands are 95 % intervals over users and, where there are several, seeds."
        if splits == 1
        else f"Means over {splits} splits; bands reach from the lowest to the highest of them."
    )
    title = f"Trained at each level: {axis}"
    return Panel(title, NAMES.get(axis, axis), lines, bands, (note,), axis in NAMES)


def _place(
    axis: str, places: Mapping[str, float | str], config: Mapping[str, Any]
) -> tuple[str, float] | None:
    """The line and the level of a variant, or None where another axis was varied instead."""
    level: Any = places.get(axis)
    if level is None and places:
        return None
    if level is None:
        level = 0.0 if axis in SPOILING else _option(config, SHORT.get(axis, axis))
    if isinstance(level, bool) or not isinstance(level, (int, float)):
        return None
    rest = [
        value if isinstance(value, str) else f"{name}={value:g}"
        for name, value in places.items()
        if name != axis
    ]
    return ", ".join(rest) or str(config["model"]["name"]), float(level)


def _option(config: Mapping[str, Any], option: str) -> Any:
    value: Any = config
    for step in option.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def _spoiled_panel(
    kind: str,
    split: str,
    modalities: Sequence[str],
    curves: Mapping[str, Sequence[Curve]],
    metrics: Sequence[str],
) -> Panel:
    lines: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for metric in metrics:
        for label, several in curves.items():
            values: dict[float, list[float]] = {}
            for level in (level for curve in several for level in curve.levels):
                if metric in level.metrics and not several[0].unchanged:
                    values.setdefault(level.level, []).append(level.metrics[metric])
            points = [(x, statistics.fmean(values[x])) for x in sorted(values)]
            lines.setdefault(metric, {})[label] = points
    still = [label for label, several in curves.items() if several[0].unchanged]
    notes = [f"Measured on {split}; means over seeds and draws."]
    if still:
        notes.append(f"No level changed a single score, so no line is shown: {', '.join(still)}.")
    title = f"Trained once, then spoiled: {kind} ({', '.join(modalities)})"
    return Panel(title, NAMES[kind], lines, {}, tuple(notes))
