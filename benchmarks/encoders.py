"""Do features from an encoder help FREEDOM? Real features, shuffled features, and none.

    python benchmarks/encoders.py SOURCE --work WORK --text st:MODEL \
        --out benchmarks/results/encoders.json

SOURCE is a folder of interactions, items and pictures that `graphrec data import` takes; it is
split by `user-random` with seed 0. Every model has its default options, the same budget, and the
seeds given; epochs are selected on validation, and test is opened once per run, at its best epoch.
Shuffled features are the same rows given to other items, so that graph and sizes stay alike and
the meaning goes. Run it again to continue.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from difference import gain
from reproduction import summarise, train_seeds

from graphrec.data.dataset import Dataset, build_dataset
from graphrec.data.feature_folder import EncodingRequest, encode_features, register
from graphrec.data.readers import read_source
from modalities import FeatureStore
from modalities._base.files import write_json

TEXT = "{title}. {description}"
BUDGET = ("training.epochs=300", "training.eval_every=5", "training.patience=4")
CASES = {
    "lightgcn": ("lightgcn", ()),
    "minilm": ("freedom", ("minilm",)),
    "tfidf": ("freedom", ("tfidf",)),
    "pictures": ("freedom", ("pictures",)),
    "minilm + pictures": ("freedom", ("minilm", "pictures")),
    "shuffled minilm + pictures": ("freedom", ("minilm-shuffled", "pictures-shuffled")),
}


def main() -> None:
    arguments = _arguments()
    folder = arguments.work / "dataset"
    if not folder.exists():
        build_dataset(read_source(arguments.source), split="user-random", seed=0).save(folder)
    _encode(folder, arguments.text)
    dataset = Dataset.load(folder)
    results: dict[str, Any] = {
        "dataset": dataset.name,
        "data_id": dataset.data_id,
        "split_id": dataset.split_id,
        "features": dataset.feature_ids,
        "budget": list(BUDGET),
        "models": {},
        "differences": {},
    }
    runs = arguments.work / "runs"
    for label, (model, names) in CASES.items():
        overrides = [*BUDGET, *([f"features=[{','.join(names)}]"] if names else [])]
        rows = train_seeds(dataset, folder, model, _slug(label), arguments.seeds, runs, overrides)
        results["models"][label] = summarise(rows, overrides)
        if label != "lightgcn":
            results["differences"][f"{label} - lightgcn"] = _difference(runs, label, "lightgcn")
        write_json(arguments.out, results)
    real, shuffled = "minilm + pictures", "shuffled minilm + pictures"
    results["differences"][f"{real} - {shuffled}"] = _difference(runs, real, shuffled)
    write_json(arguments.out, results)


def _encode(folder: Path, text: str) -> None:
    requests = [
        EncodingRequest("minilm", text, TEXT),
        EncodingRequest("tfidf", "tfidf", TEXT),
        EncodingRequest("pictures", "pictures", "image"),
    ]
    for request in requests:
        _, said = encode_features(folder, request)
        print(request.name, *said)
    for name in ("minilm", "pictures"):
        target = folder / "features" / f"{name}-shuffled"
        if not target.exists():
            _shuffled(FeatureStore.load(folder / "features" / name)).save(target)
            register(folder, target.name)


def _shuffled(store: FeatureStore) -> FeatureStore:
    order = np.random.default_rng(0).permutation(len(store))
    return FeatureStore.from_arrays(
        store.rows(order),
        store.item_ids,
        present=store.present[order],
        spec={"encoder": "shuffled", "of": store.feature_id, "seed": 0},
        modality=store.modality,
    )


def _difference(runs: Path, better: str, base: str) -> dict[str, dict[str, float]]:
    return gain(runs, _slug(better), _slug(base))


def _slug(label: str) -> str:
    return label.replace(" + ", "+").replace(" ", "_")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Encoders compared under FREEDOM")
    parser.add_argument("source", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder for dataset and runs")
    parser.add_argument("--text", required=True, help="the neural text encoder, st:MODEL")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
