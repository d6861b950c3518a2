"""Full ranking in blocks of users: exact, deterministic, never users x items in memory.

Order: score descending, equal scores by item index ascending, ties at the k-th place included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modalities._base.progress import track

_FAN = 8
_ROWS = 64
_SAME_KERNEL = 64


@dataclass(frozen=True, eq=False)
class TopK:
    """The best items of some users, best first.

    Args:
        items: int64 [B, k]; -1 where a user has fewer than k candidates.
        scores: float32 [B, k]; -inf at those places.
    """

    items: Tensor
    scores: Tensor

    @classmethod
    def joined(cls, parts: Sequence[TopK]) -> TopK:
        """The rows of several rankings, one after the other."""
        if len(parts) == 1:
            return parts[0]
        return cls(torch.cat([p.items for p in parts]), torch.cat([p.scores for p in parts]))


@dataclass(frozen=True, eq=False)
class SeenItems:
    """Items that leave each user's ranking, as CSR.

    Args:
        indptr: int64 [U + 1]; the items of user u are `indices[indptr[u] : indptr[u + 1]]`.
        indices: int64, item indices.

    Example:
        >>> seen = SeenItems.from_pairs(np.array([1, 0, 1]), np.array([2, 0, 1]), n_users=2)
        >>> seen.mask_(torch.zeros(1, 3), torch.tensor([1]))
        tensor([[0., -inf, -inf]])
    """

    indptr: Tensor
    indices: Tensor

    @classmethod
    def from_pairs(cls, users: NDArray[Any], items: NDArray[Any], n_users: int) -> SeenItems:
        """From (user, item) pairs in any order; repeats do no harm."""
        order = np.argsort(users, kind="stable")
        counts = np.bincount(users, minlength=n_users)
        indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return cls(torch.from_numpy(indptr), torch.from_numpy(items[order].astype(np.int64)))

    def to(self, device: torch.device) -> SeenItems:
        """On `device`."""
        return SeenItems(self.indptr.to(device), self.indices.to(device))

    def mean_of(self, vectors: Tensor) -> Tensor:
        """Mean of each user's rows of `vectors` [I, d]: [U, d], zero for a user without items.

        Example:
            >>> seen = SeenItems.from_pairs(np.array([0, 0]), np.array([0, 2]), n_users=2)
            >>> seen.mean_of(torch.tensor([[1.0], [5.0], [3.0]]))
            tensor([[2.],
                    [0.]])
        """
        histories = self.to(vectors.device)
        counts = histories.indptr.diff()
        owners = torch.repeat_interleave(counts)
        sums = vectors.new_zeros(len(counts), vectors.shape[1])
        sums.index_add_(0, owners, vectors[histories.indices])
        return sums / counts.clamp_min(1).unsqueeze(1)

    def mask_(self, scores: Tensor, users: Tensor) -> Tensor:
        """Set what `users` [B] have seen to -inf in `scores` [B, I], in place."""
        users = users.to(self.indptr.device)
        starts = self.indptr[users]
        counts = self.indptr[users + 1] - starts
        total = int(counts.sum())
        rows = torch.repeat_interleave(counts, output_size=total)
        first = counts.cumsum(0) - counts
        place = torch.arange(total, device=rows.device) + (starts - first)[rows]
        columns = self.indices[place]
        scores[rows.to(scores.device), columns.to(scores.device)] = -torch.inf
        return scores


class Ranker(Protocol):
    """Whatever ranks items for users: a model, or `VectorRanker`."""

    def topk(self, users: Tensor, k: int, exclude: SeenItems | None = None) -> TopK:
        """The k best items of each of `users` [B], without those of `exclude`."""
        ...


def topk_scores(scores: Tensor, k: int) -> TopK:
    """The k best columns of each row: score descending, then column ascending, exactly.

    Args:
        scores: float [B, I]; -inf leaves a column out.
        k: how many, at least 1; the result has min(k, I) columns.

    Raises:
        ValueError: scores that are not a number.

    Example:
        >>> topk_scores(torch.tensor([[1.0, 3.0, 3.0, -torch.inf]]), 4).items
        tensor([[ 1,  2,  0, -1]])
    """
    size = _ROWS if scores.device.type == "cpu" else max(len(scores), 1)
    parts = scores.split(size)
    return TopK.joined([_topk_block(part, min(k, scores.shape[1])) for part in parts])


def _topk_block(scores: Tensor, k: int) -> TopK:
    values, columns = _largest(scores, min(k + 1, scores.shape[1]))
    if values.isnan().any():
        raise ValueError(
            f"{int(scores.isnan().sum()):,} of {scores.numel():,} scores of a block of "
            f"{len(scores):,} users are NaN"
        )
    tied = _tied_at_the_end(values, k)
    values, columns = values[:, :k], columns[:, :k]
    if len(tied):
        columns[tied] = _lowest_of_the_tied(
            scores.index_select(0, tied), values[tied], columns[tied]
        )
    columns = _ties_by_column(values, columns)
    return TopK(columns.masked_fill(values == -torch.inf, -1), values.float())


def _largest(scores: Tensor, k: int, *, ordered: bool = True) -> tuple[Tensor, Tensor]:
    """The k largest values of each row and columns [B, k] that hold them.

    With the columns dealt into groups of 8, the k largest lie in the k groups with the largest
    maxima, which are found likewise: about half the time of `torch.topk` on long rows.
    """
    n = scores.shape[1]
    width = n // _FAN
    if width < 2 * k:
        best = scores.topk(k, dim=1, sorted=ordered)
        return best.values, best.indices
    maxima = scores[:, : _FAN * width].unflatten(1, (_FAN, width)).amax(1)
    groups = _largest(maxima, k, ordered=False)[1]
    steps = torch.arange(0, _FAN * width, width, device=scores.device)
    members = (groups.unsqueeze(2) + steps).flatten(1)  # [B, 8 k]
    rest = torch.arange(_FAN * width, n, device=scores.device)
    candidates = torch.cat([members, rest.expand(len(scores), -1)], 1)
    best = scores.gather(1, candidates).topk(k, dim=1, sorted=ordered)
    return best.values, candidates.gather(1, best.indices)


def _tied_at_the_end(values: Tensor, k: int) -> Tensor:
    """Rows whose k-th and (k + 1)-th values are the same and not -inf."""
    if values.shape[1] == k:
        return torch.empty(0, dtype=torch.long, device=values.device)
    same = (values[:, k - 1] == values[:, k]) & (values[:, k] > -torch.inf)
    return same.nonzero().squeeze(1)


def _lowest_of_the_tied(scores: Tensor, values: Tensor, columns: Tensor) -> Tensor:
    """`columns` [B, k] with those of the k-th value replaced by the lowest that hold it.

    `scores` [B, I] are overwritten.
    """
    k, n = values.shape[1], scores.shape[1]
    exact = torch.float32 if n < 2**24 else torch.float64
    from_right = torch.arange(n, 0, -1, dtype=exact, device=scores.device)
    lowest = _largest(scores.eq_(values[:, -1:]).to(exact).mul_(from_right), k)[1]
    above = (values > values[:, -1:]).sum(1, keepdim=True)
    place = torch.arange(k, device=scores.device) - above
    return torch.where(place < 0, columns, lowest.gather(1, place.clamp(min=0)))


def _ties_by_column(values: Tensor, columns: Tensor) -> Tensor:
    """Order columns of equal values ascending; `values` are descending already."""
    rows = (values[:, 1:] == values[:, :-1]).any(1).nonzero().squeeze(1)
    if not len(rows):
        return columns
    ascending, order = columns[rows].sort(dim=1)
    back = values[rows].gather(1, order).sort(dim=1, descending=True, stable=True).indices
    columns = columns.clone()
    columns[rows] = ascending.gather(1, back)
    return columns


def rank_vectors(
    user_vectors: Tensor,
    item_vectors: Tensor,
    users: Tensor,
    k: int,
    exclude: SeenItems | None = None,
    *,
    block_size: int | None = None,
) -> TopK:
    """The k items with the largest inner products for each user, in blocks of users.

    Only the scores of one block are held, in a buffer used again for each. Scores do not depend
    on how users fall into blocks, because short blocks are filled up: matrix libraries sum in
    another order when a product has few rows.

    Args:
        user_vectors: [U, d].
        item_vectors: [I, d].
        users: [B], indices of users.
        k: how many; the result has min(k, I) columns.
        exclude: what leaves the ranking.
        block_size: users per block; default: 256 on the CPU, else 4096.
    """
    users = users.to(user_vectors.device)
    size = block_size or (256 if users.device.type == "cpu" else 4096)
    size = max(_SAME_KERNEL, min(size, len(users)))
    buffer = item_vectors.new_empty(size, len(item_vectors))
    seen = exclude.to(users.device) if exclude is not None else None
    parts = []
    for block in users.split(size):
        filled = torch.nn.functional.pad(block, (0, max(_SAME_KERNEL - len(block), 0)))
        scores = buffer[: len(filled)]
        torch.mm(user_vectors[filled], item_vectors.T, out=scores)
        scores = scores[: len(block)]
        parts.append(topk_scores(scores if seen is None else seen.mask_(scores, block), k))
    return TopK.joined(parts)


@dataclass(frozen=True, eq=False)
class VectorRanker:
    """Ranks by inner products of vectors; see `rank_vectors`.

    Args:
        users: [U, d].
        items: [I, d].
        block_size: users per block.
    """

    users: Tensor
    items: Tensor
    block_size: int | None = None

    @torch.no_grad()
    def topk(self, users: Tensor, k: int, exclude: SeenItems | None = None) -> TopK:
        """The k best items of each of `users` [B]."""
        size = self.block_size
        return rank_vectors(self.users, self.items, users, k, exclude, block_size=size)


def rank(
    ranker: Ranker,
    users: Tensor,
    k: int,
    exclude: SeenItems | None = None,
    *,
    block_size: int = 1024,
    progress: bool = False,
) -> TopK:
    """Rank for many users, block by block; the result lies on the CPU.

    Args:
        ranker: anything with `topk(users, k, exclude)`.
        users: [n].
        k: how many.
        exclude: what leaves the ranking.
        block_size: users per call of the ranker.
        progress: show a bar.
    """
    blocks = users.split(block_size)
    parts = [ranker.topk(block, k, exclude) for block in track(blocks, "ranking", show=progress)]
    return TopK.joined([TopK(part.items.cpu(), part.scores.cpu()) for part in parts])
