"""Random order: what a ranking reaches that knows nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from graphrec.data.train_view import Features, TrainView
from graphrec.models.base import Recommender


class RandomOrder(Recommender):
    """Scores by inner products of vectors drawn from a normal distribution.

    To every user any order of the items is as likely as any other, so means over users agree with
    `graphrec.evaluation.expectation.random_expectation` up to chance. The draw depends on the
    seed of the run.

    Args:
        train: training interactions.

    Example:
        >>> train = TrainView.from_arrays([0], [0], n_users=2, n_items=3)
        >>> RandomOrder(train).score(torch.tensor([0, 1])).shape
        torch.Size([2, 3])
    """

    trainable: ClassVar[bool] = False

    def __init__(self, train: TrainView) -> None:
        super().__init__(train)

    def vectors(self) -> tuple[Tensor, Tensor]:
        """Random vectors of users and items."""
        return self._drawn("users", self.n_users), self._drawn("items", self.n_items)

    def represent_items(
        self, features: Mapping[str, Features], *, transductive: bool = False
    ) -> Tensor:
        """Random vectors; the features are only counted."""
        return self._drawn("new items", len(next(iter(features.values())).values))

    def _drawn(self, what: str, rows: int) -> Tensor:
        noise = self.noise(what)
        return torch.randn(rows, 64, generator=noise, device=self.device)
