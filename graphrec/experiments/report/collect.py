"""What a report tells, read from run folders and, where it is still there, their dataset."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import torch

from graphrec.data.dataset import Dataset
from graphrec.data.loading import load_dataset
from graphrec.experiments.across import AcrossSplits, across_splits
from graphrec.experiments.compare import Comparison, compare_runs
from graphrec.experiments.report.levels import Panel, spoiled_panels, trained_panels
from graphrec.graphs import knn_graph, neighbour_statistics
from graphrec.graphs.knn import cosine_neighbours
from graphrec.serving.run import Run
from modalities._base.errors import InputError
from modalities._base.files import read_json

SplitName = Literal["valid", "test"]
THUMBNAIL = 96
EXAMPLES = 6
SHOWN = 6


@dataclass(frozen=True)
class Item:
    """An item as the page shows it.

    Args:
        id: external id.
        title: or the id, where it has none.
        picture: data URI of a thumbnail, or empty.
        hit: it is one of the user's held-out items.
    """

    id: str
    title: str
    picture: str = ""
    hit: bool = False


@dataclass(frozen=True)
class Example:
    """A user: what it had, and what each variant recommends."""

    user: str
    had: list[Item]
    recommended: dict[str, list[Item]]


@dataclass(frozen=True)
class Neighbourhood:
    """An item and its nearest by each modality."""

    item: Item
    nearest: dict[str, list[Item]]


@dataclass(frozen=True)
class RunSummary:
    """One run: cost, best epoch, configuration and manifest."""

    label: str
    seed: int
    path: str
    best_epoch: int
    epochs: int
    seconds: float
    seconds_per_epoch: float
    memory_mib: int | None
    config: str
    manifest: dict[str, Any]


@dataclass(frozen=True)
class Report:
    """Everything on the page.

    Args:
        title: of the page.
        split: that was measured.
        comparisons: headline tables, one for each kind of data and split.
        curves: validation metric by epoch, per variant (its first seed).
        metric: of the curves.
        cohorts: metric by group, per cohort and variant.
        runs: in order.
        health: of the item graph, by modality.
        examples: users.
        neighbourhoods: items.
        failed: reasons by run.
        counts: of shared work.
        across: the comparisons put together, where they differ by their split alone.
        panels: metrics over the levels of numeric axes, and of damage after training.
    """

    title: str
    split: str
    comparisons: list[Comparison]
    curves: dict[str, list[tuple[float, float]]]
    metric: str
    cohorts: dict[str, dict[str, dict[str, float]]]
    runs: list[RunSummary]
    health: dict[str, dict[str, Any]] = field(default_factory=dict)
    examples: list[Example] = field(default_factory=list)
    neighbourhoods: list[Neighbourhood] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    across: list[AcrossSplits] = field(default_factory=list)
    panels: list[Panel] = field(default_factory=list)


def collect_report(folder: Path, *, data: Path | None = None) -> Report:
    """Read a study folder, a folder of runs, or a run.

    Args:
        folder: where.
        data: the dataset, where it has moved; pictures and graphs are left out without it.

    Raises:
        InputError: there is no finished run.
    """
    study = read_json(folder / "study.json") if (folder / "study.json").is_file() else None
    runs = _finished(folder)
    if not runs:
        raise InputError(f"there is no finished run in '{folder}'")
    split: SplitName = "test" if all("test" in run.metrics for run in runs) else "valid"
    named = _labels(runs, study)
    metrics = study["metrics"] if study else _shown_metrics(runs)
    base = study["base"] if study and study["base"] in named.values() else None
    comparisons = compare_runs(
        runs,
        metrics=metrics,
        split=split,
        labels=named,
        anyway=True,
        base=base,
    )
    labels = {str(run.path): run.config["model"]["name"] for run in runs} | named
    labels |= {
        run: variant.label
        for one in comparisons
        for variant in one.variants
        for run in variant.runs
    }
    first: dict[str, Run] = {}
    for run in runs:
        first.setdefault(labels[str(run.path)], run)
    dataset = _dataset(runs, data)
    pictures = _Pictures(dataset, runs[0])
    return Report(
        title=study["name"] if study else folder.resolve().name,
        split=split,
        comparisons=comparisons,
        curves={label: _curve(run) for label, run in first.items()},
        metric=runs[0].config["training"]["metric"],
        cohorts=_cohorts(first, split),
        runs=[_summary(run, labels[str(run.path)]) for run in runs],
        health={} if dataset is None else _health(dataset),
        examples=_examples(first, split, pictures),
        neighbourhoods=[] if dataset is None else _neighbourhoods(dataset, pictures),
        failed=read_json(folder / "failed.json") if (folder / "failed.json").is_file() else {},
        counts=_counts(folder),
        across=across_splits(comparisons),
        panels=[
            *trained_panels(study, runs, comparisons),
            *spoiled_panels(runs, labels, metrics),
        ],
    )


def _finished(folder: Path) -> list[Run]:
    if (folder / "config.yaml").is_file():
        return [Run(folder)]
    places = folder / "runs" if (folder / "runs").is_dir() else folder
    found = [
        Run(path.parent)
        for path in sorted(places.glob("*/manifest.json"))
        if (path.parent / "config.yaml").is_file()
    ]
    return [run for run in found if run.folder.manifest()["status"] == "finished"]


def _labels(runs: Sequence[Run], study: Mapping[str, Any] | None) -> dict[str, str]:
    if study is None:
        return {}
    declared = {planned["folder"]: planned["variant"] for planned in study["runs"]}
    return {str(run.path): declared[run.path.name] for run in runs if run.path.name in declared}


def _shown_metrics(runs: Sequence[Run]) -> list[str]:
    able = [run for run in runs if not run.metrics.get("not_applicable")] or runs
    measured = [run.metrics["valid"] for run in able]
    common = [name for name in measured[0] if all(name in metrics for metrics in measured)]
    shown = ("cold_recall@20", "all_recall@20", "recall@20", "ndcg@20")
    return [name for name in shown if name in common] or common[:2]


def _curve(run: Run) -> list[tuple[float, float]]:
    metric = run.config["training"]["metric"]
    history = run.history
    if metric not in history.columns:
        return []
    rows = history.select("epoch", metric).drop_nulls().rows()
    return [(float(epoch), float(value)) for epoch, value in rows]


def _cohorts(first: Mapping[str, Run], split: SplitName) -> dict[str, dict[str, dict[str, float]]]:
    found: dict[str, dict[str, dict[str, float]]] = {}
    for label, run in first.items():
        try:
            table = run.cohorts(split)
        except InputError:
            continue  # a run measured before cohorts were recorded
        metric = next(name for name in table.columns if name.startswith(("recall", "ndcg")))
        for cohort, group, value in table.select("cohort", "group", metric).rows():
            found.setdefault(cohort, {}).setdefault(group, {})[label] = value
    return found


def _summary(run: Run, label: str) -> RunSummary:
    manifest, history = run.folder.manifest(), run.history
    cost = manifest.get("cost", {})
    seconds = float(history["seconds"].sum())
    return RunSummary(
        label=label,
        seed=int(manifest["seed"]),
        path=str(run.path),
        best_epoch=int(run.metrics["best"]["epoch"]),
        epochs=len(history),
        seconds=seconds,
        seconds_per_epoch=seconds / max(len(history), 1),
        memory_mib=cost.get("peak_memory_mib"),
        config=(run.path / "config.yaml").read_text(encoding="utf-8"),
        manifest=manifest,
    )


def _dataset(runs: Sequence[Run], data: Path | None) -> Dataset | None:
    path = data or runs[0].config["data"]["path"]
    if path is None or not Path(path).is_dir():
        if data is not None:
            raise InputError(f"dataset folder '{data}' does not exist")
        return None
    return load_dataset(path).warm


def _health(dataset: Dataset, k: int = 10) -> dict[str, dict[str, Any]]:
    """Per modality: degrees, hubs, components, and how often neighbours are bought together."""
    k = max(1, min(k, dataset.n_items))
    found = {}
    for name in dataset.features:
        health = neighbour_statistics(dataset.train, name, k)
        graph = dataset.train.graph(knn_graph, name, k=k, include_self=False).to_scipy()
        rows = np.repeat(np.arange(graph.shape[0]), np.diff(graph.indptr))
        health["edges whose ends are co-bought"] = f"{_co_bought(dataset, rows, graph.indices):.1%}"
        found[name] = health
    return found


def _co_bought(dataset: Dataset, left: Any, right: Any) -> float:
    import scipy.sparse as sp

    users, items = (part.numpy() for part in dataset.train.edges)
    shape = (dataset.n_items, dataset.n_users)
    bought = sp.csr_array((np.ones(len(users)), (items, users)), shape=shape)
    if not len(left):
        return 0.0
    shared = 0
    for start in range(0, len(left), 4096):
        pairs = slice(start, start + 4096)
        both = bought[left[pairs]].multiply(bought[right[pairs]])
        shared += int((np.asarray(both.sum(axis=1)).ravel() > 0).sum())
    return shared / len(left)


def _examples(first: Mapping[str, Run], split: SplitName, pictures: _Pictures) -> list[Example]:
    """Users drawn at random, with seed 0."""
    lists = {label: _rankings(run, split) for label, run in first.items()}
    run = next(iter(first.values()))
    users = sorted(set(next(iter(lists.values()))["user"].unique().to_list()))
    if not users:
        return []
    chosen = np.random.default_rng(0).choice(users, min(EXAMPLES, len(users)), replace=False)
    seen = run.folder.table("interactions").filter(pl.col("label") == 0)
    examples = []
    for user in sorted(str(user) for user in chosen):
        index = run.user_ids.index(user)
        had = seen.filter(pl.col("user") == index)["item"].to_list()[-SHOWN:]
        examples.append(
            Example(
                user,
                [pictures.item(run.item_ids[item]) for item in had],
                {
                    label: [
                        pictures.item(item, hit=hit)
                        for item, hit in table.filter(pl.col("user") == user)
                        .sort("rank")
                        .select("item", "hit")
                        .rows()
                    ]
                    for label, table in lists.items()
                },
            )
        )
    return examples


def _rankings(run: Run, split: SplitName) -> pl.DataFrame:
    table = pl.read_parquet(run.path / "topk.parquet")
    if "hit" not in table.columns:  # a run measured before hits were recorded
        table = table.with_columns(pl.lit(False).alias("hit"))
    return table.filter((pl.col("split") == split) & (pl.col("rank") <= SHOWN))


def _neighbourhoods(dataset: Dataset, pictures: _Pictures, items: int = 4) -> list[Neighbourhood]:
    """The nearest of a few well-known items under each modality."""
    if not dataset.features:
        return []
    counts = dataset.train.item_counts
    known = torch.stack([dataset.train.features[name].present for name in dataset.features]).all(0)
    popular = torch.where(known, counts, -1).topk(min(10 * items, dataset.n_items)).indices
    chosen = popular[:: max(1, len(popular) // items)][:items].tolist()
    nearest: dict[str, torch.Tensor] = {}
    for name in dataset.features:
        features = dataset.train.features[name]
        k = min(SHOWN, dataset.n_items)
        found, _ = cosine_neighbours(features.values, features.present, k, include_self=False)
        nearest[name] = found
    ids = dataset.item_ids
    return [
        Neighbourhood(
            pictures.item(ids[item]),
            {
                name: [pictures.item(ids[other]) for other in found[item].tolist() if other >= 0]
                for name, found in nearest.items()
            },
        )
        for item in chosen
    ]


def _counts(folder: Path) -> dict[str, int]:
    if not (folder / "study.json").is_file():
        return {}
    from graphrec.experiments.study import shared_work

    return dict(shared_work(folder))


class _Pictures:
    """Items with titles and thumbnails, each read once."""

    def __init__(self, dataset: Dataset | None, run: Run) -> None:
        self._dataset = dataset
        table = run.folder.table("items")
        titles = table["title"].to_list() if "title" in table.columns else [None] * len(table)
        self._titles = dict(zip(table["item_id"].to_list(), titles))
        self._paths: dict[str, list[str]] = {}
        if dataset is not None and "images" in dataset.items.columns:
            self._paths = dict(zip(dataset.item_ids, dataset.items["images"].to_list()))
        self._made: dict[str, str] = {}

    def item(self, item: str, *, hit: bool = False) -> Item:
        """An item by its external id."""
        if item not in self._made:
            self._made[item] = _thumbnail(self._paths.get(item) or [])
        return Item(item, self._titles.get(item) or item, self._made[item], hit)


def _thumbnail(paths: Sequence[str]) -> str:
    from PIL import Image, ImageOps

    for path in paths[:1]:
        try:
            with Image.open(path) as picture:
                small = ImageOps.exif_transpose(picture).convert("RGB")
                small.thumbnail((THUMBNAIL, THUMBNAIL))
                buffer = io.BytesIO()
                small.save(buffer, "JPEG", quality=70)
        except (OSError, ValueError):
            return ""
        return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
    return ""
