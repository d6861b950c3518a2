"""Check a feature store byte by byte, and read what is left of a damaged one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from modalities._base.errors import InputError
from modalities.layout import read_items, read_spec
from modalities.parts import Array, file_digest, map_parts, part_name


@dataclass(frozen=True, eq=False)
class Salvage:
    """What of a store is intact.

    Args:
        spec: the content of `spec.json`.
        items: the content of `items.parquet`.
        parts: the intact parts by number, mapped.
        damage: what is wrong with each other part, by number.
    """

    spec: Mapping[str, Any]
    items: pl.DataFrame
    parts: Mapping[int, Array]
    damage: Mapping[int, str]

    @property
    def rows_per_part(self) -> int:
        """Rows in each part but the last."""
        return int(self.spec["rows_per_part"])

    def rows(self) -> list[tuple[str, int, int]]:
        """(input digest, part, row in it) of every present row in an intact part."""
        size = self.rows_per_part
        digests, present = self.items["digest"].to_list(), self.items["present"].to_list()
        return [
            (key, row // size, row % size)
            for row, (key, here) in enumerate(zip(digests, present))
            if here and key and row // size in self.parts
        ]


def salvage(folder: Path | str) -> Salvage:
    """Read a store, leaving out parts that are missing, cut short or changed.

    Raises:
        InputError: the folder is no store, or `spec.json` or `items.parquet` is damaged.
    """
    root = Path(folder)
    spec, items = read_spec(root / "spec.json"), read_items(root / "items.parquet")
    if len(items) != spec["count"]:
        raise InputError(f"'{root}' lists {len(items)} items, its spec says {spec['count']}")
    present = items["present"].to_numpy().astype(np.bool_)
    size, dtype = spec["rows_per_part"], np.dtype(spec["dtype"])
    sums = spec.get("checksums") or []
    parts: dict[int, Array] = {}
    damage: dict[int, str] = {}
    for number, start in enumerate(range(0, max(len(present), 1), size)):
        mask = present[start : start + size]
        try:
            one = map_parts(
                root, mask, dim=spec["dim"], dtype=dtype, rows_per_part=size, first=number
            )
            if number < len(sums) and file_digest(root / part_name(number)) != sums[number]:
                raise InputError(f"'{root / part_name(number)}' was changed after it was written")
            parts[number] = one[0]
        except InputError as error:
            damage[number] = str(error)
    return Salvage(spec, items, parts, damage)
