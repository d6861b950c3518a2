"""The classic binary picture features of Amazon: `image_features_*.b`."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from graphrec.data.readers.files import damaged
from modalities import FeatureStore
from modalities._base.errors import InputError
from modalities._base.progress import track

_RECORDS = 512


def read_visual_features(
    path: Path | str,
    item_ids: Sequence[str],
    *,
    dim: int = 4096,
    nonfinite: Literal["error", "missing", "zero"] = "error",
    progress: bool = False,
) -> FeatureStore:
    """Read the features of some items from a file of binary records.

    A record is a 10-byte ASCII id followed by `dim` little-endian float32. The file, plain or
    gzip, is read from end to end in blocks; only the rows wanted are kept. Items without a
    record are absent (MMRec and LATTICE fill them with the mean row instead). Of several records
    of one id the first counts.

    Args:
        path: the file.
        item_ids: the items wanted, in the order of the result.
        dim: values per record.
        nonfinite: what to do with rows holding NaN or infinity, see `FeatureStore.from_arrays`.
        progress: show a progress bar.

    Returns:
        A store of kind image, values float32 [items, dim].

    Raises:
        InputError: the file is missing, empty, no whole number of records, or holds none of the
            items.

    Source: McAuley et al., 2015, arXiv 1506.04757.
    """
    file = Path(path)
    rows = {item.encode(): row for row, item in enumerate(item_ids)}
    values = np.zeros((len(item_ids), dim), dtype=np.float32)
    present = np.zeros(len(item_ids), dtype=bool)
    for block in track(_blocks(file, dim), f"reading {file.name}", show=progress):
        for place, item in enumerate(block["id"].tolist()):
            row = rows.get(item)
            if row is not None and not present[row]:
                values[row] = block["values"][place]
                present[row] = True
    if not present.any():
        raise InputError(
            f"'{file}' has a record for none of the {len(item_ids):,} items; are these the "
            "features of another data set?"
        )
    return FeatureStore.from_arrays(
        values,
        list(item_ids),
        present=present,
        spec={"source": "given", "format": "visual", "file": file.name, "dim": dim},
        modality="image",
        nonfinite=nonfinite,
    )


def _blocks(file: Path, dim: int) -> Iterator[NDArray[Any]]:
    record = np.dtype([("id", "S10"), ("values", "<f4", (dim,))])
    with _open(file, record.itemsize) as stream:
        while data := _read(stream, _RECORDS * record.itemsize, file):
            if len(data) % record.itemsize:
                raise InputError(_uneven(file, record.itemsize))
            yield np.frombuffer(data, dtype=record)


def _open(file: Path, size: int) -> IO[bytes]:
    if not file.is_file():
        raise InputError(f"file '{file}' does not exist")
    stream = file.open("rb")
    magic = stream.read(2)
    stream.seek(0)
    if magic == b"\x1f\x8b":
        stream.close()
        return cast("IO[bytes]", gzip.open(file))
    length = os.fstat(stream.fileno()).st_size
    if not length or length % size:
        stream.close()
        raise InputError(f"file '{file}' is empty" if not length else _uneven(file, size))
    return stream


def _uneven(file: Path, size: int) -> str:
    return (
        f"'{file}' is no whole number of records of {size:,} bytes (a 10-byte id and float32 "
        "values): it is cut short, or has another number of values per record"
    )


def _read(stream: IO[bytes], size: int, file: Path) -> bytes:
    try:
        return stream.read(size)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(damaged(file, error)) from None
