"""What the commands do, once their arguments are parsed."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import yaml
from rich.console import Console
from rich.table import Table

from graphrec.data.dataset import Dataset, build_dataset
from graphrec.data.loading import load_dataset
from graphrec.display import TrainingDisplay, curve_table, frame_table, key_values, out, split_table
from graphrec.models.modular import Modular
from graphrec.models.parts import KINDS, part_class, part_names
from graphrec.models.presets import PRESETS
from graphrec.models.registry import (
    model_class,
    model_names,
    model_options,
    model_source,
    model_summary,
)
from graphrec.serving.run import load_run
from graphrec.training.config import Experiment, apply_overrides, read_config
from graphrec.training.folder import RunFolder
from graphrec.training.train import resume_run, train_run
from modalities import Nonfinite
from modalities._base.errors import InputError, UnknownNameError

RESUMABLE = ("training.max_minutes", "training.device")


def start_training(
    dataset: str, folder: Path, config: Path | None, overrides: Sequence[str], *, test: bool
) -> None:
    """`graphrec train DIR`."""
    values = apply_overrides(read_config(config) if config else {}, overrides)
    data = {**values.get("data", {}), "path": str(Path(dataset).resolve())}
    experiment = Experiment.parse({**values, "data": data})
    loaded = load_dataset(dataset)
    with _interruptible(_resume(folder)), TrainingDisplay(experiment) as display:
        run = train_run(loaded, experiment, folder, test=test, report=display.update)
    _show_outcome(run)


def continue_training(
    folder: Path, dataset: str | None, overrides: Sequence[str], *, test: bool
) -> None:
    """`graphrec train --resume RUN`."""
    run = RunFolder.open(folder)
    for override in overrides:
        if override.partition("=")[0] not in RESUMABLE:
            raise InputError(
                f"'{override}' cannot change when a run is continued (only "
                f"{' and '.join(RESUMABLE)} can); start a new run for other settings"
            )
    experiment = Experiment.parse(apply_overrides(run.experiment().to_dict(), overrides))
    if run.manifest()["status"] == "finished":
        out().print(f"the run in '{folder}' is finished; nothing is left to train", markup=False)
        _show_outcome(run)
        return
    path = dataset or experiment.data.path
    if path is None:
        raise InputError(f"the run does not say where its dataset is; give DIR --resume {folder}")
    loaded = load_dataset(path)
    with _interruptible(_resume(folder)), TrainingDisplay(experiment) as display:
        run = resume_run(folder, loaded, experiment, test=test, report=display.update)
    _show_outcome(run)


def show_evaluation(
    run: Path, split: str, data: Path | None, device: str, *, same_encoder: bool
) -> None:
    """`graphrec evaluate`."""
    loaded = load_run(run)
    dataset = load_dataset(data) if data is not None else None
    metrics = loaded.evaluate(
        "test" if split == "test" else "valid", dataset, device=device, same_encoder=same_encoder
    )
    if dataset is not None and not loaded.knows(dataset):
        out().print(
            f"other data: '{dataset.name}' ({dataset.data_id}); nothing was learnt on them",
            markup=False,
        )
    ks = loaded.folder.experiment().evaluation.ks
    out().print(split_table({split: metrics}, ks))


def show_robustness(
    path: Path,
    kind: str,
    levels: Sequence[float] | None,
    metrics: Sequence[str] | None,
    data: Path | None,
    **how: Any,
) -> None:
    """`graphrec robustness`."""
    from graphrec.experiments.compare import METRICS
    from graphrec.training.robustness import LEVELS

    run = load_run(path)
    dataset = load_dataset(data) if data is not None else None
    with _interruptible("nothing was written; run the same command again"):
        curve = run.robustness(kind, levels or LEVELS, dataset=dataset, progress=True, **how)
    console, of = out(), ", ".join(curve.modalities)
    if curve.unchanged:
        console.print(
            f"no level changed a single score: what '{run.config['model']['name']}' ranks by does "
            f"not depend on its features ({of}), which act in training only",
            markup=False,
        )
        return
    measured = curve.levels[0].metrics
    shown = metrics or [name for name in METRICS if name in measured] or list(measured)[:2]
    console.print(curve_table(f"{kind} ({of}), {curve.split}", curve, shown))
    if curve.seeds > 1:
        console.print(f"Means of {curve.seeds} draws, \u00b1 their standard deviation.")


def run_ablation(
    path: Path,
    folder: Path,
    data: Path | None,
    *,
    workers: int | None,
    threads: int | None,
    engine: str,
    address: str | None,
    dry_run: bool,
) -> None:
    """`graphrec ablate`."""
    from graphrec.experiments.compare import compare_runs
    from graphrec.experiments.engines import engine_named
    from graphrec.experiments.plan import StudyPlan
    from graphrec.experiments.render import tables
    from graphrec.experiments.study import Study

    trainer = engine_named(engine, address)
    plan = StudyPlan.read(path, data)
    plan.check_data()
    study = Study(plan, folder)
    console = out()
    console.print(_plan_table(study))
    if dry_run:
        return
    given = {"--data": data, "--engine": engine if engine != "local" else "", "--address": address}
    options = "".join(f" {option} {value}" for option, value in given.items() if value)
    again = f"graphrec ablate {path} --out {folder}{options}"
    with _interruptible(again):
        result = study.run(workers=workers, threads=threads, engine=trainer, tell=console.print)
    if result.finished:
        labels = {str(study.path(run)): run.variant for run in plan.runs}
        first = next(run.variant for run in plan.runs if study.path(run) in result.finished)
        compared = compare_runs(
            result.finished, metrics=plan.metrics, labels=labels, base=first, anyway=True
        )
        console.print(tables(compared, console))
        if first != plan.runs[0].variant:
            console.print(
                f"Gains are over {first}, since no run of {plan.runs[0].variant} has finished.",
                markup=False,
            )
    shared = ", ".join(f"{count} {what}" for what, count in sorted(result.counts.items()))
    console.print(f"Shared work: {shared}" if shared else "", markup=False)
    if result.failed:
        raise InputError(
            f"{len(result.failed)} of {len(plan.runs)} runs failed (see above); "
            f"the others are finished. Run again to try them anew: {again}"
        )


def run_search(path: Path, folder: Path, given: Mapping[str, Any]) -> None:
    """`graphrec tune`."""
    from graphrec.experiments.tune import Tuning, tune

    known = {key: value for key, value in given.items() if value is not None}
    tuning = Tuning.parse({**read_config(path), **known})
    console = out()
    with _interruptible(f"graphrec tune {path} --out {folder}"):
        found = tune(tuning, folder, tell=lambda line: console.print(line, markup=False))
    best = {name: str(value) for name, value in found.best.options.items()}
    states = [trial.state for trial in found.trials]
    said = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    console.print(f"{len(states)} trials: {said}")
    title = (
        f"Best on validation: {found.metric} {found.best.value:.4f} (trial {found.best.number + 1})"
    )
    console.print(key_values(title, best))
    if found.importance:
        shares = {name: f"{share:.0%}" for name, share in found.importance.items()}
        console.print(key_values("Importance of the options", shares))
    console.print(
        f"graphrec train {tuning.data} --config {folder / 'best.yaml'} --out RUN", markup=False
    )


def show_cohorts(run: Path, split: str) -> None:
    """`graphrec evaluate RUN --cohorts`."""
    out().print(frame_table(load_run(run).cohorts("test" if split == "test" else "valid")))


def _plan_table(study: Any) -> Table:
    plan = study.plan
    table = Table(title=f"{plan.name}: {len(plan.runs)} runs", title_justify="left")
    for name in ("variant", "split", "seeds", "state"):
        table.add_column(name)
    for variant in plan.variants:
        of = [run for run in plan.runs if run.variant == variant]
        for split in dict.fromkeys(run.split for run in of):
            runs = [run for run in of if run.split == split]
            states = [study.status(run) for run in runs]
            said = ", ".join(f"{states.count(s)} {s}" for s in dict.fromkeys(states))
            seeds = ", ".join(str(run.seed) for run in runs)
            table.add_row(variant, split or "its own", seeds, said)
    return table


def show_comparison(
    runs: Sequence[Path], metrics: Sequence[str], labels: Sequence[str], form: str, **how: Any
) -> None:
    """`graphrec compare`."""
    from graphrec.experiments.compare import METRICS, compare_runs
    from graphrec.experiments.render import FORMATS, render, tables

    if form not in FORMATS:
        raise UnknownNameError("format", form, FORMATS)
    named = dict(_label(text) for text in labels)
    compared = compare_runs(list(runs), metrics=metrics or METRICS, labels=named, **how)
    if form == "table":
        console = out()
        console.print(tables(compared, console))
    else:
        print(render(compared, form))


def _label(text: str) -> tuple[str, str]:
    run, equals, name = text.rpartition("=")
    if not (run and equals and name):
        raise InputError(f"--label takes RUN=NAME, got '{text}'")
    return run, name


def show_recommendations(run: Path, users: Sequence[str], k: int, *, include_seen: bool) -> None:
    """`graphrec recommend`."""
    table = load_run(run).recommend(users, k, include_seen=include_seen)
    out().print(frame_table(table))


def show_models() -> None:
    """`graphrec models`."""
    rows = []
    for name in model_names():
        model = model_class(name)
        rows.append({"name": name, "what": model_summary(model), "source": model_source(model)})
    out().print(frame_table(pl.DataFrame(rows)))


def show_model(name: str) -> None:
    """`graphrec models NAME`."""
    model = model_class(name)
    console = out()
    console.print(f"[bold]{name}[/]: {model_summary(model)}")
    console.print(f"Source: {model_source(model)}" if model_source(model) else "")
    rows = [
        {
            "option": f"model.{o.name}",
            "type": o.annotation,
            "default": _yaml(o.default),
            "what": _in_yaml(o.help),
        }
        for o in model_options(model)
    ]
    if rows:
        console.print(frame_table(pl.DataFrame(rows)))
    else:
        console.print("no options")
    if model.reference is not None:
        switches = [f"model.{key}={_yaml(value)}" for key, value in model.reference.items()]
        console.print(f"As the published code computes it: {' '.join(switches)}", markup=False)
    if training := model.training_settings({}):
        settings = [f"training.{key}={_yaml(value)}" for key, value in training.items()]
        console.print(f"Trained by default with: {' '.join(settings)}", markup=False)
    if issubclass(model, Modular):
        _show_parts(console)


def _yaml(value: Any) -> str:
    return "null" if value is None else str(value)


def _in_yaml(text: str) -> str:
    """Help in the words of a configuration, where a docstring's are Python's."""
    return re.sub(r"\bNone\b", "null", text)


def _show_parts(console: Console) -> None:
    for kind in KINDS:
        rows = []
        for name in part_names(kind):
            part = part_class(kind, name)
            summary = (part.__doc__ or "").partition("\n")[0]
            rows.append({kind.replace("_", " "): name, "type": "", "default": "", "what": summary})
            rows += [
                {
                    kind.replace("_", " "): f"  .{option.name}",
                    "type": option.annotation,
                    "default": _yaml(option.default),
                    "what": _in_yaml(option.help),
                }
                for option in model_options(part)
            ]
        console.print(frame_table(pl.DataFrame(rows)))
    console.print(f"Presets: {', '.join(PRESETS)}")


def prepare_dataset(
    kind: str,
    reviews: Sequence[Path],
    meta: Sequence[Path],
    folder: Path,
    *,
    strict: bool,
    encode: bool,
    **how: Any,
) -> None:
    """`graphrec data prepare`."""
    from graphrec.data.readers.amazon import read_amazon
    from modalities._base.files import refuse_existing

    if kind != "amazon":
        raise UnknownNameError("raw format", kind, ["amazon"])
    refuse_existing(folder)
    source = read_amazon(list(reviews), list(meta), strict=strict)
    _save_new(build_dataset(source, **how), folder, encode)


def import_dataset(
    source: Path,
    items: Path | None,
    images: Path | None,
    columns: Sequence[str],
    folder: Path,
    *,
    strict: bool,
    encode: bool,
    nonfinite: Nonfinite,
    **how: Any,
) -> None:
    """`graphrec data import`."""
    from graphrec.data.readers import read_source
    from modalities._base.files import refuse_existing

    refuse_existing(folder)
    names = dict(_assignment(column) for column in columns)
    read = read_source(
        source, items=items, images=images, columns=names, strict=strict, nonfinite=nonfinite
    )
    _save_new(build_dataset(read, **how), folder, encode)


def split_dataset(dataset: Path, folder: Path, method: str, seed: int, **options: Any) -> None:
    """`graphrec data split`."""
    load_dataset(dataset).split_by(method, seed=seed, **options).save(folder)


def show_dataset(path: Path) -> None:
    """`graphrec data show`."""
    from graphrec.data import summary
    from graphrec.graphs import neighbour_statistics

    dataset, console = load_dataset(path), out()
    console.print(key_values("Dataset", summary.dataset_counts(dataset)))
    console.print(key_values("Identities", summary.dataset_identities(dataset)))
    notes = summary.dropped(dataset)
    if notes:
        console.print(key_values("What was read and left out", notes))
    console.print(key_values("Items with", summary.content_coverage(dataset)))
    for name, store in dataset.features.items():
        console.print(key_values(f"Features '{name}'", summary.feature_health(store)))
        neighbours = neighbour_statistics(dataset.train, name)
        console.print(key_values(f"10-NN graph of '{name}'", neighbours))


def fetch_images(path: Path, rate: float) -> None:
    """`graphrec data images`."""
    from graphrec.data.fetching import Limits
    from graphrec.data.images import download_images

    dataset = Dataset.load(path)
    if "image_urls" not in dataset.items.columns:
        raise InputError(f"the items of '{path}' list no picture URLs")
    listed = dataset.items.select("item_id", "image_urls").iter_rows()
    urls = {item: list(links) for item, links in listed if links}
    limits = Limits(rate=rate)
    done = download_images(urls, path / "images", limits=limits, progress=True)
    dataset.with_pictures(done.pictures).save_items()
    counts = {
        "pictures fetched": done.fetched,
        "there already": done.present,
        "failed": done.failed,
        "not asked again": done.skipped,
        **{f"failed: {reason}": count for reason, count in done.reasons.items()},
    }
    out().print(key_values("Pictures", counts))


def encode_dataset_folder(dataset: Path, options: Sequence[str], **how: Any) -> None:
    """`graphrec encode`."""
    from graphrec.data.feature_folder import EncodingRequest, encode_features
    from modalities import summary

    of_encoder, of_captioner = _encoder_options(options)
    request = EncodingRequest(**how, options=of_encoder, caption_options=of_captioner)
    with _interruptible("run the same command again; what is done is kept"):
        store, said = encode_features(dataset, request)
    for line in said:
        out().print(line, markup=False)
    if store is None:
        out().print("the features are put together when the last process is done")
        return
    out().print(f"{summary(store)} -> '{request.name}' [{store.dim}]", markup=False)


def show_features(path: Path, name: str | None) -> None:
    """`graphrec features`."""
    from graphrec.data.feature_folder import dataset_folder, feature_rows
    from graphrec.data.summary import feature_errors, feature_health

    if name is not None:
        store = Dataset.load(dataset_folder(path)).using([name]).features[name]
        out().print(key_values(f"Spec of '{name}'", store.spec))
        out().print(key_values("Made", {**store.made, "feature_id": store.feature_id}))
        out().print(key_values("Rows", {**feature_health(store), **feature_errors(store)}))
        return
    rows = feature_rows(dataset_folder(path))
    if not rows:
        out().print("no features yet; make some with: graphrec encode", markup=False)
        return
    out().print(frame_table(pl.DataFrame(rows)))


def verify_features(path: Path) -> None:
    """`graphrec features --verify`."""
    from graphrec.data.feature_folder import damage

    found = damage(path)
    for name, faults in found.items():
        out().print(f"{name}: {'intact' if not faults else ''}".rstrip(), markup=False)
        for fault in faults:
            out().print(f"  {fault}", markup=False)
    broken = [name for name, faults in found.items() if faults]
    if broken:
        raise InputError(
            f"{', '.join(broken)}: damaged; run the same 'graphrec encode' again, which redoes "
            "the damaged parts only"
        )


def export_feature_folder(
    path: Path, features: str | None, captions: str | None, target: Path | None
) -> None:
    """`graphrec features --export` and `--captions`."""
    from graphrec.data.feature_folder import export_captions, export_features

    if target is None:
        raise InputError("say where to write with --out")
    if features is not None:
        export_features(path, features, target)
    if captions is not None:
        export_captions(path, captions, target)
    out().print(f"wrote {target}", markup=False)


def show_encoders() -> None:
    """`graphrec encoders`."""
    from graphrec.listing import encoder_families_table, preset_lists

    out().print(encoder_families_table())
    for table in preset_lists():
        out().print(table)


def show_encoder(name: str) -> None:
    """`graphrec encoders NAME`."""
    from graphrec.listing import encoder_page

    out().print(encoder_page(name))


@contextmanager
def _interruptible(then: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        print(f"graphrec: interrupted; {then}", file=sys.stderr)
        raise SystemExit(130) from None


def _resume(folder: Path) -> str:
    return f"continue with: graphrec train --resume {folder}"


def _encoder_options(options: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options of the encoder and of the captioner, each parsed as YAML."""
    found: tuple[dict[str, Any], dict[str, Any]] = {}, {}
    for text in options:
        key, equals, value = text.partition("=")
        if not (equals and key):
            raise InputError(f"options are written KEY=VALUE, got '{text}'")
        which, name = (1, key[8:]) if key.startswith("caption.") else (0, key)
        try:
            found[which][name] = yaml.safe_load(value) if value else ""
        except yaml.YAMLError:
            found[which][name] = value
    return found


def _save_new(dataset: Dataset, folder: Path, encode: bool) -> None:
    if encode:
        from graphrec.data.encoding import encode_dataset

        dataset = encode_dataset(dataset)
    dataset.save(folder)
    show_dataset(folder)


def _show_outcome(run: RunFolder) -> None:
    console, manifest = out(), run.manifest()
    if manifest["status"] == "paused":
        console.print(
            f"time is up: the run is at a checkpoint; "
            f"continue with 'graphrec train --resume {run.path}'"
        )
        return
    metrics = run.metrics()
    best = metrics.get("best", {})
    values = {"folder": str(run.path), "best epoch": best.get("epoch")}
    console.print(key_values(f"Run of {manifest['model']}", values))
    console.print(split_table(metrics, run.experiment().evaluation.ks))
    for side, reason in metrics.get("not_applicable", {}).items():
        console.print(f"{side}: not applicable, {reason}", markup=False)


def _assignment(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals and value):
        raise InputError(f"--column takes role=name, such as user=customer_id; got '{text}'")
    return key, value
