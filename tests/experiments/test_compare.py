from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from rich.console import Console
from scipy import stats

import graphrec
from graphrec.data.dataset import Dataset
from graphrec.experiments import compare_runs, render
from graphrec.experiments.render import tables
from graphrec.serving.run import Run
from modalities._base.errors import InputError


@pytest.fixture
def runs(small_dataset: Dataset, tmp_path: Path) -> dict[str, Run]:
    made = {"pop": graphrec.train(small_dataset, "popularity", tmp_path / "pop", progress=False)}
    for name, dim, seed in (("bpr-0", 4, 0), ("bpr-1", 4, 1), ("wide", 8, 0)):
        training = {"epochs": 3, "seed": seed}
        made[name] = graphrec.train(
            small_dataset, "bpr", tmp_path / name, training=training, progress=False, dim=dim
        )
    return made


def per_user(run: Run, metric: str) -> NDArray[np.float64]:
    table = pl.read_parquet(run.path / "per_user.parquet").filter(pl.col("split") == "test")
    return np.asarray(table.sort("user")[metric])


def test_seeds_are_averaged_and_users_paired(runs: dict[str, Run]) -> None:
    (found,) = compare_runs(list(runs.values()), metrics=["recall@5", "ndcg@5"])
    assert found.base == "popularity"
    variants = {variant.label: variant for variant in found.variants}
    assert set(variants) == {"popularity", "bpr (model.dim=4)", "bpr (model.dim=8)"}
    both = np.stack([per_user(runs["bpr-0"], "ndcg@5"), per_user(runs["bpr-1"], "ndcg@5")])
    small = variants["bpr (model.dim=4)"]
    assert small.seeds == (0, 1)
    assert small.scores["ndcg@5"].mean == pytest.approx(both.mean())
    assert small.scores["ndcg@5"].deviation == pytest.approx(both.mean(1).std(ddof=1))
    gains = both.mean(0) - per_user(runs["pop"], "ndcg@5")
    assert small.gains["ndcg@5"].mean == pytest.approx(gains.mean())
    assert small.gains["ndcg@5"].p == pytest.approx(stats.ttest_1samp(gains, 0).pvalue)
    assert small.p["ndcg@5"] >= small.gains["ndcg@5"].p
    assert not variants["popularity"].gains
    means = [variant.scores["recall@5"].mean for variant in found.variants]
    assert means == sorted(means, reverse=True)
    assert any("nothing is claimed about other seeds" in note for note in found.notes)


def test_names_and_bases_can_be_chosen(runs: dict[str, Run]) -> None:
    (found,) = compare_runs(
        list(runs.values()),
        metrics=["recall@5"],
        base=str(runs["wide"].path),
        labels={str(runs["pop"].path): "floor"},
    )
    assert found.base == "bpr (model.dim=8)"
    assert "floor" in {variant.label for variant in found.variants}
    (by_label,) = compare_runs(list(runs.values()), metrics=["recall@5"], base="popularity")
    assert by_label.base == "popularity"


def test_a_second_opening_of_test_is_told(runs: dict[str, Run]) -> None:
    record = runs["pop"].path / "test_access.json"
    openings = json.loads(record.read_text())
    openings["openings"] *= 2
    record.write_text(json.dumps(openings))
    (found,) = compare_runs([runs["pop"], runs["bpr-0"]], metrics=["recall@5"])
    assert any("more than once" in note and "(2 times)" in note for note in found.notes)


def test_every_format_tells_the_same(runs: dict[str, Run]) -> None:
    compared = compare_runs(list(runs.values()), metrics=["recall@5"])
    best = compared[0].variants[0]
    shown = f"{best.scores['recall@5'].mean:.4f}"
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(tables(compared, console))
    for text in (console.export_text(), render(compared, "markdown"), render(compared, "latex")):
        assert shown in text
        assert "95" in text
    assert f"**{shown}" in render(compared, "markdown")
    assert r"\textbf{" in render(compared, "latex")
    assert "model.dim=4" in render(compared, "latex")
    rows = list(csv.DictReader(io.StringIO(render(compared, "csv"))))
    assert float(rows[0]["mean"]) == best.scores["recall@5"].mean
    assert {row["p"] for row in rows if row["variant"] == compared[0].base} == {""}
    plain = json.loads(render(compared, "json"))
    assert plain[0]["variants"][0]["scores"]["recall@5"]["mean"] == best.scores["recall@5"].mean
    with pytest.raises(InputError, match="unknown format 'tex'; did you mean 'latex'"):
        render(compared, "tex")


def test_metrics_know_which_way_is_better(small_dataset: Dataset, tmp_path: Path) -> None:
    wanted = {"metrics": ["recall", "coverage", "gini", "popularity"], "ks": [5]}
    runs = [
        graphrec.train(
            small_dataset,
            name,
            tmp_path / f"{name}-{seed}",
            training={"seed": seed, "metric": "recall@5"},
            evaluation=wanted,
            progress=False,
        )
        for name in ("popularity", "random")
        for seed in (0, 1)
        if (name, seed) != ("popularity", 1)
    ]
    measured = [run.metrics["test"]["gini@5"] for run in runs]
    metrics = ["gini@5", "coverage@5", "popularity@5", "recall@5"]
    (found,) = compare_runs(runs, metrics=metrics)
    assert measured[0] > max(measured[1:])
    assert [variant.label for variant in found.variants] == ["random", "popularity"]
    fair, popular = (variant.scores["gini@5"] for variant in found.variants)
    assert fair.mean == pytest.approx(np.mean(measured[1:]))
    assert fair.deviation == pytest.approx(np.std(measured[1:], ddof=1))
    assert (popular.mean, popular.low, popular.high) == (measured[0], None, None)
    assert [found.best(m) for m in metrics[:3]] == ["random", "random", None]
    assert set(found.variants[0].gains) == {"popularity@5", "recall@5"}
    assert any("gini@5, coverage@5: of all lists together" in note for note in found.notes)
    shown = render([found], "markdown")
    assert f"**{fair.mean:.4f} ±" in shown
    assert f"**{found.variants[1].scores['popularity@5'].mean:.4f}" not in shown
    console = Console(width=200, file=io.StringIO())
    console.print(tables([found], console))
    rows = list(csv.DictReader(io.StringIO(render([found], "csv"))))
    assert (rows[0]["metric"], rows[0]["low"], rows[0]["gain"]) == ("gini@5", "", "")
    (alone,) = compare_runs(runs, metrics=["gini@5", "gini@5"])
    assert alone.metrics == ("gini@5",)
    assert not any("Gains" in note or "One seed" in note for note in alone.notes)
    with pytest.raises(InputError, match=r"unknown metric of .*'coverage@7'; did you mean"):
        compare_runs(runs, metrics=["coverage@7"])
    with pytest.raises(InputError, match=r"'giny@5'; did you mean 'gini@5'.*recall@5"):
        compare_runs(runs, metrics=["giny@5"])


def test_what_cannot_be_compared_is_refused(
    runs: dict[str, Run], small_dataset: Dataset, tmp_path: Path
) -> None:
    other = graphrec.train(
        small_dataset,
        "popularity",
        tmp_path / "masked",
        evaluation={"mask": "train+valid"},
        progress=False,
    )
    with pytest.raises(InputError, match="differ in evaluation"):
        compare_runs([runs["pop"], other], metrics=["recall@5"])
    assert len(compare_runs([runs["pop"], other], metrics=["recall@5"], anyway=True)) == 2
    untested = graphrec.train(
        small_dataset, "popularity", tmp_path / "untested", test=False, progress=False
    )
    with pytest.raises(InputError, match="has not been measured on test; do so with"):
        compare_runs([runs["bpr-0"], untested], metrics=["recall@5"])
    assert compare_runs([untested], metrics=["recall@5"], split="valid")
    with pytest.raises(InputError, match="same configuration with the same seed 0"):
        compare_runs([runs["bpr-0"], runs["bpr-0"]], metrics=["recall@5"])
    with pytest.raises(InputError, match="did you mean 'recall@5'"):
        compare_runs([runs["pop"]], metrics=["recal@5"])
    with pytest.raises(InputError, match="unknown base 'popularty'; did you mean"):
        compare_runs([runs["pop"]], metrics=["recall@5"], base="popularty")
    with pytest.raises(InputError, match="at least one run"):
        compare_runs([])
