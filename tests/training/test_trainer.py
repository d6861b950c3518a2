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
import torch
from safetensors.torch import load_file
from torch import Tensor

import graphrec
from graphrec.data.dataset import Dataset
from graphrec.data.sampling import Batch
from graphrec.models import registry
from graphrec.models.lightgcn import LightGCN
from graphrec.training import Experiment, TrainingError, resume_run, train_run
from graphrec.training.folder import RunFolder
from graphrec.training.trainer import EpochReport
from modalities._base.errors import InputError

QUICK = {"epochs": 8, "batch_size": 64, "patience": 100}


def experiment(model: str = "freedom", **training: Any) -> Experiment:
    options = {"k": 3, "drop_ratio": 0.3} if model == "freedom" else {}
    return Experiment.parse(
        {
            "model": {"name": model, "dim": 8, **options},
            "training": {**QUICK, **training},
        }
    )


def weights(run: Path, part: str = "last") -> dict[str, Tensor]:
    state = json.loads((run / part / "state.json").read_text())
    return load_file(run / part / state["tensors"])


def assert_same_run(first: Path, second: Path) -> None:
    for part in ("last", "best"):
        a, b = weights(first, part), weights(second, part)
        assert a.keys() == b.keys()
        for key in a:
            assert torch.equal(a[key], b[key]), f"{part}/{key}"
    lines = [
        [
            {k: v for k, v in json.loads(line).items() if k != "seconds"}
            for line in (run / "history.jsonl").read_text().splitlines()
        ]
        for run in (first, second)
    ]
    assert lines[0] == lines[1]
    metrics = [json.loads((run / "metrics.json").read_text()) for run in (first, second)]
    assert metrics[0] == metrics[1]


class Stop(Exception):
    """Stands for Ctrl-C and the like."""


def stop_at(epoch: int, error: type[BaseException]) -> Any:
    def report(done: EpochReport) -> None:
        if done.epoch == epoch:
            raise error

    return report


@pytest.mark.parametrize("model", ["freedom", "lightgcn", "bpr"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, Stop])
def test_an_interrupted_run_ends_bit_identical(
    small_dataset: Dataset, tmp_path: Path, model: str, error: type[BaseException]
) -> None:
    train_run(small_dataset, experiment(model), tmp_path / "whole")
    with pytest.raises(error):
        train_run(small_dataset, experiment(model), tmp_path / "cut", report=stop_at(3, error))
    status = json.loads((tmp_path / "cut" / "manifest.json").read_text())["status"]
    assert status == ("interrupted" if error is KeyboardInterrupt else "failed")
    torch.manual_seed(99)
    resume_run(tmp_path / "cut", small_dataset)
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


def test_checkpoints_every_few_epochs_resume_the_same(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    settings = experiment(checkpoint_every=3)
    train_run(small_dataset, settings, tmp_path / "whole")
    with pytest.raises(Stop):
        train_run(small_dataset, settings, tmp_path / "cut", report=stop_at(5, Stop))
    resume_run(tmp_path / "cut", small_dataset)
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


CHILD = """
import sys
import graphrec
data, out = sys.argv[1:]
graphrec.train(
    graphrec.load_dataset(data), "freedom", out, dim=8, k=3, drop_ratio=0.3, progress=False,
    training={"epochs": 100, "batch_size": 16, "patience": 1000},
)
"""


def test_sigkill_loses_nothing(small_dataset: Dataset, tmp_path: Path) -> None:
    small_dataset.save(tmp_path / "data")
    out, history = tmp_path / "cut", tmp_path / "cut" / "history.jsonl"
    command = [sys.executable, "-c", CHILD, str(tmp_path / "data"), str(out)]
    child = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    for _ in range(1200):
        if history.is_file() and len(history.read_text().splitlines()) >= 5:
            break
        assert child.poll() is None, "the child ended before it could be killed"
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    done = len(history.read_text().splitlines())
    assert 5 <= done < 100

    dataset = graphrec.load_dataset(tmp_path / "data")
    torch.set_num_threads(1)
    settings = Experiment.parse(
        {
            "data": {"path": str(tmp_path / "data")},
            "model": {"name": "freedom", "dim": 8, "k": 3, "drop_ratio": 0.3},
            "training": {"epochs": 100, "batch_size": 16, "patience": 1000},
        }
    )
    resume_run(out, dataset)
    train_run(dataset, settings, tmp_path / "whole")
    assert_same_run(tmp_path / "whole", out)


def test_time_limit_pauses_at_a_resumable_checkpoint(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    train_run(small_dataset, experiment(), tmp_path / "whole")
    paused = train_run(small_dataset, experiment(max_minutes=1e-9), tmp_path / "cut")
    assert paused.manifest()["status"] == "paused"
    assert not (tmp_path / "cut" / "test_access.json").exists()
    resume_run(tmp_path / "cut", small_dataset, experiment())
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


def test_early_stopping_counts_validations_without_improvement(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    settings = experiment("bpr", epochs=60, patience=2, lr=1e-9)
    folder = train_run(small_dataset, settings, tmp_path / "run")
    run = graphrec.load_run(tmp_path / "run")
    state = json.loads((folder.path / "last" / "state.json").read_text())["progress"]
    assert state["reason"] == "no improvement"
    values = run.history["recall@20"].to_list()
    best = max(range(len(values)), key=lambda e: (values[e], -e))
    assert state["best_epoch"] == best + 1
    assert len(values) == best + 1 + 3  # more than patience=2 in a row
    assert run.metrics["best"]["epoch"] == best + 1
    assert run.metrics["valid"]["recall@20"] == values[best]


def test_best_epoch_is_what_is_measured(small_dataset: Dataset, tmp_path: Path) -> None:
    train_run(small_dataset, experiment(epochs=6), tmp_path / "run")
    run = graphrec.load_run(tmp_path / "run")
    row = run.history.filter(run.history["epoch"] == run.metrics["best"]["epoch"])
    assert row["recall@20"][0] == run.metrics["valid"]["recall@20"]


class Exploding(LightGCN):
    """A model whose second term overflows."""

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The loss and an infinity."""
        return {**super().loss(batch), "extra": self.nodes.sum() * torch.inf}


def test_nonfinite_loss_names_the_term(
    small_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_registered", {"exploding": Exploding})
    with pytest.raises(TrainingError, match=r"loss term 'extra' became .* in epoch 1"):
        train_run(small_dataset, experiment("exploding"), tmp_path / "run")


def test_test_split_is_opened_once_or_not_at_all(small_dataset: Dataset, tmp_path: Path) -> None:
    train_run(small_dataset, experiment(epochs=1), tmp_path / "shut", test=False)
    assert not (tmp_path / "shut" / "test_access.json").exists()
    assert "test" not in graphrec.load_run(tmp_path / "shut").metrics
    train_run(small_dataset, experiment(epochs=1), tmp_path / "open")
    openings = json.loads((tmp_path / "open" / "test_access.json").read_text())["openings"]
    assert len(openings) == 1
    assert {"recall@20", "ndcg@20"} <= graphrec.load_run(tmp_path / "open").metrics["test"].keys()


def test_a_taken_folder_is_refused_and_left_alone(small_dataset: Dataset, tmp_path: Path) -> None:
    train_run(small_dataset, experiment(epochs=1), tmp_path / "run")
    before = sorted(p.name for p in (tmp_path / "run").iterdir())
    with pytest.raises(InputError, match="already holds a run"):
        train_run(small_dataset, experiment(epochs=1), tmp_path / "run")
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == before


def test_resuming_on_other_data_is_refused(small_dataset: Dataset, tmp_path: Path) -> None:
    from graphrec.data.splits import make_split

    train_run(small_dataset, experiment(max_minutes=1e-9), tmp_path / "run")
    events = small_dataset.interactions
    other = small_dataset.with_split(make_split("user-random", events.users, events.items, seed=9))
    with pytest.raises(InputError, match="used split_id"):
        resume_run(tmp_path / "run", other)


def test_a_model_that_cannot_be_built_leaves_no_folder(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="needs item features"):
        train_run(
            small_dataset,
            Experiment.parse({"model": {"name": "freedom"}, "features": {"use": []}}),
            tmp_path / "run",
        )
    assert not (tmp_path / "run").exists()


def test_a_run_that_left_test_shut_leaves_it_shut_when_continued(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    train_run(small_dataset, experiment(max_minutes=1e-9), tmp_path / "run", test=False)
    limitless = experiment()
    folder = resume_run(tmp_path / "run", small_dataset, limitless)
    assert folder.manifest()["status"] == "finished"
    assert "test" not in folder.metrics()
    assert not (tmp_path / "run" / "test_access.json").exists()


def test_a_kill_between_tables_and_metrics_loses_neither(
    small_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train_run(small_dataset, experiment(), tmp_path / "whole")

    def killed(self: RunFolder, **parts: object) -> None:
        if "test" in parts:
            raise KeyboardInterrupt
        keep(self, **parts)  # type: ignore[arg-type]

    keep = RunFolder.update_metrics
    monkeypatch.setattr(RunFolder, "update_metrics", killed)
    with pytest.raises(KeyboardInterrupt):
        train_run(small_dataset, experiment(), tmp_path / "run")
    monkeypatch.undo()
    folder = resume_run(tmp_path / "run", small_dataset)
    for name in ("per_user.parquet", "topk.parquet", "metrics.json"):
        assert (folder.path / name).read_bytes() == (whole.path / name).read_bytes()


def test_a_start_that_died_leaves_no_folder(
    small_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RunFolder, "_write_served", full)
    with pytest.raises(OSError, match="No space left"):
        train_run(small_dataset, experiment(), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
