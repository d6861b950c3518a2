"""AlphaRec: no identities, a small network on frozen features, propagated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from graphrec.data.sampling import Batch, Sampling
from graphrec.data.train_view import Features, TrainView
from graphrec.graphs.bipartite import user_item_graph
from graphrec.graphs.history import history_graph
from graphrec.models.base import Recommender, node_rows, require_features
from graphrec.models.options import Depth, Size, Temperature
from graphrec.nn.contrast import sampled_softmax
from graphrec.nn.projection import JoinedFeatures
from graphrec.nn.propagation import propagate
from graphrec.nn.ranking import SeenItems
from graphrec.nn.similarity import chosen_scores, normalised, pair_scores
from modalities._base.errors import InputError

UserMean = Literal["all", "leave_one_out"]

_PARAMETERS = 4.8e6


class AlphaRec(Recommender):
    r"""AlphaRec.

    .. math::
        x_u = \text{mean}_{i \in N_u} x_i, \quad Z^0 = W_2 f(W_1 x + b_1) + b_2, \quad
        Z = \text{mean}_l \hat{A}^l Z^0, \quad s(u,i) = \cos(z_u, z_i)

        L = -\text{mean} \log \frac{e^{s(u,i)/\tau}}{e^{s(u,i)/\tau} + \sum_j e^{s(u,j)/\tau}}

    f is a LeakyReLU of slope 0.01. Nothing belongs to a single user or item. The mean and W_1
    commute, so users cost one sparse product instead of a dense layer.

    Because nothing does, a trained network serves other data with features of the same encoder:
    `graphrec evaluate RUN --data OTHER`.

    Traps: a training user's x_u holds the very item to be predicted, as published; the published
    figures were selected on test. Features of one modality are taken as they are; of several,
    each is normalised before they are joined.

    Source: Language Representations Can be What Recommenders Need: Findings and Potentials, 2025,
    arXiv 2407.05441.

    Args:
        train: training interactions and at least one modality.
        dim: length of the vectors.
        layers: L.
        hidden: h, width of the mlp; None: min(2048, 4.8e6 / (d + 64)), which keeps the
            number of parameters alike for encoders of different d.
        network: `mlp`, or one `linear` layer without bias.
        temperature: tau. Published between 0.15 and 0.2.
        negatives: per positive.
        user_mean: x_u in training is the mean over `all` of a user's items, as published, or with
            `leave_one_out` the mean without the pair's item, in the term of layer 0 of z_u (a user
            who has nothing else contributes 0 there).

    Raises:
        InputError: the training data have no features, or `hidden` is given for a `linear` network.

    Example:
        >>> features = {"text": torch.eye(3)}
        >>> train = TrainView.from_arrays([0, 1], [0, 1], n_users=2, n_items=3, features=features)
        >>> AlphaRec(train, dim=4).embeddings().items.shape
        torch.Size([3, 4])
    """

    reference: ClassVar[Mapping[str, Any] | None] = {"user_mean": "all"}
    transferable: ClassVar[bool] = True
    training_defaults: ClassVar[Mapping[str, Any]] = {
        "lr": 5e-4,
        "batch_size": 4096,
        "epochs": 500,
        "eval_every": 5,
    }

    def __init__(
        self,
        train: TrainView,
        *,
        dim: Size = 64,
        layers: Depth = 2,
        hidden: Size | None = None,
        network: Literal["mlp", "linear"] = "mlp",
        temperature: Temperature = 0.15,
        negatives: Size = 256,
        user_mean: UserMean = "all",
    ) -> None:
        super().__init__(train)
        self.complete_options({"network": network, "hidden": hidden})
        require_features(train, "AlphaRec")
        self.layers, self.temperature, self.user_mean = layers, temperature, user_mean
        self.sampling = Sampling(epoch="users", negatives=negatives, pool="all")  # type: ignore[misc]
        self.graph = train.graph(user_item_graph)
        self.history = train.graph(history_graph)

        several = len(train.features) > 1
        self.features = JoinedFeatures(
            train.features.values(), transform="l2" if several else "none"
        )
        width = self.features.dim
        if network == "linear":
            self.first, self.second = nn.Linear(width, dim, bias=False), None
        else:
            wide = hidden or min(2048, max(1, int(_PARAMETERS / (width + 64))))
            self.first, self.second = nn.Linear(width, wide), nn.Linear(wide, dim)

    @classmethod
    def complete_options(cls, options: dict[str, Any]) -> dict[str, Any]:
        """The options as they are; a width of a network that has none is refused."""
        hidden = options.get("hidden")
        if options.get("network") == "linear" and hidden is not None:
            raise InputError(
                f"model.network=linear has one layer, so model.hidden={hidden} would change "
                "nothing; leave model.hidden out (null) or use model.network=mlp"
            )
        return options

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Each positive against its negatives, by cosine."""
        rows, users, positives, negatives = node_rows(batch, self.n_users)
        first = self._first()
        start = self._second(*first)
        z = propagate(self.graph, start, self.layers, rows)
        user = z[users]
        if self.user_mean == "leave_one_out":
            user = user + (self._without(batch, *first) - start[batch.users]) / (self.layers + 1)
        z, user = normalised(z), normalised(user)
        good = pair_scores(user, z[positives])
        bad = chosen_scores(user, z, negatives)
        return {"softmax": sampled_softmax(good, bad, self.temperature)}

    def vectors(self) -> tuple[Tensor, Tensor]:
        """Unit vectors of the users and of the items."""
        z = normalised(propagate(self.graph, self._second(*self._first()), self.layers))
        return z[: self.n_users], z[self.n_users :]

    def represent_items(
        self, features: Mapping[str, Features], *, transductive: bool = False
    ) -> Tensor:
        """From content, as all items."""
        return self.through_content(features, transductive)

    @torch.no_grad()
    def represent_users(self, histories: SeenItems) -> Tensor:
        r"""As all users, next to items that stay as they are: the content of layer 0, then layers.

        .. math::
            z_u = \text{mean}(Z^0_u, \, |N_u|^{-1/2} \sum_{i \in N_u} d_i^{-1/2} Z^l_i
            \text{ for } l < L)
        """
        layer, known = self._first()
        share = histories.mean_of(self.features.present.float().unsqueeze(1))
        mean = histories.mean_of(layer[self.n_users :]) / share.clamp_min(1e-12)
        start = self._second(mean, share.squeeze(1) > 0)
        if not self.layers:
            return normalised(start)
        known_start = self._second(layer, known)
        z = propagate(self.graph, known_start, self.layers - 1, readout="sum")[self.n_users :]
        degrees = self.view.edges[1].bincount(minlength=self.n_items).clamp_min(1).to(z.device)
        count = histories.indptr.diff().to(z.device)
        near = histories.mean_of(z * degrees.rsqrt().unsqueeze(1)) * count.sqrt().unsqueeze(1)
        return normalised(start + near)

    def _first(self) -> tuple[Tensor, Tensor]:
        """W_1 x of users, then items, and who has content; the bias comes after users' means."""
        items = self.features.table @ self.first.weight.T  # [I, h]
        known = torch.cat([self.history.degrees > 0, self.features.present])
        return torch.cat([self.history @ items, items]), known

    def _second(self, layer: Tensor, known: Tensor) -> Tensor:
        """Z^0; zero where there is no content."""
        if self.first.bias is not None:
            layer = layer + self.first.bias
        if self.second is not None:
            layer = self.second(leaky_relu(layer, 0.01))
        return torch.where(known.unsqueeze(1), layer, 0.0)

    def _without(self, batch: Batch, layer: Tensor, known: Tensor) -> Tensor:
        """Z^0 of each pair's user without its item, [B, dim]."""
        user, item = layer[batch.users], layer[batch.positives + self.n_users]
        n = self.history.degrees[batch.users]
        gone = self.features.present[batch.positives]
        rest = (n.unsqueeze(1) * user - item) / (n - 1).clamp_min(1).unsqueeze(1)
        left = torch.where(gone.unsqueeze(1), rest, user)
        return self._second(left, known[batch.users] & (n > gone.long()))
