from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from graphrec.evaluation.test_split import openings_of
from graphrec.experiments.plan import StudyPlan
from graphrec.experiments.study import Study
from graphrec.serving.run import load_run
from modalities._base.errors import InputError


def declared(data: Path, **given: Any) -> dict[str, Any]:
    return {
        "name": "small",
        "data": str(data),
        "base": {"model": {"k": 3, "dim": 4}, "training": {"epochs": 2}},
        "axes": {"model": ["freedom", "lirdrec"]},
        "metrics": ["recall@5"],
        "seeds": [0, 1],
        **given,
    }


def test_runs_are_trained_then_tested_once_and_work_is_shared(data: Path, tmp_path: Path) -> None:
    study = Study(StudyPlan.parse(declared(data)), tmp_path / "out")
    lines: list[str] = []
    result = study.run(workers=2, threads=1, tell=lines.append)
    assert not result.failed
    assert len(result.finished) == 4
    # user-item graph, kNN of the text and its mixture: once each for all four runs
    assert result.counts["graphs built"] == 3
    assert result.counts["graphs read"] >= 1
    for path in result.finished:
        assert len(openings_of(path / "test_access.json")) == 1
        assert {"valid", "test"} <= set(load_run(path).metrics)
    last_trained = max(i for i, line in enumerate(lines) if line.startswith("["))
    assert (
        next(i for i, line in enumerate(lines) if "opening the test split" in line) > last_trained
    )

    again = Study(StudyPlan.parse(declared(data)), tmp_path / "out").run()
    assert set(again.finished) == set(result.finished)
    assert all(len(openings_of(path / "test_access.json")) == 1 for path in again.finished)
    assert again.counts == result.counts


def test_a_failed_run_does_not_stop_the_others(data: Path, tmp_path: Path) -> None:
    plan = StudyPlan.parse(
        declared(data, axes={"model.k": [3, 31]}, base={"model": {"name": "freedom"}}, seeds=[0])
    )
    result = Study(plan, tmp_path / "out").run(threads=1)
    assert len(result.finished) == 1
    ((folder, reason),) = result.failed.items()
    assert "catalogue has 30 items" in reason
    assert json.loads((tmp_path / "out" / "failed.json").read_text()) == {folder: reason}


def test_another_study_is_not_mixed_in(data: Path, tmp_path: Path) -> None:
    plan = StudyPlan.parse(declared(data, seeds=[0]))
    study = Study(plan, tmp_path / "out")
    study._write_declaration()
    with pytest.raises(InputError, match="holds another study, 'small', or one that has been"):
        Study(StudyPlan.parse(declared(data, seeds=[5])), tmp_path / "out")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="not empty and holds no study"):
        Study(plan, tmp_path / "other")
    gone = StudyPlan.parse(declared(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"nowhere.* does not exist"):
        Study(gone, tmp_path / "third").run()


def test_splits_and_encodings_are_made_once(data: Path, tmp_path: Path) -> None:
    given = declared(
        data,
        axes={"encoder": ["hashed"]},
        base={"model": {"name": "freedom", "k": 3, "dim": 4}, "training": {"epochs": 1}},
        splits={f"s{n}": {"method": "user-random", "seed": n} for n in (1, 2)},
        encode={"hashed": {"encoder": "hashing", "content": "{title}", "options": {"dim": 8}}},
        seeds=[0],
    )
    for _ in range(2):
        result = Study(StudyPlan.parse(given), tmp_path / "out").run(threads=1)
        assert not result.failed
    assert result.counts["encodings made"] == 1
    assert result.counts["encodings reused"] == 1
    assert result.counts["splits made"] == 2
    assert result.counts["splits reused"] == 2
    ids = {load_run(path).folder.manifest()["ids"]["split_id"] for path in result.finished}
    assert len(ids) == 2


def start(file: Path, out: Path, engine: str) -> subprocess.Popen[str]:
    code = "from graphrec.cli import main; main()"
    line = [sys.executable, "-c", code, "ablate", str(file), "--out", str(out), "--threads", "1"]
    line += ["--engine", engine]
    return subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def wait_for(condition: Any, seconds: float = 120) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.05)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("engine", ["local", pytest.param("ray", marks=pytest.mark.slow)])
def test_a_study_cut_off_is_finished_by_the_same_command(
    data: Path, tmp_path: Path, how: signal.Signals, engine: str
) -> None:
    if engine == "ray":
        pytest.importorskip("ray", reason="Ray is not installed")
    file, out = tmp_path / "study.yaml", tmp_path / "out"
    training = {"epochs": 400, "eval_every": 400, "checkpoint_every": 5}
    base = {"model": {"dim": 4}, "training": training}
    file.write_text(yaml.safe_dump(declared(data, axes={"model": ["bpr"]}, base=base)))
    first = start(file, out, engine)
    wait_for(lambda: list(out.glob("runs/*/last/state.json")) or first.poll() is not None)
    if how is signal.SIGKILL:
        os.kill(first.pid, how)  # the study alone: its worker notices
    else:
        os.killpg(first.pid, how)  # as a terminal does
    _, err = first.communicate(timeout=120)
    assert "Traceback" not in err
    if how is signal.SIGINT:
        assert first.returncode == 130
        assert "graphrec ablate" in err
    second = start(file, out, engine)
    said, err = second.communicate(timeout=250)
    assert second.returncode == 0, err
    assert "opening the test split once for each of 2 runs" in said
    assert len(list(out.glob("runs/*/test_access.json"))) == 2
