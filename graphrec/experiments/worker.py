"""What a worker process of a study does: train one planned run, or say why not."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from graphrec.data.dataset import Dataset
from graphrec.data.loading import load_dataset
from graphrec.experiments.plan import PlannedRun
from graphrec.serving.run import load_run
from graphrec.training.config import Experiment
from graphrec.training.train import resume_run, train_run
from graphrec.training.trainer import EpochReport, TrainingError
from modalities._base.errors import InputError
from modalities._base.files import locked

_stop: Event | None = None


@dataclass(frozen=True)
class Job:
    """A run to train; its paths are absolute.

    Args:
        run: as planned.
        data: dataset folder.
        folder: of the run.
    """

    run: PlannedRun
    data: Path
    folder: Path


@dataclass(frozen=True)
class Outcome:
    """How a run went.

    Args:
        error: why it failed; empty where it did not.
        metric: validation metric that selected its best epoch.
        value: of that metric.
        seconds: the run took.
        events: counts of what was made and shared.
        node: of a cluster that trained it; empty on this machine.
    """

    error: str = ""
    metric: str = ""
    value: float = 0.0
    seconds: float = 0.0
    events: dict[str, int] = field(default_factory=dict)
    node: str = ""


class _Counting(logging.Handler):
    """Counts the messages of a logger by kind."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.counts: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        """Count `graph built: ...` and `graph read: ...`."""
        kind, _, _ = str(record.msg).partition(":")
        self.counts[kind.replace("graph ", "graphs ")] += 1


def begin(stop: Event, parent: int) -> None:
    """Set up a worker process: Ctrl-C is the study's business, which tells by `stop`.

    A worker whose study was killed ends too; what it writes is written atomically.
    """
    global _stop
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def train_planned(job: Job, threads: int) -> Outcome:
    """Train or continue a run, test closed; errors become part of the outcome.

    Args:
        job: the run, and where it is.
        threads: that torch may use.
    """
    import torch

    torch.set_num_threads(threads)
    began = time.monotonic()
    counting = _Counting()
    log = logging.getLogger("graphrec.graphs")
    log.addHandler(counting)
    log.setLevel(logging.INFO)
    try:
        where = {**job.run.values.get("data", {}), "path": str(job.data)}
        metric, value = _train({**job.run.values, "data": where}, job.folder)
    except (InputError, TrainingError) as error:
        return Outcome(str(error), events=dict(counting.counts))
    except KeyboardInterrupt:
        return Outcome("interrupted", events=dict(counting.counts))
    except Exception as error:  # whatever a model does, the other runs go on
        return Outcome(f"{type(error).__name__}: {error}", events=dict(counting.counts))
    finally:
        log.removeHandler(counting)
    seconds = round(time.monotonic() - began, 2)
    return Outcome("", metric, value, seconds, dict(counting.counts))


def measure_test(folder: str, data: str) -> None:
    """Open the test split for a finished run."""
    load_run(folder).evaluate("test", _dataset(data))


def _train(values: dict[str, Any], path: Path) -> tuple[str, float]:
    experiment = Experiment.parse(values)
    dataset = _dataset(values["data"]["path"])

    def report(epoch: EpochReport) -> None:
        if _stop is not None and _stop.is_set():
            raise KeyboardInterrupt

    with locked(path.parent / f".{path.name}.lock"):
        if (path / "manifest.json").is_file():
            run = load_run(path)
            if run.folder.manifest()["status"] != "finished":
                resume_run(path, dataset, test=False, report=report)
        else:
            train_run(dataset, experiment, path, test=False, report=report)
    metric = experiment.training.metric
    return metric, float(load_run(path).metrics["valid"][metric])


@lru_cache(maxsize=2)
def _dataset(path: str) -> Dataset:
    return load_dataset(path)
