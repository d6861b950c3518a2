"""What a model sees: the training interactions and the item features, nothing held out."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeVar

import torch
from torch import Tensor

from modalities._base.errors import InputError, UnknownNameError
from modalities._base.files import locked
from modalities._base.identity import digest

if TYPE_CHECKING:
    from modalities import FeatureStore

Kind = Literal["image", "text", "audio", "joint", "other"]
_LOG = logging.getLogger("graphrec.graphs")
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Features:
    """One modality of all items.

    Args:
        values: float tensor [I, d]; absent rows are zero.
        present: bool tensor [I].
        kind: image, text, audio, joint or other.
        id: identity of encoder, inputs and transforms.
    """

    values: Tensor
    present: Tensor
    kind: Kind = "other"
    id: str = ""

    @classmethod
    def from_store(cls, store: FeatureStore) -> Features:
        """Read a feature store into memory as float32."""
        values = torch.from_numpy(store.values().astype("float32", copy=True))
        return cls(values, torch.from_numpy(store.present.copy()), store.modality, store.feature_id)

    @classmethod
    def from_tensor(cls, values: Tensor, kind: Kind = "other") -> Features:
        """Features of a plain tensor: all rows present, the id digests the values."""
        present = torch.ones(len(values), dtype=torch.bool)
        return cls(values.float(), present, kind, digest(values.float().cpu().numpy()))

    @property
    def dim(self) -> int:
        """Length of a row."""
        return int(self.values.shape[1])

    def joined(self, more: Features, name: str) -> Features:
        """These rows, then those of `more`, which are of the same modality `name`.

        Raises:
            InputError: rows of another length.
        """
        if more.dim != self.dim:
            raise InputError(
                f"new items have rows of length {more.dim} for '{name}', trained on {self.dim}; "
                "encode them with the same encoder"
            )
        values, present = (
            torch.cat([old, new.to(old)])
            for old, new in ((self.values, more.values), (self.present, more.present))
        )
        return replace(self, values=values, present=present, id=digest(self.id, more.id))

    def rows(self, items: Tensor) -> Features:
        """The features of some items only."""
        identity = digest(self.id, items.cpu().numpy())
        return replace(self, values=self.values[items], present=self.present[items], id=identity)


class _StoredFeatures(Mapping[str, Features]):
    """Feature stores read on first use."""

    def __init__(self, stores: Mapping[str, FeatureStore]) -> None:
        self._stores = dict(stores)
        self.read: dict[str, Features] = {}

    def __getitem__(self, name: str) -> Features:
        if name not in self._stores:
            raise UnknownNameError("modality", name, self._stores)
        if name not in self.read:
            self.read[name] = Features.from_store(self._stores[name])
        return self.read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._stores)

    def __len__(self) -> int:
        return len(self._stores)


@dataclass(frozen=True, eq=False)
class TrainView:
    """The training interactions as tensors, with everything a model may build on.

    Args:
        n_users: number of users U of the whole dataset.
        n_items: number of items I of the whole dataset, cold ones included.
        users: int64 tensor [E], user of each training interaction, in file order.
        items: int64 tensor [E].
        timestamps: int64 tensor [E] in seconds, or None.
        features: named modalities, in the order the model shall use them.
        id: identity of the interactions and the split.
        cache: folder for graphs built from this view, or None.
        n_known: items from this index on came after training, see `with_items`; None: none did.
        transductive: those may be neighbours of one another.

    Example:
        >>> view = TrainView.from_arrays([0, 0, 1], [1, 0, 1], n_users=2, n_items=3)
        >>> view.warm_items
        tensor([ True,  True, False])
        >>> view.edges
        (tensor([0, 0, 1]), tensor([0, 1, 1]))
    """

    n_users: int
    n_items: int
    users: Tensor
    items: Tensor
    timestamps: Tensor | None = None
    features: Mapping[str, Features] = field(default_factory=dict)
    item_texts: Sequence[str] = ()
    id: str = ""
    cache: Path | None = None
    n_known: int | None = None
    transductive: bool = False
    _graphs: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def from_arrays(
        cls,
        users: Sequence[int] | Tensor,
        items: Sequence[int] | Tensor,
        *,
        n_users: int,
        n_items: int,
        timestamps: Sequence[int] | Tensor | None = None,
        features: Mapping[str, Tensor | Features] | None = None,
    ) -> TrainView:
        """A view of plain arrays, for experiments in a REPL and for tests."""
        user_tensor = torch.as_tensor(users, dtype=torch.long)
        item_tensor = torch.as_tensor(items, dtype=torch.long)
        times = None if timestamps is None else torch.as_tensor(timestamps, dtype=torch.long)
        named = {
            name: Features.from_tensor(value) if isinstance(value, Tensor) else value
            for name, value in (features or {}).items()
        }
        identity = digest([n_users, n_items], user_tensor.numpy(), item_tensor.numpy())
        return cls(n_users, n_items, user_tensor, item_tensor, times, named, id=identity)

    @property
    def device(self) -> torch.device:
        """Where the interaction tensors lie."""
        return self.users.device

    def to(self, device: torch.device | str) -> TrainView:
        """The view with its interactions on `device`; features stay where they are."""
        target = torch.device(device)
        if target == self.device:
            return self
        times = None if self.timestamps is None else self.timestamps.to(target)
        moved = {"users": self.users.to(target), "items": self.items.to(target)}
        return replace(self, **moved, timestamps=times)  # type: ignore[arg-type]

    def using(self, names: Sequence[str]) -> TrainView:
        """The view with only the modalities `names`, in that order.

        Raises:
            UnknownNameError: a name the view has no features for.
        """
        for name in names:
            if name not in self.features:
                raise UnknownNameError("modality", name, self.features)
        return replace(self, features=_Chosen(self.features, tuple(names)))

    def with_items(
        self, features: Mapping[str, Features], *, transductive: bool = False
    ) -> TrainView:
        """The view with items at its end that came after training.

        They have no interactions. In item-item graphs they have neighbours among the items known
        before, and are nobody's; what the known items have does not change.

        Args:
            features: of the new items, rows [N], for each modality of the view.
            transductive: let new items be neighbours of one another, too.

        Raises:
            InputError: a modality is absent or of another length.
        """
        n_new = {len(one.values) for one in features.values()}
        if set(features) != set(self.features) or len(n_new) != 1:
            raise InputError(
                "new items need as many rows of each modality the model was trained with "
                f"({', '.join(self.features)}), got "
                + (", ".join(f"{n} {len(f.values)}" for n, f in features.items()) or "none")
            )
        joined = {name: known.joined(features[name], name) for name, known in self.features.items()}
        identity = digest(self.id, transductive, {name: one.id for name, one in joined.items()})
        return replace(
            self,
            n_items=self.n_items + n_new.pop(),
            features=joined,
            id=identity,
            n_known=self.n_items,
            transductive=transductive,
            cache=None,
            _graphs={},
        )

    @cached_property
    def edges(self) -> tuple[Tensor, Tensor]:
        """Distinct (user, item) pairs ordered by user, then item: two int64 tensors."""
        keys = torch.unique(self.users * self.n_items + self.items)
        return keys // self.n_items, keys % self.n_items

    @cached_property
    def user_items(self) -> tuple[Tensor, Tensor]:
        """CSR of each user's distinct training items: indptr [U + 1] and ascending items."""
        users, items = self.edges
        counts = torch.bincount(users, minlength=self.n_users)
        indptr = torch.zeros(self.n_users + 1, dtype=torch.long, device=self.device)
        indptr[1:] = counts.cumsum(0)
        return indptr, items

    @cached_property
    def item_counts(self) -> Tensor:
        """Training interactions per item, int64 [I]."""
        return torch.bincount(self.items, minlength=self.n_items)

    @cached_property
    def warm_items(self) -> Tensor:
        """True for items with a training interaction, bool [I]."""
        return self.item_counts > 0

    @cached_property
    def items_by_time(self) -> tuple[Tensor, Tensor]:
        """CSR of each user's training items in time order (file order without timestamps)."""
        order = torch.arange(len(self.users), device=self.device)
        if self.timestamps is not None:
            order = torch.argsort(self.timestamps, stable=True)
        order = order[torch.argsort(self.users[order], stable=True)]
        counts = torch.bincount(self.users, minlength=self.n_users)
        indptr = torch.zeros(self.n_users + 1, dtype=torch.long, device=self.device)
        indptr[1:] = counts.cumsum(0)
        return indptr, self.items[order]

    def graph(
        self,
        builder: Callable[Concatenate[TrainView, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """The graph `builder(self, ...)` makes, remembered in memory and in the cache folder.

        The key holds the builder, its arguments, the format version and the identities of what
        it reads, so another encoder, split or option can never meet an old graph.
        """
        key = digest(
            getattr(builder, "__module__", ""),
            getattr(builder, "__qualname__", ""),
            getattr(builder, "version", 0),
            _arguments(builder, self, *args, **kwargs),
            self._inputs(builder),
        )
        if key not in self._graphs:
            self._graphs[key] = self._build(builder, key, *args, **kwargs)
        result: T = self._graphs[key]
        return result

    def _inputs(self, builder: Callable[..., object]) -> list[Any]:
        reads = getattr(builder, "reads", ("interactions", "features"))
        inputs: list[Any] = [self.n_users, self.n_items]
        if self.n_known is not None:
            inputs += [self.n_known, self.transductive]
        if "interactions" in reads:
            inputs.append(self.id)
        if "features" in reads:
            inputs.append({name: self.features[name].id for name in self.features})
        return inputs

    def _build(self, builder: Any, key: str, *args: Any, **kwargs: Any) -> Any:
        load, path = getattr(builder, "load", None), self._cache_path(builder, key)
        if load is None or path is None:
            return self._built(builder, *args, **kwargs)
        if (known := self._read(load, path)) is not None:
            return known
        with ExitStack() as stack:
            with suppress(OSError):  # a cache that cannot be written is only slower
                stack.enter_context(locked(path.with_suffix(".lock")))
            if (known := self._read(load, path)) is not None:  # another process made it meanwhile
                return known
            graph = self._built(builder, *args, **kwargs)
            with suppress(OSError):
                graph.save(path)
        return graph

    def _built(self, builder: Any, *args: Any, **kwargs: Any) -> Any:
        graph = builder(self, *args, **kwargs)
        _LOG.info("graph built: %s", getattr(builder, "__name__", builder))
        return graph

    def _read(self, load: Callable[[Path], Any], path: Path) -> Any:
        if not path.is_file():
            return None
        with suppress(InputError):  # a damaged file is built again
            graph = load(path)
            _LOG.info("graph read: %s", path.stem.partition("-")[0])
            return graph
        return None

    def _cache_path(self, builder: Any, key: str) -> Path | None:
        return self.cache / f"{builder.__name__}-{key}.safetensors" if self.cache else None


def _arguments(builder: Callable[..., Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
    """What a builder is called with besides the data, by name, defaults included."""
    bound = inspect.signature(builder).bind(*args, **kwargs)
    bound.apply_defaults()
    return dict(list(bound.arguments.items())[1:])


class _Chosen(Mapping[str, Features]):
    """A subset of a feature mapping, still read on first use."""

    def __init__(self, features: Mapping[str, Features], names: tuple[str, ...]) -> None:
        self._features, self._names = features, names

    def __getitem__(self, name: str) -> Features:
        if name not in self._names:
            raise UnknownNameError("modality", name, self._names)
        return self._features[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def features_read(train: TrainView) -> set[str]:
    """Names of the modalities whose values have been asked for, by a model or a graph."""
    features = train.features
    return set(features.read if isinstance(features, _StoredFeatures) else features)


def stored_features(stores: Mapping[str, FeatureStore]) -> Mapping[str, Features]:
    """Features of several stores, each read when first asked for."""
    return _StoredFeatures(stores)
