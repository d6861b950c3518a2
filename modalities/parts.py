"""The parts of a feature store on disk: safetensors files of fixed row ranges, mapped on use."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from modalities._base.errors import InputError
from modalities._base.files import atomic_file

Array = NDArray[Any]

_HEADER_LIMIT = 1_000_000
_TYPE_NAMES = {"float16": "F16", "float32": "F32"}


@dataclass(frozen=True)
class MappedParts:
    """Row ranges of a matrix on disk; each is mapped when asked for, and no file stays open.

    Args:
        files: the part files, in row order.
        offsets: where the rows begin in each file, in bytes.
        shapes: (rows, dim) of each part.
        dtype: of the values.
    """

    files: tuple[Path, ...]
    offsets: tuple[int, ...]
    shapes: tuple[tuple[int, int], ...]
    dtype: np.dtype[Any]

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[Array]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> Array:
        shape, path = self.shapes[number], self.files[number]
        if 0 in shape:
            return np.zeros(shape, dtype=self.dtype)
        try:
            offset = self.offsets[number]
            return np.memmap(path, dtype=self.dtype, mode="r", offset=offset, shape=shape)
        except (OSError, ValueError) as error:
            raise InputError(f"'{path}' changed while the store was in use: {error}") from None


def part_name(number: int) -> str:
    """File name of a part.

    Example:
        >>> part_name(3)
        'part-000003.safetensors'
    """
    return f"part-{number:06d}.safetensors"


def write_part(path: Path, features: Array, present: NDArray[np.bool_]) -> None:
    """Write one part, atomically.

    Args:
        path: of the file.
        features: float16 or float32 [rows, dim].
        present: bool [rows].
    """
    from safetensors.numpy import save

    tensors = {"features": np.ascontiguousarray(features), "present": present.copy()}
    with atomic_file(path) as temporary:
        temporary.write_bytes(save(tensors))


def map_parts(
    folder: Path, present: NDArray[np.bool_], *, dim: int, dtype: np.dtype[Any], rows_per_part: int
) -> MappedParts:
    """Check the parts of a store and describe where their rows lie; no row is read.

    Args:
        folder: of the store.
        present: bool [n], as listed in `items.parquet`.
        dim: length of a row.
        dtype: float16 or float32.
        rows_per_part: rows in each part but the last.

    Raises:
        InputError: a part is missing, cut short, or holds something else than expected.
    """
    starts = range(0, max(len(present), 1), rows_per_part)
    files = tuple(folder / part_name(number) for number in range(len(starts)))
    masks = [present[start : start + rows_per_part] for start in starts]
    offsets = tuple(_check_part(file, mask, dim, dtype) for file, mask in zip(files, masks))
    return MappedParts(files, offsets, tuple((len(mask), dim) for mask in masks), dtype)


def _check_part(path: Path, present: NDArray[np.bool_], dim: int, dtype: np.dtype[Any]) -> int:
    """Where the features begin in the file, after everything else about it was checked."""
    try:
        with path.open("rb") as file:
            header, start = _read_header(file)
            shape = [len(present), dim]
            offset = start + _check_tensor(header, "features", _TYPE_NAMES[dtype.name], shape)
            mask = start + _check_tensor(header, "present", "BOOL", shape[:1])
            _check_length(path, header, start)
            file.seek(mask)
            if file.read(len(present)) != present.tobytes():
                raise ValueError("its mask of present rows differs from that of items.parquet")
            return offset
    except FileNotFoundError:
        raise InputError(f"'{path}' is missing; the feature store is incomplete") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"'{path}' is damaged: {error or type(error).__name__}") from None


def _read_header(file: BinaryIO) -> tuple[dict[str, Any], int]:
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= _HEADER_LIMIT:
        raise ValueError("it does not begin like a safetensors file")
    return json.loads(file.read(length)), 8 + length


def _check_tensor(header: dict[str, Any], name: str, kind: str, shape: list[int]) -> int:
    if name not in header:
        raise ValueError(f"it holds no tensor '{name}'")
    entry = header[name]
    if entry["dtype"] != kind or entry["shape"] != shape:
        raise ValueError(
            f"expected '{name}' as {kind} {shape}, got {entry['dtype']} {entry['shape']}"
        )
    first, last = entry["data_offsets"]
    width = {"F32": 4, "F16": 2, "BOOL": 1}[kind]
    if first < 0 or last - first != width * int(np.prod(shape)):
        raise ValueError(f"the extent of '{name}' does not fit its shape")
    return int(first)


def _check_length(path: Path, header: dict[str, Any], start: int) -> None:
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    expected, got = start + max(ends), path.stat().st_size
    if got != expected:
        raise ValueError(f"expected {expected:,} bytes, got {got:,}")
