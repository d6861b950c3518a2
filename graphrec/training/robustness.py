"""A trained run on spoiled features: what was learnt stays, what it is fed does not."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import torch

from graphrec.data.dataset import Dataset
from graphrec.data.splits import TRAIN
from graphrec.data.train_view import features_read
from graphrec.evaluation.cold_start import ColdEvaluation, evaluate_cold
from graphrec.evaluation.evaluate import Evaluation, evaluate
from graphrec.evaluation.held_out import held_out_valid
from graphrec.models.base import Recommender
from graphrec.training.config import Experiment
from graphrec.training.folder import RunFolder
from graphrec.training.train import best_model, held_out_of, ranker_of, warm_part
from modalities import FeatureStore
from modalities._base.errors import InputError, UnknownNameError
from modalities._base.files import read_manifest, write_json
from modalities._base.progress import track
from modalities.corruptions import SPOILING, spoiling
from modalities.transforms import Table, Transform, make_transform

FORMAT = "graphrec.robustness"
VERSION = 1
FILE = "robustness.json"
LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Level:
    """What a run measures at one level.

    Args:
        level: share of rows (`missing`, `shuffled`), or scale of the noise.
        metrics: means over the draws, by name.
        deviation: standard deviation over the draws; None with one.
    """

    level: float
    metrics: dict[str, float]
    deviation: dict[str, float] | None = None


@dataclass(frozen=True)
class Curve:
    """Metrics of a run over levels of one kind of damage.

    Args:
        kind: `missing`, `noise` or `shuffled`.
        split: that was measured.
        modalities: stored features that were spoiled.
        seeds: draws per level.
        levels: ascending, 0 first: the features as they are.
        unchanged: no level changed a single score, so the curve says nothing.
    """

    kind: str
    split: str
    modalities: tuple[str, ...]
    seeds: int
    levels: tuple[Level, ...]
    unchanged: bool = False

    def frame(self, metrics: Sequence[str] | None = None) -> pl.DataFrame:
        """Columns level, metric, value, deviation and change (relative to level 0).

        Args:
            metrics: names; default: all.

        Raises:
            UnknownNameError: a metric that was not measured.

        Example:
            >>> levels = (Level(0.0, {"recall@20": 0.5}), Level(1.0, {"recall@20": 0.25}))
            >>> Curve("missing", "valid", ("text",), 1, levels).frame()["change"].to_list()
            [0.0, -0.5]
        """
        base = self.levels[0].metrics
        for name in metrics or ():
            if name not in base:
                raise UnknownNameError("metric", name, base)
        rows = [
            {
                "level": one.level,
                "metric": name,
                "value": one.metrics[name],
                "deviation": one.deviation and one.deviation[name],
                "change": one.metrics[name] / base[name] - 1 if base[name] else None,
            }
            for one in self.levels
            for name in metrics or base
        ]
        numbers = dict.fromkeys(("level", "value", "deviation", "change"), pl.Float64)
        return pl.DataFrame(rows, schema_overrides=numbers)


def measure_robustness(
    folder: RunFolder,
    dataset: Dataset,
    experiment: Experiment,
    kind: str,
    levels: Iterable[float] = LEVELS,
    *,
    modalities: Sequence[str] | None = None,
    split: str = "valid",
    seeds: int = 3,
    progress: bool = False,
) -> Curve:
    """Measure a run's best epoch on features that are spoiled more and more.

    The stored features are spoiled, then transformed as the run learnt to, and the model is built
    from them anew: its graphs of items, and all it reads from content. Everything training has
    learnt is loaded as it was, copies of features that it fine-tuned included. The curve is
    kept in `robustness.json` in the run folder, in place of one of the same kind, split and
    modalities; test is opened once, whatever the number of levels.

    Args:
        folder: of a finished run.
        dataset: that it was trained on.
        experiment: its configuration.
        kind: `missing`, a share of the rows is absent; `noise`, as many times the deviation of the
            features is added; or `shuffled`, a share of the rows change places.
        levels: shares in [0, 1], or scales of noise; 0 is always measured.
        modalities: stored features to spoil; default: all that the run uses. Several lose the
            rows of the same items.
        split: `valid` or `test`.
        seeds: draws per level, 0, 1, ...
        progress: show a bar.

    Raises:
        InputError: the model reads no features, or a level is impossible.
        UnknownNameError: an unknown kind, split, or a modality that the run does not use.
    """
    _check(kind, split, seeds)
    clean = folder.prepare(dataset, experiment)
    names = _chosen(clean, experiment, modalities)
    damages = [
        (level, make_transform(spoiling(kind, level, seed)))
        for level in sorted({float(level) for level in levels} - {0.0})
        for seed in range(seeds)
    ]
    model = _model_on_features(folder, clean, experiment)
    reason = f"robustness of the run: {kind} features"
    held_out = held_out_of(folder, clean, experiment, split, reason=reason)
    options = experiment.evaluation.options()
    warm, known = clean.warm, warm_part(clean, held_out)

    def measured(model: Recommender, fed: Dataset) -> Evaluation:
        result = evaluate(ranker_of(model), warm, known, options)
        cold = evaluate_cold(model, fed, held_out, options) or ColdEvaluation()
        return replace(result, metrics={**result.metrics, **cold.metrics})

    first = measured(model, clean)
    found, unchanged = {0.0: [first.metrics]}, bool(damages)
    for level, damage in track(damages, f"{kind} features", show=progress):
        spoiled = _spoiled(dataset, names, damage)
        fed = folder.prepare_spoiled(spoiled, experiment)
        result = measured(best_model(folder, fed, experiment), fed)
        unchanged = unchanged and _same(first, result)
        found.setdefault(level, []).append(result.metrics)
    made = tuple(_level(level, several) for level, several in found.items())
    curve = Curve(kind, split, names, seeds, made, unchanged)
    _record(folder, curve)
    return curve


def curves_of(folder: Path) -> list[Curve]:
    """The curves a run folder holds; none where none was measured.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return []
    try:
        return [
            Curve(
                **{
                    **one,
                    "modalities": tuple(one["modalities"]),
                    "levels": tuple(Level(**level) for level in one["levels"]),
                }
            )
            for one in read_manifest(path, FORMAT, VERSION)["curves"]
        ]
    except (KeyError, TypeError) as error:
        raise InputError(f"'{path}' is damaged ({error}); remove it and measure again") from None


def _check(kind: str, split: str, seeds: int) -> None:
    for what, name, valid in (("kind", kind, [*SPOILING]), ("split", split, ["test", "valid"])):
        if name not in valid:
            raise UnknownNameError(what, name, valid)
    if seeds < 1:
        raise InputError(f"seeds must be at least 1, got {seeds}")


def _model_on_features(folder: RunFolder, clean: Dataset, experiment: Experiment) -> Recommender:
    """The run's best epoch on the features as they are, if its model looks at them at all."""
    fresh = replace(clean, path=None)  # a graph read from a cache would not betray what it read
    model = best_model(folder, fresh, experiment)
    evaluate_cold(model, fresh, held_out_valid(fresh))  # cold items are placed by features
    if not features_read(fresh.train):
        raise InputError(
            f"model '{experiment.model.name}' reads no features, so spoiling them changes nothing"
        )
    return model


def _chosen(
    clean: Dataset, experiment: Experiment, modalities: Sequence[str] | None
) -> tuple[str, ...]:
    """The stored features to spoil: those named, or all that the run's are made of."""
    sections = experiment.features.modalities
    parts = [
        part
        for name in clean.features
        for part in (sections[name].concat if name in sections else None) or [name]
    ]
    used = tuple(dict.fromkeys(parts))
    for name in modalities or ():
        if name not in used:
            raise UnknownNameError("modality of the run", name, used)
    return tuple(dict.fromkeys(modalities)) if modalities else used


def _spoiled(dataset: Dataset, names: Sequence[str], damage: Transform) -> Dataset:
    """The dataset with stored features spoiled, and no folder to keep graphs in."""
    warm = np.zeros(dataset.n_items, bool)
    warm[dataset.interactions.items[dataset.split.labels == TRAIN]] = True
    features = dict(dataset.features)
    for name in names:
        store = features[name]
        table = Table(store.values().astype("float32"), store.present)
        made = damage.apply(damage.fit(table.values[warm & store.present]), table)
        features[name] = FeatureStore.from_arrays(
            made.values,
            store.item_ids,
            present=made.present,
            spec=store.spec,
            modality=store.modality,
        )
    return replace(dataset, features=features, path=None)


def _same(first: Evaluation, other: Evaluation) -> bool:
    pairs = [(first.topk.items, other.topk.items), (first.topk.scores, other.topk.scores)]
    return first.metrics == other.metrics and all(torch.equal(a, b) for a, b in pairs)


def _level(level: float, several: Sequence[Mapping[str, float]]) -> Level:
    columns = {name: [metrics[name] for metrics in several] for name in several[0]}
    means = {name: statistics.fmean(values) for name, values in columns.items()}
    if len(several) == 1:
        return Level(level, means)
    return Level(level, means, {name: statistics.stdev(v) for name, v in columns.items()})


def _record(folder: RunFolder, curve: Curve) -> None:
    def key(one: Curve) -> tuple[str, str, tuple[str, ...]]:
        return one.kind, one.split, tuple(sorted(one.modalities))

    others = [one for one in curves_of(folder.path) if key(one) != key(curve)]
    curves = [asdict(one) for one in (*others, curve)]
    write_json(folder.path / FILE, {"format": FORMAT, "version": VERSION, "curves": curves})
