"""A study run: what its runs share is made once, workers train, test is opened at the end."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from graphrec.data.dataset import Dataset
from graphrec.data.loading import load_dataset
from graphrec.experiments.engines import Engine, LocalEngine
from graphrec.experiments.folder import refuse_other_work
from graphrec.experiments.plan import PlannedRun, StudyPlan
from graphrec.experiments.worker import Job, measure_test
from graphrec.serving.run import load_run
from graphrec.training.folder import RunFolder
from modalities._base.errors import InputError
from modalities._base.files import write_json

FORMAT = "graphrec.study"
VERSION = 1
Tell = Callable[[str], None]


@dataclass(frozen=True)
class StudyResult:
    """What a study came to.

    Args:
        finished: run folders that are trained and tested.
        failed: reasons by run folder.
        counts: of work done and shared: `encodings made`, `graphs built`, `graphs read`, ...
    """

    finished: tuple[Path, ...]
    failed: dict[str, str]
    counts: dict[str, int]


class Study:
    """A study in its folder: `study.json`, `runs/`, `datasets/`, `log.jsonl`.

    Run it again to continue: finished runs are left alone, begun ones resumed, failed ones tried
    anew. Training never opens the test split; once every run has been trained, each is measured
    on it once.

    Args:
        plan: see `StudyPlan`.
        folder: where everything goes.

    Raises:
        InputError: the folder holds another study.
    """

    def __init__(self, plan: StudyPlan, folder: Path | str) -> None:
        self.plan, self.folder = plan, Path(folder)
        refuse_other_work(self.folder, "study", FORMAT, VERSION, plan.study_id)

    def path(self, run: PlannedRun) -> Path:
        """The folder of a run."""
        return self.folder / "runs" / run.folder

    def status(self, run: PlannedRun) -> str:
        """`planned`, `finished`, or what the run's manifest says."""
        path = self.path(run)
        if not (path / "manifest.json").is_file():
            return "planned"
        return str(RunFolder.open(path).manifest()["status"])

    def run(
        self,
        *,
        workers: int | None = None,
        threads: int | None = None,
        engine: Engine | None = None,
        tell: Tell = lambda line: None,
    ) -> StudyResult:
        """Do what is left of the study.

        Args:
            workers: runs trained at a time; default: one here, what there is room for with Ray.
            threads: of each; default: the machine's, shared out, or one with Ray.
            engine: that trains; default: processes of this machine (see `engine_named`).
            tell: called with a line for whatever happens.

        Raises:
            InputError: the dataset, an encoding, a split or the cluster cannot be had.
        """
        began = time.monotonic()
        self._write_declaration()
        paths = self._prepare(tell)
        left = [run for run in self.plan.runs if self.status(run) != "finished"]
        done = len(self.plan.runs) - len(left)
        tell(f"{len(self.plan.runs)} runs: {done} finished before, {len(left)} to do")
        jobs = [Job(run, paths[run.split], self.path(run).resolve()) for run in left]
        failed: dict[str, str] = {}
        for job, outcome in (engine or LocalEngine()).train(jobs, workers, threads):
            run = job.run
            self._log("run", outcome.events, **asdict(outcome))
            if outcome.error:
                failed[run.folder] = outcome.error
                tell(f"FAILED {run.variant}, seed {run.seed}: {outcome.error}")
            else:
                done += 1
                minutes = (time.monotonic() - began) / 60
                metric = f"{outcome.metric} {outcome.value:.4f}" if outcome.metric else ""
                tell(
                    f"[{done}/{len(self.plan.runs)}, {minutes:.1f} min] {run.variant}, "
                    f"seed {run.seed}: {metric}"
                )
        tested = self._test(paths, tell)
        write_json(self.folder / "failed.json", failed)
        return StudyResult(tuple(tested), failed, dict(self.counts()))

    def counts(self) -> Counter[str]:
        """How often each kind of shared work was done, over all sessions."""
        return shared_work(self.folder)

    def _test(self, paths: dict[str | None, Path], tell: Tell) -> list[Path]:
        """Open test once for every variant that was declared, when all have been trained."""
        finished = [run for run in self.plan.runs if self.status(run) == "finished"]
        pending = [run for run in finished if "test" not in load_run(self.path(run)).metrics]
        if pending:
            tell(f"opening the test split once for each of {len(pending)} runs")
        for run in pending:
            measure_test(str(self.path(run)), str(paths[run.split]))
        return [self.path(run) for run in finished]

    def _prepare(self, tell: Tell) -> dict[str | None, Path]:
        """Encodings and splits, each made once; dataset folders by split."""
        data = Path(self.plan.data)
        self.plan.check_data()
        for name, request in self.plan.encode.items():
            self._encode(data, name, dict(request), tell)
        paths: dict[str | None, Path] = {None: data.resolve()}
        for name, options in self.plan.splits.items():
            paths[name] = self._split(data, name, options)
        return paths

    def _encode(self, data: Path, name: str, request: dict[str, Any], tell: Tell) -> None:
        from graphrec.data.feature_folder import EncodingRequest, encode_features
        from graphrec.models.validation import reject_unknown

        fields = [field for field in EncodingRequest.__dataclass_fields__ if field != "name"]
        reject_unknown(request, fields, f"encode.{name}.")
        before = Dataset.load(data).features.get(name)
        store, said = encode_features(data, EncodingRequest(name, **request), progress=False)
        same = store is not None and before is not None and before.feature_id == store.feature_id
        self._log("encoding", {"encodings reused" if same else "encodings made": 1}, name=name)
        tell(f"{name}: {'; '.join(said)}")

    def _split(self, data: Path, name: str, options: Any) -> Path:
        folder = (self.folder / "datasets" / name).resolve()
        if (folder / "manifest.json").is_file():
            known, now = load_dataset(folder), load_dataset(data)
            if (known.data_id, known.feature_ids) != (now.data_id, now.feature_ids):
                raise InputError(
                    f"the data in '{data}' have changed since this study split them; "
                    "choose another --out"
                )
            self._log("split", {"splits reused": 1}, name=name)
            return folder
        load_dataset(data).split_by(**options).save(folder)
        self._log("split", {"splits made": 1}, name=name)
        return folder

    def _write_declaration(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        runs = [
            {
                "variant": run.variant,
                "seed": run.seed,
                "split": run.split,
                "folder": run.folder,
                "axes": dict(run.axes),
            }
            for run in self.plan.runs
        ]
        manifest = {"format": FORMAT, "version": VERSION, "id": self.plan.study_id}
        details = {"name": self.plan.name, "base": self.plan.base, "runs": runs}
        declared = {"declared": dict(self.plan.declared), "metrics": list(self.plan.metrics)}
        write_json(self.folder / "study.json", {**manifest, **details, **declared})

    def _log(self, what: str, counts: Any, **details: Any) -> None:
        line = {"time": round(time.time(), 3), "what": what, "counts": dict(counts), **details}
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def shared_work(folder: Path) -> Counter[str]:
    """How often each kind of shared work was done, from a study's log."""
    total: Counter[str] = Counter()
    path = folder / "log.jsonl"
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                total.update(json.loads(line)["counts"])
            except (json.JSONDecodeError, KeyError):
                continue  # the line being written when a session was killed
    return total
