"""Streams: where users' and items' vectors before propagation come from."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn

from graphrec.data.train_view import Features
from graphrec.graphs.history import history_graph
from graphrec.models.base import embedding_table, require_features
from graphrec.models.options import Concentration, Init, Size
from graphrec.models.parts.base import Block, Part, Plan
from graphrec.models.parts.registry import register_part
from graphrec.nn.fusion import EvalMix, SphericalMixture
from graphrec.nn.projection import ContentNetwork, JoinedFeatures, RowTransform
from graphrec.nn.similarity import normalised
from modalities._base.errors import InputError, UnknownNameError

Projection = Literal["linear", "mlp"]
UserSide = Literal["table", "history"]


class Stream(Part):
    """Base: names its blocks when built, and makes them.

    Args:
        plan: the model so far.
    """

    names: tuple[str, ...]

    def forward(self, learning: bool, seed: int) -> list[Block]:
        """The blocks.

        Args:
            learning: this is a training step, not an evaluation.
            seed: of draws that evaluation makes.
        """
        raise NotImplementedError


@register_part("stream", "identity")
class Identity(Stream):
    """A free vector of every user and every item.

    Args:
        plan: the model so far.
        init: of both tables.
    """

    owns_items: ClassVar[bool] = True

    def __init__(self, plan: Plan, *, init: Init = "xavier_uniform") -> None:
        super().__init__()
        self.names = ("identity",)
        self.users = embedding_table(plan.train.n_users, plan.dim, init=init)
        self.items = embedding_table(plan.train.n_items, plan.dim, init=init)

    def forward(self, learning: bool, seed: int) -> list[Block]:
        """The tables."""
        return [Block("identity", self.users, self.items)]


class ContentStream(Stream):
    """Base of streams whose items come from content: the user side, and unit rows.

    Args:
        plan: the model so far.
        names: of the blocks.
        users: a free `table` per block, or the mean of the items of a user's `history`.
        normalise: scale users' and items' rows to length 1.
    """

    def __init__(
        self, plan: Plan, names: tuple[str, ...], users: UserSide, normalise: bool
    ) -> None:
        super().__init__()
        self.names, self.normalise = names, normalise
        self.history = plan.train.graph(history_graph) if users == "history" else None
        self.users = nn.ParameterList(
            embedding_table(plan.train.n_users, plan.dim, init="xavier_normal")
            for _ in (names if users == "table" else ())
        )

    def forward(self, learning: bool, seed: int) -> list[Block]:
        """A block for each of the item vectors."""
        made = self.items(learning, seed)
        return [
            self._block(n, name, items) for n, (name, items) in enumerate(zip(self.names, made))
        ]

    def items(self, learning: bool, seed: int) -> list[Tensor]:
        """Item vectors [I, d], one for each block."""
        raise NotImplementedError

    def _block(self, number: int, name: str, items: Tensor) -> Block:
        users = self.users[number] if self.history is None else self.history @ items
        if self.normalise:
            users, items = normalised(users), normalised(items)
        return Block(name, users, items)


@register_part("stream", "modalities")
class Modalities(ContentStream):
    """A block for each modality: its features through a network of their own.

    Args:
        plan: the model so far.
        use: names of modalities; None: all.
        projection: one `linear` layer, or an `mlp` of two.
        hidden: width of the mlp.
        users: a free `table` per block, or the mean of the items of a user's `history`.
        normalise: scale rows to length 1.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        use: list[str] | None = None,
        projection: Projection = "mlp",
        hidden: Size = 256,
        users: UserSide = "table",
        normalise: bool = True,
    ) -> None:
        require_features(plan.train, "stream 'modalities'")
        given = chosen_features(plan, use)
        super().__init__(plan, tuple(given), users, normalise)
        self.networks = nn.ModuleList(
            _network(one.values, one.present, plan.dim, projection, hidden)
            for one in given.values()
        )

    def items(self, learning: bool, seed: int) -> list[Tensor]:
        """Every network's rows."""
        return [network() for network in self.networks]


@register_part("stream", "joined")
class Joined(ContentStream):
    """One block: the features of all modalities side by side, through one network.

    Args:
        plan: the model so far.
        transform: of each modality's rows first: `none`, `l2`, or `dct_rows` as in LIRDRec.
        projection: one `linear` layer, or an `mlp` of two.
        hidden: width of the mlp.
        users: a free `table`, or the mean of the items of a user's `history`.
        normalise: scale rows to length 1.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        transform: RowTransform = "none",
        projection: Projection = "mlp",
        hidden: Size = 256,
        users: UserSide = "table",
        normalise: bool = True,
    ) -> None:
        require_features(plan.train, "stream 'joined'")
        super().__init__(plan, ("joined",), users, normalise)
        joined = JoinedFeatures(plan.train.features.values(), transform=transform)
        self.network = _network(joined.table, joined.present, plan.dim, projection, hidden)

    def items(self, learning: bool, seed: int) -> list[Tensor]:
        """The network's rows."""
        return [self.network()]


@register_part("stream", "mixture")
class Mixture(ContentStream):
    """One block: the modalities mixed on the sphere, as in CM3.

    Args:
        plan: the model so far.
        alpha: places are drawn from Beta(alpha, alpha) at every step.
        eval_mix: see `graphrec.models.cm3.CM3`.
        users: a free `table`, or the mean of the items of a user's `history`.
        normalise: scale rows to length 1.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        alpha: Concentration = 0.5,
        eval_mix: EvalMix = "mean",
        users: UserSide = "table",
        normalise: bool = True,
    ) -> None:
        require_features(plan.train, "stream 'mixture'")
        super().__init__(plan, ("mixture",), users, normalise)
        self.eval_mix: EvalMix = eval_mix
        self.mixture = SphericalMixture(plan.train.features.values(), plan.dim, alpha)

    def items(self, learning: bool, seed: int) -> list[Tensor]:
        """The mixtures, at new places while learning."""
        mixture = self.mixture
        return [mixture(mixture.draw() if learning else mixture.place(self.eval_mix, seed))]


def chosen_features(plan: Plan, use: list[str] | None) -> dict[str, Features]:
    """The modalities named, or all.

    Raises:
        UnknownNameError: one that the data do not have.
        InputError: none, or one twice.
    """
    if use is not None and (not use or len(set(use)) < len(use)):
        raise InputError(f"model.streams.modalities.use must name modalities, once each; got {use}")
    for name in use or ():
        if name not in plan.train.features:
            raise UnknownNameError("modality", name, plan.train.features)
    return {name: plan.train.features[name] for name in (use or plan.train.features)}


def _network(
    x: Tensor, present: Tensor, dim: int, projection: Projection, hidden: int
) -> ContentNetwork:
    return ContentNetwork(x, present, dim, hidden=hidden if projection == "mlp" else None)
