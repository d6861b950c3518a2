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
from graphrec.evaluation.cold_start import ColdEvaluation, evaluate_cold, is_cold
from graphrec.evaluation.evaluate import Evaluation, EvaluationOptions, evaluate
from graphrec.evaluation.held_out import HeldOut, held_out_valid
from graphrec.evaluation.metrics import find_hits
from graphrec.evaluation.test_split import open_test
from graphrec.models.base import NoFeaturesError, Recommender
from graphrec.models.registry import model_class
from graphrec.nn.ranking import Ranker, VectorRanker
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
    stored = list(dataset.features)
    dataset, learnt = fit_features(dataset, experiment.features, train)
    valid = _validation(dataset)
    try:
        model = build_model(dataset, experiment)
    except NoFeaturesError as error:
        raise NoFeaturesError(error.needing, stored) from None
    if is_cold(experiment.training.metric):
        with _forked_random_state():
            _cold_metrics(model, dataset, valid, experiment)
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
    folder: RunFolder, dataset: Dataset, experiment: Experiment, model: Recommender, split: str
) -> dict[str, float]:
    """Evaluate on `valid` or `test` and write per-user values, rankings and metrics.

    Under a cold-start split, users and items of training are measured among themselves, and the
    cold ones as `evaluate_cold` does. Opening the test split is recorded in `test_access.json`.
    """
    options = experiment.evaluation.options()
    held_out = held_out_of(folder, dataset, experiment, split, reason="evaluate the run")
    warm, known = dataset.warm, warm_part(dataset, held_out)
    result = evaluate(ranker_of(model), warm, known, options)
    cold = evaluate_cold(model, dataset, held_out, options) or ColdEvaluation()
    folder.write_part("per_user", split, _per_user(result, cold, dataset))
    folder.write_part("topk", split, _topk(result, warm, known))
    folder.write_part("cohorts", split, _cohorts(result, warm, known, options))
    if cold.refused:
        folder.update_metrics(not_applicable={"cold": cold.refused})
        folder.log(f"not applicable: {cold.refused}")
    metrics = {**result.metrics, **cold.metrics}
    folder.update_metrics(**{split: metrics})  # last: it says that the tables are there
    return metrics


def held_out_of(
    folder: RunFolder, dataset: Dataset, experiment: Experiment, split: str, *, reason: str
) -> HeldOut:
    """What `valid` or `test` holds out; opening test is recorded in the run, with the reason."""
    if split == "valid":
        return held_out_valid(dataset)
    record, config = folder.path / "test_access.json", experiment.config_id
    return open_test(dataset, record, reason=reason, config=config)


def warm_part(dataset: Dataset, held_out: HeldOut) -> HeldOut:
    """What is held out of users and items of training, under their indices in `dataset.warm`."""
    return held_out.within(*dataset.cold.places) if dataset.cold else held_out


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

    warm, known = dataset.warm, warm_part(dataset, valid)

    def validate(trained: Recommender) -> dict[str, float]:
        with _forked_random_state():
            metrics = evaluate(ranker_of(trained), warm, known, options).metrics
            if is_cold(experiment.training.metric):
                metrics |= _cold_metrics(trained, dataset, valid, experiment)
        return metrics

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
    best = {"epoch": progress.best_epoch, "metric": experiment.training.metric}
    cost = {"seconds": round(progress.seconds, 2), "peak_memory_mib": _peak_memory_mib()}
    folder.update_metrics(best=best)
    folder.update_manifest(cost=cost)
    if "valid" not in folder.metrics():
        measure(folder, dataset, experiment, model, "valid")
    if test and "test" not in folder.metrics():
        measure(folder, dataset, experiment, model, "test")


def _cold_metrics(
    model: Recommender, dataset: Dataset, valid: HeldOut, experiment: Experiment
) -> dict[str, float]:
    """Validation metrics of the cold side, among them the one that selects."""
    metric = experiment.training.metric
    cold = evaluate_cold(model, dataset, valid, experiment.evaluation.options())
    if cold is None:
        raise InputError(
            f"training.metric '{metric}' is of a cold-start split, and these data are split by "
            f"'{dataset.split.spec.get('method')}'; split them by cold-item or cold-user, or "
            f"select by another metric"
        )
    if metric not in cold.metrics:
        raise InputError(
            f"training.metric '{metric}' cannot be measured: "
            + (cold.refused or "validation has none of it under this split")
        )
    return cold.metrics


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
    if len(warm_part(dataset, valid).users) == 0:
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


def _per_user(result: Evaluation, cold: ColdEvaluation, dataset: Dataset) -> pl.DataFrame:
    """One row per user measured; a metric is null where the user has nothing of its kind."""
    known = [dataset.warm.user_ids[user] for user in result.users.tolist()]
    table = pl.DataFrame({"user": known, **result.per_user})
    if not cold.per_user:
        return table
    others = [dataset.user_ids[user] for user in cold.users.tolist()]
    values = {name: pl.Series(found).fill_nan(None) for name, found in cold.per_user.items()}
    more = pl.DataFrame({"user": others, **values})
    return table.join(more, on="user", how="full", coalesce=True)


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
