"""Train a model on a dataset into a run folder; continue a run that was cut off."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
import torch

from graphrec.data.dataset import Dataset
from graphrec.evaluation.cohorts import cohort_metrics
from graphrec.evaluation.evaluate import Evaluation, EvaluationOptions, evaluate
from graphrec.evaluation.held_out import HeldOut, held_out_valid
from graphrec.evaluation.metrics import find_hits
from graphrec.evaluation.ranking import Ranker, VectorRanker
from graphrec.evaluation.test_split import open_test
from graphrec.models.base import Recommender
from graphrec.models.registry import model_class
from graphrec.training.checkpoint import load_checkpoint, restore_model
from graphrec.training.config import Experiment
from graphrec.training.features import fit_features, training_view
from graphrec.training.folder import RunFolder, refuse_taken
from graphrec.training.trainer import EpochReport, Trainer
from modalities._base.errors import InputError

Report = Callable[[EpochReport], None]


def train_run(
    dataset: Dataset,
    experiment: Experiment,
    out: Path,
    *,
    test: bool = True,
    report: Report = lambda report: None,
) -> RunFolder:
    """Train, select on validation, and (unless `test=False`) measure the best epoch on test once.

    Nothing is written before the configuration, the data and the model have been checked.

    Raises:
        InputError: the configuration does not fit the data, or `out` is taken.
    """
    refuse_taken(out)
    train = training_view(dataset, experiment)
    dataset, learnt = fit_features(dataset, experiment.features, train)
    valid = _validation(dataset)
    model = build_model(dataset, experiment)
    folder = RunFolder.create(out, experiment, dataset, learnt, test=test)
    if experiment.data.flip:
        folder.log(f"data.flip={experiment.data.flip:g}: training interactions were replaced")
    _continue(folder, dataset, experiment, model, valid, test, report)
    return folder


def resume_run(
    path: Path,
    dataset: Dataset,
    experiment: Experiment | None = None,
    *,
    test: bool = True,
    report: Report = lambda report: None,
) -> RunFolder:
    """Continue a run at its last checkpoint; a finished run is left as it is.

    A run begun with `test=False` leaves the test split shut when it is continued, too.

    Raises:
        InputError: `path` is not a run, or `dataset` is not the one it used.
    """
    folder = RunFolder.open(path)
    experiment = experiment or folder.experiment()
    test = test and folder.manifest().get("test", True)
    dataset = folder.prepare(dataset, experiment)
    model = build_model(dataset, experiment)
    _continue(folder, dataset, experiment, model, _validation(dataset), test, report)
    return folder


def build_model(dataset: Dataset, experiment: Experiment) -> Recommender:
    """The untrained model of an experiment, on its device, with all random streams seeded."""
    settings = experiment.training
    device = resolve_device(settings.device)
    random.seed(settings.seed)
    np.random.seed(settings.seed)  # noqa: NPY002 (a model of a third party may use it)
    torch.manual_seed(settings.seed)
    train = training_view(dataset, experiment)
    model = model_class(experiment.model.name)(train, **experiment.model.options)
    model.seed = settings.seed
    return model.to(device)


def resolve_device(name: str) -> torch.device:
    """`auto` means a CUDA device where there is one.

    Raises:
        InputError: a device this machine does not have.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"unknown device '{name}'; use auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"device '{name}' is not supported; use auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"device '{name}' is not on this machine; use --device cpu")
    return device


def ranker_of(model: Recommender) -> Ranker:
    """What ranks for a model: its vectors, computed once, or the model itself."""
    if not model.factorised:
        return model
    vectors = model.embeddings()
    return VectorRanker(vectors.users, vectors.items)


def best_model(folder: RunFolder, dataset: Dataset, experiment: Experiment) -> Recommender:
    """The model of a run at its best epoch."""
    model = build_model(dataset, experiment)
    _, tensors = load_checkpoint(folder.path / "best")
    restore_model(model, tensors)
    return model


def measure(
    folder: RunFolder, dataset: Dataset, experiment: Experiment, ranker: Ranker, split: str
) -> Evaluation:
    """Evaluate on `valid` or `test` and write per-user values, rankings and metrics.

    Opening the test split is recorded in `test_access.json`.
    """
    options = experiment.evaluation.options()
    if split == "test":
        record, config = folder.path / "test_access.json", experiment.config_id
        held_out = open_test(dataset, record, reason="evaluate the run", config=config)
    else:
        held_out = _validation(dataset)
    result = evaluate(ranker, dataset, held_out, options)
    folder.write_part("per_user", split, _per_user(result, dataset))
    folder.write_part("topk", split, _topk(result, dataset, held_out))
    folder.write_part("cohorts", split, _cohorts(result, dataset, held_out, options))
    folder.update_metrics(**{split: result.metrics})  # last: it says that the tables are there
    return result


def _continue(
    folder: RunFolder,
    dataset: Dataset,
    experiment: Experiment,
    model: Recommender,
    valid: HeldOut,
    test: bool,
    report: Report,
) -> None:
    options = experiment.evaluation.options()

    def validate(trained: Recommender) -> dict[str, float]:
        with _forked_random_state():
            return evaluate(ranker_of(trained), dataset, valid, options).metrics

    def tell(epoch: EpochReport) -> None:
        folder.log(epoch.describe())
        report(epoch)

    train = training_view(dataset, experiment)
    trainer = Trainer(model, train, experiment.training, validate, folder.path, tell)
    folder.set_status("running")
    with _status_on_failure(folder):
        progress = trainer.fit()
        if progress.done:
            _finish(folder, dataset, experiment, model, test)
    folder.set_status("finished" if progress.done else "paused")


def _finish(
    folder: RunFolder, dataset: Dataset, experiment: Experiment, model: Recommender, test: bool
) -> None:
    progress, tensors = load_checkpoint(folder.path / "best")
    restore_model(model, tensors)
    if model.factorised:
        folder.save_vectors(model.embeddings())
    ranker = ranker_of(model)
    best = {"epoch": progress.best_epoch, "metric": experiment.training.metric}
    cost = {"seconds": round(progress.seconds, 2), "peak_memory_mib": _peak_memory_mib()}
    folder.update_metrics(best=best)
    folder.update_manifest(cost=cost)
    if "valid" not in folder.metrics():
        measure(folder, dataset, experiment, ranker, "valid")
    if test and "test" not in folder.metrics():
        measure(folder, dataset, experiment, ranker, "test")


def _peak_memory_mib() -> int | None:
    """The most memory this process held, where the system tells."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak // (2**20 if sys.platform == "darwin" else 2**10))


@contextmanager
def _status_on_failure(folder: RunFolder) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        folder.set_status("interrupted")
        raise
    except Exception:
        folder.set_status("failed")
        raise


@contextmanager
def _forked_random_state() -> Iterator[None]:
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        yield


def _validation(dataset: Dataset) -> HeldOut:
    valid = held_out_valid(dataset)
    if len(valid.users) == 0:
        raise InputError(
            "the split has no validation interactions, so no epoch can be selected; "
            "make another split with 'graphrec data split'"
        )
    return valid


def _cohorts(
    result: Evaluation, dataset: Dataset, held_out: HeldOut, options: EvaluationOptions
) -> pl.DataFrame:
    """Metrics by groups, at the cut-off 20 or the largest there is."""
    return cohort_metrics(
        dataset.train,
        result.users,
        result.topk.items.cpu().numpy().astype(np.int64),
        held_out.indptr,
        held_out.items,
        metrics=[name for name in ("recall", "ndcg") if name in options.metrics],
        k=20 if 20 in options.ks else max(options.ks),
    )


def _per_user(result: Evaluation, dataset: Dataset) -> pl.DataFrame:
    ids = [dataset.user_ids[user] for user in result.users.tolist()]
    return pl.DataFrame({"user": ids, **result.per_user})


def _topk(result: Evaluation, dataset: Dataset, held_out: HeldOut) -> pl.DataFrame:
    users = [dataset.user_ids[user] for user in result.users.tolist()]
    items = result.topk.items.cpu().numpy()
    hits = find_hits(items, held_out.indptr, held_out.items)
    k = items.shape[1]
    table = pl.DataFrame(
        {
            "user": np.repeat(np.arange(len(users)), k),
            "rank": np.tile(np.arange(1, k + 1, dtype=np.int32), len(users)),
            "item": items.ravel(),
            "score": result.topk.scores.cpu().numpy().ravel(),
            "hit": hits.ravel(),
        }
    ).filter(pl.col("item") >= 0)
    names = pl.Series(users), pl.Series(list(dataset.item_ids))
    return table.with_columns(
        names[0].gather(table["user"]).alias("user"), names[1].gather(table["item"]).alias("item")
    )
