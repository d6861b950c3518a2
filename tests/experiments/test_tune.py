from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from graphrec.experiments.tune import Tuning, tune
from graphrec.serving.run import load_run
from graphrec.training.config import Experiment, read_config
from modalities._base.errors import InputError

SPACE: dict[str, Any] = {
    "model.layers": [0, 1],
    "model.dim": {"low": 2, "high": 6, "step": 2},
    "training.lr": {"low": 1e-3, "high": 0.1, "log": True},
}


def declared(data: Path, **given: Any) -> dict[str, Any]:
    base = {"model": {"name": "lightgcn"}, "training": {"epochs": 4}}
    return {"data": str(data), "base": base, "space": SPACE, "trials": 5, **given}


def test_a_search_finds_and_goes_on(data: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    found = tune(Tuning.parse(declared(data)), tmp_path / "out", tell=lines.append)
    assert len(found.trials) == len(lines) == 5
    complete = [trial for trial in found.trials if trial.state == "complete"]
    assert found.best.value == max(trial.value for trial in complete if trial.value is not None)
    for trial in found.trials:
        assert trial.options["model.dim"] in (2, 4, 6)
        assert 1e-3 <= trial.options["training.lr"] <= 0.1
    best = Experiment.parse(read_config(tmp_path / "out" / "best.yaml"))
    assert best.training.lr == found.best.options["training.lr"]
    for path in (tmp_path / "out" / "trials").iterdir():
        assert not (path / "test_access.json").exists()
    values = [
        load_run(p).metrics.get("valid", {}).get("recall@20")
        for p in (tmp_path / "out" / "trials").iterdir()
    ]
    assert found.best.value in values

    more = tune(Tuning.parse(declared(data, trials=7)), tmp_path / "out")
    assert [trial.options for trial in more.trials[:5]] == [t.options for t in found.trials]
    assert len(more.trials) == 7
    again = tune(Tuning.parse(declared(data, trials=7)), tmp_path / "out")
    assert again.trials == more.trials


def test_a_trial_that_was_cut_off_is_continued(data: Path, tmp_path: Path) -> None:
    def stop(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(Tuning.parse(declared(data)), tmp_path / "out", tell=stop)
    found = tune(Tuning.parse(declared(data, trials=3)), tmp_path / "out")
    assert len(found.trials) >= 3


def test_a_trial_that_fails_costs_itself(data: Path, tmp_path: Path) -> None:
    base = {"model": {"name": "freedom", "dim": 4}, "training": {"epochs": 1}}
    given = declared(data, base=base, space={"model.k": [3, 31]}, trials=4)
    found = tune(Tuning.parse(given), tmp_path / "out")
    assert {trial.state for trial in found.trials} == {"complete", "fail"}
    assert found.best.options == {"model.k": 3}


def test_another_search_is_not_mixed_in(data: Path, tmp_path: Path) -> None:
    tune(Tuning.parse(declared(data, trials=1)), tmp_path / "out")
    with pytest.raises(InputError, match="holds another search"):
        tune(Tuning.parse(declared(data, trials=1, seed=3)), tmp_path / "out")
    with pytest.raises(InputError, match="holds no search"):
        tune(Tuning.parse(declared(data)), data)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"space": {}}, "the space is empty"),
        ({"space": {"layers": [1]}}, "space.layers is no option"),
        ({"space": {"model.layers": []}}, "space.model.layers is empty"),
        ({"space": {"model.layer": [1]}}, "did you mean 'model.layers'"),
        ({"space": {"model.dim": {"low": 4, "high": 2}}}, "is no range"),
        ({"space": {"training.lr": {"low": 0, "high": 1, "log": True}}}, "is no range"),
        ({"space": {"model.dim": {"low": 4, "hihg": 2}}}, "did you mean"),
        ({"space": {"model.dim": {"low": -4, "high": 2}}}, "model.dim"),
        ({"trials": None}, "give a budget"),
        ({"data": None}, "names no dataset"),
        ({"trails": 3}, "did you mean 'trials'"),
    ],
)
def test_what_cannot_be_searched_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        Tuning.parse({**declared(Path("D")), **given})
    assert message in str(error.value)
