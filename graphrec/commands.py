"""What the commands do, once their arguments are parsed."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from graphrec.data.dataset import Dataset, build_dataset
from graphrec.data.loading import load_dataset
from graphrec.display import TrainingDisplay, frame_table, key_values, out, split_table
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
    experiment = Experiment.parse({**values, "data": {"path": str(Path(dataset).resolve())}})
    loaded = load_dataset(dataset)
    with _interruptible(folder), TrainingDisplay(experiment) as display:
        run = train_run(loaded, experiment, folder, test=test, report=display.update)
    _show_outcome(run)


def continue_training(
    folder: Path, dataset: str | None, overrides: Sequence[str], *, test: bool
) -> None:
    """`graphrec train --resume RUN`."""
    run = RunFolder.open(folder)
    if run.manifest()["status"] == "finished":
        out().print(f"the run in '{folder}' is finished; nothing is left to train", markup=False)
        _show_outcome(run)
        return
    for override in overrides:
        if override.partition("=")[0] not in RESUMABLE:
            raise InputError(
                f"'{override}' cannot change when a run is continued (only "
                f"{' and '.join(RESUMABLE)} can); start a new run for other settings"
            )
    experiment = Experiment.parse(apply_overrides(run.experiment().to_dict(), overrides))
    path = dataset or experiment.data.path
    if path is None:
        raise InputError(f"the run does not say where its dataset is; give DIR --resume {folder}")
    loaded = load_dataset(path)
    with _interruptible(folder), TrainingDisplay(experiment) as display:
        run = resume_run(folder, loaded, experiment, test=test, report=display.update)
    _show_outcome(run)


def show_evaluation(run: Path, split: str) -> None:
    """`graphrec evaluate`."""
    loaded = load_run(run)
    metrics = loaded.evaluate("test" if split == "test" else "valid")
    ks = loaded.folder.experiment().evaluation.ks
    out().print(split_table({split: metrics}, ks))


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
            "default": str(o.default),
            "what": o.help,
        }
        for o in model_options(model)
    ]
    if rows:
        console.print(frame_table(pl.DataFrame(rows)))
    else:
        console.print("no options")


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


def split_dataset(dataset: Path, folder: Path, method: str, seed: int) -> None:
    """`graphrec data split`."""
    from graphrec.data.splits import make_split

    loaded = load_dataset(dataset)
    events = loaded.interactions
    made = make_split(
        method,
        events.users,
        events.items,
        events.timestamps,
        labels=loaded.split.labels,
        seed=seed,
    )
    loaded.with_split(made).save(folder)


def show_dataset(path: Path) -> None:
    """`graphrec data show`."""
    from graphrec.data import summary

    dataset, console = load_dataset(path), out()
    console.print(key_values("Dataset", summary.dataset_counts(dataset)))
    console.print(key_values("Identities", summary.dataset_identities(dataset)))
    notes = summary.dropped(dataset)
    if notes:
        console.print(key_values("What was read and left out", notes))
    console.print(key_values("Items with", summary.content_coverage(dataset)))
    for name, store in dataset.features.items():
        console.print(key_values(f"Features '{name}'", summary.feature_health(store)))
        console.print(key_values(f"10-NN graph of '{name}'", summary.graph_health(dataset, name)))


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


@contextmanager
def _interruptible(folder: Path) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        message = f"interrupted; continue with: graphrec train --resume {folder}"
        print(f"graphrec: {message}", file=sys.stderr)
        raise SystemExit(130) from None


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


def _assignment(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals and value):
        raise InputError(f"--column takes role=name, such as user=customer_id; got '{text}'")
    return key, value
