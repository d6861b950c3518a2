"""Runs side by side: seeds averaged, users paired, differences with intervals and tests."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from graphrec.evaluation.beyond import OF_ALL_LISTS, base_name, direction
from graphrec.evaluation.cold_start import is_cold
from graphrec.evaluation.significance import Difference, Test, difference, holm, mean_interval
from graphrec.evaluation.test_split import openings_of
from graphrec.serving.run import Run
from modalities._base.errors import InputError, UnknownNameError
from modalities._base.identity import digest

Values = NDArray[np.float64]
METRICS = ("recall@20", "ndcg@20")

_NOT_A_CHOICE = ("data.path", "training.seed", "training.device", "training.max_minutes")


@dataclass(frozen=True)
class Score:
    """A metric of one variant.

    Args:
        mean: over users and seeds.
        low, high: its 95 % interval over users and, where there are several, seeds; None for a
            metric of all lists together.
        deviation: of the seeds' means; None with one seed.
    """

    mean: float
    low: float | None
    high: float | None
    deviation: float | None

    @property
    def interval(self) -> tuple[float, float]:
        """Its ends; the mean itself where there is no interval."""
        low, high = self.low, self.high
        return (self.mean if low is None else low, self.mean if high is None else high)


@dataclass(frozen=True)
class Variant:
    """Runs that differ by nothing but their seed.

    Args:
        label: the model, and the options that tell it from others of that model.
        seeds: of its runs.
        runs: their folders.
        scores: by metric.
        gains: over the base, by metric; empty for the base itself.
        p: of the gains, corrected over the whole table.
        openings: how often the test split was opened in each of the runs.
    """

    label: str
    seeds: tuple[int, ...]
    runs: tuple[str, ...]
    scores: dict[str, Score]
    gains: dict[str, Difference] = field(default_factory=dict)
    p: dict[str, float] = field(default_factory=dict)
    openings: tuple[int, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """Variants measured on the same users, the best first.

    Args:
        dataset: its name.
        data_id, split_id: what all of them used.
        split: `valid` or `test`.
        metrics: in order.
        base: label of the variant that gains are measured against.
        test: the paired test.
        variants: the best by the first metric first.
        notes: what a reader has to know.
    """

    dataset: str
    data_id: str
    split_id: str
    split: str
    metrics: tuple[str, ...]
    base: str
    test: Test
    variants: tuple[Variant, ...]
    notes: tuple[str, ...]

    def best(self, metric: str) -> str | None:
        """Label of the best variant by a metric; None where no direction of it is better."""
        sign = direction(metric)
        if sign == 0:
            return None
        return max(self.variants, key=lambda variant: sign * variant.scores[metric].mean).label


def compare_runs(
    runs: Sequence[Run | Path | str],
    *,
    metrics: Sequence[str] = METRICS,
    split: Literal["valid", "test"] = "test",
    base: str | None = None,
    labels: Mapping[str, str] | None = None,
    test: Test = "t",
    anyway: bool = False,
) -> list[Comparison]:
    """Compare runs by the metrics they have recorded; nothing is measured again.

    Runs that differ by their seed only are one variant. Users are paired within a split; p-values
    are corrected by Holm's method over all gains of a table.

    Args:
        runs: folders.
        metrics: recorded ones, such as `recall@20`. Those of all lists together (coverage, gini)
            are shown without intervals and gains, since they have no values of users to pair.
        split: `valid` or `test`.
        base: label of a variant, or the folder of one of its runs; default: the first run's.
        labels: names for runs, by folder; default: the model and what differs.
        test: see `graphrec.evaluation.significance.paired_p`.
        anyway: make a table for each kind instead of refusing runs of other data, splits or
            evaluation options.

    Returns:
        One comparison; with `anyway`, one for each kind of data, split and evaluation.

    Raises:
        InputError: runs that cannot be compared, a metric or split that a run has not recorded.
    """
    opened = [run if isinstance(run, Run) else Run(run) for run in runs]
    if not opened:
        raise InputError("name at least one run to compare")
    groups = _alike(opened)
    if len(groups) > 1 and not anyway:
        raise InputError(_why_not(groups))
    named = {str(Path(key)): value for key, value in (labels or {}).items()}
    wanted = tuple(dict.fromkeys(metrics))
    return [
        _compared(group, wanted, split, base, named, test, single=len(groups) == 1)
        for group in groups
    ]


def _compared(
    runs: list[Run],
    metrics: tuple[str, ...],
    split: str,
    base: str | None,
    labels: Mapping[str, str],
    test: Test,
    *,
    single: bool,
) -> Comparison:
    named = _variants(runs, labels)
    variants, refused = _applicable(named, metrics)
    base_label = _base(named, base, single=single)
    if base_label not in variants:
        refused.append(f"Gains are not over {base_label}, to which the metrics do not apply.")
        base_label = next(iter(variants))
    paired = [metric for metric in metrics if base_name(metric) not in OF_ALL_LISTS]
    tables = {label: [_users(run, split, paired) for run in of] for label, of in variants.items()}
    users = _common_users(tables)
    values = {
        label: {m: np.stack([t[m].to_numpy() for t in ts]) for m in paired}
        for label, ts in tables.items()
    }
    gains: dict[str, dict[str, Difference]] = {label: {} for label in variants}
    for label in variants:
        if label != base_label:
            for metric in paired:
                pair = _defined(values[label][metric], values[base_label][metric])
                gains[label][metric] = difference(*pair, test=test)
    places = [(label, metric) for label in variants for metric in gains[label]]
    corrected = dict(zip(places, holm([gains[label][metric].p for label, metric in places])))
    made = [
        Variant(
            label=label,
            seeds=tuple(_seed(run) for run in of),
            runs=tuple(str(run.path) for run in of),
            scores={
                metric: _score(values[label][metric])
                if metric in paired
                else _score_of_all(of, split, metric)
                for metric in metrics
            },
            gains=gains[label],
            p={metric: corrected[label, metric] for metric in gains[label]},
            openings=tuple(len(openings_of(run.path / "test_access.json")) for run in of),
        )
        for label, of in variants.items()
    ]
    sign = direction(metrics[0]) or 1
    made.sort(key=lambda variant: -sign * variant.scores[metrics[0]].mean)
    manifest = runs[0].folder.manifest()
    return Comparison(
        dataset=manifest["dataset"],
        data_id=manifest["ids"]["data_id"],
        split_id=manifest["ids"]["split_id"],
        split=split,
        metrics=metrics,
        base=base_label,
        test=test,
        variants=tuple(made),
        notes=(
            *_notes(made, base_label, test, len(places), len(users), split),
            *_whole_notes(metrics),
            *_cold_notes(runs[0], metrics),
            *refused,
        ),
    )


def _alike(runs: Iterable[Run]) -> list[list[Run]]:
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(digest(list(_kind(run).values())), []).append(run)
    return list(groups.values())


def _kind(run: Run) -> dict[str, Any]:
    ids = run.folder.manifest()["ids"]
    evaluation = run.config["evaluation"]
    how = {key: value for key, value in evaluation.items() if key not in ("metrics", "ks")}
    return {"data_id": ids["data_id"], "split_id": ids["split_id"], "evaluation": how}


def _why_not(groups: list[list[Run]]) -> str:
    first, other = groups[0][0], groups[1][0]
    kinds = _kind(first), _kind(other)
    what = next(key for key in kinds[0] if kinds[0][key] != kinds[1][key])
    return (
        f"'{first.path}' and '{other.path}' differ in {what} ({kinds[0][what]} and "
        f"{kinds[1][what]}), so their users' values cannot be paired; compare runs of the same "
        "data, split and evaluation, or ask for a table of each kind (--anyway)"
    )


def _variants(runs: Sequence[Run], labels: Mapping[str, str]) -> dict[str, list[Run]]:
    """Runs by label; those of equal configuration but for the seed under one."""
    kinds: dict[str, list[Run]] = {}
    for run in runs:
        flat = _flat(run.config)
        choices = {key: flat[key] for key in flat if key not in _NOT_A_CHOICE}
        key = digest(choices, run.folder.manifest()["ids"]["features"])
        kinds.setdefault(labels.get(str(run.path), key), []).append(run)
    models: dict[str, list[str]] = {}
    for key, of in kinds.items():
        models.setdefault(of[0].config["model"]["name"], []).append(key)
    made: dict[str, list[Run]] = {}
    for key, of in kinds.items():
        _refuse_repeats(of)
        rivals = [kinds[other][0] for other in models[of[0].config["model"]["name"]]]
        label = key if key in labels.values() else _label(of[0], rivals)
        if label in made:
            raise InputError(f"two variants are named '{label}'; give them labels of their own")
        made[label] = sorted(of, key=_seed)
    return made


def _applicable(
    variants: dict[str, list[Run]], metrics: Sequence[str]
) -> tuple[dict[str, list[Run]], list[str]]:
    """Variants that the metrics apply to, and a note on each of the others."""
    if not any(is_cold(metric) for metric in metrics):
        return variants, []
    reasons = {
        label: of[0].metrics.get("not_applicable", {}).get("cold", "")
        for label, of in variants.items()
    }
    kept = {label: of for label, of in variants.items() if not reasons[label]}
    if not kept:
        raise InputError(
            f"{metrics[0]} applies to none of the runs: " + next(iter(reasons.values()))
        )
    return kept, [f"{label}: not applicable, {why}" for label, why in reasons.items() if why]


def _whole_notes(metrics: Sequence[str]) -> list[str]:
    whole = [metric for metric in metrics if base_name(metric) in OF_ALL_LISTS]
    text = "of all lists together, which leaves no users to pair: no intervals and no tests."
    return [f"{', '.join(whole)}: {text}"] if whole else []


def _cold_notes(run: Run, metrics: Sequence[str]) -> list[str]:
    cold = [metric for metric in metrics if is_cold(metric)]
    if not cold:
        return []
    notes = [f"{', '.join(cold)}: over the users who have such items held out."]
    if run.config["evaluation"]["transductive"]:
        notes.append("Transductive: cold items were neighbours of one another.")
    return notes


def _label(run: Run, rivals: Sequence[Run]) -> str:
    """The model and the options in which it differs from others of that model."""
    name = str(run.config["model"]["name"])
    mine, others = _described(run), [_described(rival) for rival in rivals]
    differing = [key for key in mine if any(other.get(key) != mine[key] for other in others)]
    shown = {key: "null" if mine[key] is None else mine[key] for key in differing}
    said = [f"{key}={value}" for key, value in shown.items() if key not in _NOT_A_CHOICE]
    return f"{name} ({', '.join(said)})" if said else name


def _described(run: Run) -> dict[str, Any]:
    """Options, flat; features by the names of those that were used."""
    flat = _flat(run.config)
    used = list(run.folder.manifest()["ids"]["features"])
    return {**flat, "features.use": f"[{', '.join(used)}]"}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _refuse_repeats(runs: Sequence[Run]) -> None:
    seen: dict[int, Run] = {}
    for run in runs:
        seed = _seed(run)
        if seed in seen:
            raise InputError(
                f"'{seen[seed].path}' and '{run.path}' are the same configuration with the same "
                f"seed {seed}; name one of them"
            )
        seen[seed] = run


def _base(variants: Mapping[str, Sequence[Run]], base: str | None, *, single: bool) -> str:
    if base is None:
        return next(iter(variants))
    folders = {str(run.path): label for label, of in variants.items() for run in of}
    found = base if base in variants else folders.get(str(Path(base)))
    if found is None and single:
        raise UnknownNameError("base", base, variants)
    return found or next(iter(variants))


def _users(run: Run, split: str, metrics: Sequence[str]) -> pl.DataFrame:
    path = run.path / "per_user.parquet"
    if not path.is_file():
        run.folder.require_finished()
    table = pl.read_parquet(path).filter(pl.col("split") == split)
    if not len(table):
        raise InputError(
            f"the run in '{run.path}' has not been measured on {split}; do so with "
            f"'graphrec evaluate {run.path} --split {split}'"
        )
    for metric in metrics:
        if metric not in table.columns:
            known = [*run.metrics[split], *set(table.columns) - {"split", "user"}]
            raise UnknownNameError(f"metric of '{run.path}'", metric, known)
    if metrics:
        table = table.filter(pl.any_horizontal(pl.col(metrics).is_not_null()))
    return table.select("user", *metrics).sort("user")


def _common_users(tables: Mapping[str, Sequence[pl.DataFrame]]) -> list[str]:
    every = [table["user"].to_list() for of in tables.values() for table in of]
    if any(users != every[0] for users in every):
        raise InputError("the runs were measured on different users; evaluate them again")
    return list(every[0])


def _defined(a: Values, b: Values) -> tuple[Values, Values]:
    """Users for whom the metric is defined on both sides."""
    kept = np.isfinite(a).all(0) & np.isfinite(b).all(0)
    return a[:, kept], b[:, kept]


def _score(values: Values) -> Score:
    kept = values[:, np.isfinite(values).all(0)]
    mean, low, high = mean_interval(kept)
    means = kept.mean(1).tolist()
    return Score(mean, low, high, statistics.stdev(means) if len(means) > 1 else None)


def _score_of_all(runs: Sequence[Run], split: str, metric: str) -> Score:
    """A metric of all lists together, as the runs recorded it."""
    recorded = [run.metrics.get(split, {}) for run in runs]
    for run, found in zip(runs, recorded):
        if metric not in found:
            raise UnknownNameError(f"metric of '{run.path}'", metric, found)
    values = [float(found[metric]) for found in recorded]
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Score(statistics.fmean(values), None, None, deviation)


def _seed(run: Run) -> int:
    return int(run.folder.manifest()["seed"])


def _notes(
    variants: Sequence[Variant], base: str, test: Test, tests: int, users: int, split: str
) -> list[str]:
    notes = [
        f"Means over {users:,} users and over seeds, \u00b1 standard deviation of the seeds' means."
    ]
    if tests:
        notes.append(
            f"Gains over {base}: users paired, seeds averaged first, 95 % bootstrap intervals; "
            f"{_TEST_NAMES[test]}, Holm's correction over {tests} tests: "
            "* p < 0.05, ** p < 0.01, *** p < 0.001."
        )
    if tests and any(len(variant.seeds) > 1 for variant in variants):
        notes.append(
            "Intervals are over users and seeds; p-values are over users, for the seeds that were "
            "drawn, and are marked only where the interval leaves out 0."
        )
    single = [variant.label for variant in variants if len(variant.seeds) == 1]
    intervals = [score.low for variant in variants for score in variant.scores.values()]
    if single and any(low is not None for low in intervals):
        notes.append(
            f"One seed only ({', '.join(single)}): intervals are over users, and nothing is "
            "claimed about other seeds."
        )
    again = [
        f"{run} ({count} times)"
        for variant in variants
        for run, count in zip(variant.runs, variant.openings)
        if split == "test" and count > 1
    ]
    if again:
        notes.append(f"The test split was opened more than once in: {', '.join(again)}.")
    return notes


_TEST_NAMES = {
    "t": "paired t-test",
    "wilcoxon": "Wilcoxon signed-rank test",
    "randomisation": "paired randomisation test",
}
