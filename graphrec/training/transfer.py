"""A trained model on other data: nothing is learnt there."""

from __future__ import annotations

from dataclasses import replace

from graphrec.data.dataset import Dataset
from graphrec.evaluation.cold_start import ColdEvaluation, evaluate_cold
from graphrec.evaluation.evaluate import Evaluation, evaluate
from graphrec.models.registry import model_class, model_names
from graphrec.training.config import DataSection, Experiment
from graphrec.training.folder import RunFolder
from graphrec.training.train import best_model, held_out_of, ranker_of, warm_part
from modalities._base.errors import InputError
from modalities._base.files import read_manifest, write_json

FORMAT = "graphrec.transfers"
VERSION = 1


def evaluate_elsewhere(
    folder: RunFolder,
    dataset: Dataset,
    experiment: Experiment,
    split: str,
    *,
    same_encoder: bool = False,
) -> Evaluation:
    """Measure a run's best epoch on data it was not trained on.

    The other data's training interactions make the graph and the histories of users, its features
    the items; the parameters stay. Figures are added to `transfers.json` in the run folder, and
    an opening of the other test split is recorded like one of the run's own.

    Raises:
        InputError: the model has parameters of single users or items, or the features are not of
            the encoder it was trained with.
    """
    name = experiment.model.name
    if not model_class(name).transferable:
        able = [other for other in model_names() if model_class(other).transferable]
        raise InputError(
            f"the run in '{folder.path}' was trained on other data (data_id "
            f"{folder.manifest()['ids']['data_id']}, given {dataset.data_id}), and model '{name}' "
            "has parameters of single users or items, so it cannot score these; models that can: "
            + ", ".join(able)
        )
    plain = experiment.model_copy(update={"data": DataSection()})  # flips were of the run's data
    made = folder.prepare_other(dataset, plain, same_encoder=same_encoder)
    model = best_model(folder, made, plain)
    reason = f"evaluate the run on other data, '{dataset.name}'"
    held_out = held_out_of(folder, made, experiment, split, reason=reason)
    options = experiment.evaluation.options()
    result = evaluate(ranker_of(model), made.warm, warm_part(made, held_out), options)
    cold = evaluate_cold(model, made, held_out, options) or ColdEvaluation()
    result = replace(result, metrics={**result.metrics, **cold.metrics})
    _record(folder, made, split, result)
    return result


def _record(folder: RunFolder, dataset: Dataset, split: str, result: Evaluation) -> None:
    path = folder.path / "transfers.json"
    known = read_manifest(path, FORMAT, VERSION)["transfers"] if path.is_file() else []
    entry = {
        "dataset": dataset.name,
        "data_id": dataset.data_id,
        "split_id": dataset.split_id,
        "features": dataset.feature_ids,
        "split": split,
        "metrics": result.metrics,
    }
    key = ("data_id", "split_id", "features", "split")
    others = [one for one in known if any(one[name] != entry[name] for name in key)]
    write_json(path, {"format": FORMAT, "version": VERSION, "transfers": [*others, entry]})
