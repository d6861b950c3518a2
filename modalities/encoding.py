"""Encode items into a feature store; what is missing or broken is recorded, not fatal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modalities._base.errors import InputError
from modalities._base.progress import counter
from modalities.chunks import stacked, vector_batcher
from modalities.content import PICTURE_ERRORS
from modalities.inputs import MISSING, Inputs
from modalities.layout import check_ids
from modalities.parted import nothing_done
from modalities.protocol import Encoder, Fittable, Pair
from modalities.store import ROWS_PER_PART, FeatureStore

if TYPE_CHECKING:
    from PIL.Image import Image


def encode(
    texts: Sequence[str | None] | None = None,
    images: Sequence[Path | str | Image | None] | None = None,
    *,
    encoder: str | Encoder | Fittable,
    item_ids: Sequence[str] | None = None,
    batch_size: int = 32,
    progress: bool = True,
    **options: Any,
) -> FeatureStore:
    """Vectors of a plain list of texts, pictures, or both.

    Args:
        texts: one per item, None where there is none.
        images: one picture or path per item; with `texts`, the encoder gets both together.
        encoder: a name, see `make_encoder`, or an encoder.
        item_ids: external ids; default "0", "1", ...
        batch_size: inputs per call of the encoder.
        progress: show a bar.
        options: of the encoder, when it is given by name.

    Raises:
        InputError: neither texts nor images, or as `make_encoder` and `encode_items` do.

    Example:
        >>> store = encode(["red scarf", None], encoder="hashing", dim=16, progress=False)
        >>> store.present, store.values().shape
        (array([ True, False]), (2, 16))
    """
    from modalities.encoders.registry import make_encoder

    contents, kind = _contents(texts, images)
    made = make_encoder(encoder, content=kind, **options) if isinstance(encoder, str) else encoder
    ids = [str(row) for row in range(len(contents))] if item_ids is None else item_ids
    return encode_items(
        fitted(made, contents), ids, contents, batch_size=batch_size, progress=progress
    )


def encode_items(
    encoder: Encoder,
    item_ids: Sequence[str],
    contents: Sequence[Any],
    *,
    batch_size: int = 64,
    progress: bool = True,
) -> FeatureStore:
    """Vectors of many items, in memory.

    Equal inputs are encoded once. Items without a vector become absent rows with a code in
    `errors`: "missing" (None, an empty text, no such file), one of `content.PICTURE_ERRORS`,
    "encoder-failed" (the encoder raised on this input alone), "not-finite" or "zero-vector" (what
    it returned says nothing, such as a text of unknown words).

    Args:
        encoder: of texts, pictures or pairs, see `modalities.Encoder`.
        item_ids: external ids, unique.
        contents: per item a text, or a picture or the path of one, or a `Pair`, or None.
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
    if len(item_ids) != len(contents):
        raise InputError(f"{len(item_ids)} item ids came with {len(contents)} contents")
    check_ids(item_ids)
    inputs = Inputs.identify(contents, encoder.modality)
    first = inputs.first_rows()
    values = np.zeros((len(item_ids), encoder.dim), dtype=np.float32)
    errors = list(inputs.errors)
    rows = list(first.values())
    with counter(f"encoding {encoder.modality}", len(rows), show=progress) as tell:
        batcher = vector_batcher(encoder, batch_size, tell=tell)
        for start in range(0, len(rows), ROWS_PER_PART):
            chunk = rows[start : start + ROWS_PER_PART]
            vectors, found = batcher.run(inputs, chunk)
            values[chunk] = stacked(vectors, encoder.dim)
            for row, error in zip(chunk, found):
                errors[row] = error
    for row, key in enumerate(inputs.digests):
        source = first.get(key, row)
        if source != row:
            values[row], errors[row] = values[source], errors[source]
    if all(errors):
        raise InputError(nothing_done(errors, encoder.modality, batcher.failure))
    return FeatureStore.from_arrays(
        values,
        item_ids,
        present=np.array([error is None for error in errors]),
        spec=encoder.spec.to_dict(),
        modality=encoder.modality,
        digests=inputs.digests,
        errors=errors,
        made=dict(getattr(encoder, "origin", {})),
    )


def fitted(encoder: Encoder | Fittable, contents: Sequence[Any]) -> Encoder:
    """The encoder itself, or fitted to `contents` where it has to be."""
    if isinstance(encoder, Encoder):
        return encoder
    if not isinstance(encoder, Fittable):
        raise InputError(
            "an encoder has spec, modality, dim and encode(batch) "
            f"(modalities.Encoder); {type(encoder).__name__} has not"
        )
    return encoder.fit([text for text in contents if isinstance(text, str) and text.strip()])


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


def _contents(
    texts: Sequence[str | None] | None, images: Sequence[Any] | None
) -> tuple[Sequence[Any], str]:
    if texts is not None and images is not None:
        if len(texts) != len(images):
            raise InputError(f"{len(texts)} texts came with {len(images)} images")
        return [Pair(text, picture) for text, picture in zip(texts, images)], "joint"
    if texts is not None:
        return texts, "text"
    if images is not None:
        return images, "image"
    raise InputError("give texts=[...], images=[...] or both")
