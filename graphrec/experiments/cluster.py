"""A study on a Ray cluster: every run is one task, on any machine that has room for it."""

from __future__ import annotations

import logging
import os
import platform
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from graphrec._version import __version__
from graphrec.experiments.worker import Job, Outcome, train_planned
from modalities._base.errors import InputError
from modalities._base.plugins import VARIABLE
from modalities.extras import require

ANSWER = 5
"""Seconds a cluster may take to answer at its address."""
LOOK = 20
"""Seconds between looks at whether the cluster still has room for every run."""
GRACE = 60
"""Seconds that interrupted runs have to write their checkpoints."""
STORE = 100 * 2**20
"""Bytes of Ray's own store where a cluster is started here: outcomes are all it holds."""


class RayEngine:
    """Tasks of Ray: by default as many at a time as there is room for, of one thread each.

    A run takes as many CPUs as it has threads, and one GPU where its `training.device` is `cuda`.
    Machines need the same graphrec, and the dataset and the study's folder at the same paths.

    Args:
        address: of a running cluster that this machine belongs to, such as `auto` or `HOST:6379`;
            None: Ray is started on this machine, and stopped at the end.

    Raises:
        InputError: Ray is not installed.
    """

    def __init__(self, address: str | None = None) -> None:
        require("ray", "ray")
        self.address = address

    def train(
        self, jobs: Sequence[Job], workers: int | None, threads: int | None
    ) -> Iterator[tuple[Job, Outcome]]:
        """See `Engine.train`.

        Raises:
            InputError: the cluster does not answer, or no machine of it has what a run needs.
        """
        if not jobs:
            return
        import ray

        waiting, running = list(jobs), dict[Any, Job]()
        with _connected(self.address), _cancelled_on_leaving(running):
            while waiting or running:
                _refuse_what_cannot_run([*waiting, *running.values()], threads or 1)
                while waiting and len(running) < (workers or len(jobs)):
                    job = waiting.pop(0)
                    running[_submit(job, threads or 1)] = job
                for task in ray.wait(list(running), timeout=LOOK)[0]:
                    yield running.pop(task), _outcome(task)


def _submit(job: Job, threads: int) -> Any:
    import ray

    needs = _needs(job, threads)
    options: dict[str, Any] = {"num_cpus": needs["CPU"], "num_gpus": needs["GPU"]}
    if plugins := os.environ.get(VARIABLE):
        options["runtime_env"] = {"env_vars": {VARIABLE: plugins}}
    task = ray.remote(_train).options(**options, max_retries=0, scheduling_strategy="SPREAD")
    return task.remote(job, threads, __version__)


def _train(job: Job, threads: int, version: str) -> Outcome:
    """`train_planned`, on the machine that Ray chose."""
    import ray

    node = f"{platform.node()}/{ray.get_runtime_context().get_node_id()[:8]}"
    if version != __version__:
        return Outcome(f"{node} has graphrec {__version__}, the study has {version}", node=node)
    return replace(train_planned(job, threads), node=node)


def _outcome(task: Any) -> Outcome:
    import ray

    try:
        return ray.get(task)
    except ray.exceptions.RayTaskError as error:  # it could not begin; the reason comes last
        reason = str(error).strip().splitlines()[-1]
        return Outcome(f"a machine of the cluster has another graphrec, or none: {reason}")
    except ray.exceptions.RayError as error:  # worker or machine are gone; the reason comes first
        return Outcome(str(error).strip().splitlines()[0])


def _needs(job: Job, threads: int) -> dict[str, int]:
    device = str(job.run.values.get("training", {}).get("device", ""))
    return {"CPU": threads, "GPU": int(device.startswith("cuda"))}


def _refuse_what_cannot_run(jobs: Sequence[Job], threads: int) -> None:
    """Ray would wait for ever for a machine that is large enough."""
    import ray

    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for job in jobs:
        needs = _needs(job, threads)
        if not any(all(has.get(k, 0) >= needs[k] for k in needs) for has in machines):
            listed = "; ".join(f"{has.get('CPU', 0):g}, {has.get('GPU', 0):g}" for has in machines)
            raise InputError(
                f"no machine of the Ray cluster has the {needs['CPU']} CPUs (--threads) and "
                f"{needs['GPU']} GPUs that '{job.run.variant}' takes; theirs are: {listed}"
            )


@contextmanager
def _cancelled_on_leaving(running: dict[Any, Job]) -> Iterator[None]:
    import ray

    try:
        yield
    except BaseException:
        for task in running:
            ray.cancel(task)
        if running:
            ray.wait(list(running), num_returns=len(running), timeout=GRACE)
        raise


@contextmanager
def _connected(address: str | None) -> Iterator[None]:
    """Ray, unless the caller has started it already; then it is left as it is."""
    import ray

    if ray.is_initialized():
        yield
        return
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        if address is None:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no network unless asked for
            ray.init("local", include_dashboard=False, object_store_memory=STORE, **quiet)
        else:
            _refuse_silence(address)
            ray.init(address, **quiet)
    except Exception as error:  # Ray's are of many kinds; none is worth a traceback
        where = f"join the Ray cluster at '{address}'" if address else "start Ray here"
        raise InputError(f"cannot {where}: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _refuse_silence(address: str) -> None:
    """Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER).close()
