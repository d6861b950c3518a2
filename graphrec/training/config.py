"""The experiment: one typed, validated, complete configuration, parsed at the edge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator

from graphrec.evaluation.beyond import BEYOND, base_name, direction
from graphrec.evaluation.cold_start import PREFIXES
from graphrec.evaluation.evaluate import EvaluationOptions
from graphrec.models.registry import model_class
from graphrec.models.signature import config_class
from graphrec.models.validation import mapping, reject_unknown, validated
from modalities._base.errors import InputError, nearest
from modalities._base.identity import digest
from modalities.transforms import make_transform


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataSection(_Section):
    """Which dataset.

    Args:
        path: its folder, as the run found it; None for a dataset made in memory.
        flip: share of the training interactions replaced by random ones, drawn with
            `training.seed`; see `graphrec.data.flipping`. What is held out, and what leaves the
            rankings, stays as it is.
    """

    path: str | None = None
    flip: float = Field(default=0.0, ge=0, le=1)


class ModalitySection(_Section):
    """How one modality is made from what is stored.

    Args:
        transforms: applied in this order, such as `[center, "pca:128"]`; see
            `modalities.transforms`.
        concat: stored modalities whose rows, each transformed as its own section says, are set
            side by side under a new name; None: the modality is a stored one.
    """

    transforms: list[str] = []
    concat: list[str] | None = Field(default=None, min_length=1)

    @field_validator("transforms", mode="before")
    @classmethod
    def _known(cls, given: Any) -> list[str]:
        listed = given if isinstance(given, list) else [given]
        for text in listed:
            if not isinstance(text, str):
                raise ValueError(f"transforms are words such as pca:128, not {text!r}")
        return [make_transform(text).name for text in listed]

    @field_validator("concat")
    @classmethod
    def _distinct(cls, names: list[str] | None) -> list[str] | None:
        return _without_repeats(names)


class FeaturesSection(_Section):
    """Which modalities, and how they are transformed.

    In a configuration the modalities stand beside `use`, under their names.

    Args:
        use: their names, in the order of concatenation; None: all that are stored, in stored
            order. Modalities made by `concat` are used where they are named here.
        modalities: transforms of modalities, by name.

    Example:
        >>> section = FeaturesSection.parse({"use": ["text"], "text": {"transforms": ["l2"]}})
        >>> section.modalities["text"].transforms
        ['l2']
    """

    use: list[str] | None = None
    modalities: dict[str, ModalitySection] = {}

    @field_validator("use")
    @classmethod
    def _distinct(cls, names: list[str] | None) -> list[str] | None:
        return _without_repeats(names)

    @classmethod
    def parse(cls, values: Any) -> FeaturesSection:
        """Validate the section.

        Raises:
            InputError: an unknown key or transform (the nearest valid one is named).
        """
        given = mapping(values, "features")
        use = {"use": given.pop("use")} if "use" in given else {}
        parsed = {str(name): _modality(str(name), value) for name, value in given.items()}
        section: FeaturesSection = validated(cls, use, "features", "features.")
        made = {name: options for name, options in parsed.items() if options != ModalitySection()}
        return section.model_copy(update={"modalities": made})

    def to_dict(self) -> dict[str, Any]:
        """Plain values that `parse` reads back."""
        named = self.modalities.items()
        modalities = {name: options.model_dump(exclude_defaults=True) for name, options in named}
        return {"use": self.use, **modalities}


class TrainingSection(_Section):
    """How a model is trained.

    Args:
        epochs: the most epochs.
        batch_size: interactions (or users, where the model says so) per step.
        lr: learning rate of Adam.
        lr_decay: epoch e, counted from 0, uses lr * lr_decay ** (e / lr_decay_epochs).
        lr_decay_epochs: see `lr_decay`.
        weight_decay: of Adam.
        metric: validation metric that selects the best epoch.
        eval_every: epochs between validations.
        patience: stop once more than this many validations in a row brought no improvement.
        checkpoint_every: epochs between checkpoints.
        max_minutes: end at a resumable checkpoint after this long.
        seed: of every random stream.
        device: auto, cpu, cuda, or cuda:N.
    """

    epochs: int = Field(default=1000, ge=1)
    batch_size: int = Field(default=2048, ge=1)
    lr: float = Field(default=1e-3, gt=0)
    lr_decay: float = Field(default=1.0, gt=0, le=1)
    lr_decay_epochs: int = Field(default=50, ge=1)
    weight_decay: float = Field(default=0.0, ge=0)
    metric: str = "recall@20"
    eval_every: int = Field(default=1, ge=1)
    patience: int = Field(default=20, ge=0)
    checkpoint_every: int = Field(default=1, ge=1)
    max_minutes: float | None = Field(default=None, gt=0)
    seed: int = Field(default=0, ge=0, lt=2**32)
    device: str = "auto"


class EvaluationSection(_Section):
    """How rankings are measured; see `graphrec.evaluation`.

    Args:
        metrics: names without the cut-off; coverage, gini, popularity, novelty and diversity too.
        ks: cut-offs.
        mask: `train`: only training items leave the ranking; `train+valid`: at test time the
            validation items too.
        ndcg_ideal: `truncated` (standard) or `retrieved`.
        recall_denominator: `full` (standard) or `min`.
        map_denominator: `min` or `relevant`.
        transductive: cold items may be neighbours of one another (cold-item splits only).
    """

    metrics: list[str] = ["recall", "ndcg", "precision", "map", "hit_rate", "mrr"]
    ks: list[int] = [5, 10, 20, 50]
    mask: Literal["train", "train+valid"] = "train"
    ndcg_ideal: Literal["truncated", "retrieved"] = "truncated"
    recall_denominator: Literal["full", "min"] = "full"
    map_denominator: Literal["min", "relevant"] = "min"
    transductive: bool = False

    @field_validator("ks")
    @classmethod
    def _positive(cls, ks: list[int]) -> list[int]:
        if not ks or min(ks) < 1:
            raise ValueError("cut-offs are whole numbers of at least 1")
        return sorted(set(ks))

    def options(self) -> EvaluationOptions:
        """As the evaluation package takes them."""
        return EvaluationOptions(
            metrics=tuple(self.metrics),
            ks=tuple(self.ks),
            mask=self.mask,
            ndcg_ideal=self.ndcg_ideal,
            recall_denominator=self.recall_denominator,
            map_denominator=self.map_denominator,
            transductive=self.transductive,
        )


class ModelSection(_Section):
    """Which model.

    Args:
        name: as `graphrec models` lists it.
        options: every constructor argument, defaults included.
    """

    name: str
    options: dict[str, Any] = {}


class Experiment(_Section):
    """A complete configuration: whatever decides a result is in here.

    Example:
        >>> experiment = Experiment.parse({"model": {"name": "lightgcn", "layers": 2}})
        >>> experiment.model.options["layers"], experiment.training.batch_size
        (2, 2048)
    """

    data: DataSection = DataSection()
    features: FeaturesSection = FeaturesSection()
    model: ModelSection
    training: TrainingSection = TrainingSection()
    evaluation: EvaluationSection = EvaluationSection()

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Experiment:
        """Validate nested values; model options stand beside `model.name`.

        Raises:
            InputError: an unknown key (the nearest valid one is named) or a wrong value.
        """
        sections = dict(values)
        reject_unknown(sections, list(cls.model_fields), "")
        model = mapping(sections.pop("model", None) or {}, "model")
        name = model.pop("name", None)
        if name is None:
            raise InputError("no model was chosen; give model.name (see 'graphrec models')")
        if not isinstance(name, str):
            raise InputError(f"model.name must be a name (see 'graphrec models'), got {name!r}")
        found = model_class(name)
        section = validated(config_class(found), model, f"model ({name})", "model.")
        options = found.complete_options(section.model_dump(mode="json"))
        given = mapping(sections.get("training") or {}, "training")
        sections["training"] = {**found.training_settings(options), **given}
        parsed = {
            title: _parsed(_section_class(cls, title), title, value or {})
            for title, value in sections.items()
        }
        experiment = cls(model=ModelSection(name=name, options=options), **parsed)
        experiment.evaluation.options()
        _check_metric(experiment)
        return experiment

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values that `parse` reads back."""
        values = self.model_dump(mode="json")
        values["features"] = self.features.to_dict()
        values["model"] = {"name": self.model.name, **self.model.options}
        return values

    @property
    def config_id(self) -> str:
        """Identity of the configuration, wherever its data lie and wherever it is computed."""
        values = self.to_dict()
        del values["data"]["path"], values["training"]["device"], values["training"]["max_minutes"]
        return digest(values)

    def on_device(self, device: str) -> Experiment:
        """The same experiment, computed elsewhere."""
        training = self.training.model_copy(update={"device": device})
        return self.model_copy(update={"training": training})

    def to_yaml(self) -> str:
        """The configuration as YAML."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False)


def _without_repeats(names: list[str] | None) -> list[str] | None:
    if names and len(set(names)) < len(names):
        raise ValueError("a modality is named twice")
    return names


def read_config(path: Path) -> dict[str, Any]:
    """Read a YAML file of nested sections.

    Raises:
        InputError: the file is missing, not YAML, not a mapping, or names a key twice.
    """
    try:
        value = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError:
        raise InputError(f"configuration file '{path}' does not exist") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"cannot read the configuration '{path}': {error}") from None
    if not isinstance(value, dict):
        raise InputError(f"'{path}' must hold sections such as 'training:', got {value!r}")
    return value


class _Loader(yaml.SafeLoader):
    """Refuses a key that occurs twice, which YAML would silently overwrite."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(
                None, None, f"'{twice}' occurs twice", node.start_mark
            )
        return super().construct_mapping(node, deep)


def apply_overrides(values: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Nested values with `section.key=value` overrides applied; values are read as YAML.

    `features=[a,b]` is short for `features.use=[a,b]`. Names may go deeper, as in
    `features.text.transforms=[center,pca:128]` and `model.losses.bpr=1`. An option of what was a
    plain value before keeps it: `lightgcn` becomes `{name: lightgcn}`, 0.5 becomes
    `{weight: 0.5}`; a plain value replaces options given before. An option of what `values` leave
    out by `false` takes it in again.

    Raises:
        InputError: an override that is not of that form, or an option of what an override before
            it leaves out by `false`.

    Example:
        >>> apply_overrides({}, ["training.epochs=2", "features=[text]"])
        {'training': {'epochs': 2}, 'features': {'use': ['text']}}
        >>> apply_overrides({}, ["features.text.transforms=[l2]"])
        {'features': {'text': {'transforms': ['l2']}}}
    """
    result = {key: mapping(value or {}, key) for key, value in values.items()}
    given = []
    for override in overrides:
        key, equals, text = override.partition("=")
        key = "features.use" if key == "features" else key
        section, dot, name = key.partition(".")
        if not (equals and dot and section and name):
            raise InputError(
                f"override '{override}' is not of the form section.key=value, "
                "such as training.epochs=10"
            )
        if not all(name.split(".")):
            raise InputError(f"override '{override}' has an empty name between its dots")
        given.append((key, _yaml_value(override, text)))
    set_options(result, given)
    return result


def set_options(values: dict[str, Any], options: Iterable[tuple[str, Any]]) -> None:
    """Set dotted options in nested values, in order and in place; see `set_option`.

    Raises:
        InputError: an option of what one before it leaves out by `false`.

    Example:
        >>> set_options({}, [("model.fusion", False), ("model.fusion.copied", "none")])
        Traceback (most recent call last):
        ...
        modalities._base.errors.InputError: 'model.fusion=false' and 'model.fusion.copied=none' ...
    """
    left_out: set[str] = set()
    for option, value in options:
        for off in left_out:
            if option.startswith(f"{off}."):
                raise InputError(
                    f"'{off}=false' and '{option}={value}' contradict each other: the first leaves "
                    "out what the second sets; give one of the two"
                )
        left_out = {off for off in left_out if not f"{off}.".startswith(f"{option}.")}
        if value is False:
            left_out.add(option)
        set_option(values, option, value)


def set_option(values: dict[str, Any], option: str, value: Any) -> None:
    """Set a dotted option in nested values, in place; what lies on the way is copied.

    Example:
        >>> values = {"model": {"losses": {"bpr": 1}}}
        >>> set_option(values, "model.losses.reg", 0.5)
        >>> values
        {'model': {'losses': {'bpr': 1, 'reg': 0.5}}}
    """
    section, *path, last = option.split(".")
    target = values.setdefault(section, {})
    title = section
    for step in path:
        title = f"{title}.{step}"
        target[step] = target = _deeper(target.get(step), title)
    target[last] = value


def _deeper(value: Any, title: str) -> dict[str, Any]:
    if value is None or isinstance(value, bool):
        return {}
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, (int, float)):
        return {"weight": value}
    return mapping(value, title)


def _yaml_value(override: str, text: str) -> Any:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"cannot read the value of '{override}': {error}") from None
    return _number(value) if isinstance(value, str) else value


def _number(text: str) -> Any:
    # YAML 1.1 reads 1e-3 (no dot) as a string.
    try:
        return float(text) if "e" in text.lower() and text[:1] in "+-.0123456789" else text
    except ValueError:
        return text


def _parsed(section: type[BaseModel], name: str, values: Any) -> Any:
    if issubclass(section, FeaturesSection):
        return section.parse(values)
    return validated(section, values, name, f"{name}.")


def _modality(name: str, values: Any) -> ModalitySection:
    if values is not None and not isinstance(values, Mapping):
        hint = "; did you mean 'features.use'?" if nearest(name, ["use"]) else ""
        raise InputError(
            f"features.{name} must hold options, as in features.{name}.transforms=[center], "
            f"got {values!r}{hint}"
        )
    section: ModalitySection = validated(
        ModalitySection, values or {}, f"features.{name}", f"features.{name}."
    )
    return section


def _section_class(owner: type[BaseModel], section: str) -> type[BaseModel]:
    annotation = owner.model_fields[section].annotation
    assert isinstance(annotation, type)
    return annotation


def _check_metric(experiment: Experiment) -> None:
    evaluation = experiment.evaluation
    names = [f"{metric}@{k}" for metric in evaluation.metrics for k in evaluation.ks]
    cold = [f"{prefix}{name}" for prefix in PREFIXES for name in names]
    metric = experiment.training.metric
    if metric not in names and metric not in cold:
        near = nearest(metric, names)
        hint = f"did you mean '{near}'? " if near else ""
        raise InputError(
            f"training.metric '{metric}' is not among the metrics evaluated; {hint}"
            f"Valid: {', '.join(names)}; under a cold-start split also with "
            f"{' or '.join(PREFIXES)} before them"
        )
    if direction(metric) != 1:
        raise InputError(
            f"training.metric '{metric}' cannot select: the greatest value is taken, and "
            f"{base_name(metric)} is {BEYOND[base_name(metric)]}; select by another metric, such "
            "as recall@20"
        )
