"""The tutorial, as a reader follows it."""

from __future__ import annotations

import re
import shlex
from glob import glob
from pathlib import Path

import pytest

from graphrec.cli import main

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tutorial.md"
STEPS = re.findall(r"```(bash|yaml|python)\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_every_step_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for kind, text in STEPS:
        if kind == "yaml":
            Path(text.split()[1]).write_text(text)
        elif kind == "python":
            exec(compile(text, "tutorial.md", "exec"), {"__name__": "tutorial"})
        else:
            for line in text.splitlines():
                _command(line, monkeypatch)
    assert (tmp_path / "study" / "report.html").stat().st_size > 100_000
    said = capsys.readouterr().out
    assert "12 runs" in said
    assert r"\begin{tabular}" in said
    assert "contentknn" in said


def _command(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program, *words = shlex.split(line)
    assert program == "graphrec"
    arguments = [one for word in words for one in (sorted(glob(word)) if "*" in word else [word])]
    monkeypatch.setattr("sys.argv", [program, *arguments])
    with pytest.raises(SystemExit) as done:
        main()
    assert done.value.code in (0, None), line
