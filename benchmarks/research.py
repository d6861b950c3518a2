"""What studies cost: workers against threads, sharing, the report's size, the bootstrap.

    python benchmarks/research.py CATALOGUE --work WORK --out benchmarks/results/research.json

CATALOGUE is what `graphrec data sample` writes. Twelve runs are made twice, by one worker of two
threads and by two workers of one; the runs are then copied until there are fifty for the report.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from training import processor

from graphrec.evaluation.significance import difference
from graphrec.experiments.plan import StudyPlan
from graphrec.experiments.report import write_report
from graphrec.experiments.study import Study
from modalities._base.files import read_json, write_json

RUNS = 50


def main() -> None:
    arguments = _arguments()
    results: dict[str, Any] = {
        "setting": {"processor": processor(), "torch": torch.__version__},
        "workers": {},
    }
    for workers, threads in ((1, 2), (2, 1)):
        folder = arguments.work / f"{workers}x{threads}"
        data = arguments.work / f"data-{workers}x{threads}"  # without a graph from before
        shutil.copytree(arguments.catalogue, data, ignore=shutil.ignore_patterns("cache"))
        began = time.perf_counter()
        result = Study(_plan(data), folder).run(workers=workers, threads=threads)
        results["workers"][f"{workers} x {threads} threads"] = {
            "seconds": round(time.perf_counter() - began, 1),
            "runs": len(result.finished),
            "shared": result.counts,
        }
    results["report"] = _report(arguments.work / "1x2", arguments.work / "fifty")
    results["bootstrap"] = _bootstrap()
    report, boot = results["report"], results["bootstrap"]
    results["table"] = {
        f"report of {report['runs']} runs": f"{report['mib']} MiB, "
        f"written in {report['seconds_to_write']} s, opened in {report['seconds_to_open']} s",
        f"bootstrap, {boot['users']:,} users x {boot['resamples']:,}": f"{boot['seconds']} s",
    }
    write_json(arguments.out, results)
    print(json.dumps(results, indent=2))


def _plan(catalogue: Path) -> StudyPlan:
    return StudyPlan.parse(
        {
            "name": "twelve",
            "data": str(catalogue),
            "base": {"training": {"epochs": 20, "eval_every": 5}},
            "axes": {"model": ["lightgcn", "freedom"], "features": "each"},
            "seeds": [0, 1],
        }
    )


def _report(study: Path, folder: Path) -> dict[str, Any]:
    """The page of fifty runs: copies of twelve, under seeds of their own."""
    if not folder.exists():
        shutil.copytree(study, folder)
        declared = read_json(folder / "study.json")
        known = list(declared["runs"])
        for number in range(len(known), RUNS):
            original = known[number % len(known)]
            seed = 100 + number
            name = f"{original['folder']}-{seed}"
            path = folder / "runs" / name
            shutil.copytree(folder / "runs" / original["folder"], path)
            manifest = read_json(path / "manifest.json")
            write_json(path / "manifest.json", {**manifest, "seed": seed})
            declared["runs"].append({**original, "folder": name, "seed": seed})
        write_json(folder / "study.json", declared)
    began = time.perf_counter()
    page = write_report(folder)
    seconds = round(time.perf_counter() - began, 1)
    found = {
        "runs": RUNS,
        "mib": round(page.stat().st_size / 2**20, 2),
        "seconds_to_write": seconds,
    }
    return {**found, "seconds_to_open": _seconds_to_open(page)}


def _seconds_to_open(page: Path) -> float | None:
    """From navigation to the end of the load event, pictures included; None without Chromium."""
    browsers = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
    browser = next(filter(None, browsers), None)
    if browser is None:
        return None
    script = (
        "<script>addEventListener('load', () => {"
        "document.title = 'LOADED' + performance.now() + 'MS'})</script>"
    )
    probe = page.with_name("probe.html")
    probe.write_text(page.read_text(encoding="utf-8") + script, encoding="utf-8")
    line = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    done = subprocess.run(
        [*line, probe.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    probe.unlink()
    found = re.search(r"LOADED([\d.]+)MS", done.stdout)
    return round(float(found[1]) / 1000, 2) if found else None


def _bootstrap(users: int = 35_000, resamples: int = 2_000) -> dict[str, Any]:
    """Users and seeds resampled, every user's values distinct: the slowest case."""
    random = np.random.default_rng(0)
    base = random.random((3, users))
    began = time.perf_counter()
    difference(base + random.normal(0, 0.1, base.shape), base, resamples=resamples)
    seconds = round(time.perf_counter() - began, 2)
    return {"users": users, "resamples": resamples, "seeds": 3, "seconds": seconds}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What studies cost")
    parser.add_argument("catalogue", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
