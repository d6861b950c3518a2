"""Features from the weights-free default encoders, for any dataset with texts or pictures."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from graphrec.data.dataset import NOT_CONTENT, Dataset
from modalities import FeatureStore, PictureDescriptor, TfidfSvd, encode_items
from modalities._base.errors import InputError, UnknownNameError
from modalities.content import clean_text


def encode_dataset(
    dataset: Dataset,
    *,
    columns: Sequence[str] | None = None,
    dim: int = 128,
    progress: bool = True,
) -> Dataset:
    """The dataset with the modalities `image` and `text` it has content for.

    Pictures are described by `modalities.PictureDescriptor`, texts by `modalities.TfidfSvd`
    fitted on the item texts.

    Args:
        dataset: with item texts, pictures or both.
        columns: text columns to join, in order; default: all but the price, in stored order.
        dim: of the text vectors.
        progress: show bars.

    Raises:
        InputError: the items have neither texts nor pictures.
        UnknownNameError: there is no such column.
    """
    stores: dict[str, FeatureStore] = {}
    pictures = [paths[0] if paths else None for paths in dataset.items["images"].to_list()]
    if any(pictures):
        stores["image"] = encode_items(
            PictureDescriptor(), dataset.item_ids, pictures, progress=progress
        )
    texts = [clean_text(text) for text in joined_texts(dataset.items, columns)]
    if any(texts):
        encoder = TfidfSvd.fit(texts, dim=dim)
        stores["text"] = encode_items(encoder, dataset.item_ids, texts, progress=progress)
    if not stores:
        raise InputError(f"the items of '{dataset.name}' have neither texts nor pictures to encode")
    return dataset.with_features(**stores)


def joined_texts(items: pl.DataFrame, columns: Sequence[str] | None = None) -> list[str]:
    """One text per item, "" where nothing is known."""
    every = [n for n, t in items.schema.items() if t == pl.String and n not in NOT_CONTENT]
    names = every if columns is None else list(columns)
    for name in names:
        if name not in every:
            raise UnknownNameError("text column", name, every)
    if not names:
        return [""] * len(items)
    joined = pl.concat_str(names, separator=". ", ignore_nulls=True).fill_null("")
    return items.select(joined).to_series().to_list()
