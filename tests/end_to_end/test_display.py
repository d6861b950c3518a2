from __future__ import annotations

import io

import pytest
from rich.console import Console

from graphrec.display import TrainingDisplay
from graphrec.training import Experiment
from graphrec.training.checkpoint import Progress
from graphrec.training.trainer import EpochReport
from modalities._base import progress


def test_an_epoch_is_told_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(width=140, file=io.StringIO(), force_terminal=True)
    monkeypatch.setattr(progress, "console", lambda: console)
    experiment = Experiment.parse({"model": {"name": "freedom"}, "training": {"epochs": 100}})
    display = TrainingDisplay(experiment)
    now = Progress(epoch=10, best_value=0.25, best_epoch=5)
    report = EpochReport(10, {"bpr": 0.5, "content_text": 0.01}, 2.0, {"recall@20": 0.2}, now)
    assert display._status(report) == (
        "bpr 0.5  content_text 0.01  recall@20 now 0.2000, best 0.2500 (epoch 5)"
    )
    assert display._left(report) == "0:03:00 left"
    with display:
        display.update(report)
        display.update(EpochReport(11, {}, 0.0, None, Progress(epoch=11, done=True)))
    assert isinstance(console.file, io.StringIO)
    assert "11/11" in console.file.getvalue()
