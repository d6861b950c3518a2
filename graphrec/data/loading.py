"""Open a dataset folder of either kind the command line takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from graphrec.data.dataset import Dataset, build_dataset
from modalities._base.errors import InputError


def load_dataset(path: Path | str) -> Dataset:
    """Load a folder written by graphrec, or an MMRec-style folder as it is.

    An MMRec-style folder holds one `*.inter` file with `x_label` and `*_feat.npy` files; its
    labels are the split, and nothing is filtered.

    Args:
        path: the folder.

    Raises:
        InputError: there is no such folder, or it is of neither kind.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise InputError(f"dataset folder '{folder}' does not exist")
    if (folder / "manifest.json").is_file():
        return Dataset.load(folder)
    if any(folder.glob("*.inter")):
        from graphrec.data.readers import read_source

        dataset = build_dataset(read_source(folder), dedupe=False)
        return replace(dataset, path=folder.resolve())
    raise InputError(
        f"'{folder}' is neither a graphrec dataset (manifest.json) nor an MMRec-style folder "
        "(*.inter); turn other data into a dataset with 'graphrec data import'"
    )
