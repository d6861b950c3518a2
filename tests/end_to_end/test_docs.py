"""The Python of the documentation runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from modalities.encoders import registry

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "encoders.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("code", BLOCKS)
def test_examples_run(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REGISTERED", {})
    exec(compile(code, "docs/encoders.md", "exec"), {})


def test_there_are_examples() -> None:
    assert len(BLOCKS) >= 2
