"""The feature store: one modality of many items, aligned by item id, memory-mapped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from modalities._base.errors import InputError
from modalities._base.files import atomic_folder, read_manifest, write_json
from modalities._base.identity import digest
from modalities.protocol import Modality

FORMAT = "graphrec.features"
VERSION = 1
ROWS_PER_PART = 2048

Nonfinite = Literal["error", "missing", "zero"]
Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class FeatureStore:
    """Vectors of one modality.

    On disk a store is a folder: `spec.json` (encoder spec, modality, dimension, dtype, rows per
    part), `items.parquet` (row, item_id, present, error, digest) and `part-000000.safetensors`
    of fixed row ranges with the tensors `features` and `present`.

    Args:
        item_ids: external ids, one per row, unique.
        present: bool [n]; absent rows are zero.
        modality: image, text, audio, joint or other.
        spec: everything that determines the vectors, as JSON values.
        digests: identity of each row's input, "" for an absent one.
        errors: why a row is absent, or None.
        parts: the rows, in order, each [rows, d] and possibly memory-mapped.
        path: the folder the store was loaded from, or None.

    Example:
        >>> store = FeatureStore.from_arrays(np.eye(2, dtype=np.float32), ["a", "b"])
        >>> store.select(["b", "c"]).present
        array([ True, False])
    """

    item_ids: list[str]
    present: NDArray[np.bool_]
    modality: Modality
    spec: Mapping[str, Any]
    digests: list[str]
    errors: list[str | None]
    parts: list[Array] = field(repr=False)
    path: Path | None = None

    @classmethod
    def from_arrays(
        cls,
        values: Array,
        item_ids: Sequence[str],
        *,
        present: NDArray[np.bool_] | None = None,
        spec: Mapping[str, Any] | None = None,
        modality: Modality = "other",
        digests: Sequence[str] | None = None,
        errors: Sequence[str | None] | None = None,
        nonfinite: Nonfinite = "error",
    ) -> FeatureStore:
        """A store in memory; float16 and float32 stay as they are, other floats become float32.

        Args:
            values: [n, d].
            item_ids: one per row.
            present: bool [n]; default: all.
            spec: what made the values.
            modality: their kind.
            digests: identity of each input; default: of the rows themselves.
            errors: why rows are absent.
            nonfinite: what to do with rows holding NaN or infinity: refuse (`"error"`), treat
                them as absent (`"missing"`), or put zeros in those places (`"zero"`).

        Raises:
            InputError: wrong shapes, repeated ids, or rows that are not finite.
        """
        if values.ndim != 2 or values.dtype.kind not in "fiu":
            raise InputError(
                f"features must be a numeric matrix [items, dim], got shape {values.shape} "
                f"of type {values.dtype}"
            )
        if len(values) != len(item_ids):
            raise InputError(
                f"features have {len(values)} rows for {len(item_ids)} items; "
                "give one row per item, in item order"
            )
        repeated = len(item_ids) - len(set(item_ids))
        if repeated:
            raise InputError(f"{repeated} item id(s) occur more than once; ids must be unique")
        here = np.ones(len(values), dtype=np.bool_) if present is None else present.copy()
        matrix = values if values.dtype in (np.float16, np.float32) else values.astype(np.float32)
        matrix, here = _finite(matrix, here, nonfinite)
        if not here.all() and matrix[~here].any():
            matrix = np.where(here[:, None], matrix, matrix.dtype.type(0))
        return cls(
            item_ids=list(item_ids),
            present=here,
            modality=modality,
            spec=dict(spec or {"encoder": "precomputed"}),
            digests=list(digests) if digests is not None else _row_digests(matrix, here),
            errors=list(errors) if errors is not None else [None] * len(values),
            parts=[matrix],
        )

    def __len__(self) -> int:
        return len(self.item_ids)

    @property
    def dim(self) -> int:
        """Length of a row."""
        return int(self.parts[0].shape[1])

    @property
    def dtype(self) -> np.dtype[Any]:
        """float16 or float32."""
        return self.parts[0].dtype

    @cached_property
    def feature_id(self) -> str:
        """Identity: the spec, and id and input digest of every present row."""
        rows = [
            f"{i}\t{d}" if p else i for i, d, p in zip(self.item_ids, self.digests, self.present)
        ]
        return digest(dict(self.spec), self.modality, "\n".join(rows).encode())

    @property
    def coverage(self) -> float:
        """Share of items that have the modality."""
        return float(self.present.mean()) if len(self) else 0.0

    def values(self) -> Array:
        """All rows, [n, d] in the stored type: mapped when there is one part, else a copy."""
        return self.parts[0] if len(self.parts) == 1 else np.concatenate(self.parts)

    def rows(self, indices: Array) -> Array:
        """These rows, [len(indices), d]; nothing else is read."""
        wanted = np.asarray(indices, dtype=np.int64)
        if len(self.parts) == 1:
            return np.asarray(self.parts[0][wanted])
        size = len(self.parts[0])
        result = np.empty((len(wanted), self.dim), dtype=self.dtype)
        for number in np.unique(wanted // size):
            here = wanted // size == number
            result[here] = self.parts[number][wanted[here] % size]
        return result

    def select(self, item_ids: Sequence[str]) -> FeatureStore:
        """The store realigned to `item_ids`; an id without a row becomes an absent one."""
        if list(item_ids) == self.item_ids:
            return self
        place = {item: row for row, item in enumerate(self.item_ids)}
        index = np.array([place.get(item, -1) for item in item_ids], dtype=np.int64)
        known = index >= 0
        values = np.zeros((len(index), self.dim), dtype=self.dtype)
        values[known] = self.rows(index[known])
        present = np.zeros(len(index), dtype=np.bool_)
        present[known] = self.present[index[known]]
        return FeatureStore(
            item_ids=list(item_ids),
            present=present,
            modality=self.modality,
            spec=self.spec,
            digests=[self.digests[row] if row >= 0 else "" for row in index],
            errors=[self.errors[row] if row >= 0 else "missing" for row in index],
            parts=[values],
        )

    def save(self, path: Path | str, *, rows_per_part: int = ROWS_PER_PART) -> None:
        """Write the store to a new folder, atomically.

        Raises:
            InputError: `path` is taken.
        """
        from safetensors.numpy import save_file

        values = self.values()
        with atomic_folder(Path(path)) as folder:
            self._table().write_parquet(folder / "items.parquet")
            for number, start in enumerate(range(0, max(len(self), 1), rows_per_part)):
                rows = slice(start, start + rows_per_part)
                tensors = {
                    "features": np.ascontiguousarray(values[rows]),
                    "present": self.present[rows],
                }
                save_file(tensors, folder / _part_name(number))
            write_json(folder / "spec.json", self._spec(rows_per_part))

    @classmethod
    def load(cls, path: Path | str) -> FeatureStore:
        """Open a folder written by `save`; rows are mapped, not read.

        Raises:
            InputError: a file is missing or damaged, or the parts do not fit the spec.
        """
        folder = Path(path)
        spec = read_manifest(folder / "spec.json", FORMAT, VERSION)
        try:
            table = pl.read_parquet(folder / "items.parquet")
            columns = {name: table[name] for name in ("item_id", "present", "error", "digest")}
        except (OSError, pl.exceptions.PolarsError) as error:
            raise InputError(f"cannot read '{folder / 'items.parquet'}': {error}") from None
        store = cls(
            item_ids=columns["item_id"].to_list(),
            present=columns["present"].to_numpy().astype(np.bool_),
            modality=spec["modality"],
            spec=spec["spec"],
            digests=[value or "" for value in columns["digest"].to_list()],
            errors=columns["error"].to_list(),
            parts=_map_parts(folder, spec, len(table)),
            path=folder,
        )
        if store.feature_id != spec["feature_id"]:
            raise InputError(
                f"'{folder}' was changed after it was written; make the features again"
            )
        return store

    def _table(self) -> pl.DataFrame:
        return pl.DataFrame(
            {
                "row": np.arange(len(self)),
                "item_id": self.item_ids,
                "present": self.present,
                "error": pl.Series(self.errors, dtype=pl.String),
                "digest": pl.Series([value or None for value in self.digests], dtype=pl.String),
            }
        )

    def _spec(self, rows_per_part: int) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "version": VERSION,
            "feature_id": self.feature_id,
            "modality": self.modality,
            "dim": self.dim,
            "dtype": self.dtype.name,
            "count": len(self),
            "rows_per_part": rows_per_part,
            "spec": dict(self.spec),
        }


def _finite(
    values: Array, present: NDArray[np.bool_], nonfinite: Nonfinite
) -> tuple[Array, NDArray[np.bool_]]:
    bad = ~np.isfinite(values).all(axis=1) & present
    count = int(bad.sum())
    if count == 0:
        return values, present
    if nonfinite == "error":
        raise InputError(
            f"{count} of {len(values)} feature rows hold NaN or infinity; mend them, or choose "
            "nonfinite='missing' (rows become absent) or 'zero' (values become 0)"
        )
    if nonfinite == "zero":
        return np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0), present
    return values, present & ~bad


def _row_digests(values: Array, present: NDArray[np.bool_]) -> list[str]:
    return [digest(row) if here else "" for row, here in zip(values, present)]


def _part_name(number: int) -> str:
    return f"part-{number:06d}.safetensors"


def _map_parts(folder: Path, spec: Mapping[str, Any], count: int) -> list[Array]:
    size, dim, dtype = spec["rows_per_part"], spec["dim"], np.dtype(spec["dtype"])
    if count != spec["count"]:
        raise InputError(f"'{folder}' lists {count} items, its spec says {spec['count']}")
    parts = []
    for number, start in enumerate(range(0, max(count, 1), size)):
        shape = (min(size, count - start), dim)
        parts.append(_map_features(folder / _part_name(number), shape, dtype))
    return parts


def _map_features(path: Path, shape: tuple[int, int], dtype: np.dtype[Any]) -> Array:
    """The tensor `features` of a safetensors file, as a read-only memory map."""
    names = {"F16": np.float16, "F32": np.float32}
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if length < 1_000_000 else {}
        entry = header["features"]
        first, last = entry["data_offsets"]
        fits = entry["shape"] == list(shape) and names.get(entry["dtype"]) == dtype
        if not fits or last - first != shape[0] * shape[1] * dtype.itemsize:
            raise ValueError(f"expected {shape} {dtype}, got {entry['shape']} {entry['dtype']}")
        if path.stat().st_size < 8 + length + last:
            raise ValueError("the file is cut short")
        if 0 in shape:
            return np.zeros(shape, dtype=dtype)
        return np.memmap(path, dtype=dtype, mode="r", offset=8 + length + first, shape=shape)
    except FileNotFoundError:
        raise InputError(f"'{path}' is missing; the feature store is incomplete") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"'{path}' is damaged: {error}") from None
