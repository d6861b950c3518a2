"""The Python of the documentation runs, and its tables are up to date."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from graphrec.models import registry as models
from graphrec.models.parts import registry as parts
from modalities.encoders import registry as encoders

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
BLOCKS = {
    page.name: re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    for page in sorted(DOCS.glob("*.md"))
    if page.name != "tutorial.md"  # has a test of its own
}


@pytest.mark.parametrize("page", list(BLOCKS))
def test_examples_run(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after another, as a reader runs them."""
    monkeypatch.setattr(encoders, "_REGISTERED", {})
    monkeypatch.setattr(models, "_registered", {})
    monkeypatch.setattr(parts, "_parts", {kind: dict(p) for kind, p in parts._parts.items()})
    for code in BLOCKS[page]:
        names: dict[str, Any] = {"__name__": "example"}
        exec(compile(code, page, "exec"), names)


def test_the_worked_examples_are_short() -> None:
    (model,) = (
        code for code in BLOCKS["models.md"] if "register(" in code and "Recommender" in code
    )
    assert len(model.splitlines()) < 60
    assert all(blocks for blocks in BLOCKS.values())


def test_tables_are_those_of_the_committed_figures() -> None:
    script = ROOT / "benchmarks" / "tables.py"
    done = subprocess.run(
        [sys.executable, script, "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
