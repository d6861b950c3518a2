"""Items per second of encoders, and what reading, sorting, storing and sharing cost or save.

    python benchmarks/encoding.py --text st:MODEL --out benchmarks/results/encoding.json

The two sides of every comparison alternate; shown are medians and the ratio of each pair. Texts
are titles, and titles with descriptions, of the synthetic catalogue; pictures are rendered JPEGs;
the picture model is ViT-B/32 with random weights, whose speed is that of trained ones.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from training import processor

from graphrec.data.catalogue import make_catalogue
from modalities import ClipEncoder, EncoderSpec, EncodingJob, FeatureStore, SentenceEncoder
from modalities._base.files import write_json
from modalities.chunks import vector_batcher
from modalities.content import open_picture
from modalities.encoders.backend import pick_dtype
from modalities.inputs import Inputs
from modalities.store import ROWS_PER_PART

Side = Callable[[], object]
BATCH = 32


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    titles, long = _texts(arguments.texts)
    results: dict[str, Any] = {"setting": _setting(arguments)}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        results["texts"] = text_cases(arguments, titles, long, root)
        results["pictures"] = picture_cases(arguments, root)
        results["store"] = slice_cases(arguments, root)
    write_json(arguments.out, results)
    for group in ("texts", "pictures", "store"):
        for name, found in results[group].items():
            print(f"{group}: {name}: {found}")


def text_cases(
    arguments: argparse.Namespace, titles: Sequence[str], long: Sequence[str], root: Path
) -> dict[str, Any]:
    """The job against a bare loop over the same model, sorted or not, one process or two."""
    encoder = SentenceEncoder.load(arguments.text.removeprefix("st:"))
    mixed = [text for pair in zip(titles, long) for text in pair]

    def bare(texts: Sequence[str], order: Callable[[Sequence[str]], Sequence[str]]) -> Side:
        def run() -> None:
            ordered = order(texts)
            for start in range(0, len(ordered), BATCH):
                encoder.model.encode(
                    list(ordered[start : start + BATCH]),
                    batch_size=BATCH,
                    show_progress_bar=False,
                    normalize_embeddings=True,
                )

        return run

    def job(texts: Sequence[str]) -> Side:
        return lambda: _job(root, encoder, texts).run()

    def unstored(texts: Sequence[str]) -> Side:
        inputs = Inputs.identify(texts, "text")
        return lambda: vector_batcher(encoder, BATCH).run(inputs, range(len(texts)))

    def sort(texts: Sequence[str]) -> Sequence[str]:
        return sorted(texts, key=len, reverse=True)

    low = SentenceEncoder.load(arguments.text.removeprefix("st:"), dtype="bfloat16")
    pairs = arguments.pairs
    return {
        "titles: job and bare sorted loop": compare(
            pairs, len(titles), job=job(titles), bare=bare(titles, sort)
        ),
        "titles and descriptions: job and bare sorted loop": compare(
            pairs, len(long), job=job(long), bare=bare(long, sort)
        ),
        "mixed lengths: sorted and as they come": compare(
            pairs, len(mixed), sorted=bare(mixed, sort), unsorted=bare(mixed, list)
        ),
        "titles: stored and not stored": compare(
            pairs, len(titles), stored=job(titles), unstored=unstored(titles)
        ),
        "titles: bfloat16 and float32": compare(
            pairs,
            len(titles),
            bfloat16=lambda: low.encode(sort(titles)[: 4 * BATCH]),
            float32=lambda: encoder.encode(sort(titles)[: 4 * BATCH]),
            share=4 * BATCH / len(titles),
        ),
        "titles: two processes and one": _processes(arguments, titles, root),
    }


def picture_cases(arguments: argparse.Namespace, root: Path) -> dict[str, Any]:
    """ViT-B/32 on small and large JPEGs."""
    models = {name: _vit(name) for name in ("float32", "bfloat16")}
    cases = [_one_size(arguments, root, models, side) for side in (300, 1500)]
    return {name: found for case in cases for name, found in case.items()}


def _one_size(
    arguments: argparse.Namespace, root: Path, models: dict[str, ClipEncoder], side: int
) -> dict[str, Any]:
    """Reading against computing, bfloat16, and the job against a bare loop."""
    paths = _pictures(root, side, arguments.pictures)
    opened = [open_picture(path) for path in paths]
    encoder = models["float32"]

    def compute(model: ClipEncoder) -> Side:
        return lambda: [model.encode(opened[k : k + BATCH]) for k in _starts(opened)]

    def read() -> None:
        for path in paths:
            encoder._prepare(open_picture(path))

    def bare() -> None:
        for k in _starts(paths):
            encoder.encode([open_picture(path) for path in paths[k : k + BATCH]])

    def job() -> None:
        _job(root, encoder, paths).run()

    pairs, count = arguments.pairs, len(paths)
    return {
        f"{side} px: reading and computing": compare(
            pairs, count, reading=read, computing=compute(encoder)
        ),
        f"{side} px: bfloat16 and float32": compare(
            pairs, count, bfloat16=compute(models["bfloat16"]), float32=compute(encoder)
        ),
        f"{side} px: job and bare loop": compare(pairs, count, job=job, bare=bare),
    }


def slice_cases(arguments: argparse.Namespace, root: Path) -> dict[str, Any]:
    """Rows of 1,000,000 x 384 in float16, in parts of 2,048: the store against one mapped npy."""
    rows, dim = arguments.rows, 384
    random = np.random.default_rng(0)
    path = root / "whole.npy"
    whole = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(rows, dim))
    for start in range(0, rows, 65_536):
        block = whole[start : start + 65_536]
        block[:] = random.standard_normal(block.shape, dtype=np.float32)
    whole.flush()
    FeatureStore(
        item_ids=[str(row) for row in range(rows)],
        present=np.ones(rows, np.bool_),
        modality="text",
        spec={"encoder": "benchmark"},
        digests=["x"] * rows,
        errors=[None] * rows,
        parts=[whole[start : start + ROWS_PER_PART] for start in range(0, rows, ROWS_PER_PART)],
    ).save(root / "store")
    store, mapped = FeatureStore.load(root / "store"), np.load(path, mmap_mode="r")
    wanted = {
        "5,000 random rows": random.integers(0, rows, 5_000),
        "5,000 rows in a row": np.arange(5_000) + rows // 2,
    }
    found = {}
    for name, index in wanted.items():
        np.testing.assert_array_equal(store.rows(index), mapped[index])
        found[f"{name} of {rows:,} x {dim}"] = compare(
            arguments.pairs,
            100 * len(index),
            store=_repeated(lambda index=index: store.rows(index)),  # type: ignore[misc]
            npy=_repeated(lambda index=index: np.asarray(mapped[index])),  # type: ignore[misc]
        )
    return found


def _repeated(side: Side) -> Side:
    def run() -> None:
        for _ in range(100):
            side()

    return run


def compare(pairs: int, items: int, *, share: float = 1.0, **sides: Side) -> dict[str, Any]:
    """Items per second of two sides and the ratio first / second, over alternating pairs."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for run in sides.values():
        run()
    for number in range(pairs):
        order = list(sides) if number % 2 == 0 else list(sides)[::-1]
        for name in order:
            started = time.perf_counter()
            sides[name]()
            seconds[name].append(time.perf_counter() - started)
    first, second = sides
    ratios = [b / a for a, b in zip(seconds[first], seconds[second])]
    return {
        "items_per_second": {
            name: round(items * share / statistics.median(taken), 1)
            for name, taken in seconds.items()
        },
        "ratio": round(statistics.median(ratios), 3),
        "spread": [round(min(ratios), 3), round(max(ratios), 3)],
    }


def _processes(arguments: argparse.Namespace, titles: Sequence[str], root: Path) -> dict[str, Any]:
    """Wall-clock seconds of whole commands, imports and loading included."""
    import polars as pl

    from graphrec.data.dataset import Dataset, build_dataset
    from graphrec.data.source import Source

    ids = [str(row) for row in range(len(titles))]
    events = pl.DataFrame({"user": ["u"] * len(ids), "item": ids})
    items = pl.DataFrame({"item_id": ids, "title": list(titles)})
    build_dataset(Source("titles", events, items=items, item_ids=ids)).save(root / "titles")
    assert Dataset.load(root / "titles").n_items == len(titles)

    def run(world: int) -> Side:
        def command() -> None:
            line = [sys.executable, "-m", "graphrec", "encode", str(root / "titles")]
            line += ["--name", f"x{time.time_ns()}", "--encoder", arguments.text]
            line += ["--content", "{title}", "--rows-per-part", "256"]
            started = [
                subprocess.Popen(
                    line,
                    env={
                        **os.environ,
                        "RANK": str(rank),
                        "WORLD_SIZE": str(world),
                        "OMP_NUM_THREADS": str(max(1, arguments.threads // world)),
                    },
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
                for rank in range(world)
            ]
            codes = [process.wait() for process in started]
            assert codes == [0] * world, codes

        return command

    return compare(arguments.pairs, len(titles), two=run(2), one=run(1))


def _job(root: Path, encoder: Any, contents: Sequence[Any]) -> EncodingJob:
    ids = [str(row) for row in range(len(contents))]
    path = root / f"job-{time.time_ns()}"
    return EncodingJob(path, ids, contents, encoder=encoder, batch_size=BATCH, progress=False)


def _texts(count: int) -> tuple[list[str], list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        items = make_catalogue(Path(folder) / "images", seed=0).items
    assert items is not None
    rows = [row for row in items.iter_rows(named=True) if row["title"] and row["description"]]
    chosen = rows[:count]
    return (
        [f"{row['title']} {n}" for n, row in enumerate(chosen)],
        [f"{row['title']}. {row['description']} {n}" for n, row in enumerate(chosen)],
    )


def _vit(dtype: str) -> ClipEncoder:
    import open_clip

    torch.manual_seed(0)
    model, _, prepare = open_clip.create_model_and_transforms("ViT-B-32")
    model = model.eval().to(dtype=pick_dtype(dtype, torch.device("cpu")))
    spec = EncoderSpec.of("open_clip", model="ViT-B-32", weights="random", dtype=dtype)
    return ClipEncoder(model, prepare, modality="image", spec=spec, dim=512)


def _pictures(root: Path, side: int, count: int) -> list[Path]:
    random = np.random.default_rng(side)
    paths = []
    for number in range(count):
        coarse = Image.fromarray(random.integers(0, 255, (12, 12, 3), dtype=np.uint8))
        path = root / f"{side}-{number}.jpg"
        coarse.resize((side, side), Image.Resampling.BICUBIC).save(path, quality=90)
        paths.append(path)
    return paths


def _starts(contents: Sequence[Any]) -> range:
    return range(0, len(contents), BATCH)


def _setting(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "pairs": arguments.pairs,
        "batch_size": BATCH,
        "threads": arguments.threads,
        "processor": processor(),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "texts": arguments.texts,
        "pictures": arguments.pictures,
        "encoder": Path(arguments.text).name,
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Speed of encoding")
    parser.add_argument("--text", required=True, help="st:MODEL of MiniLM")
    parser.add_argument("--texts", type=int, default=1024)
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
