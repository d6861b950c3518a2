"""The parts of a feature store on disk: safetensors files of fixed row ranges, mapped on use."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
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
    """Row ranges of a matrix on disk; each is mapped when first asked for, and no file stays open.

    Args:
        files: the part files, in row order.
        offsets: where the rows begin in each file, in bytes.
        shapes: (rows, dim) of each part.
        dtype: of the values.
        marks: inode and time of change of each file: should another file take its name, reading
            on would give rows of other items.
    """

    files: tuple[Path, ...]
    offsets: tuple[int, ...]
    shapes: tuple[tuple[int, int], ...]
    dtype: np.dtype[Any]
    marks: tuple[tuple[int, int], ...]
    _mapped: dict[int, Array] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[Array]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> Array:
        if number not in self._mapped:
            self._mapped[number] = self._map(number)
        return self._mapped[number]

    def _map(self, number: int) -> Array:
        shape, path = self.shapes[number], self.files[number]
        if 0 in shape:
            return np.zeros(shape, dtype=self.dtype)
        try:
            if _mark(path) != self.marks[number]:
                raise ValueError("another file has taken its place")
            return map_array(path, self.offsets[number], shape, self.dtype)
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(
                f"'{path}' changed while the store was in use: {error}; load it again"
            ) from None


def map_array(path: Path, offset: int, shape: tuple[int, ...], dtype: Any) -> Array:
    """An array that lies in a file, mapped, not to be written to.

    NumPy's own maps keep a file descriptor each, and a store of a million rows has 489 files.
    """
    import torch

    kind = np.dtype(dtype)
    whole = torch.from_file(str(path), shared=False, size=path.stat().st_size, dtype=torch.uint8)
    end = offset + kind.itemsize * int(np.prod(shape))
    found: Array = whole.numpy()[offset:end].view(kind).reshape(shape)
    found.flags.writeable = False
    return found


def part_name(number: int) -> str:
    """File name of a part.

    Example:
        >>> part_name(3)
        'part-000003.safetensors'
    """
    return f"part-{number:06d}.safetensors"


def write_part(path: Path, features: Array, present: NDArray[np.bool_]) -> str:
    """Write one part, atomically; its checksum is returned.

    Args:
        path: of the file.
        features: float16 or float32 [rows, dim].
        present: bool [rows].
    """
    from safetensors.numpy import save

    tensors = {"features": np.ascontiguousarray(features), "present": present.copy()}
    data = save(tensors)
    with atomic_file(path) as temporary:
        temporary.write_bytes(data)
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def file_digest(path: Path) -> str:
    """Checksum of a file: 32 hex digits of BLAKE2b."""
    found = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()


def map_tensor(path: Path, name: str) -> tuple[Array, dict[str, str]]:
    """One float tensor of a safetensors file, mapped, and the file's own notes.

    Raises:
        InputError: the file is missing or damaged, or holds no such tensor.
    """
    try:
        with path.open("rb") as file:
            header, start = _read_header(file)
            kind, shape = header[name]["dtype"], tuple(header[name]["shape"])
            offset = start + _check_tensor(header, name, kind, list(shape))
            _check_length(path, header, start)
        dtype = {value: key for key, value in _TYPE_NAMES.items()}[kind]
        if 0 in shape:
            return np.zeros(shape, dtype), header.get("__metadata__", {})
        return map_array(path, offset, shape, dtype), header.get("__metadata__", {})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"'{path}' is damaged: {error or type(error).__name__}") from None


def map_parts(
    folder: Path,
    present: NDArray[np.bool_],
    *,
    dim: int,
    dtype: np.dtype[Any],
    rows_per_part: int,
    first: int = 0,
) -> MappedParts:
    """Check the parts of a store and describe where their rows lie; no row is read.

    Args:
        folder: of the store.
        present: bool [n], as listed in `items.parquet`.
        dim: length of a row.
        dtype: float16 or float32.
        rows_per_part: rows in each part but the last.
        first: number of the part that holds the first row.

    Raises:
        InputError: a part is missing, cut short, or holds something else than expected.
    """
    starts = range(0, max(len(present), 1), rows_per_part)
    files = tuple(folder / part_name(first + number) for number in range(len(starts)))
    masks = [present[start : start + rows_per_part] for start in starts]
    offsets = tuple(_check_part(file, mask, dim, dtype) for file, mask in zip(files, masks))
    shapes = tuple((len(mask), dim) for mask in masks)
    return MappedParts(files, offsets, shapes, dtype, tuple(map(_mark, files)))


def _mark(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_ino, found.st_mtime_ns


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
