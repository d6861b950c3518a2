"""The folder of work that is continued by running it again."""

from __future__ import annotations

from pathlib import Path

from modalities._base.errors import InputError
from modalities._base.files import read_manifest


def refuse_other_work(folder: Path, kind: str, form: str, version: int, identity: str) -> None:
    """Raise `InputError` unless the folder is free or holds this very work.

    Args:
        folder: where the work goes; `KIND.json` in it says what it holds.
        kind: `study` or `search`.
        form: format that the file must have.
        version: of the format.
        identity: of the work.
    """
    path = folder / f"{kind}.json"
    if path.is_file():
        known = read_manifest(path, form, version)
        if known["id"] != identity:
            raise InputError(
                f"'{folder}' holds another {kind}, '{known['name']}', or one that has been changed "
                "since; choose another --out for this one"
            )
    elif folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"'{folder}' is not empty and holds no {kind}; choose another --out")
