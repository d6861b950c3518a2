"""What parts of `modular` share: the plan they are built from and the state they work on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from graphrec.data.train_view import TrainView
from graphrec.models.base import GraphModule

Noise = Callable[..., torch.Generator]


class Block(NamedTuple):
    """One stream's vectors before propagation: users [U, d], items [I, d]."""

    name: str
    users: Tensor
    items: Tensor


@dataclass(frozen=True)
class Plan:
    """What is known of the model when a part is built; later parts know more.

    Args:
        train: the training data.
        dim: d of every block before propagation.
        blocks: names of the streams' blocks.
        depth: outputs of the propagation that stand side by side; 1 where they are combined.
        width: of a user's and an item's final vector.
        branches: names of the branches in use.
    """

    train: TrainView
    dim: int
    blocks: tuple[str, ...] = ()
    depth: int = 1
    width: int = 0
    branches: tuple[str, ...] = ()


@dataclass
class State:
    """The vectors of a forward pass, from the streams to what is scored.

    Args:
        blocks: before propagation, by name.
        first_users, first_items: after fusion, without the branches.
        second: vectors of the branches, by side (`user`, `item`).
        users, items: what is scored, [U, width] and [I, width].
    """

    blocks: dict[str, Block]
    first_users: Tensor
    first_items: Tensor
    users: Tensor
    items: Tensor
    second: dict[str, Tensor] = field(default_factory=dict)


class Part(GraphModule):
    """Base of the parts: a module built from a `Plan` and keyword options."""

    owns_items: ClassVar[bool] = False
    """Has a learnt row for each item, which a new item lacks."""
    neighbourhood: Mapping[str, Any] = {}
    """By what graph a new item finds its nearest, where the part knows; see `Recommender`."""

    def begin_epoch(self, epoch: int, noise: Noise) -> None:
        """Resample graphs or advance schedules before epoch `epoch`, counted from 0."""
