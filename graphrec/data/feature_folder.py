"""The features of a dataset folder: encoded into it, listed, verified, exported, dropped."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from graphrec.data.dataset import FORMAT, VERSION, Dataset
from graphrec.data.encoding import joined_texts
from modalities import FeatureStore
from modalities._base.errors import InputError, UnknownNameError
from modalities._base.files import (
    atomic_file,
    atomic_folder,
    locked,
    read_manifest,
    write_json,
    write_text,
)
from modalities.captions import CaptionJob, CaptionStore
from modalities.encoders.registry import checked_options, make_encoder
from modalities.encoding import fitted
from modalities.job import EncodingJob
from modalities.parted import Outcome, rank_and_world
from modalities.precomputed import read_precomputed
from modalities.protocol import Encoder, Pair
from modalities.store import ROWS_PER_PART
from modalities.template import ContentRequest, parse_content
from modalities.verify import salvage

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class EncodingRequest:
    """What to encode, by which encoder, under which name.

    Args:
        name: of the modality in the dataset.
        encoder: `FAMILY:ADDRESS`, see `modalities.make_encoder`, or `file:PATH` for vectors that
            are there already.
        content: `image`, a template of column names such as `{title}. {description}`, or
            `image + TEMPLATE` for joint encoders; None: pictures for encoders of pictures, else
            every text column.
        caption: `mllm:SOURCE` of a captioner whose captions become the column `{caption}`; with
            `content` None they are the whole text.
        options: of the encoder.
        caption_options: of the captioner.
        batch_size: inputs per call of the encoder.
        caption_batch_size: pictures per call of the captioner.
        rows_per_part: see `EncodingJob`.
        workers: threads opening pictures.
        failures: the most that may fail, as a share.
        replace: make features of that name again when they were made otherwise.
    """

    name: str
    encoder: str
    content: str | None = None
    caption: str | None = None
    options: dict[str, Any] | None = None
    caption_options: dict[str, Any] | None = None
    batch_size: int = 32
    caption_batch_size: int = 4
    rows_per_part: int | None = None
    workers: int = 0
    failures: float = 0.5
    replace: bool = False


def encode_features(
    path: Path | str, request: EncodingRequest, *, progress: bool = True
) -> tuple[FeatureStore | None, list[str]]:
    """Encode a dataset's items into its folder.

    The work is resumable and is shared by processes that have `RANK` and `WORLD_SIZE` set; see
    `modalities.EncodingJob`.

    Returns:
        The store, or None while other processes still work, and lines that say what was done.

    Raises:
        InputError: what was asked cannot be done; what was done before is kept.
    """
    folder = dataset_folder(path)
    if not _NAME.fullmatch(request.name):
        raise InputError(f"a name of features holds letters, digits, - and _; got '{request.name}'")
    dataset = Dataset.load(folder)
    target = folder / "features" / request.name
    if request.encoder.startswith("file:"):
        return _import(dataset, target, request)
    said: list[str] = []
    captions: CaptionStore | None = None
    if request.caption is not None:
        outcome, captions = _caption(dataset, folder, request, progress)
        said.append(f"captions: {outcome.describe()}")
        if captions is None:
            return None, said
    encoder, contents, about = _prepare(dataset, request, captions)
    job = EncodingJob(
        target,
        dataset.item_ids,
        contents,
        encoder=encoder,
        about=about,
        batch_size=request.batch_size,
        rows_per_part=request.rows_per_part,
        **_how(request, progress),
    )
    outcome = job.run()
    said.append(outcome.describe())
    if outcome.waiting:
        return None, said
    return register(folder, request.name), said


def register(folder: Path, name: str) -> FeatureStore:
    """List a store that lies in the folder of a dataset in its manifest."""
    store = FeatureStore.load(folder / "features" / name)
    with _manifest(folder) as manifest:
        manifest["features"] = {**manifest["features"], name: store.feature_id}
    return store


def drop_features(path: Path | str, name: str) -> None:
    """Remove features, finished or not, from the folder of a dataset.

    Raises:
        UnknownNameError: there are none of that name.
    """
    folder = dataset_folder(path)
    target = folder / "features" / name
    work = target.with_name(f".{name}.partial")
    listed = read_manifest(folder / "manifest.json", FORMAT, VERSION)["features"]
    if name not in listed and not (_NAME.fullmatch(name) and (target.exists() or work.exists())):
        raise UnknownNameError("modality", name, listed)
    with _manifest(folder) as manifest:
        manifest["features"] = {n: i for n, i in manifest["features"].items() if n != name}
    for old in (target, work):
        shutil.rmtree(old, ignore_errors=True)


def export_features(path: Path | str, name: str, out: Path | str) -> None:
    """Write features as others read them, into a new folder.

    `{name}_feat.npy` (float32, one row per item in item order, absent rows zero),
    `{name}_present.npy` (bool) and `item_ids.txt`.

    Raises:
        UnknownNameError: there are none of that name.
    """
    dataset = Dataset.load(dataset_folder(path)).using([name])
    store = dataset.features[name]
    with atomic_folder(Path(out)) as folder:
        values = store.values().astype(np.float32)
        np.save(folder / f"{name}_feat.npy", values, allow_pickle=False)
        np.save(folder / f"{name}_present.npy", store.present, allow_pickle=False)
        write_text(folder / "item_ids.txt", "".join(f"{i}\n" for i in dataset.item_ids))


def feature_rows(folder: Path) -> list[dict[str, str]]:
    """One line per set of features, finished or not, and per set of captions."""
    dataset = Dataset.load(folder)
    rows = [_row(name, store) for name, store in dataset.features.items()]
    for work in sorted((folder / "features").glob(".*.partial")):
        done = len(list(work.glob("chunk-*")))
        rows.append(_blank(work.name[1:-8], f"not finished: {done} parts done"))
    for file in sorted((folder / "captions").glob("*/captions.jsonl")):
        captions = CaptionStore.load(file.parent)
        said = sum(text is not None for text in captions.captions)
        shown = f"{said:,} of {len(captions):,}"
        about = f"captions by {_described(captions.spec, captions.made)}"
        rows.append({**_blank(file.parent.name, about), "coverage": shown})
    return rows


def damage(path: Path | str) -> dict[str, list[str]]:
    """What is wrong with each set of features, byte by byte; nothing: an empty list."""
    folder = dataset_folder(path)
    names = read_manifest(folder / "manifest.json", FORMAT, VERSION)["features"]
    found: dict[str, list[str]] = {}
    for name in names:
        try:
            found[name] = list(salvage(folder / "features" / name).damage.values())
        except InputError as error:
            found[name] = [str(error)]
    return found


def export_captions(path: Path | str, name: str, out: Path | str) -> None:
    """Write captions as a table: item_id, caption, error.

    Raises:
        InputError: there are none of that name, or the file is there already.
    """
    target = Path(out)
    if target.exists():
        raise InputError(f"output '{target}' already exists; choose another path")
    store = CaptionStore.load(dataset_folder(path) / "captions" / name)
    columns = {"item_id": store.item_ids, "caption": store.captions, "error": store.errors}
    table = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))
    with atomic_file(target) as temporary:
        table.write_csv(temporary)


def dataset_folder(path: Path | str) -> Path:
    """The folder, checked to be a dataset of graphrec.

    Raises:
        InputError: it is something else.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise InputError(f"dataset folder '{folder}' does not exist")
    if not (folder / "manifest.json").is_file():
        raise InputError(
            f"'{folder}' is not a graphrec dataset, and features are written into such only; "
            f"make one with: graphrec data import {folder} --out NEW"
        )
    return folder


def _row(name: str, store: FeatureStore) -> dict[str, str]:
    size = sum(f.stat().st_size for f in store.path.iterdir()) if store.path else 0
    return {
        "name": name,
        "kind": store.modality,
        "dim": str(store.dim),
        "coverage": f"{int(store.present.sum()):,} of {len(store):,}",
        "size": f"{size / 1e6:,.1f} MB",
        "made by": _described(store.spec, store.made),
        "feature_id": store.feature_id[:12],
    }


def _blank(name: str, about: str) -> dict[str, str]:
    row = dict.fromkeys(("name", "kind", "dim", "coverage", "size", "made by", "feature_id"), "")
    return {**row, "name": name, "made by": about}


def _described(spec: Mapping[str, Any], made: Mapping[str, Any]) -> str:
    named = [spec.get("encoder"), made.get("model"), spec.get("name")]
    shown = [str(name) for name in named if name]
    content = spec.get("content")
    return " ".join(shown) + (f" of {content}" if content else "")


@contextmanager
def _manifest(folder: Path) -> Iterator[dict[str, Any]]:
    with locked(folder / ".lock"):
        manifest = read_manifest(folder / "manifest.json", FORMAT, VERSION)
        yield manifest
        write_json(folder / "manifest.json", manifest)


def _caption(
    dataset: Dataset, folder: Path, request: EncodingRequest, progress: bool
) -> tuple[Outcome, CaptionStore | None]:
    from modalities.captioner import Captioner

    family, _, source = (request.caption or "").partition(":")
    if family != "mllm" or not source:
        raise InputError(f"--caption takes mllm:SOURCE, got '{request.caption}'")
    options = request.caption_options or {}
    job = CaptionJob(
        folder / "captions" / request.name,
        dataset.item_ids,
        _pictures(dataset),
        captioner=Captioner.load(source, **checked_options("captioner", Captioner.load, options)),
        batch_size=request.caption_batch_size,
        **_how(request, progress),
    )
    outcome = job.run()
    return outcome, None if outcome.waiting else CaptionStore.load(job.path)


def _how(request: EncodingRequest, progress: bool) -> dict[str, Any]:
    """What both kinds of jobs take from a request."""
    rank, world = rank_and_world()
    return {
        "rank": rank,
        "world": world,
        "workers": request.workers,
        "failure_limit": request.failures,
        "replace": request.replace,
        "progress": progress,
    }


def _prepare(
    dataset: Dataset, request: EncodingRequest, captions: CaptionStore | None
) -> tuple[Encoder, Sequence[Any], dict[str, Any]]:
    """The encoder, one content per item, and what else determines the vectors."""
    about: dict[str, Any] = {}
    items = dataset.items
    if captions is not None:
        texts = captions.texts(dataset.item_ids)
        items = items.with_columns(pl.Series("caption", texts, dtype=pl.String))
        about["captions"] = dict(captions.spec)
    content = request.content or ("{caption}" if captions is not None else None)
    options = request.options or {}
    contents: Sequence[Any]
    if content is None:
        encoder = make_encoder(request.encoder, **options)
        pictured = encoder.modality == "image"
        about["content"] = "image" if pictured else "every text column"
        contents = _pictures(dataset) if pictured else joined_texts(items)
    else:
        wanted = parse_content(content)
        about["content"] = wanted.canonical
        contents = _contents(dataset, items, wanted)  # before the model, which takes its time
        encoder = make_encoder(request.encoder, content=_kind(wanted), **options)
    return fitted(encoder, contents), contents, about


def _kind(wanted: ContentRequest) -> str:
    if wanted.template is None:
        return "image"
    return "joint" if wanted.image else "text"


def _contents(dataset: Dataset, items: pl.DataFrame, wanted: ContentRequest) -> Sequence[Any]:
    if wanted.template is None:
        return _pictures(dataset)
    texts = wanted.template.render(items)
    if not wanted.image:
        return texts
    return [Pair(text or None, picture) for text, picture in zip(texts, _pictures(dataset))]


def _pictures(dataset: Dataset) -> list[Path | None]:
    return [Path(paths[0]) if paths else None for paths in dataset.items["images"].to_list()]


def _import(
    dataset: Dataset, target: Path, request: EncodingRequest
) -> tuple[FeatureStore, list[str]]:
    if (target / "spec.json").is_file() and not request.replace:
        raise InputError(
            f"features '{request.name}' are there already; choose another name, or --replace"
        )
    source = request.encoder.removeprefix("file:")
    store = read_precomputed(source, dataset.item_ids, **(request.options or {}))
    store.replace(target, rows_per_part=request.rows_per_part or ROWS_PER_PART)
    assert dataset.path is not None
    return register(dataset.path, request.name), [f"read from '{source}'"]
