"""Training: configuration, loop, checkpoints and run folder.

- `config`: `Experiment`, the typed configuration
- `trainer`: `Trainer`, the loop
- `checkpoint`: what is saved at the end of an epoch
- `history`: one line per epoch
- `folder`: `RunFolder`
- `features`: transforms fitted for a run, and applied again
- `train`: a dataset and an experiment to a run
- `transfer`: a trained model on other data
- `robustness`: a trained model on spoiled features
"""

from graphrec.training.config import Experiment, apply_overrides, read_config
from graphrec.training.folder import RunFolder
from graphrec.training.train import resume_run, train_run
from graphrec.training.trainer import EpochReport, Trainer, TrainingError

__all__ = [
    "EpochReport",
    "Experiment",
    "RunFolder",
    "Trainer",
    "TrainingError",
    "apply_overrides",
    "read_config",
    "resume_run",
    "train_run",
]
