"""A study as it is declared: a base, axes, and the runs they amount to."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from graphrec.data.splits import METHODS, check_split_options
from graphrec.evaluation.cold_start import PREFIXES, is_cold
from graphrec.models.validation import mapping, reject_unknown, validated
from graphrec.training.config import Experiment, read_config, set_options
from modalities._base.errors import InputError, UnknownNameError
from modalities._base.identity import digest
from modalities.corruptions import SPOILING, spoiling
from modalities.encoders.registry import encoder_options

Design = Literal["grid", "one-at-a-time", "list"]
Options = Mapping[str, Any]

SHORT = {
    "model": "model.name",
    "features": "features.use",
    "encoder": "features.use",
    "modalities": "features.use",
    "seed": "training.seed",
    "flipped": "data.flip",
}
"""Axes with names of their own, and the options they set."""
LABELLED = ("seed", "flipped")
"""Axes with names of their own, whose values do not speak for themselves."""
STUDIES = files("graphrec.experiments").joinpath("studies")
SECTIONS = ("data", "features", "model", "training", "evaluation")


class _Study(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = "study"
    data: str | None = None
    base: dict[str, Any] = {}
    design: Design = "grid"
    axes: dict[str, Any] = {}
    variants: dict[str, Any] = {}
    seeds: list[int] = Field(default=[0], min_length=1)
    splits: dict[str, Any] = {}
    encode: dict[str, Any] = {}
    metrics: list[str] = Field(default=["recall@20", "ndcg@20"], min_length=1)


@dataclass(frozen=True)
class PlannedRun:
    """One run of a study.

    Args:
        variant: label, the same for all seeds and splits.
        seed: of training.
        split: name of the split, or None for the dataset's own.
        values: the experiment's configuration, nested.
        axes: where it stands on each axis it was varied on: a number, or the value's label.
    """

    variant: str
    seed: int
    split: str | None
    values: Options
    axes: Mapping[str, float | str] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """Name of the run folder."""
        words = re.sub(r"[^a-z0-9.=+-]+", "_", self.variant.lower()).strip("_")[:60]
        of = self.variant if self.split is None else [self.variant, self.split]
        parts = [words, digest(of)[:6]]
        if self.split is not None:
            parts.append(re.sub(r"[^A-Za-z0-9-]+", "_", self.split))
        return "-".join([*parts, str(self.seed)])


@dataclass(frozen=True)
class StudyPlan:
    """What a study will do, complete and checked.

    Args:
        name: of the study.
        data: dataset folder.
        runs: in order.
        splits: how each named split is made: `method` and `seed`, for k-fold `folds` and `fold`,
            for cold-item and cold-user `share` and `by`.
        encode: requests by name of modality: `encoder`, `content` and more.
        metrics: that its tables show.
        declared: the study as it was given.
    """

    name: str
    data: str
    runs: tuple[PlannedRun, ...]
    splits: Options = field(default_factory=dict)
    encode: Options = field(default_factory=dict)
    metrics: tuple[str, ...] = ("recall@20", "ndcg@20")
    declared: Options = field(default_factory=dict)

    @property
    def variants(self) -> list[str]:
        """Labels, in order."""
        return list(dict.fromkeys(run.variant for run in self.runs))

    @property
    def base(self) -> str:
        """The variant that the others are measured against: the first."""
        return self.variants[0]

    @property
    def study_id(self) -> str:
        """Identity of what was declared."""
        return digest(dict(self.declared))

    @classmethod
    def read(cls, path: Path | str, data: Path | None = None) -> StudyPlan:
        """Read a YAML file, or one of the studies that come with graphrec, by name.

        Args:
            path: the file, or a name of `ready_studies`.
            data: dataset folder, instead of the file's.

        Raises:
            InputError: the file cannot be read, or declares what cannot be.
        """
        if not Path(path).exists() and str(path) in ready_studies():
            with as_file(STUDIES.joinpath(f"{path}.yaml")) as file:
                values = read_config(file)
        elif not Path(path).exists() and Path(path).suffix not in (".yaml", ".yml"):
            raise UnknownNameError("study", str(path), ready_studies())
        else:
            values = read_config(Path(path))
        return cls.parse({**values, "data": str(data)} if data is not None else values)

    @classmethod
    def parse(cls, values: Options) -> StudyPlan:
        """Check a declaration and lay out its runs.

        Raises:
            InputError: an unknown key, axis, option or model, an empty grid, two variants of one
                name, or a configuration that is not valid.
        """
        study = validated(_Study, values, "study", "")
        if study.data is None:
            raise InputError("the study names no dataset; give data: FOLDER")
        reject_unknown(study.base, SECTIONS, "base.")
        for section, given in study.base.items():
            mapping(given, f"base.{section}")
        if "path" in study.base.get("data", {}):
            raise InputError("base.data.path: a study's dataset is named by data: FOLDER")
        _check_splits(study.splits)
        if len(set(study.seeds)) < len(study.seeds):
            raise InputError(f"seeds: each once, got {study.seeds}")
        encode = {name: mapping(given, f"encode.{name}") for name, given in study.encode.items()}
        variants = list(_variants(study))
        _refuse_twins(variants)
        runs = tuple(
            PlannedRun(label, seed, split, _values(study, settings, seed), places)
            for label, settings, places in variants
            for split in (study.splits or [None])
            for seed in _seeds(study, settings)
        )
        for run in runs:
            _check(run, study.metrics)
        return cls(
            name=study.name,
            data=study.data,
            runs=runs,
            splits=study.splits,
            encode=encode,
            metrics=tuple(study.metrics),
            declared=study.model_dump(mode="json"),
        )

    def check_data(self) -> None:
        """Raise `InputError` where the dataset is absent or lacks what the runs need.

        Features that the study encodes count as there, and their encoders have to be known; cold
        metrics need a cold split.
        """
        from graphrec.data.loading import load_dataset

        if not Path(self.data).is_dir():
            raise InputError(f"the study's dataset folder '{self.data}' does not exist")
        for name, request in self.encode.items():
            if not isinstance(request.get("encoder"), str):
                raise InputError(f"encode.{name} must name an encoder")
            encoder_options(request["encoder"].partition(":")[0])
        dataset = load_dataset(self.data)
        own = str(dataset.split.spec.get("method"))
        stored = [*dataset.features, *self.encode]
        for run in self.runs:
            experiment = Experiment.parse(run.values)
            made = [n for n, one in experiment.features.modalities.items() if one.concat]
            for name in experiment.features.use or ():
                if name not in stored and name not in made:
                    raise UnknownNameError("modality", name, [*stored, *made])
            method = own if run.split is None else self.splits[run.split]["method"]
            for metric in (*self.metrics, experiment.training.metric):
                if is_cold(metric) and not method.startswith("cold-"):
                    raise InputError(
                        f"{metric} is of a cold-start split, and variant '{run.variant}' is "
                        f"measured on a split by '{method}'; use cold-item or cold-user"
                    )
                if metric.startswith("all_") and method != "cold-item":
                    raise InputError(f"{metric} is of cold-item splits, not of '{method}'")


def ready_studies() -> list[str]:
    """Names of the studies that come with graphrec."""
    return sorted(file.name.removesuffix(".yaml") for file in STUDIES.iterdir())


def _variants(study: _Study) -> Iterator[tuple[str, Options, Options]]:
    """Label, settings (by dotted option) and place on the axes of every variant."""
    axes = {
        name: _choices(name, given, study) for name, given in study.axes.items() if name != "seed"
    }
    places_on = {name: _places(study.axes[name], choices) for name, choices in axes.items()}
    if study.design == "list" or (study.variants and not axes):
        if axes:
            raise InputError("design 'list' takes variants; axes belong to a grid")
        if not study.variants:
            raise InputError("the study has no variants; name at least one, or give axes")
        for label, settings in study.variants.items():
            given = mapping(settings or {}, f"variants.{label}")
            yield label, _settings(given), {}
        return
    if study.variants:
        raise InputError(f"variants belong to design 'list'; this study is a {study.design}")
    if study.design == "grid":
        if not axes:
            raise InputError("the grid is empty: give axes, such as model: [lightgcn, freedom]")
        for choice in itertools.product(*(choices.items() for choices in axes.values())):
            settings = {key: value for _, options in choice for key, value in options.items()}
            labels = [label for label, _ in choice]
            places = {name: places_on[name][label] for name, label in zip(axes, labels)}
            yield ", ".join(labels), settings, places
        return
    yield "base", {}, {}
    for name, choices in axes.items():
        for label, options in choices.items():
            shown = label if "=" in label else f"{name}={label}"
            yield shown, options, {name: places_on[name][label]}


def _places(given: Any, labels: Iterable[str]) -> dict[str, float | str]:
    """Numbers of an axis by label, and labels for what is no number."""
    listed = given.values() if isinstance(given, Mapping) else given
    values = labels if isinstance(listed, str) else listed
    numbers = [isinstance(one, (int, float)) and not isinstance(one, bool) for one in values]
    known = zip(labels, values, numbers)
    return {label: value if number else label for label, value, number in known}


def _choices(axis: str, given: Any, study: _Study) -> dict[str, Options]:
    """The values of an axis by label: `[a, b]`, or `{label: value}`."""
    if axis in SPOILING:
        return _spoilt(axis, given)
    option = _option(axis)
    if option == "features.use" and given in ("each", "subsets"):
        given = _subsets(_modalities(study), every=given == "subsets")
    if isinstance(given, Mapping):
        labelled = {str(label): value for label, value in given.items()}
    elif isinstance(given, Sequence) and not isinstance(given, str):
        bare = axis in SHORT and axis not in LABELLED
        labelled = {}
        for value in given:
            label = _shown(value) if bare else f"{axis}={_shown(value)}"
            if label in labelled:
                raise InputError(f"axis '{axis}' has the value {_shown(value)} twice")
            labelled[label] = value
    else:
        raise InputError(f"axis '{axis}' must be a list of values, or label: value; got {given!r}")
    if not labelled:
        raise InputError(f"axis '{axis}' is empty; give it at least one value")
    return {label: {option: _for(axis, value)} for label, value in labelled.items()}


def _settings(given: Options) -> Options:
    """The options of a variant, spoilt features among them."""
    spoilt = {key: _level(key, value) for key, value in given.items() if key in SPOILING}
    return {_option(k): _for(k, v) for k, v in given.items() if k not in spoilt} | spoilt


def _spoilt(axis: str, given: Any) -> dict[str, Options]:
    """Values of an axis that spoils features: 0 or false is the features as they are."""
    if not isinstance(given, list) or not given:
        raise InputError(f"axis '{axis}' must be a list such as [0, 0.5, 1], got {given!r}")
    made: dict[str, Options] = {}
    for value in given:
        label = f"{axis}={_shown(value)}"
        if label in made:
            raise InputError(f"axis '{axis}' has the value {_shown(value)} twice")
        made[label] = {axis: _level(axis, value)}
    return made


def _level(axis: str, value: Any) -> float:
    if not isinstance(value, (int, float)):
        raise InputError(f"axis '{axis}' takes numbers such as [0, 0.5, 1], got {value!r}")
    return value


def _spoil(values: dict[str, Any], settings: Options, study: _Study) -> None:
    """Put damage before whatever transforms the modalities in use have."""
    levels = {axis: level for axis, level in settings.items() if axis in SPOILING and level}
    damage = [spoiling(axis, level) for axis, level in levels.items()]
    if not damage:
        return
    features = values.setdefault("features", {})
    for name in features.get("use") or _modalities(study):
        section = dict(mapping(features.get(name) or {}, f"features.{name}"))
        features[name] = {**section, "transforms": [*damage, *section.get("transforms", [])]}


def _modalities(study: _Study) -> list[str]:
    from graphrec.data.loading import load_dataset

    if study.data is None:
        raise InputError("the study names no dataset; give data: FOLDER")
    names = list(load_dataset(study.data).features) + list(study.encode)
    if not names:
        raise InputError(f"the dataset in '{study.data}' has no features to vary")
    return list(dict.fromkeys(names))


def _subsets(names: Sequence[str], *, every: bool) -> list[list[str]]:
    """Each name alone and all together, or every subset, small ones first."""
    sizes = range(1, len(names) + 1) if every else sorted({1, len(names)})
    return [list(one) for size in sizes for one in itertools.combinations(names, size)]


def _option(axis: str) -> str:
    option = SHORT.get(axis, axis)
    section, dot, name = option.partition(".")
    if section not in SECTIONS or not dot or not name:
        known = [*SHORT, *SPOILING, *(f"{one}.OPTION" for one in SECTIONS)]
        raise UnknownNameError("axis", axis, known)
    if option == "data.path":
        raise InputError("data.path cannot vary within a study; run one for each dataset")
    return option


def _for(axis: str, value: Any) -> Any:
    """Features may be named alone."""
    return [value] if SHORT.get(axis) == "features.use" and isinstance(value, str) else value


def _shown(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "+".join(_shown(one) for one in value)
    return "null" if value is None else str(value)


def _values(study: _Study, settings: Options, seed: int) -> Options:
    values: dict[str, Any] = copy.deepcopy(study.base)
    values["data"] = {**values.get("data", {}), "path": study.data}
    options = {**settings, "training.seed": seed}
    set_options(values, (pair for pair in options.items() if pair[0] not in SPOILING))
    _spoil(values, settings, study)
    return values


def _seeds(study: _Study, settings: Options) -> list[int]:
    if "training.seed" in settings:
        given = [settings["training.seed"]]
    elif "seed" in study.axes:
        chosen = _choices("seed", study.axes["seed"], study).values()
        given = [options["training.seed"] for options in chosen]
    else:
        return study.seeds
    for seed in given:
        if type(seed) is not int:
            raise InputError(f"a seed is a whole number, got {seed!r}")
    return given


def _refuse_twins(variants: Sequence[tuple[str, Options, Options]]) -> None:
    seen: dict[str, str] = {}
    labels = set()
    for label, settings, _ in variants:
        if label in labels:
            raise InputError(f"two variants are named '{label}'")
        labels.add(label)
        key = digest(dict(settings))
        if key in seen:
            raise InputError(f"variants '{seen[key]}' and '{label}' are the same")
        seen[key] = label


def _check(run: PlannedRun, metrics: Sequence[str]) -> None:
    try:
        experiment = Experiment.parse(run.values)
    except InputError as error:
        raise InputError(f"variant '{run.variant}': {error}") from None
    evaluation = experiment.evaluation
    known = [f"{name}@{k}" for name in evaluation.metrics for k in evaluation.ks]
    known += [f"{prefix}{name}" for prefix in PREFIXES for name in known]
    for metric in metrics:
        if metric not in known:
            raise UnknownNameError("metric", metric, known)


_SPLIT_OPTIONS: dict[str, type] = {
    "seed": int,
    "folds": int,
    "fold": int,
    "share": float,
    "by": str,
}


def _check_splits(splits: Options) -> None:
    seen: dict[str, Any] = {}
    for name, given in splits.items():
        options = mapping(given, f"splits.{name}")
        reject_unknown(options, ("method", *_SPLIT_OPTIONS), f"splits.{name}.")
        for option, kind in _SPLIT_OPTIONS.items():
            if type(options.get(option, kind())) not in (kind, int if kind is float else kind):
                raise InputError(
                    f"splits.{name}.{option} must be of type {kind.__name__}, "
                    f"got {options[option]!r}"
                )
        if options.get("method") not in METHODS:
            raise UnknownNameError(f"method of splits.{name}", str(options.get("method")), METHODS)
        check_split_options(options["method"], [key for key in options if key != "method"])
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._ +-]*", name):
            raise InputError(
                f"the split name '{name}' names a folder, too: use letters, digits, spaces and ._+-"
            )
        for other, known in seen.items():
            if known == options:
                raise InputError(f"splits '{other}' and '{name}' are the same")
        seen[name] = options
