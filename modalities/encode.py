"""Encode items into a feature store; what is missing or broken is recorded, not fatal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modalities._base.errors import InputError
from modalities._base.identity import digest
from modalities._base.progress import track
from modalities.content import ContentError, clean_text, open_picture
from modalities.protocol import Encoder
from modalities.store import FeatureStore

ABSENT = "missing"


def encode_items(
    encoder: Encoder,
    item_ids: Sequence[str],
    contents: Sequence[Any],
    *,
    batch_size: int = 64,
    progress: bool = True,
) -> FeatureStore:
    """Vectors of many items.

    Items without content (None, an empty text, no picture) and items whose picture cannot be
    opened become absent rows with a code in `errors`. Equal inputs are encoded once.

    Args:
        encoder: see `modalities.Encoder`.
        item_ids: external ids.
        contents: per item a text, or the path of a picture, or None.
        batch_size: inputs per call of the encoder.
        progress: show a bar.

    Raises:
        InputError: ids and contents differ in number, or no item has usable content.

    Example:
        >>> from modalities import TfidfSvd
        >>> texts = ["red scarf", None, "blue scarf", "red scarf"]
        >>> encoder = TfidfSvd.fit([t for t in texts if t], dim=2)
        >>> store = encode_items(encoder, ["a", "b", "c", "d"], texts, progress=False)
        >>> store.present, summary(store)
        (array([ True, False,  True,  True]), '4 items: 3 encoded, 1 missing')
    """
    if len(item_ids) != len(contents):
        raise InputError(f"{len(item_ids)} item ids came with {len(contents)} contents")
    digests, errors, first = _identify(contents, encoder)
    values = np.zeros((len(item_ids), encoder.dim), dtype=np.float32)
    present = np.zeros(len(item_ids), dtype=np.bool_)
    rows = list(first.values())
    batches = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
    for batch in track(batches, f"encoding {encoder.modality}", show=progress):
        opened = [(row, _open(contents[row], encoder, errors, row)) for row in batch]
        usable = [(row, content) for row, content in opened if content is not None]
        if usable:
            chosen = [row for row, _ in usable]
            values[chosen] = encoder.encode([content for _, content in usable])
            present[chosen] = True
    for row, key in enumerate(digests):
        if key:
            source = first[key]
            values[row], present[row] = values[source], present[source]
            errors[row] = errors[source]
    present &= np.any(values != 0, axis=1)
    if not present.any():
        raise InputError(f"none of {len(item_ids)} items has {encoder.modality} content to encode")
    return FeatureStore.from_arrays(
        values,
        item_ids,
        present=present,
        spec=encoder.spec.to_dict(),
        modality=encoder.modality,
        digests=digests,
        errors=[None if here else error or ABSENT for here, error in zip(present, errors)],
    )


def summary(store: FeatureStore) -> str:
    """What became of the items, in one line."""
    counts = Counter(error for error in store.errors if error)
    parts = [f"{int(store.present.sum()):,} encoded"]
    parts += [f"{count:,} {code}" for code, count in counts.most_common()]
    return f"{len(store):,} items: {', '.join(parts)}"


def _identify(
    contents: Sequence[Any], encoder: Encoder
) -> tuple[list[str], list[str | None], dict[str, int]]:
    digests: list[str] = []
    errors: list[str | None] = [None] * len(contents)
    first: dict[str, int] = {}
    for row, content in enumerate(contents):
        data = _bytes(content, encoder)
        digests.append(digest(data) if data else "")
        if data:
            first.setdefault(digests[-1], row)
        else:
            errors[row] = ABSENT
    return digests, errors, first


def _bytes(content: Any, encoder: Encoder) -> bytes:
    if content is None:
        return b""
    if encoder.modality == "text":
        return clean_text(content).encode() if isinstance(content, str) else b""
    try:
        return Path(content).read_bytes()
    except OSError:
        return b""


def _open(content: Any, encoder: Encoder, errors: list[str | None], row: int) -> Any:
    if encoder.modality == "text":
        return clean_text(content)
    try:
        return open_picture(content)
    except ContentError as error:
        errors[row] = error.code
        return None
