"""Files that must be refused, made without the module they would need."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def write_object_array(path: Path, shape: tuple[int, ...]) -> None:
    """An npy file whose header announces Python objects."""
    with path.open("wb") as file:
        header = {"descr": "|O", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(b"\x80\x04.")
