"""NGCF: propagation with weights, affinities of neighbours and activations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from graphrec.data.sampling import Batch, Sampling
from graphrec.data.train_view import TrainView
from graphrec.graphs.bipartite import Adjacency, user_item_adjacency
from graphrec.models.base import Recommender, embedding_table, node_rows
from graphrec.models.options import Depth, Share, Size, Variant, Weight, chosen
from graphrec.nn.losses import bpr_loss, embedding_norm
from graphrec.nn.ngcf import NGCFPropagation
from graphrec.nn.similarity import pair_scores

Regularised = Literal["outputs", "ego", "parameters"]


class NGCF(Recommender):
    r"""NGCF.

    .. math::
        E^{l+1} = f(S W_1 + b_1) + f((E^l * S) W_2 + b_2), \quad S = \hat{A} E^l

        Z = [E^0 ; E^1/\|E^1\| ; \dots], \quad s(u,i) = z_u z_i, \quad
        L = \text{BPR}(s) + \lambda \, \Omega

    f is a LeakyReLU of slope 0.2. See `graphrec.nn.NGCFPropagation`.

    Traps: the code's default graph (`norm`) is row-stochastic with self-loops, the paper's is
    symmetric; the code has two activations and biases, the paper one and none; its published
    figures were selected on test. What its help calls shares to keep are shares dropped, and
    dropout of nodes is off in the published commands.

    Source: Neural Graph Collaborative Filtering, 2019, arXiv 1905.08108.

    Args:
        train: training interactions.
        dim: d, of every layer.
        layers: L.
        reg_weight: lambda.
        dropout: message dropout, the share set to zero.
        node_dropout: share of the graph's entries left out, drawn anew at every step.
        variant: `faithful` to the authors' code (norm, two activations, biases, regularised
            outputs), or `corrected` to the paper (symmetric, one activation, no biases) with the
            regulariser on layer 0.
        adjacency: see `graphrec.graphs.user_item_adjacency`; None: as the variant says.
        activations: 1 or 2; None: as the variant says.
        bias: learn b_1 and b_2; None: as the variant says.
        regularised: `outputs` z, `ego` E^0, or all `parameters`; None: as the variant says.
        epoch: batches of distinct `users`, each with one positive, or of `interactions`.

    Example:
        >>> train = TrainView.from_arrays([0, 1], [0, 1], n_users=2, n_items=3)
        >>> NGCF(train, dim=4).embeddings().items.shape
        torch.Size([3, 16])
    """

    reference: ClassVar[Mapping[str, Any] | None] = {"variant": "faithful"}
    training_defaults: ClassVar[Mapping[str, Any]] = {
        "lr": 1e-4,
        "batch_size": 1024,
        "epochs": 400,
        "eval_every": 10,
        "patience": 4,  # the fifth validation without gain ends it
    }

    def __init__(
        self,
        train: TrainView,
        *,
        dim: Size = 64,
        layers: Depth = 3,
        reg_weight: Weight = 1e-5,
        dropout: Share = 0.1,
        node_dropout: Share = 0.0,
        variant: Variant = "faithful",
        adjacency: Adjacency | None = None,
        activations: Literal[1, 2] | None = None,
        bias: bool | None = None,
        regularised: Regularised | None = None,
        epoch: Literal["users", "interactions"] = "users",
    ) -> None:
        super().__init__(train)
        self.reg_weight = reg_weight
        self.regularised: Regularised = chosen(
            regularised, variant, faithful="outputs", corrected="ego"
        )
        kind: Adjacency = chosen(adjacency, variant, faithful="norm", corrected="symmetric")
        self.sampling = Sampling(epoch=epoch, pool="all")  # type: ignore[misc]
        self.graph = train.graph(user_item_adjacency, kind)

        self.users = embedding_table(self.n_users, dim)
        self.items = embedding_table(self.n_items, dim)
        self.propagation = NGCFPropagation(
            dim,
            layers,
            activations=chosen(activations, variant, faithful=2, corrected=1),
            bias=chosen(bias, variant, faithful=True, corrected=False),
            self_loop=kind == "symmetric",
            dropout=dropout,
            node_dropout=node_dropout,
        )

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """BPR and the squared L2 norm of what is regularised, halved, per row of the batch."""
        rows, users, positives, negatives = node_rows(batch, self.n_users)
        ego = torch.cat([self.users, self.items])
        z = self.propagation(self.graph, ego, rows)  # [R, (L + 1) d]
        user = z[users].unsqueeze(1)
        better = pair_scores(user, z[positives].unsqueeze(1))
        worse = pair_scores(user, z[negatives])
        return {
            "bpr": bpr_loss(better, worse),
            "reg": self.reg_weight * self._penalty(z, ego[rows], users, positives, negatives),
        }

    def vectors(self) -> tuple[Tensor, Tensor]:
        """Z of the users and of the items."""
        z = self.propagation(self.graph, torch.cat([self.users, self.items]))
        return z[: self.n_users], z[self.n_users :]

    def _penalty(
        self, z: Tensor, ego: Tensor, users: Tensor, positives: Tensor, negatives: Tensor
    ) -> Tensor:
        if self.regularised == "parameters":
            return torch.stack([0.5 * p.square().sum() for p in self.parameters()]).sum()
        chosen_rows = z if self.regularised == "outputs" else ego
        blocks = (chosen_rows[users], chosen_rows[positives], chosen_rows[negatives])
        return embedding_norm(*blocks, form="l2")
