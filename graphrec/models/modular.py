"""Modular: a recommender assembled from parts chosen by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import chain
from typing import Any, Literal

import torch
from torch import Tensor, nn

from graphrec.data.sampling import Batch, Sampling
from graphrec.data.train_view import Features, TrainView
from graphrec.models.base import Recommender
from graphrec.models.options import Count, Size
from graphrec.models.parts import Part, Plan, State, part_class, part_names
from graphrec.models.parts.composition import SPELT, Chosen, Several, complete_composition
from graphrec.models.presets import TRAINING
from graphrec.models.signature import config_class
from graphrec.models.validation import validated
from graphrec.nn.similarity import normalised
from modalities._base.errors import InputError


class Modular(Recommender):
    r"""A recommender assembled from registered parts.

    .. math::
        E^0 = [\text{streams}], \quad Z = \text{propagation}(E^0), \quad
        Z_{items} \leftarrow \text{item graph}(E^0_{items}, Z_{items}), \quad
        (u, i) = \text{fusion}(Z) + \text{norm}(\text{branches}), \quad
        L = \sum_t w_t L_t

    A preset says which parts, and every option given is laid over it, so that an ablation is one
    option: `model.preset=freedom model.losses.content=0`, or
    `model.preset=mmhcl model.branches.user_hypergraph=false model.losses.contrast_user=0`.
    The presets `lightgcn`, `freedom`, `mmhcl`, `cm3` and `lirdrec` compute what the models of
    those names compute.

    Where one part is chosen (`propagation`, `item_graph`, `fusion`), give its name, or a mapping
    of `name` and its options; `false` is the part `none`, which all but `fusion` have. Where
    several are (`streams`, `branches`, `losses`), give a mapping of names to options; `true` takes
    the defaults, `false` or 0 leaves a part out, and a number is the weight of a loss. A run's
    `config.yaml` spells the whole composition out: it starts from the preset `none`.

    Args:
        train: the training data.
        preset: the composition to start from; `none` has no parts.
        origin: the preset that a composition spelt out came from; for information.
        dim: d of each stream's block; None, here and below: as the preset says.
        streams: where vectors come from: `identity`, `modalities`, `joined`, `mixture`.
        propagation: on the user-item graph: `lightgcn`, `ngcf` or `none`.
        item_graph: `knn`, `cooccurrence`, `mixed` or `none`.
        fusion: of the blocks: `concat`, `sum`, `attention`, `user_weights`, `progressive`.
        branches: `user_hypergraph`, `item_hypergraph`.
        losses: terms and their weights: `bpr`, `softmax`, `alignment`, `uniform_users`,
            `uniform_items`, `calibrated_items`, `content`, `reg`, `mean_square`,
            `contrast_user`, `contrast_item`.
        score: inner product of the vectors (`dot`) or of their directions (`cosine`).
        epoch: an epoch goes over `interactions`, or draws `users`.
        negatives: per positive.
        pool: of the negatives: items of the training split, or `all`.

    Raises:
        InputError: a part that needs what the data or the composition lack, or contradicting
            choices; the message says what would do.

    Example:
        >>> train = TrainView.from_arrays([0, 1], [0, 1], n_users=2, n_items=3)
        >>> model = Modular(train, preset="lightgcn", dim=4, propagation={"layers": 1})
        >>> model.embeddings().items.shape, model.completed["propagation"]["readout"]
        (torch.Size([3, 4]), 'mean')
    """

    def __init__(
        self,
        train: TrainView,
        *,
        preset: str = "recommended",
        origin: str | None = None,
        dim: Size | None = None,
        streams: Several | None = None,
        propagation: Chosen | None = None,
        item_graph: Chosen | None = None,
        fusion: Chosen | None = None,
        branches: Several | None = None,
        losses: Several | None = None,
        score: Literal["dot", "cosine"] | None = None,
        epoch: Literal["interactions", "users"] | None = None,
        negatives: Count | None = None,
        pool: Literal["train_items", "all"] | None = None,
    ) -> None:
        arguments = locals()
        super().__init__(train)
        given = {name: arguments[name] for name in ("preset", "origin", *SPELT)}
        self.completed = chosen = self.complete_options(given)
        self.score_form = chosen["score"]
        sampling = {name: chosen[name] for name in ("epoch", "negatives", "pool")}
        self.sampling = Sampling(**sampling)  # type: ignore[misc]

        plan = Plan(train, chosen["dim"])
        self.streams = _several("stream", plan, chosen["streams"], "model.streams")
        plan = replace(plan, blocks=_distinct(chain.from_iterable(_read(self.streams, "names"))))
        self.propagation = _one("propagation", plan, chosen)
        plan = replace(plan, depth=int(self.propagation.depth))  # type: ignore[arg-type]
        self.item_graph = _one("item_graph", plan, chosen)
        self.fusion = _one("fusion", plan, chosen)
        plan = replace(plan, width=int(self.fusion.width))  # type: ignore[arg-type]
        on = [name for name, options in chosen["branches"].items() if options is not False]
        plan = replace(plan, branches=tuple(on))
        self.branches = _several("branch", plan, chosen["branches"])
        if len(set(_read(self.branches, "side"))) < len(self.branches):
            raise InputError(f"two of model.branches are of one side; use one: {', '.join(on)}")
        near = [part.neighbourhood for part in (self.item_graph, *self.branches)]
        self.neighbourhood = next(filter(None, near), {})
        self.terms = _several("loss", plan, chosen["losses"], "model.losses")
        if not any(_read(self.terms, "learns")):
            learning = [
                n for n in part_names("loss") if getattr(part_class("loss", n), "learns", 0)
            ]
            raise InputError(
                "none of model.losses learns from interactions; valid: "
                + ", ".join(learning)
                + " (and those of your own with `learns = True`)"
            )
        if not self.sampling.negatives and any(_read(self.terms, "needs_negatives")):
            raise InputError("a loss in use needs negatives; set model.negatives to 1 or more")
        self.n_blocks, self.depth = len(plan.blocks), plan.depth

    @classmethod
    def complete_options(cls, options: dict[str, Any]) -> dict[str, Any]:
        """Every part with all its options, from the preset and what is laid over it."""
        section = validated(config_class(cls), options, "model (modular)", "model.")
        given = {key: value for key, value in section.model_dump().items() if value is not None}
        return complete_composition(given)

    @classmethod
    def training_settings(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the preset was published with."""
        return TRAINING.get(options.get("origin") or options.get("preset", "recommended"), {})

    def begin_epoch(self, epoch: int) -> None:
        """Let every part begin."""
        for part in self.modules():
            if isinstance(part, Part):
                part.begin_epoch(epoch, self.noise)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Every term, weighted."""
        state = self.state(learning=True)
        return {
            name: term.weight * value
            for term in self.terms
            for name, value in term(state, batch).items()
        }

    def vectors(self) -> tuple[Tensor, Tensor]:
        """Final vectors, directions only where scores are cosines."""
        state = self.state(learning=False)
        if self.score_form == "cosine":
            return normalised(state.users), normalised(state.items)
        return state.users, state.items

    def represent_items(
        self, features: Mapping[str, Features], *, transductive: bool = False
    ) -> Tensor:
        """From content, as all items, where no item has a table of its own; else as neighbours."""
        if any(part.owns_items for part in self.modules() if isinstance(part, Part)):
            return super().represent_items(features, transductive=transductive)
        return self.through_content(features, transductive)

    def state(self, learning: bool) -> State:
        """The forward pass: streams, propagation, item graph, fusion, branches."""
        blocks = [block for stream in self.streams for block in stream(learning, self.seed)]
        ego = torch.cat([torch.cat([block.users, block.items]) for block in blocks], 1)
        z = self.propagation(ego, learning)
        users, items = z[: self.n_users], z[self.n_users :]
        items = self.item_graph(ego[self.n_users :], items)
        first: tuple[Tensor, Tensor] = self.fusion(self._split(users), self._split(items))
        sides = _read(self.branches, "side")
        second = {side: branch() for side, branch in zip(sides, self.branches)}
        users, items = (
            vectors + normalised(second[side]) if side in second else vectors
            for side, vectors in zip(("user", "item"), first)
        )
        return State({block.name: block for block in blocks}, *first, users, items, second)

    def _split(self, z: Tensor) -> list[Tensor]:
        """The blocks of propagated vectors: [n, depth * blocks * d] to blocks of [n, depth * d]."""
        if self.n_blocks == 1:
            return [z]
        shaped = z.view(len(z), self.depth, self.n_blocks, -1)
        return [shaped[:, :, number].flatten(1) for number in range(self.n_blocks)]


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    listed = list(names)
    for name in listed:
        if listed.count(name) > 1 or name == "features":
            raise InputError(
                f"a modality cannot be named '{name}' here, as a part of the model is; "
                "encode it under another name"
            )
    return tuple(listed)


def _read(parts: nn.ModuleList, attribute: str) -> list[Any]:
    return [getattr(part, attribute) for part in parts]


def _one(kind: str, plan: Plan, chosen: Mapping[str, Any]) -> Part:
    options = dict(chosen[kind])
    part = part_class(kind, options.pop("name"))
    return part(plan, **options)


def _several(
    kind: str, plan: Plan, chosen: Mapping[str, Any], needed: str | None = None
) -> nn.ModuleList:
    parts = [
        part_class(kind, name)(plan, **options)
        for name, options in chosen.items()
        if options is not False
    ]
    if needed and not parts:
        raise InputError(f"{needed} names no {kind} in use; valid: {', '.join(part_names(kind))}")
    return nn.ModuleList(parts)
