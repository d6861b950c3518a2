"""Fixtures of the tests of studies and searches."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphrec.data.dataset import Dataset


@pytest.fixture
def data(small_dataset: Dataset, tmp_path: Path) -> Path:
    """The folder of a small dataset."""
    small_dataset.save(tmp_path / "data")
    return tmp_path / "data"
