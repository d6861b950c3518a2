"""Measure a ranker on held-out interactions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from graphrec.evaluation.beyond import BEYOND, Catalogue
from graphrec.evaluation.held_out import HeldOut, SplitData
from graphrec.evaluation.metrics import (
    METRICS,
    MapDenominator,
    NdcgIdeal,
    PerUser,
    RecallDenominator,
    compute_metrics,
)
from graphrec.nn.ranking import Ranker, SeenItems, TopK, rank
from modalities._base.errors import InputError, UnknownNameError

Mask = Literal["train", "train+valid"]

_CHOICES = {
    "mask": ("train", "train+valid"),
    "ndcg_ideal": ("truncated", "retrieved"),
    "recall_denominator": ("full", "min"),
    "map_denominator": ("min", "relevant"),
}


@dataclass(frozen=True)
class EvaluationOptions:
    """How rankings are measured; two runs compare only under equal options.

    Args:
        metrics: names of `graphrec.evaluation.metrics.METRICS`, and of
            `graphrec.evaluation.beyond.BEYOND` for what accuracy does not tell.
        ks: cut-offs; the largest is the length of the lists.
        mask: `train`: only training items leave the ranking, for valid and for test, as usual in
            the literature; `train+valid`: for test the validation items leave too.
        ndcg_ideal: see `metrics.ndcg`.
        recall_denominator: see `metrics.recall`.
        map_denominator: see `metrics.average_precision`.
        transductive: under a cold-item split, cold items may be neighbours of one another in
            item-item graphs; otherwise their neighbours are items of training.

    Raises:
        InputError: a cut-off below 1, or no metric.
        UnknownNameError: an unknown metric or choice.
    """

    metrics: Sequence[str] = tuple(METRICS)
    ks: Sequence[int] = (5, 10, 20, 50)
    mask: Mask = "train"
    ndcg_ideal: NdcgIdeal = "truncated"
    recall_denominator: RecallDenominator = "full"
    map_denominator: MapDenominator = "min"
    transductive: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "metrics", tuple(self.metrics))
        object.__setattr__(self, "ks", tuple(self.ks))
        if not self.metrics:
            raise InputError(f"name at least one metric of {', '.join([*METRICS, *BEYOND])}")
        for name in self.metrics:
            if name not in METRICS and name not in BEYOND:
                raise UnknownNameError("metric", name, [*METRICS, *BEYOND])
        if not self.ks or min(self.ks) < 1:
            raise InputError(f"cut-offs are whole numbers of at least 1, got {list(self.ks)}")
        for field, choices in _CHOICES.items():
            if getattr(self, field) not in choices:
                raise UnknownNameError(field, getattr(self, field), choices)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Metrics and what they were computed from.

    Args:
        metrics: mean over users by name, such as `recall@20`.
        users: int64 [n], the users measured.
        per_user: one value per user by name; float64 [n], NaN where it is not defined. Metrics of
            all lists together, such as coverage, are only in `metrics`.
        topk: the ranked lists, rows as `users`.
        n_dropped: users with held-out items but no training interaction, not measured.
    """

    metrics: dict[str, float]
    users: NDArray[np.int64]
    per_user: PerUser
    topk: TopK
    n_dropped: int = 0

    @property
    def n_users(self) -> int:
        """How many users were measured."""
        return len(self.users)


def seen_items(dataset: SplitData, part: Literal["valid", "test"], mask: Mask) -> SeenItems:
    """What leaves the ranking when `part` is measured under `mask`."""
    return SeenItems.from_pairs(*seen_pairs(dataset, part, mask), dataset.n_users)


def seen_pairs(
    dataset: SplitData, part: Literal["valid", "test"], mask: Mask
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Users and items of the interactions that leave the ranking."""
    labels = dataset.split.labels
    seen = labels == 0
    if part == "test" and mask == "train+valid":
        seen |= labels == 1
    return dataset.interactions.users[seen], dataset.interactions.items[seen]


def accuracy(topk: TopK, held_out: HeldOut, options: EvaluationOptions) -> PerUser:
    """The metrics of accuracy among those asked for: one value per user by name."""
    return compute_metrics(
        topk.items,
        held_out.indptr,
        held_out.items,
        [name for name in options.metrics if name in METRICS],
        options.ks,
        ndcg_ideal=options.ndcg_ideal,
        recall_denominator=options.recall_denominator,
        map_denominator=options.map_denominator,
    )


@torch.no_grad()
def evaluate(
    ranker: Ranker,
    dataset: SplitData,
    held_out: HeldOut,
    options: EvaluationOptions | None = None,
    *,
    progress: bool = False,
) -> Evaluation:
    """Rank all items for the users of `held_out` and compare with their held-out items.

    All items compete, those without training interactions included.

    Args:
        ranker: anything with `topk(users, k, exclude)`.
        dataset: the data `held_out` was taken from.
        held_out: `held_out_valid(dataset)` or what `open_test` returned.
        options: default: standard metrics, training items masked.
        progress: show a bar.

    Raises:
        InputError: no user has held-out items.
    """
    options = options or EvaluationOptions()
    if not len(held_out.users):
        raise InputError(
            f"no user has both training and {held_out.part} interactions; make another split"
        )
    exclude = seen_items(dataset, held_out.part, options.mask)
    users = torch.from_numpy(held_out.users)
    topk = rank(ranker, users, max(options.ks), exclude, progress=progress)
    per_user = accuracy(topk, held_out, options)
    together = _beyond(dataset, topk, options, per_user)
    means = {name: float(np.nanmean(values)) for name, values in per_user.items()} | together
    means = {name: means[name] for name in _in_order(options)}
    return Evaluation(means, held_out.users, per_user, topk, held_out.n_dropped)


def _beyond(
    dataset: SplitData, topk: TopK, options: EvaluationOptions, per_user: PerUser
) -> dict[str, float]:
    """Add what is defined for users to `per_user`; return what is not."""
    asked = [name for name in options.metrics if name in BEYOND]
    together: dict[str, float] = {}
    if not asked:
        return together
    catalogue = Catalogue.of(dataset.train)  # type: ignore[attr-defined]
    lists = topk.items.cpu().numpy().astype(np.int64)
    for name in asked:
        for k in options.ks:
            value = catalogue.measure(name, lists, k)
            if isinstance(value, float):
                together[f"{name}@{k}"] = value
            else:
                per_user[f"{name}@{k}"] = value
    return together


def _in_order(options: EvaluationOptions) -> list[str]:
    return [f"{name}@{k}" for name in options.metrics for k in options.ks]
