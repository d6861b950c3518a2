"""Long work over many inputs, in chunks: resumable, shared by processes, only what is new."""

from __future__ import annotations

import os
import shutil
import time
from abc import ABC, abstractmethod
from collections import ChainMap, Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from modalities._base.errors import InputError
from modalities._base.files import locked, read_manifest, restore_folder, write_json
from modalities._base.identity import digest
from modalities._base.progress import counter
from modalities.inputs import Inputs
from modalities.layout import check_ids
from modalities.protocol import Modality

WORK_FORMAT = "graphrec.work"
WORK_VERSION = 1

R = TypeVar("R")
"""What the work makes of one input."""


@dataclass(frozen=True)
class Outcome:
    """What a job did.

    Args:
        items: rows of the result.
        done: distinct inputs worked on by this process.
        reused: distinct inputs taken over from the result that was there.
        waiting: chunks that other processes have still to do; 0: the result is complete.
        halvings: how often the batch was halved because memory ran out.
        seconds: time spent working.
    """

    items: int
    done: int
    reused: int
    waiting: int
    halvings: int
    seconds: float

    def describe(self) -> str:
        """One line for people.

        Example:
            >>> Outcome(10, 4, 5, 0, 0, 2.0).describe()
            '4 inputs encoded (2.0/s), 5 taken over'
        """
        rate = f" ({self.done / self.seconds:,.1f}/s)" if self.seconds and self.done else ""
        said = [f"{self.done:,} inputs encoded{rate}"]
        if self.reused:
            said.append(f"{self.reused:,} taken over")
        if self.halvings:
            said.append(f"batch halved {self.halvings} times for want of memory")
        if self.waiting:
            said.append(f"{self.waiting} parts left to other processes")
        return ", ".join(said)


@dataclass(frozen=True)
class Found(Generic[R]):
    """What an earlier result offers a new one.

    Args:
        results: by input digest.
        errors: codes of inputs that would fail again, by input digest.
        rows_per_part: of the earlier result.
        same: whether it lists exactly these item ids and digests, and is intact.
    """

    results: Mapping[str, R]
    errors: Mapping[str, str]
    rows_per_part: int
    same: Callable[[Sequence[str], Sequence[str]], bool]


@dataclass(frozen=True)
class Worked(Generic[R]):
    """A finished chunk: a result or an error code per input."""

    results: Iterable[R]
    errors: Sequence[str | None]


@dataclass
class PartedJob(ABC, Generic[R]):
    """Turns distinct inputs into results, chunk by chunk, and these into the folder `path`.

    Distinct inputs are cut into chunks of `rows_per_part`; each finished chunk is a file beside
    `path`, and the result is put together from them when all are there. A killed job run again
    does the chunks that are missing; of several processes, number `rank` of `world` does every
    world-th chunk, and the last to finish puts the result together. Inputs that an earlier result
    holds under the same spec are not worked on again.

    Args:
        path: folder of the result.
        item_ids: external ids, unique.
        contents: one per item.
        batch_size: inputs at a time.
        rows_per_part: inputs per chunk and rows per part; None: as in the earlier result, else
            a default.
        rank: number of this process, from 0.
        world: number of processes.
        workers: threads opening pictures.
        failure_limit: stop when more than this share of the inputs so far has failed.
        replace: start again when the earlier result was made under another spec.
        progress: show a bar.
    """

    path: Path
    item_ids: Sequence[str]
    contents: Sequence[Any]
    batch_size: int = 32
    rows_per_part: int | None = None
    rank: int = 0
    world: int = 1
    workers: int = 0
    failure_limit: float = 0.5
    replace: bool = False
    progress: bool = True
    failure: Exception | None = field(default=None, init=False)

    default_rows: int = field(default=2048, init=False)
    verb: str = field(default="encoding", init=False)

    @property
    @abstractmethod
    def spec(self) -> dict[str, Any]:
        """All that determines the results."""

    @property
    @abstractmethod
    def modality(self) -> Modality:
        """Of the inputs."""

    @abstractmethod
    def earlier(self) -> tuple[Mapping[str, Any], Callable[[], Found[R]]] | None:
        """Spec of the result at `path`, and a function that reads it; None: there is none."""

    @abstractmethod
    def work_on(
        self, inputs: Inputs, rows: Sequence[int], tell: Callable[[int], None]
    ) -> Worked[R]:
        """Work on a chunk."""

    @abstractmethod
    def write_chunk(self, path: Path, identity: str, chunk: Worked[R]) -> None:
        """Write a finished chunk, atomically."""

    @abstractmethod
    def read_chunk(self, path: Path, identity: str) -> Worked[R] | None:
        """A finished chunk, or None where it is missing, damaged or of other inputs."""

    @abstractmethod
    def finish(self, plan: Plan[R], results: Mapping[str, R], errors: Mapping[str, str]) -> None:
        """Write the result to `path`, in place of the earlier one."""

    @property
    def halvings(self) -> int:
        """How often memory ran out."""
        return 0

    def run(self) -> Outcome:
        """Do what is missing; where all is there, put the result together.

        Raises:
            InputError: another spec, nothing to work on, too many failures, wrong arguments.
        """
        self._check()
        restore_folder(self.path)
        plan = self._plan()
        if plan.complete:
            self._discard_work()
            return Outcome(len(self.item_ids), 0, plan.reused, 0, 0, 0.0)
        self._open_work()
        mine = [n for n in range(len(plan.chunks)) if n % self.world == self.rank]
        todo = [n for n in mine if self._finished(plan, n) is None]
        started = time.monotonic()
        try:
            done = self._work_through(plan, todo)
        except FileNotFoundError:
            if self.work.is_dir():
                raise
            return self.run()  # the same work was finished by another process meanwhile
        seconds = time.monotonic() - started
        waiting = sum(self._finished(plan, n) is None for n in range(len(plan.chunks)))
        if not waiting:
            self._put_together(plan)
        return Outcome(len(self.item_ids), done, plan.reused, waiting, self.halvings, seconds)

    def _work_through(self, plan: Plan[R], todo: Sequence[int]) -> int:
        total, tried = sum(len(plan.chunks[n]) for n in todo), 0
        failed: Counter[str] = Counter()
        with counter(f"{self.verb} {self.path.name}", total, show=self.progress) as tell:
            for number in todo:
                chunk = self.work_on(plan.inputs, plan.chunks[number], tell)
                tried += len(chunk.errors)
                failed.update(error for error in chunk.errors if error)
                self._check_failures(failed, tried, plan.reused)
                self.write_chunk(self._chunk_path(plan, number), plan.identity(number), chunk)
        return tried

    @property
    def work(self) -> Path:
        """Where finished chunks wait."""
        return self.path.with_name(f".{self.path.name}.partial")

    def _check(self) -> None:
        if len(self.item_ids) != len(self.contents):
            raise InputError(
                f"{len(self.item_ids)} item ids came with {len(self.contents)} contents"
            )
        check_ids(self.item_ids)
        if self.world < 1 or not 0 <= self.rank < self.world:
            raise InputError(
                f"process {self.rank} of {self.world}: RANK must lie in 0..WORLD_SIZE-1"
            )
        for name, value in (("rows_per_part", self.rows_per_part), ("batch_size", self.batch_size)):
            if value is not None and value < 1:
                raise InputError(f"{name} must be at least 1, got {value}")

    def _plan(self) -> Plan[R]:
        old = self._old()
        inputs = Inputs.identify(self.contents, self.modality)
        size = self.rows_per_part or (old.rows_per_part if old else self.default_rows)
        plan = Plan(inputs, list(self.item_ids), size, old)
        if not plan.first:
            raise InputError(nothing_done(inputs.errors, self.modality, None))
        return plan

    def _old(self) -> Found[R] | None:
        earlier = self.earlier()
        if earlier is None:
            return None
        spec, read = earlier
        if spec == self.spec:
            return read()
        if self.replace:
            return None
        raise InputError(
            f"'{self.path.name}' was made otherwise: {difference(spec, self.spec)}; choose "
            "another name, or make it again with --replace"
        )

    def _open_work(self) -> None:
        with locked(self._lock):
            header = self.work / "job.json"
            if header.is_file():
                there = read_manifest(header, WORK_FORMAT, WORK_VERSION)["spec"]
                if there == self.spec:
                    return
                if not self.replace:
                    raise InputError(
                        f"work on '{self.path.name}' that was not finished was begun otherwise: "
                        f"{difference(there, self.spec)}; finish it, choose another name, or "
                        "start again with --replace"
                    )
                shutil.rmtree(self.work)
            self.work.mkdir(parents=True, exist_ok=True)
            job = {"format": WORK_FORMAT, "version": WORK_VERSION, "spec": self.spec}
            write_json(header, job)

    @property
    def _lock(self) -> Path:
        return self.path.with_name(f".{self.path.name}.lock")

    def _chunk_path(self, plan: Plan[R], number: int) -> Path:
        return self.work / f"chunk-{number:06d}-{plan.identity(number)[:16]}"

    def _finished(self, plan: Plan[R], number: int) -> Worked[R] | None:
        return self.read_chunk(self._chunk_path(plan, number), plan.identity(number))

    def _check_failures(self, failed: Counter[str], tried: int, reused: int) -> None:
        if failed.total() <= self.failure_limit * (tried + reused):
            return
        listed = ", ".join(f"{n:,} {code}" for code, n in failed.most_common())
        cause = f" ({self.failure})" if self.failure else ""
        raise InputError(
            f"{failed.total():,} of {tried:,} inputs failed: {listed}{cause}; what was done "
            "before is kept. Mend the inputs, or allow more with --failures"
        )

    def _put_together(self, plan: Plan[R]) -> None:
        with locked(self._lock):
            if plan.chunks and not self.work.is_dir():
                return  # another process was faster
            fresh: dict[str, R] = {}
            results, errors = ChainMap(fresh, plan.results), dict(plan.errors)  # type: ignore[arg-type]
            for number, rows in enumerate(plan.chunks):
                chunk = self._finished(plan, number)
                assert chunk is not None
                for row, result, error in zip(rows, chunk.results, chunk.errors):
                    key = plan.inputs.digests[row]
                    if error is None:
                        fresh[key] = result
                    else:
                        errors[key] = error
            if not results:
                codes = [errors.get(key, "") for key in plan.first]
                raise InputError(nothing_done(codes, self.modality, self.failure))
            self.finish(plan, results, errors)
            self._discard_work()

    def _discard_work(self) -> None:
        shutil.rmtree(self.work, ignore_errors=True)
        self._lock.unlink(missing_ok=True)


class Plan(Generic[R]):
    """Which inputs are done already, and how the others are cut into chunks."""

    def __init__(
        self, inputs: Inputs, item_ids: list[str], rows_per_part: int, old: Found[R] | None
    ) -> None:
        self.inputs, self.item_ids, self.rows_per_part = inputs, item_ids, rows_per_part
        self.first = inputs.first_rows()
        self.results: Mapping[str, R] = old.results if old else {}
        self.errors: Mapping[str, str] = old.errors if old else {}
        self.reused = sum(key in self.results for key in self.first)
        todo = [
            row
            for key, row in self.first.items()
            if key not in self.results and key not in self.errors
        ]
        self.chunks = [
            todo[start : start + rows_per_part] for start in range(0, len(todo), rows_per_part)
        ]
        same = old is not None and old.rows_per_part == rows_per_part
        self.complete = bool(
            old and same and not self.chunks and old.same(item_ids, inputs.digests)
        )

    def identity(self, number: int) -> str:
        """Identity of a chunk: the digests of its inputs, in order."""
        return digest([self.inputs.digests[row] for row in self.chunks[number]])

    def row_errors(self, errors: Mapping[str, str]) -> list[str | None]:
        """Why each item has no result, or None."""
        return [
            error if error is not None else errors.get(key)
            for key, error in zip(self.inputs.digests, self.inputs.errors)
        ]


def nothing_done(errors: Sequence[str | None], modality: str, failure: Exception | None) -> str:
    """The message when no input gave a result."""
    counts = Counter(error for error in errors if error)
    listed = ", ".join(f"{count:,} {code}" for code, count in counts.most_common())
    cause = f" ({failure})" if failure else ""
    return f"none of {len(errors)} items has {modality} content to encode: {listed}{cause}"


def difference(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """What differs between two specs, in words.

    Example:
        >>> difference({"encoder": "hashing", "dim": 8}, {"encoder": "hashing", "dim": 16})
        'dim was 8, now 16'
    """
    names = [n for n in sorted({*there, *wanted}) if there.get(n) != wanted.get(n)]
    said = [f"{name} was {there.get(name)!r}, now {wanted.get(name)!r}" for name in names[:4]]
    return "; ".join(said) + (f"; and {len(names) - 4} more" if len(names) > 4 else "")


def rank_and_world() -> tuple[int, int]:
    """This process's number and how many there are, from `RANK` and `WORLD_SIZE`.

    torchrun sets both; in a SLURM array, `RANK=$SLURM_ARRAY_TASK_ID
    WORLD_SIZE=$SLURM_ARRAY_TASK_COUNT` does.

    Raises:
        InputError: they are not whole numbers.
    """
    rank, world = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    try:
        return int(rank), int(world)
    except ValueError:
        raise InputError(
            f"RANK and WORLD_SIZE must be whole numbers, got '{rank}' and '{world}'"
        ) from None
