"""The baseline of `training.py`: models, sampling and evaluation as tutorials write them.

COO `torch.sparse.mm`, every feature row projected at every step, negatives drawn one by one in
Python, metrics by a loop over users. Correct, and slow in the usual ways.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from graphrec.data.train_view import TrainView


def coo(matrix: sp.csr_array) -> Tensor:
    """A coalesced COO tensor."""
    entries = sp.coo_array(matrix)
    index = torch.from_numpy(np.stack([entries.row, entries.col])).long()
    values = torch.from_numpy(entries.data.astype(np.float32))
    return torch.sparse_coo_tensor(index, values, entries.shape).coalesce()


def normalised_adjacency(users: Tensor, items: Tensor, n_users: int, n_items: int) -> Tensor:
    """D^-1/2 A D^-1/2 of the bipartite graph, COO."""
    r = sp.csr_array(
        (np.ones(len(users)), (users.numpy(), items.numpy())), shape=(n_users, n_items)
    )
    r.data[:] = 1
    a = sp.csr_array(sp.block_array([[None, r], [r.T, None]]))
    scale = (np.asarray(a.sum(axis=1)).ravel() + 1e-7) ** -0.5
    entries = sp.coo_array(a)
    data = entries.data * scale[entries.row] * scale[entries.col]
    return coo(sp.csr_array((data, (entries.row, entries.col)), shape=a.shape))


class TextbookLightGCN(nn.Module):
    """LightGCN with stacked layers over the whole graph."""

    def __init__(self, train: TrainView, dim: int, layers: int, reg_weight: float) -> None:
        super().__init__()
        self.n_users, self.layers, self.reg_weight = train.n_users, layers, reg_weight
        users, items = train.edges
        self.adjacency = normalised_adjacency(users, items, train.n_users, train.n_items)
        self.users = nn.Embedding(train.n_users, dim)
        self.items = nn.Embedding(train.n_items, dim)
        nn.init.xavier_uniform_(self.users.weight)
        nn.init.xavier_uniform_(self.items.weight)

    def begin_epoch(self) -> None:
        """Nothing to do."""

    def forward(self) -> tuple[Tensor, Tensor]:
        layer = torch.cat([self.users.weight, self.items.weight])
        every = [layer]
        for _ in range(self.layers):
            layer = torch.sparse.mm(self.adjacency, layer)
            every.append(layer)
        z = torch.stack(every, dim=1).mean(dim=1)
        return z[: self.n_users], z[self.n_users :]

    def loss(self, users: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        """BPR and the regulariser."""
        u, i = self()
        difference = (u[users] * i[positives]).sum(1) - (u[users] * i[negatives]).sum(1)
        ego = (self.users(users), self.items(positives), self.items(negatives))
        penalty = torch.stack([table.norm() for table in ego]).sum() / len(users)
        return -logsigmoid(difference).mean() + self.reg_weight * penalty


class TextbookFREEDOM(nn.Module):
    """FREEDOM that projects every feature row at every step."""

    def __init__(
        self,
        train: TrainView,
        item_graph: sp.csr_array,
        dim: int,
        layers: int,
        drop_ratio: float,
        content_weight: float,
        freeze: bool,
    ) -> None:
        super().__init__()
        self.train_view, self.layers = train, layers
        self.drop_ratio, self.content_weight = drop_ratio, content_weight
        self.n_users, self.n_items = train.n_users, train.n_items
        users, items = train.edges
        self.edges = (users, items)
        self.full = normalised_adjacency(users, items, self.n_users, self.n_items)
        self.adjacency = self.full
        self.item_graph = coo(item_graph)
        degree_u = torch.bincount(users, minlength=self.n_users)[users].float()
        degree_i = torch.bincount(items, minlength=self.n_items)[items].float()
        self.edge_weights = 1 / (degree_u.sqrt() * degree_i.sqrt())
        self.users = nn.Embedding(self.n_users, dim)
        self.items = nn.Embedding(self.n_items, dim)
        nn.init.xavier_uniform_(self.users.weight)
        nn.init.xavier_uniform_(self.items.weight)
        self.features = nn.ModuleDict()
        self.projections = nn.ModuleDict()
        for name, features in train.features.items():
            table = nn.Embedding.from_pretrained(features.values.clone(), freeze=freeze)
            self.features[name] = table
            self.projections[name] = nn.Linear(features.dim, dim)

    def begin_epoch(self) -> None:
        """Sample the pruned graph."""
        kept = int(len(self.edge_weights) * (1 - self.drop_ratio))
        chosen = torch.multinomial(self.edge_weights, kept)
        users, items = self.edges
        self.adjacency = normalised_adjacency(
            users[chosen], items[chosen], self.n_users, self.n_items
        )

    def forward(self, adjacency: Tensor | None = None) -> tuple[Tensor, Tensor]:
        h = torch.sparse.mm(self.item_graph, self.items.weight)
        layer = torch.cat([self.users.weight, self.items.weight])
        every = [layer]
        for _ in range(self.layers):
            layer = torch.sparse.mm(self.full if adjacency is None else adjacency, layer)
            every.append(layer)
        z = torch.stack(every, dim=1).mean(dim=1)
        return z[: self.n_users], z[self.n_users :] + h

    def loss(self, users: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        """BPR on graph vectors and on projected content."""
        u, i = self(self.adjacency)
        total = _bpr(u[users], i[positives], i[negatives])
        for name, project in self.projections.items():
            content = project(self.features[name].weight)
            part = _bpr(u[users], content[positives], content[negatives])
            total = total + self.content_weight * part
        return total


def _bpr(user: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    return -logsigmoid((user * positive).sum(1) - (user * negative).sum(1)).mean()


class LoopSampler:
    """Negatives drawn one by one against a set."""

    def __init__(self, train: TrainView, batch_size: int) -> None:
        self.users, self.items = train.users, train.items
        self.batch_size = batch_size
        self.pool = torch.unique(train.items).tolist()
        self.owned: dict[int, set[int]] = {}
        for user, item in zip(train.users.tolist(), train.items.tolist()):
            self.owned.setdefault(user, set()).add(item)

    def epoch(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Shuffled batches with one negative per positive."""
        for chosen in torch.randperm(len(self.users)).split(self.batch_size):
            users = self.users[chosen]
            negatives = []
            for user in users.tolist():
                item = random.choice(self.pool)
                while item in self.owned[user]:
                    item = random.choice(self.pool)
                negatives.append(item)
            yield users, self.items[chosen], torch.tensor(negatives)


def rank_blocks(
    users: Tensor, items: Tensor, seen: dict[int, list[int]], asked: list[int], k: int
) -> Tensor:
    """Top-k in blocks of 4,096 users."""
    found = []
    for start in range(0, len(asked), 4096):
        block = asked[start : start + 4096]
        scores = users[block] @ items.T
        rows = [row for row, user in enumerate(block) for _ in seen.get(user, [])]
        columns = [item for user in block for item in seen.get(user, [])]
        scores[rows, columns] = -1e10
        found.append(scores.topk(k, dim=1).indices)
    return torch.cat(found)


def loop_metrics(
    ranked: Tensor, relevant: dict[int, set[int]], asked: list[int], ks: tuple[int, ...]
) -> dict[str, float]:
    """Recall and NDCG, user by user."""
    totals = {f"{name}@{k}": 0.0 for name in ("recall", "ndcg") for k in ks}
    for user, row in zip(asked, ranked.tolist()):
        wanted = relevant[user]
        hits = [item in wanted for item in row]
        for k in ks:
            gain = sum(hit / math.log2(rank + 2) for rank, hit in enumerate(hits[:k]))
            best = sum(1 / math.log2(rank + 2) for rank in range(min(k, len(wanted))))
            totals[f"recall@{k}"] += sum(hits[:k]) / len(wanted)
            totals[f"ndcg@{k}"] += gain / best
    return {name: value / len(asked) for name, value in totals.items()}
