"""The run folder: everything a run used and produced, readable without the raw data."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import polars as pl
import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from graphrec._version import __version__
from graphrec.data.dataset import Dataset
from graphrec.models.base import Embeddings
from graphrec.training.config import Experiment
from graphrec.training.features import (
    Compared,
    LearntFeatures,
    apply_features,
    encoder_of,
    is_known,
    training_view,
)
from modalities._base.errors import InputError
from modalities._base.files import (
    atomic_file,
    atomic_folder,
    read_json,
    read_manifest,
    refuse_existing,
    write_json,
    write_text,
)

FORMAT = "graphrec.run"
VERSION = 1


def refuse_taken(path: Path) -> None:
    """Raise `InputError` unless a new run may be written to `path`."""
    if (path / "config.yaml").is_file() and (path / "manifest.json").is_file():
        raise InputError(
            f"'{path}' already holds a run; choose another --out, or continue it with "
            f"'graphrec train --resume {path}'"
        )
    refuse_existing(path)


@dataclass(frozen=True)
class RunFolder:
    """Paths and files of a run.

    Holds `config.yaml` (as resolved), `manifest.json` (versions, hardware, ids, status),
    `history.jsonl`, `metrics.json`, `per_user.parquet`, `topk.parquet`, `cohorts.parquet`, `best/`,
    `last/`,
    `test_access.json`, `train.log`, `served/` (ids, titles, seen items, vectors) and, where
    features are transformed, `features/` (what the transforms have learnt); once measured so,
    `transfers.json` and `robustness.json`.

    Args:
        path: the folder.
    """

    path: Path

    @classmethod
    def create(
        cls,
        path: Path,
        experiment: Experiment,
        dataset: Dataset,
        learnt: LearntFeatures,
        *,
        test: bool = True,
    ) -> RunFolder:
        """Make a new run folder for `experiment` on `dataset`.

        Args:
            path: the folder to make.
            experiment: the configuration.
            dataset: with its features as the run uses them.
            learnt: what the transforms of the features have learnt.
            test: whether the run may open the test split when it ends.

        Raises:
            InputError: the folder exists and is not empty.
        """
        refuse_taken(path)
        with atomic_folder(path) as temporary:
            (temporary / "served").mkdir()
            folder = cls(temporary)
            write_text(temporary / "config.yaml", experiment.to_yaml())
            folder._write_served(dataset.warm)
            if learnt:
                learnt.save(temporary / "features")
                folder.log(learnt.describe())
            for name in sorted(set(experiment.features.modalities) - set(learnt.recipes)):
                folder.log(f"features.{name} has no effect: features.use does not name '{name}'")
            encoders = {name: encoder_of(store) for name, store in dataset.features.items()}
            manifest = {**_manifest(experiment, dataset), "encoders": encoders, "test": test}
            write_json(temporary / "manifest.json", manifest)
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """The run in `path`.

        Raises:
            InputError: there is none.
        """
        if not (path / "manifest.json").is_file():
            raise InputError(f"'{path}' is not a run folder: it has no manifest.json")
        folder = cls(path)
        folder.manifest()
        return folder

    def manifest(self) -> dict[str, Any]:
        """Versions, hardware, identities, seed and status."""
        return read_manifest(self.path / "manifest.json", FORMAT, VERSION)

    def set_status(self, status: str) -> None:
        """Record `running`, `paused`, `interrupted`, `failed` or `finished`."""
        self.update_manifest(status=status)

    def update_manifest(self, **parts: Any) -> None:
        """Add or replace parts of `manifest.json`."""
        write_json(self.path / "manifest.json", {**self.manifest(), **parts})

    def experiment(self) -> Experiment:
        """The configuration of the run."""
        path = self.path / "config.yaml"
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise InputError(f"cannot read '{path}': {error}") from None
        return Experiment.parse(values)

    def metrics(self) -> dict[str, Any]:
        """What `metrics.json` holds; empty before the first validation ends."""
        path = self.path / "metrics.json"
        return read_json(path) if path.is_file() else {}

    def update_metrics(self, **parts: Mapping[str, Any]) -> None:
        """Add or replace parts of `metrics.json`."""
        write_json(self.path / "metrics.json", {**self.metrics(), **parts})

    def log(self, message: str) -> None:
        """Append a line with the time to `train.log`."""
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        with (self.path / "train.log").open("a", encoding="utf-8") as file:
            file.write(f"{now} {message}\n")

    def prepare(self, dataset: Dataset, experiment: Experiment) -> Dataset:
        """The dataset with its features exactly as the run uses them.

        Features that the dataset has got since are left aside.

        Raises:
            InputError: `dataset` is not the one the run used.
        """
        self.check_dataset(dataset, [])
        dataset = self._with_features(dataset, experiment)
        self.check_dataset(dataset, list(self.manifest()["ids"]["features"]))
        return dataset

    def prepare_other(
        self, dataset: Dataset, experiment: Experiment, *, same_encoder: bool = False
    ) -> Dataset:
        """Other data with features of the same encoders, transformed as the run learnt to.

        Args:
            dataset: the other data.
            experiment: of the run.
            same_encoder: take it as known where it is not recorded on both sides.

        Raises:
            InputError: a modality is absent, or another encoder made it, or an unknown one.
        """
        made = self._with_features(dataset, experiment, "encoders")
        recorded = self.manifest().get("encoders", {})
        for name in self.manifest()["ids"]["features"]:
            expected, found = recorded.get(name, {}), encoder_of(made.features[name])
            if expected.get("encoder") == "transformed":
                continue  # what it was made of has been compared already
            if not (is_known(expected) and is_known(found)):
                if same_encoder:
                    continue
                raise InputError(
                    f"nothing says which encoder made the features '{name}', here or where the "
                    "run was trained; if you know it was the same, say so with --same-encoder "
                    "(in Python: same_encoder=True)"
                )
            differing = [k for k in {**expected, **found} if expected.get(k) != found.get(k)]
            if differing:
                said = ", ".join(
                    f"{key} {expected.get(key)!r} there, {found.get(key)!r} here"
                    for key in sorted(differing)
                )
                raise InputError(
                    f"features '{name}' of the other data are not of the encoder the run was "
                    f"trained with ({said}); encode them with that one"
                )
        return made

    def prepare_spoiled(self, dataset: Dataset, experiment: Experiment) -> Dataset:
        """The data of the run, its features changed on purpose, transformed as the run learnt to.

        Raises:
            InputError: other interactions or another split, or a transform that does not fit.
        """
        self.check_dataset(dataset, [])
        return self._with_features(dataset, experiment, "transforms")

    def _with_features(
        self, dataset: Dataset, experiment: Experiment, compared: Compared = "of"
    ) -> Dataset:
        used = list(self.manifest()["ids"]["features"])
        section = experiment.features.model_copy(update={"use": used})
        folder = self.path / "features"
        learnt = LearntFeatures.load(folder) if folder.is_dir() else LearntFeatures()
        train = training_view(dataset, experiment)
        return apply_features(dataset, section, learnt, train, compared=compared)

    def check_dataset(self, dataset: Dataset, names: list[str]) -> None:
        """Raise unless `dataset` is what the run used, in all identities that matter to it.

        Args:
            dataset: the candidate.
            names: the modalities the model used.

        Raises:
            InputError: an identity differs.
        """
        recorded = self.manifest()["ids"]
        pairs: list[tuple[str, Any, str | None]] = [
            ("data_id", recorded["data_id"], dataset.data_id)
        ]
        pairs.append(("split_id", recorded["split_id"], dataset.split_id))
        for name in names:
            found = dataset.feature_ids.get(name)
            pairs.append((f"feature_id of '{name}'", recorded["features"].get(name), found))
        for what, expected, got in pairs:
            if expected != got:
                raise InputError(
                    f"the run in '{self.path}' used {what} {expected}, the dataset given has "
                    f"{got}; give the dataset the run was trained on"
                )

    def save_vectors(self, vectors: Embeddings) -> None:
        """Keep the final user and item vectors of the best epoch."""
        tensors = {"users": vectors.users.cpu().contiguous(), "items": vectors.items.cpu()}
        with atomic_file(self.path / "served" / "vectors.safetensors") as temporary:
            save_file({name: t.contiguous() for name, t in tensors.items()}, temporary)

    def vectors(self) -> Embeddings | None:
        """The saved vectors, or None for a model that has none (or is not finished)."""
        path = self.path / "served" / "vectors.safetensors"
        if not path.is_file():
            return None
        try:
            return Embeddings(**load_file(path))
        except (OSError, SafetensorError) as error:
            raise InputError(f"cannot read '{path}': {error}") from None

    def table(self, name: str) -> pl.DataFrame:
        """A table of `served/`: users, items or interactions."""
        path = self.path / "served" / f"{name}.parquet"
        try:
            return pl.read_parquet(path)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise InputError(f"cannot read '{path}': {error}") from None

    def write_part(self, name: str, split: str, rows: pl.DataFrame) -> None:
        """Add a split's rows to a table, or replace them; column `split` tells."""
        path = self.path / f"{name}.parquet"
        rows = rows.select(pl.lit(split).alias("split"), pl.all())
        if path.is_file():
            others = pl.read_parquet(path).filter(pl.col("split") != split)
            rows = pl.concat([others, rows], how="diagonal")
        with atomic_file(path) as temporary:
            rows.write_parquet(temporary)

    def require_finished(self) -> None:
        """Raise `InputError` unless the run is finished."""
        status = self.manifest()["status"]
        if status != "finished":
            raise InputError(
                f"the run in '{self.path}' is not finished (status: {status}); continue it with "
                f"'graphrec train --resume {self.path}'"
            )

    def _write_served(self, dataset: Dataset) -> None:
        events = dataset.interactions
        labels = dataset.split.labels
        known = (labels == 0) | (labels == 1)
        seen = pl.DataFrame(
            {"user": events.users[known], "item": events.items[known], "label": labels[known]}
        )
        titles = dataset.items["title"] if "title" in dataset.items.columns else None
        items = pl.DataFrame({"item_id": list(dataset.item_ids)})
        if titles is not None:
            items = items.with_columns(titles.alias("title"))
        tables = {
            "users": pl.DataFrame({"user_id": list(dataset.user_ids)}),
            "items": items,
            "interactions": seen,
        }
        for name, table in tables.items():
            with atomic_file(self.path / "served" / f"{name}.parquet") as temporary:
                table.write_parquet(temporary)


def _manifest(experiment: Experiment, dataset: Dataset) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "status": "running",
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "model": experiment.model.name,
        "dataset": dataset.name,
        "seed": experiment.training.seed,
        "ids": {
            "data_id": dataset.data_id,
            "split_id": dataset.split_id,
            "features": dataset.feature_ids,
        },
        "split": {"spec": dict(dataset.split.spec), "counts": dict(dataset.split.counts)},
        "versions": {"graphrec": __version__, "python": platform.python_version(), **_versions()},
        "commit": _commit(),
        "hardware": {
            "machine": platform.machine(),
            "threads": torch.get_num_threads(),
            "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
    }


def _versions() -> dict[str, str | None]:
    def installed(name: str) -> str | None:
        try:
            return version(name)
        except PackageNotFoundError:
            return None

    return {name: installed(name) for name in ("torch", "numpy", "scipy", "polars")}


def _commit() -> str | None:
    """The commit of a source checkout of graphrec; None for an installed package."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
