"""What is known of published models: dimension, pooling, prompt, licence, pinned revision."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal, cast

from modalities._base.errors import InputError

PresetKind = Literal["text", "image", "joint", "caption"]
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Preset:
    """A published model. None means that the value is not known for certain.

    Args:
        name: as `make_encoder` (or `--caption`) takes it, `FAMILY:ADDRESS`.
        modality: text, image, joint, or caption for captioners.
        dim: length of the vectors.
        pooling: mean, cls, lasttoken, or model where the model pools by itself.
        normalise: vectors are meant to have length 1.
        prompt: put before the text of an item, or the system text where the model chats; "": none.
        max_length: tokens the model reads.
        matryoshka: "yes", "no", or the lengths its vectors may be cut to.
        licence: of the weights.
        parameters: how many.
        revision: commit on the hub.
        remote_code: whether the model runs code of its own.
        note: what else to know.
    """

    name: str
    modality: PresetKind
    dim: int | None
    pooling: str | None
    normalise: bool | None
    prompt: str | None
    max_length: int | None
    matryoshka: str | None
    licence: str | None
    parameters: int | None
    revision: str | None
    remote_code: bool | None
    note: str | None = None

    @property
    def id(self) -> str:
        """The address without the family.

        Example:
            >>> presets()[0].id
            'sentence-transformers/all-MiniLM-L6-v2'
        """
        return self.name.partition(":")[2]


@cache
def presets() -> tuple[Preset, ...]:
    """All presets, by modality; read from `presets.tsv`."""
    text = files("modalities").joinpath("presets.tsv").read_text(encoding="utf-8")
    return tuple(_preset(row) for row in csv.DictReader(text.splitlines(), delimiter="\t"))


def find_preset(name: str) -> Preset | None:
    """The preset called `name`, with its family or without.

    Example:
        >>> find_preset("intfloat/e5-base-v2").prompt
        'passage: '
    """
    return next((preset for preset in presets() if name in (preset.name, preset.id)), None)


def check_preset(
    preset: Preset, *, dim: int | None, pooling: str | None, revision: str | None
) -> None:
    """Refuse a model folder that contradicts what is known of the model.

    Args:
        preset: what is known.
        dim: length of the folder's vectors, None where it is not stated.
        pooling: what the folder's files say, likewise.
        revision: the commit asked for; another than the preset's may differ rightly.

    Raises:
        InputError: dimension or pooling differ.
    """
    if revision is not None and revision != preset.revision:
        return
    for what, known, found in (("dim", preset.dim, dim), ("pooling", preset.pooling, pooling)):
        if known is not None and found is not None and known != found:
            raise InputError(
                f"'{preset.id}' is known with {what} {known}, and its files say {found}; the "
                "download is damaged or of another revision (name it with revision=...)"
            )


def _preset(row: dict[str, str]) -> Preset:
    cells = {name: None if cell in (UNKNOWN, "-") else cell for name, cell in row.items()}
    prompt = cells["prompt"]
    return Preset(
        name=row["name"],
        modality=cast("PresetKind", row["modality"]),
        dim=_number(cells["dim"]),
        pooling=cells["pooling"],
        normalise=_flag(cells["normalise"]),
        prompt="" if prompt == "none" else prompt,
        max_length=_number(cells["max_length"]),
        matryoshka=cells["matryoshka"],
        licence=cells["licence"],
        parameters=_number(cells["parameters"]),
        revision=cells["revision"],
        remote_code=_flag(cells["remote_code"]),
        note=cells["note"],
    )


def _number(cell: str | None) -> int | None:
    return None if cell is None else int(cell)


def _flag(cell: str | None) -> bool | None:
    return None if cell is None else cell == "yes"
