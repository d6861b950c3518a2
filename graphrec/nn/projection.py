"""Item features projected to the embedding space, for the rows asked for."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from graphrec.data.train_view import Features
from graphrec.nn.similarity import normalised


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


class JoinedFeatures(nn.Module):
    """The features of several modalities side by side, kept as they are given.

    Args:
        features: the modalities, in order.
        normalise: scale each modality's rows to length 1 first.

    Shapes:
        input: item indices [n]; outputs x [n, d1 + d2 + ...], absent blocks zero, and bool [n],
        True where at least one modality is present.

    Example:
        >>> text = Features.from_tensor(torch.eye(2))
        >>> x, present = JoinedFeatures([text, text])(torch.tensor([1]))
        >>> x, present
        (tensor([[0., 1., 0., 1.]]), tensor([True]))
    """

    table: Tensor
    present: Tensor

    def __init__(self, features: Iterable[Features], *, normalise: bool = False) -> None:
        super().__init__()
        given = list(features)
        rows = [normalised(one.values) if normalise else one.values for one in given]
        masks = torch.stack([one.present for one in given])  # [modalities, I]
        blocks = [torch.where(mask[:, None], row, 0.0) for row, mask in zip(rows, masks)]
        self.register_buffer("table", torch.cat(blocks, 1), persistent=False)
        self.register_buffer("present", masks.any(0), persistent=False)

    @property
    def dim(self) -> int:
        """Length of a joined row."""
        return int(self.table.shape[1])

    def forward(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """Joined rows of `items`, and which of them have a modality."""
        return self.table[items], self.present[items]


class ContentNetwork(nn.Module):
    r"""W_2 f(W_1 x_i + b_1) for all items, f a LeakyReLU of slope 0.01; 0 where there is no x_i.

    Args:
        x: features, kept as they are, [I, d].
        present: bool [I].
        dim: length of the output.
        hidden: width.

    Shapes:
        output [I, dim].
    """

    table: Tensor
    present: Tensor

    def __init__(self, x: Tensor, present: Tensor, dim: int, *, hidden: int = 256) -> None:
        super().__init__()
        self.register_buffer("table", x.clone(), persistent=False)
        self.register_buffer("present", present.clone(), persistent=False)
        self.first = nn.Linear(x.shape[1], hidden)
        self.second = nn.Linear(hidden, dim, bias=False)

    def forward(self) -> Tensor:
        """Vectors of all items."""
        made = self.second(nn.functional.leaky_relu(self.first(self.table), 0.01))
        return torch.where(self.present[:, None], made, 0.0)
