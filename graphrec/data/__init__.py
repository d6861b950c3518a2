"""Interactions, splits, readers, the built-in catalogue and training batches.

- `dataset`: `Dataset`, immutable, and `build_dataset`
- `train_view`: `TrainView`, all a model may see
- `splits`: `Split` and `make_split`
- `filters`: rating threshold, duplicates, k-core
- `readers`: public formats to a `Source`
- `loading`: `load_dataset`
- `sampling`: batches and negatives
"""

from graphrec.data.dataset import Dataset, Interactions, build_dataset
from graphrec.data.loading import load_dataset
from graphrec.data.sampling import Batch, BatchSampler, Sampling
from graphrec.data.splits import Split, make_split
from graphrec.data.train_view import Features, TrainView

__all__ = [
    "Batch",
    "BatchSampler",
    "Dataset",
    "Features",
    "Interactions",
    "Sampling",
    "Split",
    "TrainView",
    "build_dataset",
    "load_dataset",
    "make_split",
]
