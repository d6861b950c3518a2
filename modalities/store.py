"""The feature store: one modality of many items, aligned by item id, memory-mapped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from modalities._base.errors import InputError
from modalities._base.files import atomic_file, atomic_folder, replacing_folder, write_json
from modalities._base.identity import digest
from modalities.inputs import MISSING
from modalities.layout import COLUMNS, FORMAT, VERSION, check_ids, read_items, read_spec
from modalities.parts import Array, MappedParts, map_parts, part_name, write_part
from modalities.protocol import Modality

ROWS_PER_PART = 2048


Nonfinite = Literal["error", "missing", "zero"]


@dataclass(frozen=True, eq=False, repr=False)
class FeatureStore:
    """Vectors of one modality.

    On disk a store is a folder: `spec.json` (encoder spec, modality, dimension, dtype, rows per
    part, count, identity, checksums of the parts), `items.parquet` (row, item_id, present, error,
    digest) and `part-000000.safetensors` of fixed row ranges with the tensors `features` and
    `present`.

    Args:
        item_ids: external ids, one per row, unique.
        present: bool [n]; absent rows are zero.
        modality: image, text, audio, joint or other.
        spec: everything that determines the vectors, as JSON values.
        digests: identity of each row's input, "" where there was none.
        errors: why a row is absent, or None.
        parts: the rows, in order, each [rows, d]; on disk all but the last of one length.
        path: the folder the store was loaded from, or None.
        made: how the rows were made, such as device and batch size: not part of any identity.

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
    parts: Sequence[Array] | MappedParts = field(repr=False)
    path: Path | None = None
    made: Mapping[str, Any] = field(default_factory=dict)

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
        made: Mapping[str, Any] | None = None,
    ) -> FeatureStore:
        """A store in memory; float16 and float32 stay as they are, other numbers become float32.

        Args:
            values: [n, d].
            item_ids: one per row.
            present: bool [n]; default: all.
            spec: what made the values.
            modality: their kind.
            digests: identity of each input; default: of the rows themselves.
            errors: why rows are absent; default: "missing".
            nonfinite: what to do with rows holding NaN or infinity: refuse (`"error"`), treat
                them as absent (`"missing"`), or put zeros in those places (`"zero"`).
            made: how the rows were made; not part of any identity.

        Raises:
            InputError: wrong shapes, repeated ids, or rows that are not finite.
        """
        if values.ndim != 2 or values.dtype.kind not in "fiu":
            raise InputError(
                f"features must be a numeric matrix [items, dim], got shape {values.shape} "
                f"of type {values.dtype}"
            )
        if values.shape[1] == 0:
            raise InputError("features must have at least one column, got none")
        if len(values) != len(item_ids):
            raise InputError(
                f"features have {len(values)} rows for {len(item_ids)} items; "
                "give one row per item, in item order"
            )
        check_ids(item_ids)
        for name, column in (("present", present), ("digests", digests), ("errors", errors)):
            if column is not None and len(column) != len(values):
                raise InputError(f"'{name}' has {len(column)} entries for {len(values)} rows")
        given = np.ones(len(values), np.bool_) if present is None else np.array(present, np.bool_)
        matrix = values if values.dtype in (np.float16, np.float32) else values.astype(np.float32)
        matrix, here = _finite(matrix, given, nonfinite)
        if not here.all() and matrix[~here].any():
            matrix = np.where(here[:, None], matrix, matrix.dtype.type(0))
        return cls(
            item_ids=list(item_ids),
            present=here,
            modality=modality,
            spec=dict(spec or {"encoder": "precomputed"}),
            digests=list(digests) if digests is not None else _row_digests(matrix, here),
            errors=_reasons(errors, given, here),
            parts=[matrix],
            made=dict(made or {}),
        )

    def __len__(self) -> int:
        return len(self.item_ids)

    def __repr__(self) -> str:
        size = f"{len(self):,} x {self.dim}, {self.dtype.name}"
        return f"FeatureStore({self.modality}: {size}, {self.coverage:.1%} present)"

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
        here = self.present.tolist()
        rows = [f"{i}\t{d}" if p else i for i, d, p in zip(self.item_ids, self.digests, here)]
        return digest(dict(self.spec), self.modality, "\n".join(rows).encode())

    @property
    def coverage(self) -> float:
        """Share of items that have the modality."""
        return float(self.present.mean()) if len(self) else 0.0

    def values(self) -> Array:
        """All rows, [n, d] in the stored type: mapped when there is one part, else a copy."""
        return self.parts[0] if len(self.parts) == 1 else np.concatenate(list(self.parts))

    def rows(self, indices: NDArray[np.integer[Any]] | Sequence[int]) -> Array:
        """These rows, [len(indices), d]; nothing else is read.

        Raises:
            IndexError: an index is negative or beyond the last row.
        """
        wanted = np.asarray(indices, dtype=np.int64)
        if len(wanted) and not 0 <= wanted.min() <= wanted.max() < len(self):
            raise IndexError(f"rows {wanted.min()} to {wanted.max()} asked of {len(self)}")
        if len(wanted) and (np.diff(wanted) == 1).all():
            return self._run(int(wanted[0]), int(wanted[-1]) + 1)
        order = np.argsort(wanted, kind="stable")
        part, row = np.divmod(wanted[order], max(len(self.parts[0]), 1))
        numbers, starts = np.unique(part, return_index=True)
        gathered = np.empty((len(wanted), self.dim), dtype=self.dtype)
        ends = [*starts[1:].tolist(), len(wanted)]
        for number, start, end in zip(numbers.tolist(), starts.tolist(), ends):
            np.take(self.parts[number], row[start:end], 0, gathered[start:end], "clip")
        result = np.empty_like(gathered)
        result[order] = gathered
        return result

    def _run(self, first: int, last: int) -> Array:
        """A copy of the rows from `first` up to `last`."""
        size = max(len(self.parts[0]), 1)
        numbers = range(first // size, (last - 1) // size + 1)
        return np.concatenate(
            [self.parts[n][max(first - n * size, 0) : last - n * size] for n in numbers]
        )

    def select(self, item_ids: Sequence[str]) -> FeatureStore:
        """The store realigned to `item_ids`; an id without a row becomes an absent one.

        Raises:
            InputError: an id is repeated.
        """
        if list(item_ids) == self.item_ids:
            return self
        check_ids(item_ids)
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
            errors=[self.errors[row] if row >= 0 else MISSING for row in index],
            parts=[values],
        )

    def save(self, path: Path | str, *, rows_per_part: int = ROWS_PER_PART) -> None:
        """Write the store to a new folder, atomically, one part in memory at a time.

        Raises:
            InputError: `path` is taken, or parts would be empty.
        """
        if rows_per_part < 1:
            raise InputError(f"rows_per_part must be at least 1, got {rows_per_part}")
        with atomic_folder(Path(path)) as folder:
            self._write(folder, rows_per_part)

    def replace(self, path: Path | str, *, rows_per_part: int = ROWS_PER_PART) -> None:
        """Write the store to `path`, in place of one that may be there."""
        with replacing_folder(Path(path)) as folder:
            self._write(folder, rows_per_part)

    @classmethod
    def load(cls, path: Path | str) -> FeatureStore:
        """Open a folder written by `save`; rows are mapped, not read.

        Raises:
            InputError: a file is missing or damaged, or the parts do not fit the spec.
        """
        folder = Path(path)
        spec = read_spec(folder / "spec.json")
        table = read_items(folder / "items.parquet")
        if len(table) != spec["count"]:
            raise InputError(f"'{folder}' lists {len(table)} items, its spec says {spec['count']}")
        present = table["present"].to_numpy().astype(np.bool_)
        layout = {"dim": spec["dim"], "rows_per_part": spec["rows_per_part"]}
        store = cls(
            item_ids=table["item_id"].to_list(),
            present=present,
            modality=spec["modality"],
            spec=spec["spec"],
            digests=table["digest"].fill_null("").to_list(),
            errors=table["error"].to_list(),
            parts=map_parts(folder, present, dtype=np.dtype(spec["dtype"]), **layout),
            path=folder,
            made=spec.get("made") or {},
        )
        if store.feature_id != spec["feature_id"]:
            raise InputError(
                f"'{folder}' was changed after it was written; make the features again"
            )
        return store

    def _write(self, folder: Path, rows_per_part: int) -> None:
        sums = []
        same = len(self.parts[0]) == min(rows_per_part, len(self))
        for number, start in enumerate(range(0, max(len(self), 1), rows_per_part)):
            rows = np.arange(start, min(start + rows_per_part, len(self)))
            values = self.parts[number] if same else self.rows(rows)
            sums.append(write_part(folder / part_name(number), values, self.present[rows]))
        with atomic_file(folder / "items.parquet") as temporary:
            self._table().write_parquet(temporary)
        write_json(folder / "spec.json", self._manifest(rows_per_part, sums))

    def _table(self) -> pl.DataFrame:
        columns = {
            "row": np.arange(len(self)),
            "item_id": self.item_ids,
            "present": self.present,
            "error": self.errors,
            "digest": [value or None for value in self.digests],
        }
        return pl.DataFrame(columns, schema=COLUMNS)

    def _manifest(self, rows_per_part: int, checksums: Sequence[str]) -> dict[str, Any]:
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
            "made": dict(self.made),
            "checksums": list(checksums),
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


def _reasons(
    errors: Sequence[str | None] | None, given: NDArray[np.bool_], here: NDArray[np.bool_]
) -> list[str | None]:
    """Why rows are absent: as told, or because they were not given, or not finite."""
    told = errors if errors is not None else [None] * len(here)
    return [
        None if present else reason or ("not-finite" if was else MISSING)
        for reason, was, present in zip(told, given.tolist(), here.tolist())
    ]


def _row_digests(values: Array, present: NDArray[np.bool_]) -> list[str]:
    return [digest(row) if here else "" for row, here in zip(values, present)]
