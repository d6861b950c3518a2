"""A search for good options on validation: Optuna draws them, test stays shut."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from graphrec.data.loading import load_dataset
from graphrec.experiments.folder import refuse_other_work
from graphrec.experiments.plan import SECTIONS
from graphrec.models.validation import mapping, reject_unknown, validated
from graphrec.serving.run import load_run
from graphrec.training.config import Experiment, read_config, set_options
from graphrec.training.train import resume_run, train_run
from graphrec.training.trainer import EpochReport, TrainingError
from modalities._base.errors import InputError
from modalities._base.files import write_json, write_text
from modalities._base.identity import digest

if TYPE_CHECKING:
    import optuna

    from graphrec.data.dataset import Dataset

FORMAT = "graphrec.tuning"
VERSION = 1
_FAILURES = (InputError, TrainingError, RuntimeError, MemoryError)
Tell = Callable[[str], None]


class _Declared(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = "tuning"
    data: str | None = None
    base: dict[str, Any] = {}
    space: dict[str, Any] = {}
    trials: int | None = Field(default=30, ge=1)
    minutes: float | None = Field(default=None, gt=0)
    seed: int = Field(default=0, ge=0, lt=2**32)
    prune: bool = True


class _Range(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    low: float
    high: float
    log: bool = False
    step: float | None = Field(default=None, gt=0)


@dataclass(frozen=True)
class Tuning:
    """What is searched.

    Args:
        name: of the search.
        data: dataset folder.
        base: configuration that all trials share, nested.
        space: by dotted option, a list of choices, or `low`, `high` and optionally `log`, `step`;
            whole numbers where both ends are whole.
        trials: the most trials, those of earlier sessions included; None: no limit.
        minutes: of this session; None: no limit.
        seed: of the sampler.
        prune: stop trials that fall behind the median of the others.
        declared: the search as it was given.
    """

    name: str
    data: str
    base: Mapping[str, Any]
    space: Mapping[str, Any]
    trials: int | None = 30
    minutes: float | None = None
    seed: int = 0
    prune: bool = True
    declared: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tuning_id(self) -> str:
        """Identity of everything but the budget."""
        parts = {k: v for k, v in self.declared.items() if k not in ("trials", "minutes", "name")}
        return digest(parts)

    @classmethod
    def read(cls, path: Path) -> Tuning:
        """Read a YAML file.

        Raises:
            InputError: the file cannot be read, or declares what cannot be.
        """
        return cls.parse(read_config(path))

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Tuning:
        """Check a declaration.

        Raises:
            InputError: an unknown key or option, an empty space or range, or no limit at all.
        """
        given = validated(_Declared, values, "tuning", "")
        if given.data is None:
            raise InputError("the search names no dataset; give data: FOLDER")
        if not given.space:
            raise InputError("the space is empty; give it options, such as model.layers: [1, 2, 3]")
        if given.trials is None and given.minutes is None:
            raise InputError("give a budget: trials, minutes, or both")
        reject_unknown(given.base, SECTIONS, "base.")
        space = {option: _checked(option, choices) for option, choices in given.space.items()}
        made = cls(
            given.name,
            given.data,
            given.base,
            space,
            given.trials,
            given.minutes,
            given.seed,
            given.prune,
            given.model_dump(mode="json"),
        )
        for edge in ("first", "last"):
            made.experiment({option: _edge(choices, edge) for option, choices in space.items()})
        return made

    def experiment(self, options: Mapping[str, Any]) -> Experiment:
        """The configuration of a trial."""
        values: dict[str, Any] = {
            name: dict(mapping(section, f"base.{name}")) for name, section in self.base.items()
        }
        values["data"] = {**values.get("data", {}), "path": str(Path(self.data).resolve())}
        set_options(values, options.items())
        return Experiment.parse(values)


@dataclass(frozen=True)
class Trial:
    """One set of options and what validation said; None where it was pruned or failed."""

    number: int
    state: str
    value: float | None
    options: dict[str, Any]


@dataclass(frozen=True)
class Found:
    """The outcome of a search.

    Args:
        best: the trial of the highest validation metric.
        trials: all, in order.
        importance: share of each option in the variance of the metric; empty with few trials.
        metric: its name.
    """

    best: Trial
    trials: list[Trial]
    importance: dict[str, float]
    metric: str


def tune(tuning: Tuning, folder: Path, *, tell: Tell = lambda line: None) -> Found:
    """Search within the budget; run it again to go on.

    Writes `search.json`, `journal.jsonl` (every trial), `trials/` (run folders, test shut) and
    `best.yaml`, a configuration for `graphrec train --config`.

    Args:
        tuning: see `Tuning`.
        folder: where everything goes.
        tell: called with a line for each trial.

    Raises:
        InputError: Optuna is not installed, the folder holds another search, the dataset is gone,
            or no trial came to an end.
    """
    study = _study(tuning, folder)
    dataset = load_dataset(tuning.data)
    began = time.monotonic()

    def objective(trial: optuna.Trial) -> float:
        options = {name: _drawn(trial, name, space) for name, space in tuning.space.items()}
        try:
            return _trained(tuning.experiment(options), dataset, folder, trial)
        except _FAILURES as error:
            trial.set_user_attr("reason", (str(error).splitlines() or [type(error).__name__])[0])
            raise

    def report(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        said = f"{trial.value:.4f}" if trial.value is not None else trial.state.name.lower()
        if "reason" in trial.user_attrs:
            said = f"failed ({trial.user_attrs['reason']})"
        options = ", ".join(f"{name}={value}" for name, value in trial.params.items())
        tell(f"[{trial.number + 1}, {(time.monotonic() - began) / 60:.1f} min] {said}: {options}")
        if _done(study):
            write_text(folder / "best.yaml", tuning.experiment(study.best_params).to_yaml())

    finished = len([t for t in study.get_trials(deepcopy=False) if t.state.is_finished()])
    left = None if tuning.trials is None else max(0, tuning.trials - finished)
    if left != 0:
        study.optimize(
            objective,
            n_trials=left,
            timeout=None if tuning.minutes is None else 60 * tuning.minutes,
            callbacks=[report],
            catch=_FAILURES,
        )
    return _found(study, tuning)


def _study(tuning: Tuning, folder: Path) -> optuna.Study:
    try:
        import optuna
    except ImportError:
        raise InputError('tuning needs Optuna; pip install "graphrec[tune]"') from None
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    _claim(tuning, folder)
    optuna.logging.set_verbosity(logging.ERROR)
    path = str(folder / "journal.jsonl")
    storage = JournalStorage(JournalFileBackend(path, JournalFileOpenLock(path)))
    study = optuna.create_study(
        storage=storage,
        study_name="graphrec",
        direction="maximize",
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(seed=tuning.seed + _count(storage)),
        pruner=optuna.pruners.MedianPruner() if tuning.prune else optuna.pruners.NopPruner(),
    )
    for trial in study.get_trials(deepcopy=False):
        if trial.state == optuna.trial.TrialState.RUNNING:  # cut off: its run is continued
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            study.enqueue_trial(trial.params)
    return study


def _count(storage: Any) -> int:
    return sum(len(storage.get_all_trials(one._study_id)) for one in storage.get_all_studies())


def _claim(tuning: Tuning, folder: Path) -> None:
    refuse_other_work(folder, "search", FORMAT, VERSION, tuning.tuning_id)
    folder.mkdir(parents=True, exist_ok=True)
    manifest = {"format": FORMAT, "version": VERSION, "id": tuning.tuning_id}
    declared = {"name": tuning.name, "declared": dict(tuning.declared)}
    write_json(folder / "search.json", {**manifest, **declared})


def _trained(experiment: Experiment, dataset: Dataset, folder: Path, trial: optuna.Trial) -> float:
    """The best validation metric of a run, or a pruned trial."""
    import optuna

    metric = experiment.training.metric
    path = folder / "trials" / digest(experiment.to_dict())[:16]

    def report(epoch: EpochReport) -> None:
        if epoch.valid is None:
            return
        trial.report(epoch.valid[metric], epoch.epoch)
        if trial.should_prune():
            raise optuna.TrialPruned

    if not (path / "manifest.json").is_file():
        train_run(dataset, experiment, path, test=False, report=report)
    elif load_run(path).folder.manifest()["status"] != "finished":
        resume_run(path, dataset, test=False, report=report)
    return float(load_run(path).metrics["valid"][metric])


def _drawn(trial: optuna.Trial, name: str, space: Any) -> Any:
    if isinstance(space, list):
        return trial.suggest_categorical(name, space)
    low, high, step = space.low, space.high, space.step
    if _whole(space):
        return trial.suggest_int(name, int(low), int(high), step=int(step or 1), log=space.log)
    return trial.suggest_float(name, low, high, step=step, log=space.log)


def _whole(space: _Range) -> bool:
    ends = (space.low, space.high, space.step or 1.0)
    return not space.log and all(float(end).is_integer() for end in ends)


def _checked(option: str, choices: Any) -> Any:
    section, dot, name = option.partition(".")
    if section not in SECTIONS or not (dot and name):
        raise InputError(f"space.{option} is no option; write SECTION.OPTION, such as model.layers")
    if option == "data.path":
        raise InputError("data.path cannot be searched; run a search for each dataset")
    if isinstance(choices, list):
        if not choices:
            raise InputError(f"space.{option} is empty; give it at least one value")
        return choices
    space = validated(_Range, mapping(choices, f"space.{option}"), option, f"space.{option}.")
    if space.low > space.high or (space.log and space.low <= 0):
        raise InputError(f"space.{option} goes from {space.low} to {space.high}, which is no range")
    if space.log and space.step is not None:
        raise InputError(f"space.{option}: a logarithmic range takes no step")
    return space


def _edge(choices: Any, edge: str) -> Any:
    if isinstance(choices, list):
        return choices[0 if edge == "first" else -1]
    value = choices.low if edge == "first" else choices.high
    return int(value) if _whole(choices) else value


def _done(study: optuna.Study) -> bool:
    return any(trial.state.name == "COMPLETE" for trial in study.get_trials(deepcopy=False))


def _found(study: optuna.Study, tuning: Tuning) -> Found:
    import optuna

    trials = [
        Trial(one.number, one.state.name.lower(), one.value, dict(one.params))
        for one in study.get_trials(deepcopy=False)
        if one.state.is_finished()
    ]
    complete = [trial for trial in trials if trial.state == "complete"]
    if not complete:
        raise InputError("no trial came to an end; see the run folders in trials/ for the reasons")
    importance: dict[str, float] = {}
    if len(complete) > 3 and len(tuning.space) > 1:
        importance = dict(optuna.importance.get_param_importances(study))
    best = next(trial for trial in trials if trial.number == study.best_trial.number)
    return Found(best, trials, importance, tuning.experiment(best.options).training.metric)
