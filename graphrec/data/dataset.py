"""The immutable dataset: interactions, split, item table and feature stores, saved as a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from graphrec.data.splits import COLD_METHODS, TRAIN, Split, check_split_options, make_split
from graphrec.data.train_view import TrainView, stored_features
from modalities import FeatureStore
from modalities._base.errors import InputError, UnknownNameError
from modalities._base.files import (
    atomic_file,
    atomic_folder,
    link_or_copy,
    read_manifest,
    write_json,
)
from modalities._base.identity import digest

FORMAT = "graphrec.dataset"
VERSION = 1
NOT_CONTENT = ("item_id", "price")


@dataclass(frozen=True, eq=False)
class Interactions:
    """User-item events with contiguous ids, in file order.

    Args:
        users: int32 [E].
        items: int32 [E].
        ratings: float32 [E], or None.
        timestamps: int64 [E], seconds since 1970, or None.
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    ratings: NDArray[np.float32] | None = None
    timestamps: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.users)

    def frame(self) -> pl.DataFrame:
        """A table with the columns user, item and, where known, rating and timestamp."""
        columns = {"user": self.users, "item": self.items}
        optional = {"rating": self.ratings, "timestamp": self.timestamps}
        known = {name: values for name, values in optional.items() if values is not None}
        return pl.DataFrame({**columns, **known})

    @classmethod
    def from_frame(cls, frame: pl.DataFrame) -> Interactions:
        """The inverse of `frame`."""

        def column(name: str, dtype: Any) -> Any:
            return frame[name].to_numpy().astype(dtype) if name in frame.columns else None

        return cls(
            column("user", np.int32),
            column("item", np.int32),
            column("rating", np.float32),
            column("timestamp", np.int64),
        )


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Everything downstream code takes: nothing after this reads raw files.

    Three identities are kept apart: `data_id` (interactions and id maps), `split_id` (labels and
    split spec) and one `feature_id` per modality. Adding a modality changes no other identity.

    Args:
        name: for people.
        interactions: contiguous ids.
        split: one label per interaction.
        user_ids: external id of each user, length U.
        item_ids: external id of each item, length I.
        items: one row per item in index order: `item_id`, the text columns of the source, and
            `images`, a list of picture paths.
        features: one store per named modality, rows in item order.
        notes: what was read, dropped and why; JSON values.
        path: the folder it was read from, or None. A folder written by graphrec also keeps the
            graphs built from it, under `cache/`.
    """

    name: str
    interactions: Interactions
    split: Split
    user_ids: Sequence[str]
    item_ids: Sequence[str]
    items: pl.DataFrame
    features: Mapping[str, FeatureStore] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None

    def __post_init__(self) -> None:
        n_items = len(self.item_ids)
        if len(self.split.labels) != len(self.interactions):
            raise InputError(
                f"the split labels {len(self.split.labels)} interactions, "
                f"the dataset has {len(self.interactions)}"
            )
        for name, store in self.features.items():
            if len(store) != n_items:
                raise InputError(
                    f"features '{name}' have {len(store)} rows, the dataset has {n_items} items; "
                    "give one row per item, in item order"
                )

    @property
    def n_users(self) -> int:
        """Number of users U."""
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        """Number of items I."""
        return len(self.item_ids)

    @cached_property
    def data_id(self) -> str:
        """Identity of the interactions and the id maps."""
        events = self.interactions
        optional = [a for a in (events.ratings, events.timestamps) if a is not None]
        kinds = [events.ratings is not None, events.timestamps is not None]
        maps = ["\n".join(self.user_ids).encode(), "\n".join(self.item_ids).encode()]
        return digest(kinds, *maps, events.users, events.items, *optional)

    @property
    def split_id(self) -> str:
        """Identity of the labels and the split spec."""
        return self.split.split_id

    @property
    def feature_ids(self) -> dict[str, str]:
        """Identity of each modality."""
        return {name: store.feature_id for name, store in self.features.items()}

    @cached_property
    def cold(self) -> ColdStart | None:
        """Who is withheld from training by a cold-start split; None under any other."""
        return ColdStart.of(self) if self.split.spec.get("method") in COLD_METHODS else None

    @property
    def warm(self) -> Dataset:
        """The part that training sees: without cold items and users, which have no index there."""
        return self.cold.warm if self.cold else self

    @cached_property
    def train(self) -> TrainView:
        """What a model may see; of `warm` users and items only, under their indices there."""
        if self.warm is not self:
            return self.warm.train
        kept = self.split.labels == TRAIN
        events = self.interactions
        times = None if events.timestamps is None else _tensor(events.timestamps[kept])
        return TrainView(
            n_users=self.n_users,
            n_items=self.n_items,
            users=_tensor(events.users[kept]),
            items=_tensor(events.items[kept]),
            timestamps=times,
            features=stored_features(self.features),
            item_texts=_texts(self.items),
            id=digest(self.data_id, self.split_id),
            cache=self._cache_folder(),
        )

    def with_split(self, split: Split) -> Dataset:
        """The same data under another split."""
        return replace(self, split=split)

    def restricted(self, users: NDArray[np.bool_], items: NDArray[np.bool_]) -> Dataset:
        """The data of some users [U] and items [I], with new indices in the same order."""
        events = self.interactions
        kept = users[events.users] & items[events.items]
        places = new_places(users), new_places(items)
        part = Interactions(
            places[0][events.users[kept]].astype(np.int32),
            places[1][events.items[kept]].astype(np.int32),
            None if events.ratings is None else events.ratings[kept],
            None if events.timestamps is None else events.timestamps[kept],
        )
        split = Split(self.split.labels[kept], self.split.spec, self.split.counts)
        item_ids = _kept(self.item_ids, items)
        return replace(
            self,
            interactions=part,
            split=split,
            user_ids=_kept(self.user_ids, users),
            item_ids=item_ids,
            items=self.items.filter(pl.Series(items)),
            features={name: store.select(item_ids) for name, store in self.features.items()},
        )

    def split_by(self, method: str, **options: Any) -> Dataset:
        """The same data split anew; see `make_split`.

        Raises:
            InputError: an option that the method does not have, and as `make_split`.
        """
        check_split_options(method, list(options))
        events = self.interactions
        labels = self.split.labels
        made = make_split(
            method, events.users, events.items, events.timestamps, labels=labels, **options
        )
        return self.with_split(made)

    def with_features(self, **stores: FeatureStore) -> Dataset:
        """The dataset with modalities added or replaced, aligned by item id."""
        aligned = {name: store.select(self.item_ids) for name, store in stores.items()}
        return replace(self, features={**self.features, **aligned})

    def using(self, names: Sequence[str]) -> Dataset:
        """The dataset with only the modalities `names`, in that order.

        Raises:
            UnknownNameError: there are no features of that name.
        """
        for name in names:
            if name not in self.features:
                raise UnknownNameError("modality", name, self.features)
        return replace(self, features={name: self.features[name] for name in names})

    def with_pictures(self, pictures: Mapping[str, Sequence[Path]]) -> Dataset:
        """The dataset with these pictures of some items; no identity changes."""
        known = zip(self.item_ids, self.items["images"].to_list())
        lists = [[str(p) for p in pictures.get(item, old)] for item, old in known]
        column = pl.Series("images", lists, dtype=pl.List(pl.String))
        return replace(self, items=self.items.with_columns(column))

    def save_items(self) -> None:
        """Write the item table again into the folder the dataset was loaded from."""
        if self.path is None:
            raise InputError("the dataset has no folder yet; use save(path)")
        with atomic_file(self.path / "items.parquet") as temporary:
            self.items.write_parquet(temporary)

    def save(
        self, path: Path | str, *, pictures: Literal["reference", "copy"] = "reference"
    ) -> None:
        """Write the dataset to a new folder, atomically.

        Feature stores that already lie in a folder are linked where the file system allows it.

        Args:
            path: the folder to make; it must not exist, or be empty.
            pictures: keep the paths of the pictures (`"reference"`), or copy them into the
                folder (`"copy"`).

        Raises:
            InputError: `path` is taken.
        """
        with atomic_folder(Path(path)) as folder:
            self.interactions.frame().write_parquet(folder / "interactions.parquet")
            pl.DataFrame({"label": self.split.labels}).write_parquet(folder / "split.parquet")
            pl.DataFrame({"user_id": list(self.user_ids)}).write_parquet(folder / "users.parquet")
            items = self.items if pictures == "reference" else _copy_pictures(self.items, folder)
            items.write_parquet(folder / "items.parquet")
            for name, store in self.features.items():
                _save_features(store, folder / "features" / name)
            write_json(folder / "manifest.json", self._manifest())

    @classmethod
    def load(cls, path: Path | str) -> Dataset:
        """Read a folder written by `save`; features are memory-mapped.

        Raises:
            InputError: the folder or a file of it is missing, damaged or of another version.
        """
        folder = Path(path)
        manifest = read_manifest(folder / "manifest.json", FORMAT, VERSION)
        _check_manifest(folder, manifest)
        labels = _read_parquet(folder / "split.parquet")["label"].to_numpy().astype(np.int8)
        split = Split.from_labels(labels, manifest["split"]["spec"], manifest["split"]["counts"])
        items = _absolute_pictures(_read_parquet(folder / "items.parquet"), folder)
        dataset = cls(
            name=manifest["name"],
            interactions=Interactions.from_frame(_read_parquet(folder / "interactions.parquet")),
            split=split,
            user_ids=_read_parquet(folder / "users.parquet")["user_id"].to_list(),
            item_ids=items["item_id"].to_list(),
            items=items,
            features={n: FeatureStore.load(folder / "features" / n) for n in manifest["features"]},
            notes=manifest["notes"],
            path=folder.resolve(),
        )
        dataset._check_ids(manifest)
        return dataset

    def __repr__(self) -> str:
        sizes = f"{self.n_users:,} users, {self.n_items:,} items"
        events = f"{len(self.interactions):,} interactions"
        return f"Dataset('{self.name}': {sizes}, {events}, features: {list(self.features)})"

    def _manifest(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "version": VERSION,
            "name": self.name,
            "data_id": self.data_id,
            "split_id": self.split_id,
            "features": self.feature_ids,
            "counts": {
                "users": self.n_users,
                "items": self.n_items,
                "interactions": len(self.interactions),
            },
            "split": {"spec": dict(self.split.spec), "counts": dict(self.split.counts)},
            "notes": dict(self.notes),
        }

    def _cache_folder(self) -> Path | None:
        own = self.path is not None and (self.path / "manifest.json").is_file()
        return self.path / "cache" if own and self.path else None

    def _check_ids(self, manifest: dict[str, Any]) -> None:
        for name, got in (("data_id", self.data_id), ("split_id", self.split_id)):
            if manifest[name] != got:
                raise InputError(
                    f"'{self.path}' was changed after it was written ({name} is {got}, its "
                    f"manifest says {manifest[name]}); make the dataset again"
                )


@dataclass(frozen=True, eq=False)
class ColdStart:
    """What a cold-start split withholds from training.

    Args:
        side: `item` or `user`.
        users: bool [U], True for users that training sees.
        items: bool [I], True for items that training sees.
        warm: the dataset of those; its split has no cold side.
    """

    side: Literal["item", "user"]
    users: NDArray[np.bool_]
    items: NDArray[np.bool_]
    warm: Dataset

    @classmethod
    def of(cls, dataset: Dataset) -> ColdStart:
        """Cold are the items, or the users, without a training interaction."""
        method = dataset.split.spec["method"]
        trained = dataset.split.labels == TRAIN
        users, items = np.ones(dataset.n_users, bool), np.ones(dataset.n_items, bool)
        side: Literal["item", "user"] = "item" if method == "cold-item" else "user"
        seen = items if side == "item" else users
        seen[:] = False
        events = dataset.interactions
        seen[(events.items if side == "item" else events.users)[trained]] = True
        warm = dataset.restricted(users, items)
        spec = {**dataset.split.spec, "method": f"{method} (warm part)"}
        return cls(side, users, items, warm.with_split(replace(warm.split, spec=spec)))

    @property
    def places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Index of each user [U] and item [I] in `warm`; -1 for the cold."""
        return new_places(self.users), new_places(self.items)


def new_places(kept: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Index of each row [n] among those kept; -1 for the others.

    Example:
        >>> new_places(np.array([True, False, True]))
        array([ 0, -1,  1])
    """
    return np.where(kept, np.cumsum(kept) - 1, -1)


def build_dataset(
    source: Any,
    *,
    rating_min: float | None = None,
    k_core: int | None = None,
    dedupe: bool = True,
    split: str | None = None,
    seed: int = 0,
    **split_options: Any,
) -> Dataset:
    """Turn what a reader returned into a dataset: filter, index, split, align.

    Filters run in this order: rating threshold, duplicate pairs, k-core.

    Args:
        source: a `graphrec.data.source.Source`.
        rating_min: keep interactions rated at least this.
        k_core: keep users and items with at least k interactions, repeated to a fixed point.
        dedupe: collapse repeated (user, item) pairs to the earliest.
        split: a method of `make_split`; None means
            `given` where the source has labels, else `user-random`.
        seed: of the split.
        split_options: passed to `make_split`.

    Raises:
        InputError: nothing is left, or the split cannot be made from these data.
    """
    from graphrec.data import filters

    frame, notes = source.interactions, dict(source.notes)
    if frame.is_empty():
        raise InputError(f"'{source.name}' holds no interactions")
    steps: list[tuple[str, Any]] = []
    if rating_min is not None:
        steps.append(("rating", lambda f: filters.rating_at_least(f, rating_min)))
    if dedupe:
        steps.append(("duplicates", filters.collapse_duplicates))
    if k_core is not None:
        steps.append(("k_core", lambda f: filters.k_core(f, k_core)))
    before = len(frame)
    for name, step in steps:
        frame, notes[name] = step(frame)
    if frame.is_empty():
        raise InputError(f"the filters removed all {before:,} interactions of '{source.name}'")
    unfiltered = len(frame) == before
    user_ids = _order(frame["user"], source.user_ids, unfiltered)
    item_ids = _order(frame["item"], source.item_ids, unfiltered)
    interactions = _index(frame, user_ids, item_ids)
    labels = frame["label"].to_numpy().astype(np.int8) if "label" in frame.columns else None
    method = split or ("given" if labels is not None else "user-random")
    made = make_split(
        method,
        interactions.users,
        interactions.items,
        interactions.timestamps,
        labels=labels,
        seed=seed,
        **split_options,
    )
    return Dataset(
        name=source.name,
        interactions=interactions,
        split=made,
        user_ids=user_ids,
        item_ids=item_ids,
        items=_item_table(source.items, item_ids),
        features={name: store.select(item_ids) for name, store in source.features.items()},
        notes=notes,
    )


def _kept(ids: Sequence[str], mask: NDArray[np.bool_]) -> list[str]:
    return [name for name, kept in zip(ids, mask.tolist()) if kept]


def _order(column: pl.Series, fixed: Sequence[str] | None, unfiltered: bool) -> list[str]:
    if fixed is not None and unfiltered:
        return list(fixed)
    seen: list[str] = column.unique(maintain_order=True).to_list()
    if fixed is None:
        return seen
    kept = set(seen)
    return [name for name in fixed if name in kept]


def _index(frame: pl.DataFrame, user_ids: list[str], item_ids: list[str]) -> Interactions:
    def codes(column: str, ids: list[str]) -> pl.Expr:
        places = pl.Series(range(len(ids)), dtype=pl.Int32)
        return pl.col(column).replace_strict(pl.Series(ids), places, return_dtype=pl.Int32)

    indexed = frame.with_columns(codes("user", user_ids), codes("item", item_ids))
    return Interactions.from_frame(indexed)


def _item_table(items: pl.DataFrame | None, item_ids: list[str]) -> pl.DataFrame:
    table = pl.DataFrame({"item_id": item_ids}, schema={"item_id": pl.String})
    if items is not None:
        table = table.join(items, on="item_id", how="left", maintain_order="left")
    if "images" not in table.columns:
        table = table.with_columns(pl.lit(None, dtype=pl.List(pl.String)).alias("images"))
    lists = [name for name in ("images", "image_urls") if name in table.columns]
    return table.with_columns(pl.col(lists).fill_null([]))


def _texts(items: pl.DataFrame) -> list[str]:
    names = [n for n, t in items.schema.items() if t == pl.String and n not in NOT_CONTENT]
    if not names:
        return [""] * len(items)
    return items.select(pl.concat_str(names, separator=" ", ignore_nulls=True))[:, 0].to_list()


def _check_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    kinds = {"name": str, "features": dict, "notes": dict, "split": dict, "data_id": str}
    wrong = [name for name, kind in kinds.items() if not isinstance(manifest.get(name), kind)]
    if not wrong and not {"spec", "counts"} <= set(manifest["split"]):
        wrong = ["split"]
    if wrong or not isinstance(manifest.get("split_id"), str):
        raise InputError(
            f"'{folder / 'manifest.json'}' is damaged: {', '.join(wrong) or 'split_id'} is missing "
            "or of a wrong kind; make the dataset again"
        )


def _tensor(values: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.int64))


def _read_parquet(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path)
    except FileNotFoundError:
        raise InputError(f"file '{path}' is missing; the dataset folder is incomplete") from None
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(f"cannot read '{path}': {error}") from None


def _save_features(store: FeatureStore, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    if store.path is None:
        store.save(target)
        return
    target.mkdir()
    for file in sorted(store.path.iterdir()):
        link_or_copy(file, target / file.name)


def _copy_pictures(items: pl.DataFrame, folder: Path) -> pl.DataFrame:
    target = folder / "images"
    target.mkdir()
    copied: list[list[str]] = []
    for row, paths in enumerate(items["images"].to_list()):
        names = [f"images/{row:06d}-{n}{Path(path).suffix}" for n, path in enumerate(paths)]
        for path, name in zip(paths, names, strict=True):
            link_or_copy(Path(path), folder / name)
        copied.append(names)
    return items.with_columns(pl.Series("images", copied, dtype=pl.List(pl.String)))


def _absolute_pictures(items: pl.DataFrame, folder: Path) -> pl.DataFrame:
    root = folder.resolve()
    element = pl.element()
    absolute = (
        pl.when(element.str.starts_with("/")).then(element).otherwise(pl.lit(f"{root}/") + element)
    )
    return items.with_columns(pl.col("images").list.eval(absolute))
