"""What `graphrec data show` tells about a dataset, as plain values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import polars as pl

from graphrec.data.dataset import Dataset
from modalities import FeatureStore, feature_statistics


def dataset_counts(dataset: Dataset) -> dict[str, Any]:
    """Sizes, density and parts of the split."""
    events = len(dataset.interactions)
    pairs = max(dataset.n_users * dataset.n_items, 1)
    parts = {name: dataset.split.counts.get(name, 0) for name in ("train", "valid", "test")}
    warm = int(dataset.train.warm_items.sum())
    return {
        "name": dataset.name,
        "users": dataset.n_users,
        "items": dataset.n_items,
        "interactions": events,
        "density": f"{events / pairs:.4%}",
        "split": str(dataset.split.spec.get("method")),
        **parts,
        "items without training interactions": dataset.n_items - warm,
    }


def dataset_identities(dataset: Dataset) -> dict[str, str]:
    """The three identities."""
    features = {f"feature_id {name}": value for name, value in dataset.feature_ids.items()}
    return {"data_id": dataset.data_id, "split_id": dataset.split_id, **features}


def dropped(dataset: Dataset) -> dict[str, Any]:
    """What reading, filtering and splitting left out, and why; nested notes by dotted name."""
    notes = {**dataset.notes, "split dropped": dataset.split.counts.get("dropped", {})}
    return dict(_flat(notes))


def content_coverage(dataset: Dataset) -> dict[str, str]:
    """Share of items with each text column, and with pictures."""
    items = dataset.items
    lines = {}
    for name, dtype in items.schema.items():
        if dtype == pl.String and name != "item_id":
            filled = items[name].fill_null("").str.strip_chars().ne("").sum()
            lines[name] = _share(int(filled), len(items))
    with_picture = int(items["images"].list.len().gt(0).sum())
    return {**lines, "images": _share(with_picture, len(items))}


def feature_health(store: FeatureStore) -> dict[str, Any]:
    """Coverage of one modality, duplicates among its rows, and their norms."""
    found = feature_statistics(store)
    norms = (found.norm_min, found.norm_median, found.norm_max)
    return {
        "kind": store.modality,
        "dim": store.dim,
        "dtype": store.dtype.name,
        "coverage": _share(found.present, found.items),
        "distinct rows": found.distinct_rows,
        "rows equal to another": found.duplicate_rows,
        "largest group of equal rows": found.largest_group,
        "rows of zeros": found.zero_rows,
        "norms (least, median, greatest)": ", ".join(f"{norm:.3g}" for norm in norms),
    }


def feature_errors(store: FeatureStore) -> dict[str, int]:
    """How many items have no row, by reason."""
    counts = Counter(error for error in store.errors if error)
    return {f"absent: {reason}": count for reason, count in counts.most_common()}


def _share(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,} ({part / max(whole, 1):.1%})"


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    lines: list[tuple[str, Any]] = []
    for key, value in values.items():
        name = f"{prefix}{key}"
        lines += _flat(value, f"{name}.") if isinstance(value, Mapping) else [(name, value)]
    return [(name, value) for name, value in lines if value not in (0, None, [], "")]
