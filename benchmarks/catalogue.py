"""Keep the figures of the quickstart as JSON.

graphrec quickstart --out quickstart
python benchmarks/catalogue.py quickstart
"""

from __future__ import annotations

import sys
from pathlib import Path

from graphrec.data.loading import load_dataset
from graphrec.quickstart import MODELS, SHOWN
from graphrec.serving.run import load_run
from modalities._base.files import write_json


def main() -> None:
    folder = Path(sys.argv[1])
    dataset = load_dataset(folder / "data")
    runs = {name: load_run(folder / "runs" / name) for name in MODELS}
    results = {
        "data_id": dataset.data_id,
        "split_id": dataset.split_id,
        "features": dataset.feature_ids,
        "seed": runs["freedom"].folder.manifest()["seed"],
        "versions": runs["freedom"].folder.manifest()["versions"],
        "models": {
            name: {metric: run.metrics["test"][metric] for metric in SHOWN}
            for name, run in runs.items()
        },
    }
    write_json(Path(__file__).parent / "results" / "catalogue.json", results)


if __name__ == "__main__":
    main()
