"""The features of a run: stored modalities, transformed and joined as its configuration says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from graphrec.data.dataset import Dataset
from graphrec.data.flipping import flipped
from graphrec.data.train_view import TrainView
from modalities import FeatureStore
from modalities._base.errors import InputError, UnknownNameError
from modalities._base.files import atomic_file, atomic_folder, read_manifest, write_json
from modalities._base.identity import digest
from modalities.transforms import State, Table, Transform, concatenate, make_transform

if TYPE_CHECKING:
    from graphrec.training.config import Experiment, FeaturesSection, ModalitySection

FORMAT = "graphrec.transforms"
VERSION = 1
Compared = Literal["of", "encoders", "transforms"]


@dataclass(frozen=True, eq=False)
class LearntFeatures:
    """What the transforms of a run have learnt; empty where there are none.

    On disk: `transforms.json` and `transforms.safetensors` (float64 arrays by
    `modality/step/name`).

    Args:
        recipes: by modality, what it is made of: `of` (identities by name), `encoders` (what made
            those), `transforms`, and `fitted` (identity of the rows learnt from, or None).
        arrays: by the name above.
    """

    recipes: dict[str, dict[str, Any]] = field(default_factory=dict)
    arrays: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.recipes)

    def describe(self) -> str:
        """A line of the log."""
        named = self.recipes.items()
        made = [f"{n} = {' + '.join(r['of'])} {r['transforms']}" for n, r in named]
        return f"features made: {'; '.join(made)}"

    def states(self, name: str, steps: int) -> list[State]:
        """What each step of a modality has learnt."""
        states: list[dict[str, NDArray[np.float64]]] = [{} for _ in range(steps)]
        for key, array in self.arrays.items():
            modality, step, what = key.rsplit("/", 2)
            if modality == name:
                states[int(step)][what] = array
        return list(states)

    def save(self, folder: Path) -> None:
        """Write to a new folder, atomically."""
        from safetensors.numpy import save_file

        with atomic_folder(folder) as new:
            with atomic_file(new / "transforms.safetensors") as file:
                save_file({k: np.ascontiguousarray(a) for k, a in self.arrays.items()}, file)
            manifest = {"format": FORMAT, "version": VERSION, "checksum": self._checksum()}
            write_json(new / "transforms.json", {**manifest, "modalities": self.recipes})

    @classmethod
    def load(cls, folder: Path) -> LearntFeatures:
        """Read what `save` wrote.

        Raises:
            InputError: a file is missing or damaged.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        manifest = read_manifest(folder / "transforms.json", FORMAT, VERSION)
        try:
            learnt = cls(manifest["modalities"], load_file(folder / "transforms.safetensors"))
            intact = learnt._checksum() == manifest["checksum"]
        except (OSError, SafetensorError, KeyError) as error:
            raise InputError(f"cannot read the transforms in '{folder}': {error}") from None
        if not intact:
            raise InputError(f"the transforms in '{folder}' are damaged; train the run again")
        return learnt

    def _checksum(self) -> str:
        parts = [part for key in sorted(self.arrays) for part in (key, self.arrays[key])]
        return digest(*parts)


def is_known(encoder: Mapping[str, Any]) -> bool:
    """Whether `encoder_of` names an encoder; vectors made elsewhere do not say."""
    return encoder.get("encoder") not in (None, "precomputed", "file")


def training_view(dataset: Dataset, experiment: Experiment) -> TrainView:
    """What the model of an experiment sees: training data, flipped where that is asked for."""
    return flipped(dataset.train, experiment.data.flip, experiment.training.seed)


def fit_features(
    dataset: Dataset, section: FeaturesSection, train: TrainView | None = None
) -> tuple[Dataset, LearntFeatures]:
    """The dataset with the features of a run, and what their transforms have learnt.

    Transforms learn from items that have training interactions and the modality, and from no
    other. Without transforms the stores are used as they are.

    Args:
        dataset: the data.
        section: the configuration.
        train: the training interactions, as `training_view` gives them; default: the dataset's.

    Raises:
        InputError: an unknown modality, or a transform that does not fit the features.
    """
    maker = _Maker(dataset, section, train or dataset.train)
    made = maker.dataset()
    return made, maker.learnt


def apply_features(
    dataset: Dataset,
    section: FeaturesSection,
    learnt: LearntFeatures,
    train: TrainView | None = None,
    *,
    compared: Compared = "of",
) -> Dataset:
    """The same features again, from what was learnt then.

    Args:
        dataset: the data.
        section: the configuration.
        learnt: what the transforms learnt.
        train: the training interactions, as `training_view` gives them; default: the dataset's.
        compared: what has to be as it was then: the features (`of`), what made them (`encoders`),
            for other data, or nothing but the `transforms`, for features spoiled on purpose.

    Raises:
        InputError: `learnt` belongs to other features or transforms.
    """
    return _Maker(dataset, section, train or dataset.train, learnt, compared=compared).dataset()


def encoder_of(store: FeatureStore) -> dict[str, Any]:
    """What made the features, whatever columns were read and however they are stored."""
    return {key: value for key, value in store.spec.items() if key not in ("content", "stored")}


class _Maker:
    """Makes the modalities of a run, each once; learns where nothing was learnt before."""

    def __init__(
        self,
        dataset: Dataset,
        section: FeaturesSection,
        train: TrainView,
        known: LearntFeatures | None = None,
        *,
        compared: Compared = "of",
    ) -> None:
        _check_names(dataset, section)
        self._compared, self._train = compared, train
        self._dataset, self._section, self._known = dataset, section, known
        self._made: dict[str, FeatureStore] = {}
        self.learnt = LearntFeatures()

    def dataset(self) -> Dataset:
        section, stored = self._section, self._dataset.features
        names = list(stored) if section.use is None else section.use
        if names == list(stored) and not section.modalities:
            return self._dataset
        for name in names:
            if name not in stored and name not in section.modalities:
                raise UnknownNameError("modality", name, {*stored, *section.modalities})
        return replace(self._dataset, features={name: self._store(name) for name in names})

    def _store(self, name: str) -> FeatureStore:
        if name not in self._made:
            options = self._section.modalities.get(name)
            stored = self._dataset.features
            self._made[name] = stored[name] if options is None else self._make(name, options)
        return self._made[name]

    def _make(self, name: str, options: ModalitySection) -> FeatureStore:
        stored = self._dataset.features
        parts = {part: self._store(part) for part in options.concat or []} or {name: stored[name]}
        transforms = [make_transform(text) for text in options.transforms]
        pairs = self._pairs() if any(t.reads_pairs for t in transforms) else None
        table = concatenate([_table(store) for store in parts.values()])
        table = replace(table, pairs=pairs)
        rows = self._warm() & np.any([stored[part].present for part in parts], axis=0)
        recipe: dict[str, Any] = {
            "of": {part: store.feature_id for part, store in parts.items()},
            "transforms": options.transforms,
        }
        encoders = {part: encoder_of(store) for part, store in parts.items()}
        table, states = self._run(name, {**recipe, "encoders": encoders}, transforms, table, rows)
        fitted = digest(np.packbits(rows), *(pairs or ())) if any(states) else None
        self._remember(name, {**recipe, "encoders": encoders, "fitted": fitted}, states)
        kinds = {store.modality for store in parts.values()}
        return FeatureStore.from_arrays(
            table.values,
            self._dataset.item_ids,
            present=table.present,
            spec={"encoder": "transformed", "version": 1, **recipe, "fitted": fitted},
            modality=kinds.pop() if len(kinds) == 1 else "joint",
            digests=[""] * len(rows),
        )

    def _run(
        self,
        name: str,
        recipe: Mapping[str, Any],
        transforms: list[Transform],
        table: Table,
        rows: NDArray[np.bool_],
    ) -> tuple[Table, list[State]]:
        known = None if self._known is None else self._recall(name, recipe, len(transforms))
        states: list[State] = []
        for step, transform in enumerate(transforms):
            try:
                learnt = known[step] if known else transform.fit(table.values[rows & table.present])
                states.append(learnt)
                table = transform.apply(states[-1], table)
            except InputError as error:
                raise InputError(f"features.{name}.transforms: {error}") from None
        return table, states

    def _recall(self, name: str, recipe: Mapping[str, Any], steps: int) -> list[State]:
        assert self._known is not None
        if name not in self._known.recipes:
            raise InputError(
                f"the run folder does not hold what the transforms of '{name}' learnt; its folder "
                "features/ is lost or its config.yaml was changed: train the run again"
            )
        recorded = self._known.recipes[name]
        for key in dict.fromkeys((self._compared, "transforms")):
            value = recipe[key]
            if recorded.get(key) != value:
                raise InputError(
                    f"the run's features '{name}' were made with {key} {recorded.get(key)}, now "
                    f"it is {value}; give the dataset and the settings the run was trained with"
                )
        return self._known.states(name, steps)

    def _remember(self, name: str, recipe: dict[str, Any], states: list[State]) -> None:
        self.learnt.recipes[name] = recipe
        for step, state in enumerate(states):
            self.learnt.arrays.update({f"{name}/{step}/{k}": v for k, v in state.items()})

    def _warm(self) -> NDArray[np.bool_]:
        warm = np.zeros(self._dataset.n_items, bool)
        warm[self._pairs()[1]] = True
        return warm

    def _pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Users and items of training, under their indices in the dataset."""
        users, items = (part.numpy() for part in self._train.edges)
        cold = self._dataset.cold
        if cold is not None:
            users, items = cold.users.nonzero()[0][users], cold.items.nonzero()[0][items]
        return users, items


def _table(store: FeatureStore) -> Table:
    return Table(store.values().astype(np.float32, copy=False), store.present)


def _check_names(dataset: Dataset, section: FeaturesSection) -> None:
    stored = dataset.features
    for name, options in section.modalities.items():
        if options.concat is None and name not in stored:
            raise UnknownNameError("modality", name, stored)
        if options.concat is not None and name in stored:
            raise InputError(
                f"features.{name}.concat: the dataset has features '{name}' already; "
                "choose another name"
            )
        for part in options.concat or []:
            if part not in stored:
                raise UnknownNameError("modality", part, stored)
