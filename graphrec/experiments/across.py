"""Comparisons on several splits of the same data, put together split by split."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from graphrec.evaluation.beyond import direction
from graphrec.evaluation.significance import holm, mark, resampled_t
from graphrec.experiments.compare import Comparison
from graphrec.training.folder import RunFolder
from modalities._base.identity import digest


@dataclass(frozen=True)
class SplitGains:
    """A variant's metric on every split, and its gains over the base there.

    Args:
        scores: mean of the metric on each split.
        gains: over the base on each split; empty for the base.
        low, high: ends of the 95 % interval of the mean gain; None where it cannot be had.
        p: of the mean gain, corrected over the table; None likewise.
    """

    scores: tuple[float, ...]
    gains: tuple[float, ...] = ()
    low: float | None = None
    high: float | None = None
    p: float | None = None


@dataclass(frozen=True)
class AcrossSplits:
    """Variants that were measured on the same splits.

    Args:
        dataset: its name.
        split: `valid` or `test`.
        splits: identities of the splits, in order.
        metrics: in order.
        base: label of the variant that gains are measured against.
        variants: by label, then metric; the best by the first metric first.
        notes: what a reader has to know.
    """

    dataset: str
    split: str
    splits: tuple[str, ...]
    metrics: tuple[str, ...]
    base: str
    variants: dict[str, dict[str, SplitGains]]
    notes: tuple[str, ...]


def across_splits(comparisons: Sequence[Comparison]) -> list[AcrossSplits]:
    """Put comparisons together that differ by their split alone.

    Only variants measured on all of the splits take part. The interval and the p-value of the mean
    gain are those of the corrected resampled t-test over splits, whose training parts overlap;
    see `graphrec.evaluation.significance.resampled_t`.

    Args:
        comparisons: as `compare_runs` returned them.

    Returns:
        One for each kind of data and evaluation that has several splits.
    """
    groups: dict[str, list[Comparison]] = {}
    for one in comparisons:
        key = digest([one.data_id, one.split, one.base, list(one.metrics), _protocol(one)])
        groups.setdefault(key, []).append(one)
    several = [group for group in groups.values() if len(group) > 1]
    return [
        _together(group) for group in several if len({one.split_id for one in group}) == len(group)
    ]


def _protocol(one: Comparison) -> list[Any]:
    """How the split was made but for its draw, and how rankings are measured."""
    folder = RunFolder(Path(one.variants[0].runs[0]))
    spec = folder.manifest().get("split", {}).get("spec", {})
    options = {key: value for key, value in spec.get("options", {}).items() if key != "fold"}
    evaluation = folder.experiment().evaluation.model_dump(mode="json")
    return [spec.get("method"), options, evaluation]


def gain_rows(one: AcrossSplits, metric: str) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of a table: scores, gains on each split, their mean."""
    header = ["model", f"mean {metric}", *(f"gain on {name[:8]}" for name in one.splits)]
    rows = []
    for label, metrics in one.variants.items():
        found = metrics[metric]
        gains = [f"{gain:+.4f}" for gain in found.gains] or [""] * len(one.splits)
        mean = f"{statistics.fmean(found.gains):+.4f}" if found.gains else ""
        score = f"{statistics.fmean(found.scores):.4f}"
        rows.append([label, score, *gains, mean, _interval(found)])
    return [*header, "mean gain", "95 % interval"], rows


def _interval(found: SplitGains) -> str:
    if found.p is None or found.low is None or found.high is None:
        return ""
    return f"[{found.low:+.4f}, {found.high:+.4f}] {mark(found.p, found.low, found.high)}".rstrip()


def _together(group: Sequence[Comparison]) -> AcrossSplits:
    first = group[0]
    by_split = [{variant.label: variant for variant in one.variants} for one in group]
    shared = [label for label in by_split[0] if all(label in there for there in by_split)]
    ratio = _held_out_ratio(group)
    found: dict[tuple[str, str], SplitGains] = {}
    for label in shared:
        for metric in first.metrics:
            scores = tuple(there[label].scores[metric].mean for there in by_split)
            gains = tuple(
                there[label].gains[metric].mean
                for there in by_split
                if metric in there[label].gains
            )
            of_gain = resampled_t(gains, ratio) if gains and ratio is not None else ()
            found[label, metric] = SplitGains(scores, gains, *of_gain)
    tested = [place for place, one in found.items() if one.p is not None]
    corrected = holm([found[place].p or 0.0 for place in tested])
    found |= {place: replace(found[place], p=p) for place, p in zip(tested, corrected)}
    sign = direction(first.metrics[0]) or 1
    shared.sort(key=lambda label: -sign * sum(found[label, first.metrics[0]].scores))
    variants = {label: {m: found[label, m] for m in first.metrics} for label in shared}
    splits = tuple(one.split_id for one in group)
    notes = _notes(first.base, len(splits), ratio, len(tested))
    return AcrossSplits(
        first.dataset, first.split, splits, first.metrics, first.base, variants, notes
    )


def _held_out_ratio(group: Sequence[Comparison]) -> float | None:
    """Measured over training interactions, mean over the splits; None where a run does not say."""
    ratios = []
    for one in group:
        manifest = RunFolder(Path(one.variants[0].runs[0])).manifest()
        counts = manifest.get("split", {}).get("counts", {})
        if not (counts.get("train") and counts.get(one.split)):
            return None
        ratios.append(counts[one.split] / counts["train"])
    return statistics.fmean(ratios)


def _notes(base: str, splits: int, ratio: float | None, tests: int) -> tuple[str, ...]:
    means = f"Means over {splits} splits, each weighing the same; gains are over {base}."
    if ratio is None:
        return (means, "No interval: the runs do not say how many interactions were held out.")
    return (
        means,
        f"Intervals (95 %) and p-values of the corrected resampled t-test over the {splits} "
        f"splits (held out per training interaction: {ratio:.3f}), Holm's correction over "
        f"{tests} tests: * p < 0.05, ** p < 0.01, *** p < 0.001.",
    )
