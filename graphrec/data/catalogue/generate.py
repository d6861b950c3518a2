"""The whole catalogue: items, pictures and interactions as a source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from graphrec.data.catalogue.behaviour import Events, draw_events
from graphrec.data.catalogue.pictures import SIZE, save_pictures
from graphrec.data.catalogue.texts import text_table
from graphrec.data.catalogue.traits import Traits, draw_traits
from graphrec.data.source import Source
from modalities._base.errors import InputError
from modalities._base.files import atomic_folder

NAME = "synthetic-catalogue"
VERSION = 1
"""Raised whenever the generator's output changes."""


def make_catalogue(
    out_images: Path | str, *, seed: int = 0, n_items: int = 1200, n_users: int = 3000
) -> Source:
    """Generate the synthetic catalogue and write its pictures.

    Items come in 24 product families. Colour and pattern show in the pictures and are told by
    only some texts; style, use, brand and material are told by the texts alone; the family shows
    in both. Users' choices depend on all of these, on hidden circles that content cannot explain,
    and on a power law of popularity. 4 % of the items have no picture (an empty list), 3 % no
    text (nulls), and 3 % came out after the last training interaction: they have held-out
    interactions only. Now and then an unpopular old item has no training interaction either; the
    notes count both.

    The labels of the interactions are those of `split="user-time"`, and also respect time
    globally: all training interactions happen before all held-out ones.

    Args:
        out_images: folder of the pictures; made here, it must not exist, or be empty.
        seed: equal seeds give equal tables, and equal picture files under one Pillow version.
        n_items: number of items, at least 200.
        n_users: number of users, at least 1.

    Returns:
        A source with the columns user, item, timestamp, label and the item columns item_id,
        title, description, brand, category, colour, pattern, material, style, price, images.

    Raises:
        InputError: too few items or users, or `out_images` is taken.
    """
    if n_items < 200 or n_users < 1:
        raise InputError(
            f"the catalogue needs at least 200 items and 1 user, got {n_items} and {n_users}"
        )
    folder = Path(out_images)
    traits = draw_traits(n_items, seed)
    item_ids = [f"syn-{n:05d}" for n in range(n_items)]
    user_ids = [f"user-{n:05d}" for n in range(n_users)]
    events = draw_events(traits, n_users, seed)
    with atomic_folder(folder) as temporary:
        files = save_pictures(traits, temporary, item_ids, seed)
    images = [[str(folder.resolve() / name) for name in names] for names in files]
    items = text_table(traits, seed).with_columns(
        pl.Series("images", images, dtype=pl.List(pl.String))
    )
    return Source(
        name=NAME,
        interactions=_interactions(events, user_ids, item_ids),
        items=items.insert_column(0, pl.Series("item_id", item_ids)),
        item_ids=item_ids,
        user_ids=user_ids,
        notes=_notes(traits, events, seed),
    )


def contact_sheet(
    images: Sequence[Path | str], out: Path | str, *, columns: int = 12, gap: int = 4
) -> None:
    """Write one PNG that shows many pictures of the catalogue side by side.

    Args:
        images: picture files.
        out: file to write.
        columns: pictures per row.
        gap: white pixels between them.
    """
    from PIL import Image

    cell = SIZE + gap
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * cell + gap, rows * cell + gap), "white")
    for n, path in enumerate(images):
        with Image.open(path) as picture:
            sheet.paste(picture, (n % columns * cell + gap, n // columns * cell + gap))
    sheet.save(out, "PNG", compress_level=9)


def _interactions(events: Events, user_ids: Sequence[str], item_ids: Sequence[str]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "user": pl.Series(user_ids).gather(events.users),
            "item": pl.Series(item_ids).gather(events.items),
            "timestamp": events.timestamps,
            "label": events.labels,
        }
    )


def _notes(traits: Traits, events: Events, seed: int) -> Mapping[str, Any]:
    trained = set(events.items[events.labels == 0].tolist())
    return {
        "synthetic": True,
        "generator_version": VERSION,
        "seed": seed,
        "items_without_picture": int((~traits.has_picture).sum()),
        "items_without_text": int((~traits.has_text).sum()),
        "items_without_either": int((~traits.has_picture & ~traits.has_text).sum()),
        "items_too_new_for_training": int(traits.new.sum()),
        "items_without_training_interactions": len(traits) - len(trained),
    }
