"""Popularity: the same ranking for everybody."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from graphrec.data.train_view import TrainView
from graphrec.models.base import Recommender


class Popularity(Recommender):
    """Scores an item by its number of training interactions.

    A baseline without parameters: what it reaches is owed to popularity alone.

    Args:
        train: training interactions.

    Example:
        >>> train = TrainView.from_arrays([0, 1, 1], [0, 0, 1], n_users=2, n_items=3)
        >>> Popularity(train).counts
        tensor([2., 1., 0.])
    """

    trainable: ClassVar[bool] = False
    counts: Tensor

    def __init__(self, train: TrainView) -> None:
        super().__init__(train)
        self.register_buffer("counts", train.item_counts.float())

    def vectors(self) -> tuple[Tensor, Tensor]:
        """A one for each user, the count for each item: [U, 1] and [I, 1]."""
        return self.counts.new_ones(self.n_users, 1), self.counts.unsqueeze(1)
