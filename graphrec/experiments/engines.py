"""Engines: what trains the runs of a study, in processes of this machine or on a cluster."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Protocol

from graphrec.experiments.worker import Job, Outcome, begin, train_planned
from modalities._base.errors import InputError, UnknownNameError

ENGINES = ("local", "ray")


class Engine(Protocol):
    """What trains runs, several at a time."""

    def train(
        self, jobs: Sequence[Job], workers: int | None, threads: int | None
    ) -> Iterator[tuple[Job, Outcome]]:
        """Outcomes as they come; leaving the iterator stops the runs that are being trained.

        Args:
            jobs: the runs; one that kills its worker costs itself only.
            workers: the most runs trained at a time; None: the engine's choice.
            threads: of each; None: the engine's choice.
        """
        ...


class LocalEngine:
    """Worker processes on this machine: one, unless told otherwise, and its threads shared out."""

    def train(
        self, jobs: Sequence[Job], workers: int | None, threads: int | None
    ) -> Iterator[tuple[Job, Outcome]]:
        """See `Engine.train`."""
        workers = workers or 1
        threads = threads or max(1, (os.cpu_count() or 1) // workers)
        again: list[Job] = []
        with _pool(workers) as pool:
            futures = {pool.submit(train_planned, job, threads): job for job in jobs}
            for future in as_completed(futures):
                try:
                    yield futures[future], future.result()
                except BrokenProcessPool:
                    again.append(futures[future])
        for job in again:  # one of them broke the pool: alone, it betrays itself
            with _pool(1) as pool:
                try:
                    yield job, pool.submit(train_planned, job, threads).result()
                except BrokenProcessPool:
                    yield job, Outcome("its worker process was killed (out of memory?)")


def engine_named(name: str = "local", address: str | None = None) -> Engine:
    """The engine of this name.

    Args:
        name: `local` or `ray`.
        address: of a running Ray cluster, such as `auto` or `HOST:6379`; default: Ray is started
            on this machine for the study alone.

    Raises:
        InputError: another name, an address without `ray`, or Ray is not installed.

    Example:
        >>> engine_named("rya")
        Traceback (most recent call last):
        ...
        modalities._base.errors.UnknownNameError: unknown engine 'rya'; did you mean 'ray'? ...
    """
    if name not in ENGINES:
        raise UnknownNameError("engine", name, ENGINES)
    if name == "ray":
        from graphrec.experiments.cluster import RayEngine

        return RayEngine(address)
    if address is not None:
        raise InputError(f"the {name} engine has no address; --address goes with --engine ray")
    return LocalEngine()


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Worker processes that stop at the end of their epoch when the study is interrupted."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    pool = ProcessPoolExecutor(workers, context, initializer=begin, initargs=(stop, os.getpid()))
    try:
        yield pool
    except BaseException:
        stop.set()
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()
