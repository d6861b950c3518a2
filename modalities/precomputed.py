"""Vectors made elsewhere: npy, npz, safetensors and Parquet, by row or by item id."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from modalities._base.errors import InputError, UnknownNameError
from modalities.parts import file_digest
from modalities.protocol import Modality
from modalities.store import FeatureStore, Nonfinite

Array = NDArray[Any]
_ID_COLUMNS = ("item_id", "itemID", "item", "id", "parent_asin", "asin")


def read_precomputed(
    path: Path | str,
    item_ids: Sequence[str],
    *,
    key: str | None = None,
    ids: str | None = None,
    kind: Modality = "other",
    nonfinite: Nonfinite = "error",
) -> FeatureStore:
    """Read vectors and align them with items.

    - `.npy`: one matrix, by row
    - `.npz`, `.safetensors`: the matrix `key` (or the only one); ids beside it as `item_ids`
    - `.parquet`: a column `item_id` and either one list column or numeric columns
    - any of them with `ids=FILE`: a text file with one id per row

    Without ids the rows must be as many as the items, in item order. Rows of unknown items are
    left out; items without a row, with a null or with nothing but NaN are absent. Pickled arrays
    are refused.

    Args:
        path: the file.
        item_ids: of the items, in order.
        key: which matrix of the file.
        ids: text file of ids.
        kind: image, text, audio, joint or other.
        nonfinite: see `FeatureStore.from_arrays`.

    Raises:
        InputError: the file cannot be read, or does not fit the items.
    """
    file = Path(path)
    readers: dict[str, Callable[[Path, str | None], tuple[Array, list[str] | None]]] = {
        ".npy": _read_npy,
        ".npz": _read_npz,
        ".safetensors": _read_safetensors,
        ".parquet": _read_parquet,
    }
    if file.suffix not in readers:
        raise UnknownNameError("format of vectors", file.suffix or str(file), readers)
    if not file.is_file():
        raise InputError(f"file '{file}' does not exist")
    values, names = readers[file.suffix](file, key)
    if ids is not None:
        names = _read_ids(Path(ids))
    spec = {"encoder": "file", "name": file.name, "digest": file_digest(file), "key": key}
    if names is None:
        if len(values) != len(item_ids):
            raise InputError(
                f"'{file}' has {len(values):,} rows for {len(item_ids):,} items; give one row per "
                "item in item order, or a file with item ids (ids=FILE)"
            )
        names = list(item_ids)
    store = FeatureStore.from_arrays(
        values, names, present=_there(values), spec=spec, modality=kind, nonfinite=nonfinite
    )
    if not set(names) & set(item_ids):
        raise InputError(
            f"no item id of '{file}' is one of the dataset: it has {_shown(names)}, the dataset "
            f"{_shown(item_ids)}"
        )
    return store.select(item_ids)


def _there(values: Array) -> NDArray[np.bool_] | None:
    """A row of nothing but NaN is how other programs write an absent one."""
    if values.ndim != 2 or values.dtype.kind != "f" or values.shape[1] == 0:
        return None
    return np.asarray(~np.isnan(values).all(axis=1))


def _read_npy(path: Path, key: str | None) -> tuple[Array, None]:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False), None
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"cannot read '{path}': {error}") from None


def _read_npz(path: Path, key: str | None) -> tuple[Array, list[str] | None]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except Exception as error:  # zip files break in many ways
        raise InputError(f"cannot read '{path}': {error}") from None
    return _chosen(path, arrays, key)


def _read_safetensors(path: Path, key: str | None) -> tuple[Array, list[str] | None]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        arrays = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"cannot read '{path}': {error}") from None
    return _chosen(path, arrays, key)


def _chosen(
    path: Path, arrays: dict[str, Array], key: str | None
) -> tuple[Array, list[str] | None]:
    found = arrays.pop("item_ids", None)
    names = None if found is None else [str(name) for name in found.tolist()]
    matrices = {name: array for name, array in arrays.items() if array.ndim == 2}
    if key is not None:
        if key not in matrices:
            raise UnknownNameError(f"matrix in '{path}'", key, matrices)
        return matrices[key], names
    if len(matrices) != 1:
        raise InputError(
            f"'{path}' holds {len(matrices)} matrices ({', '.join(matrices) or 'none'}); "
            "choose one with key=NAME"
        )
    return next(iter(matrices.values())), names


def _read_parquet(path: Path, key: str | None) -> tuple[Array, list[str] | None]:
    try:
        table = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise InputError(f"cannot read '{path}': {error}") from None
    id_column = next((name for name in _ID_COLUMNS if name in table.columns), None)
    names = None if id_column is None else table[id_column].cast(pl.String).to_list()
    columns = [c for c in table.columns if c != id_column]
    lists = [c for c in columns if table.schema[c].base_type() in (pl.List, pl.Array)]
    chosen = key or (lists[0] if len(lists) == 1 else None)
    if chosen is not None:
        if chosen not in columns:
            raise UnknownNameError(f"column of '{path}'", chosen, columns)
        return _matrix(path, chosen, table[chosen]), names
    numeric = [c for c in columns if table.schema[c].is_numeric()]
    if lists or not numeric:
        raise InputError(f"'{path}' has the columns {table.columns}; choose one with key=NAME")
    return table.select(numeric).to_numpy(), names


def _matrix(path: Path, name: str, column: pl.Series) -> Array:
    rows = column.to_list()
    lengths = {len(row) for row in rows if row is not None}
    if len(lengths) != 1:
        raise InputError(
            f"column '{name}' of '{path}' holds lists of {len(lengths)} different lengths; "
            "vectors have one"
        )
    absent = [float("nan")] * lengths.pop()
    return np.array([absent if row is None else row for row in rows], dtype=np.float32)


def _read_ids(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the ids in '{path}': {error}") from None


def _shown(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names[:3]) + (", ..." if len(names) > 3 else "")
