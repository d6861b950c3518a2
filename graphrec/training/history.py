"""The history of a run: one JSON line per epoch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from modalities._base.files import write_text


class History:
    """A JSON-lines file that grows by one line per epoch.

    Args:
        path: the file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, line: dict[str, Any]) -> None:
        """Add the line of an epoch."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def read(self) -> list[dict[str, Any]]:
        """All complete lines; a last line cut off by a crash is left out."""
        if not self.path.is_file():
            return []
        lines = []
        for text in self.path.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(text))
            except ValueError:
                break
        return lines

    def truncate(self, epoch: int) -> None:
        """Drop the lines after `epoch`."""
        kept = [line for line in self.read() if line["epoch"] <= epoch]
        if self.path.is_file() or kept:
            write_text(self.path, "".join(json.dumps(line) + "\n" for line in kept))
