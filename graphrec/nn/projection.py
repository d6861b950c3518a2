"""Item features projected to the embedding space, for the rows asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from graphrec.data.train_view import Features
from graphrec.nn.similarity import normalised

RowTransform = Literal["none", "l2", "dct_rows"]


class FeatureProjection(nn.Module):
    r"""t_i = W x_i + b for items that have the modality, 0 (no bias) for those that have not.

    Only the rows asked for are projected, which is exact: rows do not interact.

    Args:
        features: the modality.
        dim: d, length of t_i.
        freeze: keep the table as given; otherwise it is fine-tuned as a parameter, as the
            published FREEDOM does.

    Shapes:
        input: item indices [...]; output [..., d].
    """

    present: Tensor

    def __init__(self, features: Features, dim: int, *, freeze: bool = False) -> None:
        super().__init__()
        if freeze:
            self.register_buffer("table", features.values, persistent=False)
        else:
            self.table = nn.Parameter(features.values.clone())
        self.register_buffer("present", features.present, persistent=False)
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
        transform: of each modality's rows first: `none`; `l2`, scaled to length 1; or `dct_rows`.

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

    def __init__(self, features: Iterable[Features], *, transform: RowTransform = "none") -> None:
        super().__init__()
        given = list(features)
        rows = [_ROW_TRANSFORMS[transform](one.values) for one in given]
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
        hidden: width; None: one layer, W_1 x_i + b_1.

    Shapes:
        output [I, dim].
    """

    table: Tensor
    present: Tensor

    def __init__(self, x: Tensor, present: Tensor, dim: int, *, hidden: int | None = 256) -> None:
        super().__init__()
        self.register_buffer("table", x, persistent=False)
        self.register_buffer("present", present, persistent=False)
        self.first = nn.Linear(x.shape[1], hidden or dim)
        self.second = nn.Linear(hidden, dim, bias=False) if hidden else None

    def forward(self) -> Tensor:
        """Vectors of all items."""
        made = self.first(self.table)
        if self.second is not None:
            made = self.second(nn.functional.leaky_relu(made, 0.01))
        return torch.where(self.present[:, None], made, 0.0)


def dct_rows(x: Tensor) -> Tensor:
    """The orthonormal type-II cosine transform of each row.

    Example:
        >>> dct_rows(torch.tensor([[1.0, 1.0]]))
        tensor([[1.4142, 0.0000]])
    """
    from scipy.fft import dct

    return torch.from_numpy(dct(x.double().numpy(), type=2, norm="ortho", axis=1)).to(x.dtype)


_ROW_TRANSFORMS: Mapping[RowTransform, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "l2": normalised,
    "dct_rows": dct_rows,
}
