"""What `graphrec encoders` shows."""

from __future__ import annotations

import inspect

import polars as pl
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from graphrec.display import frame_table
from modalities._base.docs import argument_help
from modalities.encoders.registry import (
    FAMILIES,
    encoder_doc,
    encoder_families,
    encoder_options,
)
from modalities.presets import Preset, presets

UNKNOWN = "unknown"


def encoder_families_table() -> Table:
    """The kinds of encoders, with what they take."""
    rows = []
    for name in encoder_families():
        family = FAMILIES.get(name)
        takes = ", ".join(family.modalities) if family else UNKNOWN
        rows.append(
            {"encoder": name, "takes": takes, "what": family.about if family else "registered"}
        )
    rows.append({"encoder": "file", "takes": "vectors", "what": "npy, npz, safetensors, Parquet"})
    captioner = "captions by any AutoModelForImageTextToText, for --caption"
    rows.append({"encoder": "mllm", "takes": "image", "what": captioner})
    return frame_table(pl.DataFrame(rows))


def preset_lists() -> list[Group]:
    """Published models by what they take: a line for the name, one for what is known."""
    kinds = dict.fromkeys(preset.modality for preset in presets())
    return [
        Group(
            Text(f"\n{kind}", style="bold"),
            *(
                line
                for preset in presets()
                if preset.modality == kind
                for line in (f"  {preset.name}", Padding(_facts(preset), (0, 0, 0, 6), style="dim"))
            ),
        )
        for kind in kinds
    ]


def encoder_page(name: str) -> RenderableType:
    """One family's options, or one preset."""
    family = name.partition(":")[0]
    found = next((p for p in presets() if name in (p.id, p.name)), None)
    if found is not None:
        row = _preset_row(found)
        return frame_table(pl.DataFrame({"what": list(row), "value": list(row.values())}))
    texts = argument_help(encoder_doc(family))
    rows = [
        {
            "option": option,
            "type": str(parameter.annotation),
            "default": _default(parameter),
            "what": texts.get(option, ""),
        }
        for option, parameter in encoder_options(family).items()
    ]
    return frame_table(pl.DataFrame(rows)) if rows else f"{family} has no options"


def _facts(preset: Preset) -> str:
    row = _preset_row(preset)
    row.pop("encoder")
    return ", ".join(f"{name} {value}" for name, value in row.items())


def _default(parameter: inspect.Parameter) -> str:
    return "" if parameter.default is parameter.empty else str(parameter.default)


def _preset_row(preset: Preset) -> dict[str, str]:
    return {
        "encoder": preset.name,
        "dim": _cell(preset.dim),
        "pooling": _cell(preset.pooling),
        "normalised": _cell(preset.normalise),
        "prompt": _prompt(preset.prompt),
        "tokens": _cell(preset.max_length),
        "licence": _cell(preset.licence),
        "parameters": _millions(preset.parameters),
        "revision": _cell(preset.revision and preset.revision[:8]),
        "remote code": _cell(preset.remote_code),
        **({"note": preset.note} if preset.note else {}),
    }


def _prompt(prompt: str | None) -> str:
    if prompt is None:
        return UNKNOWN
    return f"'{prompt}'" if prompt else "none"


def _cell(value: object) -> str:
    if value is None:
        return UNKNOWN
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _millions(count: int | None) -> str:
    if count is None:
        return UNKNOWN
    return f"{count / 1e9:.1f}B" if count >= 1e9 else f"{count / 1e6:.0f}M"
