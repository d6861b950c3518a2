"""ContentKNN: what looks or reads like the items a user had."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from graphrec.data.train_view import Features, TrainView
from graphrec.graphs.knn import modality_shares
from graphrec.models.base import Recommender, require_features
from graphrec.nn.ranking import SeenItems
from graphrec.nn.similarity import normalised


class ContentKNN(Recommender):
    r"""Content-only neighbours of a user's history; a baseline without parameters.

    .. math::
        s(u,i) = \frac{1}{|N_u|} \sum_{j \in N_u} \sum_m w_m \cos(x^m_i, x^m_j)

    The mean runs over the whole history, so the score is an inner product of vectors: the unit
    rows of all modalities side by side, scaled by the root of w. An item lacking a modality has
    zeros there. Popularity plays no part, and new items are scored as all others.

    Args:
        train: training interactions and at least one modality.
        modality_weights: w, by name; None: images share 0.1, the others 0.9.

    Raises:
        InputError: the training data have no features.

    Example:
        >>> features = {"text": torch.tensor([[1.0, 0], [2, 0], [0, 1]])}
        >>> train = TrainView.from_arrays([0], [0], n_users=1, n_items=3, features=features)
        >>> ContentKNN(train).score(torch.tensor([0]))
        tensor([[1., 1., 0.]])
    """

    trainable: ClassVar[bool] = False
    items: Tensor
    users: Tensor

    def __init__(
        self, train: TrainView, *, modality_weights: Mapping[str, float] | None = None
    ) -> None:
        super().__init__(train)
        require_features(train, "ContentKNN")
        self.shares = modality_shares(train, modality_weights)
        self.register_buffer("items", self._content(train.features), persistent=False)
        self.register_buffer(
            "users", SeenItems(*train.user_items).mean_of(self.items), persistent=False
        )

    def vectors(self) -> tuple[Tensor, Tensor]:
        """Mean content of the users' items, and the items' content."""
        return self.users, self.items

    def represent_items(
        self, features: Mapping[str, Features], *, transductive: bool = False
    ) -> Tensor:
        """Their content."""
        return self._content(features).to(self.device)

    def _content(self, features: Mapping[str, Features]) -> Tensor:
        blocks = [
            share**0.5 * normalised(features[name].values) * features[name].present.unsqueeze(1)
            for name, share in self.shares.items()
        ]
        return torch.cat(blocks, 1)
