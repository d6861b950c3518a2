"""A run in use: evaluate it, recommend with it, take its vectors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import torch

from graphrec.data.dataset import Dataset
from graphrec.data.flipping import flipped
from graphrec.data.loading import load_dataset
from graphrec.data.train_view import TrainView
from graphrec.models.base import Embeddings
from graphrec.models.registry import model_class
from graphrec.nn.ranking import Ranker, SeenItems, VectorRanker
from graphrec.training.checkpoint import has_checkpoint, load_checkpoint, restore_model
from graphrec.training.folder import RunFolder
from graphrec.training.robustness import LEVELS, Curve, measure_robustness
from graphrec.training.train import best_model, measure
from graphrec.training.transfer import evaluate_elsewhere
from modalities._base.errors import InputError, UnknownNameError, nearest
from modalities._base.files import atomic_folder, write_json


class Run:
    """A trained run; users and items have their external ids here.

    `recommend` and `embeddings` need the run folder alone; `evaluate` needs the dataset too.

    Args:
        path: a run folder.

    Raises:
        InputError: there is no run in `path`.
    """

    def __init__(self, path: Path | str) -> None:
        self.folder = RunFolder.open(Path(path))
        self.path = self.folder.path

    @property
    def metrics(self) -> dict[str, Any]:
        """`valid` and, once opened, `test`: metric name to value."""
        return self.folder.metrics()

    @cached_property
    def config(self) -> dict[str, Any]:
        """The complete configuration, as nested plain values."""
        return self.folder.experiment().to_dict()

    @cached_property
    def history(self) -> pl.DataFrame:
        """One row per epoch: epoch, seconds, and the losses and validation metrics by name."""
        from graphrec.training.history import History

        rows = []
        for line in History(self.path / "history.jsonl").read():
            flat = {"epoch": line["epoch"], "seconds": line["seconds"]}
            flat.update({f"loss_{name}": value for name, value in line["losses"].items()})
            rows.append({**flat, **(line["valid"] or {})})
        return pl.DataFrame(rows, infer_schema_length=None)

    @cached_property
    def user_ids(self) -> list[str]:
        """External user ids, in index order."""
        ids: list[str] = self.folder.table("users")["user_id"].to_list()
        return ids

    @cached_property
    def item_ids(self) -> list[str]:
        """External item ids, in index order."""
        ids: list[str] = self.folder.table("items")["item_id"].to_list()
        return ids

    def evaluate(
        self,
        split: Literal["valid", "test"] = "test",
        dataset: Dataset | None = None,
        *,
        device: str = "auto",
        same_encoder: bool = False,
    ) -> dict[str, float]:
        """Measure the best epoch on a split; opening test is recorded in the run.

        Args:
            split: `valid` or `test`.
            dataset: the data of the run; default: read again from where they were. Other data are
                scored by models whose parameters belong to no user or item, such as `alpharec`.
            device: auto, cpu, cuda or cuda:N.
            same_encoder: of other data, take it as known that features of which the encoder is
                not recorded come from the one the run was trained with.

        Raises:
            InputError: the run is not finished, or the dataset is gone, or is not that of the run
                and the model or the features do not allow for another.
        """
        if split not in ("valid", "test"):
            raise UnknownNameError("split", split, ["valid", "test"])
        self.folder.require_finished()
        experiment = self.folder.experiment().on_device(device)
        found = dataset or self._dataset(experiment.data.path)
        if dataset is not None and not self.knows(dataset):
            return evaluate_elsewhere(
                self.folder, dataset, experiment, split, same_encoder=same_encoder
            ).metrics
        dataset = self.folder.prepare(found, experiment)
        model = best_model(self.folder, dataset, experiment)
        return measure(self.folder, dataset, experiment, model, split)

    def robustness(
        self,
        kind: str,
        levels: Sequence[float] = LEVELS,
        *,
        modalities: Sequence[str] | None = None,
        split: Literal["valid", "test"] = "valid",
        seeds: int = 3,
        dataset: Dataset | None = None,
        device: str = "auto",
        progress: bool = False,
    ) -> Curve:
        """Measure the best epoch on spoiled features; parameters stay as they were trained.

        Args:
            kind: `missing`, `noise` or `shuffled`.
            levels: shares of the rows, or scales of the noise; 0 is always measured.
            modalities: stored features to spoil; default: all that the run uses.
            split: `valid` or `test`; opening test is recorded, once.
            seeds: draws per level.
            dataset: the data of the run; default: read again from where they were.
            device: auto, cpu, cuda or cuda:N.
            progress: show a bar.

        Returns:
            The curve, kept in `robustness.json` too; see
            `graphrec.training.robustness.measure_robustness`.

        Raises:
            InputError: the run is not finished, its model reads no features, or a level is
                impossible.
        """
        self.folder.require_finished()
        experiment = self.folder.experiment().on_device(device)
        return measure_robustness(
            self.folder,
            dataset or self._dataset(experiment.data.path),
            experiment,
            kind,
            levels,
            modalities=modalities,
            split=split,
            seeds=seeds,
            progress=progress,
        )

    def cohorts(self, split: Literal["valid", "test"] = "test") -> pl.DataFrame:
        """Metrics by groups of users and items, as recorded when the split was measured.

        Returns:
            Columns cohort, group, users, items and the metrics; see
            `graphrec.evaluation.cohorts.cohort_metrics`.

        Raises:
            InputError: the run has not been measured on the split.
        """
        path = self.path / "cohorts.parquet"
        if path.is_file():
            found = pl.read_parquet(path).filter(pl.col("split") == split).drop("split")
            if len(found):
                return found
        raise InputError(
            f"the run in '{self.path}' has no cohorts of {split}; measure it with "
            f"'graphrec evaluate {self.path} --split {split}'"
        )

    def knows(self, dataset: Dataset) -> bool:
        """Whether these are the interactions the run was trained on."""
        return bool(dataset.data_id == self.folder.manifest()["ids"]["data_id"])

    def recommend(
        self, users: Sequence[str] | str, k: int = 10, *, include_seen: bool = False
    ) -> pl.DataFrame:
        """The k best items of each user.

        Args:
            users: external ids, or one.
            k: items per user.
            include_seen: keep items of the user's training and validation interactions.

        Returns:
            Columns user, rank (from 1), item, score and, where known, title.

        Raises:
            UnknownNameError: a user the run does not know.
        """
        if k < 1:
            raise InputError(f"k must be at least 1, got {k}")
        users = [users] if isinstance(users, str) else users
        index = torch.tensor([self._user(str(user)) for user in users], dtype=torch.long)
        exclude = None if include_seen else self._seen
        best = self._ranker.topk(index, min(k, len(self.item_ids)), exclude)
        items = best.items.cpu().numpy()
        rows = [
            {"user": str(users[u]), "rank": rank + 1, "item": int(items[u, rank]), "score": score}
            for u in range(len(users))
            for rank, score in enumerate(best.scores[u].tolist())
            if items[u, rank] >= 0
        ]
        schema = {"user": pl.String, "rank": pl.Int32, "item": pl.Int64, "score": pl.Float32}
        table = pl.DataFrame(rows, schema=schema)
        catalogue = self.folder.table("items").with_row_index("item")
        named = table.join(
            catalogue.with_columns(pl.col("item").cast(pl.Int64)), on="item", maintain_order="left"
        )
        return (
            named.drop("item")
            .rename({"item_id": "item"})
            .select("user", "rank", "item", "score", *(c for c in ("title",) if c in named.columns))
        )

    def embeddings(self) -> Embeddings:
        """Final user [U, d] and item [I, d] vectors; rows follow `user_ids` and `item_ids`.

        Raises:
            InputError: the model has no vectors, or the run is not finished.
        """
        vectors = self.folder.vectors()
        if vectors is None:
            self.folder.require_finished()
            model = self.folder.manifest()["model"]
            raise InputError(f"model '{model}' has no user and item vectors")
        return vectors

    def export(self, out: Path | str) -> None:
        """Write `users.parquet` and `items.parquet` (id, vector) and a manifest to a new folder.

        The score of a pair is the inner product of its vectors.

        Raises:
            InputError: `out` is taken, or the model has no vectors.
        """
        vectors = self.embeddings()
        with atomic_folder(Path(out)) as folder:
            for name, ids, matrix in (
                ("user", self.user_ids, vectors.users),
                ("item", self.item_ids, vectors.items),
            ):
                width = matrix.shape[1]
                column = pl.Series("vector", matrix.numpy(), dtype=pl.Array(pl.Float32, width))
                table = pl.DataFrame({f"{name}_id": ids}).with_columns(column)
                table.write_parquet(folder / f"{name}s.parquet")
            manifest = {"format": "graphrec.vectors", "version": 1, "dim": width}
            details = {key: self.folder.manifest()[key] for key in ("model", "ids", "seed")}
            write_json(folder / "manifest.json", {**manifest, **details})

    def __repr__(self) -> str:
        manifest = self.folder.manifest()
        return f"Run('{self.path}', model={manifest['model']}, status={manifest['status']})"

    def _dataset(self, path: str | None) -> Dataset:
        if path is None:
            raise InputError("the run was trained on a dataset in memory; pass it as dataset=")
        if not Path(path).is_dir():
            raise InputError(
                f"the dataset of the run is no longer in '{path}'; say where it is with --data DIR "
                "(in Python: dataset=)"
            )
        return load_dataset(path)

    def _user(self, user: str) -> int:
        if user not in self._user_index:
            near = nearest(user, self.user_ids)
            hint = f"did you mean '{near}'? It knows" if near else "the run knows"
            raise InputError(
                f"unknown user '{user}'; {hint} {len(self.user_ids):,} users, "
                f"such as '{self.user_ids[0]}'"
            )
        return self._user_index[user]

    @cached_property
    def _user_index(self) -> dict[str, int]:
        return {user: index for index, user in enumerate(self.user_ids)}

    @cached_property
    def _interactions(self) -> pl.DataFrame:
        return self.folder.table("interactions")

    @cached_property
    def _seen(self) -> SeenItems:
        known = self._interactions
        return SeenItems.from_pairs(
            known["user"].to_numpy(), known["item"].to_numpy(), len(self.user_ids)
        )

    @cached_property
    def _ranker(self) -> Ranker:
        vectors = self.folder.vectors()
        if vectors is not None:
            return VectorRanker(vectors.users, vectors.items)
        self.folder.require_finished()
        experiment = self.folder.experiment()
        kind = model_class(experiment.model.name)
        kept = self._interactions.filter(pl.col("label") == 0)
        train = TrainView.from_arrays(
            torch.from_numpy(kept["user"].to_numpy().astype(np.int64)),
            torch.from_numpy(kept["item"].to_numpy().astype(np.int64)),
            n_users=len(self.user_ids),
            n_items=len(self.item_ids),
        )
        train = flipped(train, experiment.data.flip, experiment.training.seed)
        try:
            model = kind(train, **experiment.model.options)
        except InputError as error:
            raise InputError(
                f"model '{experiment.model.name}' cannot be served without its dataset: {error}"
            ) from None
        if has_checkpoint(self.path / "best"):
            restore_model(model, load_checkpoint(self.path / "best")[1])
        return model.eval()


def load_run(path: Path | str) -> Run:
    """Open the run in `path`.

    Raises:
        InputError: there is no run.
    """
    return Run(path)
