"""What every model is: built from training data, a loss per batch, vectors or a ranking."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from graphrec.data.randomness import generator
from graphrec.data.sampling import Batch, Sampling
from graphrec.data.train_view import Features, TrainView
from graphrec.graphs.graph import Graph
from graphrec.graphs.knn import Ties, mixed_knn_graph, modality_shares
from graphrec.models.signature import check_options
from graphrec.nn.ranking import Ranker, SeenItems, TopK, VectorRanker, topk_scores
from graphrec.nn.similarity import all_scores
from modalities._base.errors import InputError

if TYPE_CHECKING:
    from typing_extensions import Self


class NotInductiveError(TypeError):
    """The model has no vector for an item or user it was not trained on."""


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Final vectors; the score of user u and item i is their inner product.

    Args:
        users: [U, d].
        items: [I, d].
    """

    users: Tensor
    items: Tensor


class GraphModule(nn.Module):
    """A module that may hold graphs, which follow it to another device or type."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, value in vars(self).items():
            if isinstance(value, Graph):
                setattr(self, name, value.apply(fn))
        return self


class Recommender(GraphModule):
    """Base of all models.

    A subclass takes the training data and typed keyword arguments, which are its whole
    configuration, and defines `loss` and `vectors` (or `score`, with `factorised = False`).
    It never names a device: tensors follow the module.

    Args:
        train: the training data; the model keeps the sizes, its graphs and its tables.
        seed: of the model's own noise; see `noise`.
    """

    sampling: ClassVar[Sampling] = Sampling()
    factorised: ClassVar[bool] = True
    trainable: ClassVar[bool] = True
    transferable: ClassVar[bool] = False
    """No parameter belongs to a user or an item, so other data can be scored untrained."""
    reference: ClassVar[Mapping[str, Any] | None] = None
    """Options with which the model computes what the published code does; None: there is none."""
    training_defaults: ClassVar[Mapping[str, Any]] = {}
    """Settings of `training` the model was published with, used where none are given."""

    @classmethod
    def complete_options(cls, options: dict[str, Any]) -> dict[str, Any]:
        """The options with everything spelt out that they stand for; recorded with a run."""
        return options

    @classmethod
    def training_settings(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """`training_defaults`, where they depend on the model's options."""
        return cls.training_defaults

    _options: dict[str, Any]

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """Check and remember the options: a model can be made again on a larger catalogue."""
        check_options(cls, options)
        model = super().__new__(cls)
        object.__setattr__(model, "_options", options)
        return model

    def __init__(self, train: TrainView) -> None:
        super().__init__()
        self.view = train
        self.neighbourhood: dict[str, Any] = {}
        """`k`, `modality_weights` and `ties` of `graphrec.graphs.mixed_knn_graph` by which a new
        item finds its nearest; default: k = 10, the default weights."""
        self.n_users = train.n_users
        self.n_items = train.n_items
        self.seed = 0
        self.register_buffer("_place", torch.empty(0), persistent=False)

    @property
    def device(self) -> torch.device:
        """Where the model lies."""
        place: Tensor = self._place  # type: ignore[assignment]
        return place.device

    def begin_epoch(self, epoch: int) -> None:
        """Resample graphs or advance schedules before epoch `epoch`, counted from 0."""

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Named loss terms, already weighted; the objective is their sum."""
        raise NotImplementedError(f"{type(self).__name__} is not trained by gradients")

    def vectors(self) -> tuple[Tensor, Tensor]:
        """Final user [U, d] and item [I, d] vectors, differentiable, inference form."""
        raise NotImplementedError(f"{type(self).__name__} has no vectors")

    @torch.no_grad()
    def embeddings(self) -> Embeddings:
        """Final vectors in evaluation mode, without gradients, deterministic."""
        was_training = self.training
        self.eval()
        try:
            users, items = self.vectors()
        finally:
            self.train(was_training)
        return Embeddings(users.detach(), items.detach())

    def score(self, users: Tensor, items: Tensor | None = None) -> Tensor:
        """Scores of `users` [B] for `items` [n] (default: all): [B, n]."""
        vectors = self.embeddings()
        chosen = vectors.items if items is None else vectors.items[items]
        return all_scores(vectors.users[users], chosen)

    @torch.no_grad()
    def topk(self, users: Tensor, k: int, exclude: SeenItems | None = None) -> TopK:
        """The k best items of each of `users` [B], best first, ties by item index."""
        scores = self.score(users)
        if exclude is not None:
            scores = exclude.mask_(scores, users)
        return topk_scores(scores, k)

    def represent_items(
        self, features: Mapping[str, Features], *, transductive: bool = False
    ) -> Tensor:
        """Vectors of items that were not there in training, from their features.

        Unless a model knows better, a new item without an identity is the mean of the items whose
        content is nearest, see `neighbourhood`.

        Args:
            features: rows [N] of every modality the model was trained with.
            transductive: new items may be neighbours of one another in item graphs; otherwise
                their neighbours are items of the training data only.

        Returns:
            [N, d].

        Raises:
            NotInductiveError: the model has no learnt vectors, or was trained without content.
            InputError: a modality is absent or of another kind of rows.
        """
        name = type(self).__name__
        if not (self.factorised and self.trainable):
            raise NotInductiveError(f"{name} has no learnt vectors to place new items among")
        if not self.view.features:
            raise NotInductiveError(
                f"{name} was trained without features, by which new items are placed"
            )
        return self.through_neighbours(features, transductive)

    @torch.no_grad()
    def represent_users(self, histories: SeenItems) -> Tensor:
        """Vectors of users that were not there in training, from the items they had.

        Unless a model knows better, a user without an identity is the mean of their items.

        Args:
            histories: items of each of N users.

        Returns:
            [N, d]; zero for a user without items.

        Raises:
            NotInductiveError: the model has no vectors.
        """
        if not self.factorised:
            raise NotInductiveError(f"{type(self).__name__} has no vectors of users")
        return histories.mean_of(self.embeddings().items)

    def rank_users(self, histories: SeenItems) -> Ranker:
        """What ranks for users that were not there in training; row n is user n.

        Raises:
            NotInductiveError: the model cannot.
        """
        return VectorRanker(self.represent_users(histories), self.embeddings().items)

    def through_content(self, features: Mapping[str, Features], transductive: bool) -> Tensor:
        """New items on the path of all others: the same parameters over the larger catalogue.

        Where a parameter has a row for each item, a new one has zeros: no identity of its own.
        """
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            view = self.view.with_items(features, transductive=transductive)
            larger = type(self)(view, **self._options).to(self.device)
            larger.seed = self.seed
            grown = dict(larger.named_parameters())
            state = larger.state_dict()
            for name, value in self.state_dict().items():
                if isinstance(value, Tensor) and value.shape != state[name].shape:
                    rows = torch.zeros_like(state[name]) if name in grown else state[name].clone()
                    rows[: len(value)] = value
                    value = rows
                state[name] = value
            larger.load_state_dict(state)
            return larger.embeddings().items[self.n_items :]

    def through_neighbours(self, features: Mapping[str, Features], transductive: bool) -> Tensor:
        """Mean vectors of the nearest items, as `neighbourhood` says.

        An item without content is zero. With `transductive`, new items that are neighbours count
        with the vectors that the known items give them.
        """
        shares = modality_shares(self.view, None)
        graph = {"k": min(10, self.n_items), "modality_weights": shares, **self.neighbourhood}
        with torch.no_grad():
            known = self.embeddings().items
            blank = known.new_zeros(len(next(iter(features.values())).values), known.shape[1])
            vectors = torch.cat([known, blank])
            for among_new in (False, True) if transductive else (False,):
                view = self.view.with_items(features, transductive=among_new)
                near = mixed_knn_graph(view, include_self=False, norm="row", **graph)
                vectors = torch.cat([known, (near.to(self.device) @ vectors)[self.n_items :]])
            return vectors[self.n_items :]

    def noise(self, name: str, *counters: int) -> torch.Generator:
        """A generator for the model's own randomness, replayable from (seed, name, counters)."""
        return generator(self.seed, f"model {name}", *counters, device=self.device)


def node_rows(batch: Batch, n_users: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The distinct graph nodes of a batch, and where each of its members lies among them.

    Nodes are the users, then the items. Returns (nodes [R], users [B], positives [B],
    negatives [B, n]), the last three as places in `nodes`.

    Example:
        >>> batch = Batch(torch.tensor([1]), torch.tensor([0]), torch.tensor([[2]]))
        >>> nodes, users, positives, negatives = node_rows(batch, n_users=2)
        >>> nodes, positives
        (tensor([1, 2, 4]), tensor([1]))
    """
    if batch.negatives is None:
        raise ValueError("the batch has no negatives; declare Sampling(negatives=1) or more")
    size = len(batch)
    members = [batch.users, batch.positives + n_users, batch.negatives.flatten() + n_users]
    nodes, places = torch.unique(torch.cat(members), return_inverse=True)
    negatives = places[2 * size :].view(size, -1)
    return nodes, places[:size], places[size : 2 * size], negatives


class NoFeaturesError(InputError):
    """A model or part needs item features, and none are in use.

    Args:
        needing: the model or part.
        unused: modalities that the data have and `features.use` leaves out.
    """

    def __init__(self, needing: str, unused: Sequence[str] = ()) -> None:
        self.needing = needing
        names = ", ".join(unused)
        super().__init__(
            f"{needing} needs item features and features.use names none; valid: {names}"
            if unused
            else f"{needing} needs item features and these data have none; add a modality, "
            "see 'graphrec encode --help'"
        )


def neighbourhood(k: int, weights: Mapping[str, float], ties: Ties) -> dict[str, Any]:
    """`Recommender.neighbourhood` of a graph of k neighbours, the item itself being one of them."""
    return {"k": max(k - 1, 1), "modality_weights": weights, "ties": ties}


def require_features(train: TrainView, model: str) -> None:
    """Raise `NoFeaturesError` unless the training data have item features."""
    if not train.features:
        raise NoFeaturesError(model)


def embedding_table(rows: int, dim: int, *, init: str = "xavier_uniform") -> nn.Parameter:
    """A trainable [rows, dim] table: `xavier_uniform`, `xavier_normal`, or `normal` (std 0.1)."""
    table = torch.empty(rows, dim)
    if init == "xavier_uniform":
        nn.init.xavier_uniform_(table)
    elif init == "xavier_normal":
        nn.init.xavier_normal_(table)
    elif init == "normal":
        nn.init.normal_(table, std=0.1)
    else:
        raise ValueError(f"init is xavier_uniform, xavier_normal or normal, got {init!r}")
    return nn.Parameter(table)
