"""The first run: a synthetic catalogue, three models, one comparison."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import polars as pl

from graphrec.api import train
from graphrec.data.catalogue import make_catalogue
from graphrec.data.dataset import Dataset, build_dataset
from graphrec.data.encoding import encode_dataset
from graphrec.display import frame_table, metric_table, out
from graphrec.serving.run import Run
from modalities._base.files import refuse_existing

# Colour and pattern have columns of their own, which would tell the text what pictures show.
TEXT = ("title", "brand", "category", "description")
SHOWN = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
TRAINING: dict[str, Any] = {
    "epochs": 200,
    "batch_size": 2048,
    "lr": 5e-3,
    "eval_every": 5,
    "patience": 10,
    "checkpoint_every": 5,
}
MODELS: dict[str, dict[str, Any]] = {"popularity": {}, "lightgcn": {}, "freedom": {}}


def make_sample(folder: Path, *, seed: int = 0, progress: bool = True) -> Dataset:
    """Write the synthetic catalogue, encoded with the default encoders, to a new folder.

    Raises:
        InputError: `folder` is taken.
    """
    refuse_existing(folder)
    with tempfile.TemporaryDirectory() as temporary:
        source = make_catalogue(Path(temporary) / "images", seed=seed)
        dataset = build_dataset(source, split="given")
        dataset = encode_dataset(dataset, columns=TEXT, progress=progress)
        dataset.save(folder, pictures="copy")
    return Dataset.load(folder)


def run_quickstart(folder: Path, *, seed: int = 0, progress: bool = True) -> dict[str, Run]:
    """Make the catalogue, train Popularity, LightGCN and FREEDOM, print what came of it.

    Raises:
        InputError: `folder` is taken.
    """
    refuse_existing(folder)
    console = out()
    console.print("[bold]1.[/] Making the synthetic catalogue (invented items, pictures, users)")
    dataset = make_sample(folder / "data", seed=seed, progress=progress)
    console.print(f"   {dataset}", markup=False)
    console.print("[bold]2.[/] Training three models, selected on the validation split")
    runs = train_models(dataset, folder / "runs", seed=seed, progress=progress)
    console.print("[bold]3.[/] The test split, opened once per model")
    rows = {name: run.metrics["test"] for name, run in runs.items()}
    console.print(metric_table("Synthetic catalogue, test split", rows, SHOWN))
    before, after = rows["lightgcn"]["recall@20"], rows["freedom"]["recall@20"]
    console.print(
        f"Content changes recall@20 by {100 * (after / before - 1):+.0f} % over LightGCN."
    )
    _show_example(runs["freedom"], dataset)
    best = runs["freedom"].path
    console.print("Go on:")
    for command in (
        f"graphrec evaluate {best} --split valid",
        f"graphrec recommend {best} --user {dataset.user_ids[1]} -k 5",
        f"graphrec train {folder / 'data'} --model freedom --out my-run features=[text]",
    ):
        console.print(f"  {command}", markup=False, soft_wrap=True)
    return runs


def train_models(
    dataset: Dataset, folder: Path, *, seed: int = 0, progress: bool = True
) -> dict[str, Run]:
    """Train the models of the quickstart, each into its own run."""
    return {
        name: train(
            dataset,
            name,
            folder / name,
            training={**TRAINING, "seed": seed},
            progress=progress,
            **options,
        )
        for name, options in MODELS.items()
    }


def _show_example(run: Run, dataset: Dataset) -> None:
    user = dataset.user_ids[0]
    train_items = dataset.train.items[dataset.train.users == 0].tolist()
    columns = ["item_id", *(n for n in ("title", "brand") if n in dataset.items.columns)]
    bought = dataset.items.select(columns)[train_items[:5]]
    console = out()
    console.print(frame_table(bought.fill_null("(no text)"), f"Some of what {user} bought"))
    recommended = (
        run.recommend([user], 5).drop("user").with_columns(pl.col("title").fill_null("(no text)"))
    )
    console.print(frame_table(recommended, f"What FREEDOM recommends to {user}"))
