"""Item features projected to the embedding space, for the rows asked for."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graphrec.data.train_view import Features


class FeatureProjection(nn.Module):
    r"""t_i = W x_i + b for items that have the modality, 0 (no bias) for those that have not.

    Only the rows asked for are projected, which is exact: rows do not interact.

    Args:
        features: the modality; its table x is copied.
        dim: d, length of t_i.
        freeze: keep the table as given; otherwise it is fine-tuned as a parameter, as the
            published FREEDOM does.

    Shapes:
        input: item indices [...]; output [..., d].
    """

    present: Tensor

    def __init__(self, features: Features, dim: int, *, freeze: bool = False) -> None:
        super().__init__()
        table = features.values.clone()
        if freeze:
            self.register_buffer("table", table, persistent=False)
        else:
            self.table = nn.Parameter(table)
        self.register_buffer("present", features.present.clone(), persistent=False)
        self.linear = nn.Linear(features.dim, dim)
        self._complete = bool(features.present.all())

    def forward(self, items: Tensor) -> Tensor:
        """Projected rows of `items`."""
        projected: Tensor = self.linear(nn.functional.embedding(items, self.table))
        if self._complete:
            return projected
        return torch.where(self.present[items].unsqueeze(-1), projected, 0.0)
