"""The function most people start with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from graphrec.data.dataset import Dataset
from graphrec.display import TrainingDisplay
from graphrec.serving.run import Run
from graphrec.training.config import Experiment
from graphrec.training.train import train_run


def train(
    dataset: Dataset,
    model: str,
    out: Path | str,
    *,
    features: Sequence[str] | Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    evaluation: Mapping[str, Any] | None = None,
    flip: float = 0.0,
    test: bool = True,
    progress: bool = True,
    **options: Any,
) -> Run:
    """Train a model, select its best epoch on validation, measure it on test once.

    Args:
        dataset: see `graphrec.load_dataset`.
        model: a name `graphrec models` lists.
        out: folder of the run; it must not exist, or be empty.
        features: modalities to use, in order; None: all; or with transforms, such as
            `{"use": ["text"], "text": {"transforms": ["center", "pca:64"]}}`.
        training: settings such as `{"epochs": 100}`; see `TrainingSection`.
        evaluation: settings such as `{"ks": [20]}`; see `EvaluationSection`.
        flip: share of the training interactions replaced by random ones; see `DataSection`.
        test: measure on the test split at the end.
        progress: show a progress bar.
        options: arguments of the model's constructor.

    Returns:
        The run, ready to recommend.

    Raises:
        InputError: an unknown model or option, data that do not fit, or `out` is taken.
        TrainingError: a loss became infinite or not a number.
    """
    named = features if isinstance(features, Mapping) else {"use": features}
    experiment = Experiment.parse(
        {
            "data": {"path": str(dataset.path) if dataset.path else None, "flip": flip},
            "features": named,
            "model": {"name": model, **options},
            "training": training or {},
            "evaluation": evaluation or {},
        }
    )
    with TrainingDisplay(experiment, show=progress) as display:
        folder = train_run(dataset, experiment, Path(out), test=test, report=display.update)
    return Run(folder.path)
