"""graphrec: graph-based multimodal recommendation.

Rooms, each importing only those before it:

- `graphrec.data`: datasets, readers, splits, batches
- `graphrec.graphs`: user-item and item-item graphs
- `graphrec.nn`: propagation, similarity, losses
- `graphrec.models`: one file per published model
- `graphrec.evaluation`: rankings and metrics
- `graphrec.training`: the loop and the run folder
- `graphrec.serving`: a run in use

Encoders and feature stores live in the sister package `modalities`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from graphrec._version import __version__

if TYPE_CHECKING:
    from graphrec.api import train
    from graphrec.data.dataset import Dataset, build_dataset
    from graphrec.data.loading import load_dataset
    from graphrec.data.readers import read_source
    from graphrec.serving.run import Run, load_run

__all__ = [
    "Dataset",
    "Run",
    "__version__",
    "build_dataset",
    "load_dataset",
    "load_run",
    "read_source",
    "train",
]

_HOMES = {
    "Dataset": "graphrec.data.dataset",
    "Run": "graphrec.serving.run",
    "build_dataset": "graphrec.data.dataset",
    "load_dataset": "graphrec.data.loading",
    "load_run": "graphrec.serving.run",
    "read_source": "graphrec.data.readers",
    "train": "graphrec.api",
}


def __getattr__(name: str) -> Any:
    # Lazy, so that `graphrec --help` does not wait for torch.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'graphrec' has no attribute '{name}'")
