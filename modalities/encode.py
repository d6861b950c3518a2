"""Encode items into a feature store; what is missing or broken is recorded, not fatal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modalities._base.errors import InputError
from modalities._base.identity import digest
from modalities._base.progress import track
from modalities.content import (
    PICTURE_ERRORS,
    ContentError,
    clean_text,
    normalise_picture,
    open_picture,
)
from modalities.layout import check_ids
from modalities.protocol import Content, Encoder
from modalities.store import MISSING, FeatureStore

if TYPE_CHECKING:
    from PIL.Image import Image

FAILED = "encoder-failed"
NOT_FINITE = "not-finite"
ZERO = "zero-vector"

# Opened pictures wait for the encoder in memory: 64 million pixels are 192 MB.
_BATCH_PIXELS = 64_000_000


def encode_items(
    encoder: Encoder,
    item_ids: Sequence[str],
    contents: Sequence[Any],
    *,
    batch_size: int = 64,
    progress: bool = True,
) -> FeatureStore:
    """Vectors of many items.

    Equal inputs are encoded once. Items without a vector become absent rows with a code in
    `errors`: "missing" (None, an empty text, no such file), one of `content.PICTURE_ERRORS`,
    "encoder-failed" (the encoder raised on this input alone), "not-finite" or "zero-vector" (what
    it returned says nothing, such as a text of unknown words).

    Args:
        encoder: of texts or pictures, see `modalities.Encoder`.
        item_ids: external ids, unique.
        contents: per item a text, or a picture or the path of one, or None.
        batch_size: inputs per call of the encoder.
        progress: show a bar.

    Raises:
        InputError: ids repeat, ids and contents differ in number, no item has usable content, or
            the encoder does not do what its `dim` and `modality` say.

    Example:
        >>> from modalities import TfidfSvd
        >>> texts = ["red scarf", None, "blue scarf", "red scarf"]
        >>> encoder = TfidfSvd.fit([t for t in texts if t], dim=2)
        >>> store = encode_items(encoder, ["a", "b", "c", "d"], texts, progress=False)
        >>> store.present, summary(store)
        (array([ True, False,  True,  True]), '4 items: 3 encoded, 1 without text')
    """
    _check(encoder, item_ids, contents, batch_size)
    digests, errors = _identify(contents, encoder.modality)
    first: dict[str, int] = {}
    for row, key in enumerate(digests):
        if errors[row] is None:
            first.setdefault(key, row)
    values = np.zeros((len(item_ids), encoder.dim), dtype=np.float32)
    failure: Exception | None = None
    rows = track(list(first.values()), f"encoding {encoder.modality}", show=progress)
    for batch in _batches(rows, contents, encoder.modality, errors, batch_size):
        failure = _encode(encoder, batch, values, errors) or failure
    _share(digests, first, values, errors)
    if all(errors):
        counts = _listed(Counter(error or "" for error in errors))
        raise InputError(
            f"none of {len(item_ids)} items has {encoder.modality} content to encode: {counts}"
            + (f" ({failure})" if failure else "")
        )
    return FeatureStore.from_arrays(
        values,
        item_ids,
        present=np.array([error is None for error in errors]),
        spec=encoder.spec.to_dict(),
        modality=encoder.modality,
        digests=digests,
        errors=errors,
    )


def summary(store: FeatureStore) -> str:
    """What became of the items, in one line.

    Example:
        >>> rows, present = np.ones((3, 2)), np.array([True, False, False])
        >>> print(summary(FeatureStore.from_arrays(
        ...     rows, ["a", "b", "c"], present=present, modality="image",
        ...     errors=[None, "missing", "truncated"],
        ... )))
        3 items: 1 encoded, 1 without picture, 1 unreadable: 1 truncated
    """
    counts = Counter(error for error in store.errors if error)
    what = {"image": "picture", "other": "content", "joint": "content"}
    parts = [f"{int(store.present.sum()):,} encoded"]
    if missing := counts.pop(MISSING, 0):
        parts.append(f"{missing:,} without {what.get(store.modality, store.modality)}")
    unreadable = Counter({code: n for code, n in counts.items() if code in PICTURE_ERRORS})
    for name, group in (("unreadable", unreadable), ("not encoded", counts - unreadable)):
        if group:
            parts.append(f"{group.total():,} {name}: {_listed(group)}")
    return f"{len(store):,} items: {', '.join(parts)}"


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {code}" for code, count in counts.most_common())


def _check(
    encoder: Encoder, item_ids: Sequence[str], contents: Sequence[Any], batch_size: int
) -> None:
    if encoder.modality not in ("text", "image"):
        raise InputError(f"encode_items takes texts and pictures, not '{encoder.modality}' content")
    if len(item_ids) != len(contents):
        raise InputError(f"{len(item_ids)} item ids came with {len(contents)} contents")
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, got {batch_size}")
    check_ids(item_ids)


def _identify(contents: Sequence[Any], modality: str) -> tuple[list[str], list[str | None]]:
    """Digest of each input, "" where there is none, and why an item cannot be encoded."""
    read = _text_bytes if modality == "text" else _picture_bytes
    digests, errors = [], []
    for content in contents:
        data, error = read(content)
        digests.append(digest(data) if data else "")
        errors.append(error)
    return digests, errors


def _text_bytes(content: object) -> tuple[bytes, str | None]:
    data = clean_text(content).encode() if isinstance(content, str) else b""
    return data, None if data else MISSING


def _picture_bytes(content: object) -> tuple[bytes, str | None]:
    from PIL.Image import Image as Picture

    if isinstance(content, Picture):
        return f"{content.mode}{content.size}".encode() + content.tobytes(), None
    if not isinstance(content, (str, Path)) or content == "":
        return b"", MISSING
    try:
        data = Path(content).read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return b"", MISSING
    except (OSError, ValueError):
        return b"", "unreadable"
    return data, None if data else "empty"


def _batches(
    rows: Iterable[int],
    contents: Sequence[Any],
    modality: str,
    errors: list[str | None],
    batch_size: int,
) -> Iterator[list[tuple[int, Content]]]:
    """Rows with their opened content; those that do not open get their code in `errors`."""
    batch: list[tuple[int, Content]] = []
    weight = 0
    for row in rows:
        try:
            content = _open(contents[row], modality)
        except ContentError as error:
            errors[row] = error.code
            continue
        batch.append((row, content))
        weight += 0 if isinstance(content, str) else content.width * content.height
        if len(batch) >= batch_size or weight > _BATCH_PIXELS:
            yield batch
            batch, weight = [], 0
    if batch:
        yield batch


def _open(content: Any, modality: str) -> str | Image:
    if modality == "text":
        return clean_text(content)
    if isinstance(content, (str, Path)):
        return open_picture(content)
    return normalise_picture(content)


def _encode(
    encoder: Encoder,
    opened: Sequence[tuple[int, Content]],
    values: NDArray[np.float32],
    errors: list[str | None],
) -> Exception | None:
    """Fill in the rows of a batch; where the batch fails, one by one. The last failure."""
    rows = [row for row, _ in opened]
    try:
        vectors = np.asarray(encoder.encode([content for _, content in opened]), np.float32)
    except Exception as error:  # one input must not end the job
        if len(opened) == 1:
            errors[rows[0]] = FAILED
            return error
        failures = [_encode(encoder, [one], values, errors) for one in opened]
        return next((failure for failure in reversed(failures) if failure), None)
    if vectors.shape != (len(rows), encoder.dim):
        raise InputError(
            f"the encoder returned {vectors.shape} for {len(rows)} inputs, expected "
            f"{(len(rows), encoder.dim)}"
        )
    for row, vector in zip(rows, vectors):
        if not np.isfinite(vector).all():
            errors[row] = NOT_FINITE
        elif not vector.any():
            errors[row] = ZERO
        else:
            values[row] = vector
    return None


def _share(
    digests: Sequence[str],
    first: dict[str, int],
    values: NDArray[np.float32],
    errors: list[str | None],
) -> None:
    """Give every item what the first one with the same input got."""
    for row, key in enumerate(digests):
        source = first.get(key, row)
        if source != row:
            values[row], errors[row] = values[source], errors[source]
