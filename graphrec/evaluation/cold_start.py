"""Items and users that training has not seen: inserted afterwards, and ranked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from graphrec.data.dataset import new_places
from graphrec.data.splits import SUPPORT
from graphrec.data.train_view import stored_features
from graphrec.evaluation.evaluate import EvaluationOptions, accuracy, seen_pairs
from graphrec.evaluation.held_out import HeldOut
from graphrec.evaluation.metrics import PerUser
from graphrec.models.base import NotInductiveError, Recommender
from graphrec.nn.ranking import Ranker, SeenItems, VectorRanker, rank

if TYPE_CHECKING:
    from graphrec.data.dataset import ColdStart, Dataset

PREFIXES = ("cold_", "all_")
"""Before the names of metrics of cold candidates alone, and of cold and warm ones together."""


@dataclass(frozen=True, eq=False)
class ColdEvaluation:
    """How a model does with what it has not been trained on.

    Args:
        metrics: mean over users by name: `cold_recall@20`, and for items `all_recall@20`.
        users: int64 [n], users of the dataset.
        per_user: by name; float64 [n], NaN for a user without held-out items of that kind.
        refused: why the model cannot; empty where it can.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    users: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    per_user: PerUser = field(default_factory=dict)
    refused: str = ""


def is_cold(metric: str) -> bool:
    """Whether a metric is of a cold-start protocol.

    Example:
        >>> is_cold("cold_recall@20"), is_cold("recall@20")
        (True, False)
    """
    return metric.startswith(PREFIXES)


@torch.no_grad()
def evaluate_cold(
    model: Recommender,
    dataset: Dataset,
    held_out: HeldOut,
    options: EvaluationOptions | None = None,
) -> ColdEvaluation | None:
    """Measure a model on the cold side of a dataset; None where its split has none.

    Under a `cold-item` split the cold items are represented from their features and ranked for
    the users of training: among cold items only (`cold_`), and among all (`all_`), where training
    items leave the ranking. Under a `cold-user` split cold users are represented from their
    support, which leaves their ranking; all items compete.

    Args:
        model: trained on `dataset.train`.
        dataset: the whole data, with the features of all items.
        held_out: of the whole data.
        options: default: standard metrics; only those of accuracy are measured.

    Returns:
        Metrics, or why there are none.
    """
    if dataset.cold is None:
        return None
    options = options or EvaluationOptions()
    side = _cold_items if dataset.cold.side == "item" else _cold_users
    try:
        measured = side(model, dataset, dataset.cold, held_out, options)
    except NotInductiveError as error:
        return ColdEvaluation(refused=str(error))
    return _joined(measured)


def _cold_items(
    model: Recommender,
    dataset: Dataset,
    cold: ColdStart,
    held_out: HeldOut,
    options: EvaluationOptions,
) -> dict[str, tuple[HeldOut, PerUser]]:
    new = torch.from_numpy(np.nonzero(~cold.items)[0])
    stored = stored_features(dataset.features)
    features = {name: stored[name].rows(new) for name in model.view.features}
    if not features:
        raise NotInductiveError("it was trained without features, by which new items are placed")
    inserted = model.represent_items(features, transductive=options.transductive)
    known = model.embeddings()
    items = known.items.new_empty(dataset.n_items, known.items.shape[1])
    items[torch.from_numpy(cold.items)] = known.items
    items[new] = inserted.to(items)
    kinds = {"cold_": ~cold.items, "all_": np.ones_like(cold.items)}
    return {
        prefix: _ranked(known.users, items, among, dataset, held_out, options)
        for prefix, among in kinds.items()
    }


def _ranked(
    users: Tensor,
    items: Tensor,
    candidates: NDArray[np.bool_],
    dataset: Dataset,
    held_out: HeldOut,
    options: EvaluationOptions,
) -> tuple[HeldOut, PerUser]:
    """Rank some of the items, under indices of their own."""
    places = new_places(candidates)
    asked = held_out.within(np.arange(dataset.n_users), places)
    owners, seen = seen_pairs(dataset, held_out.part, options.mask)
    kept = candidates[seen]
    exclude = SeenItems.from_pairs(owners[kept], places[seen[kept]], dataset.n_users)
    ranker = VectorRanker(users, items[torch.from_numpy(candidates)])
    return asked, _measured(ranker, asked, exclude, options)


def _cold_users(
    model: Recommender,
    dataset: Dataset,
    cold: ColdStart,
    held_out: HeldOut,
    options: EvaluationOptions,
) -> dict[str, tuple[HeldOut, PerUser]]:
    places = new_places(~cold.users)
    asked = held_out.within(places, np.arange(dataset.n_items))
    events = dataset.interactions
    shown = dataset.split.labels == SUPPORT
    histories = SeenItems.from_pairs(
        places[events.users[shown]], events.items[shown], int((~cold.users).sum())
    )
    ranker = model.rank_users(histories)
    values = _measured(ranker, asked, histories, options)
    back = np.nonzero(~cold.users)[0]
    whole = HeldOut(asked.part, back[asked.users], asked.indptr, asked.items)
    return {"cold_": (whole, values)}


def _measured(
    ranker: Ranker, asked: HeldOut, exclude: SeenItems, options: EvaluationOptions
) -> PerUser:
    if not len(asked.users):
        return {}
    topk = rank(ranker, torch.from_numpy(asked.users), max(options.ks), exclude)
    return accuracy(topk, asked, options)


def _joined(measured: Mapping[str, tuple[HeldOut, PerUser]]) -> ColdEvaluation:
    """One table of users, with gaps."""
    users = np.unique(np.concatenate([asked.users for asked, _ in measured.values()]))
    per_user: PerUser = {}
    for prefix, (asked, values) in measured.items():
        rows = np.searchsorted(users, asked.users)
        for name, found in values.items():
            column = np.full(len(users), np.nan)
            column[rows] = found
            per_user[f"{prefix}{name}"] = column
    means = {name: float(np.nanmean(values)) for name, values in per_user.items()}
    return ColdEvaluation(means, users, per_user)
