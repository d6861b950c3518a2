from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

import graphrec
from graphrec.data.dataset import build_dataset
from graphrec.data.source import Source
from graphrec.experiments.plan import StudyPlan
from graphrec.experiments.report import collect_report, report_page, write_report
from graphrec.experiments.report.charts import bar_chart, interval_chart, line_chart
from graphrec.experiments.study import Study
from modalities import FeatureStore
from modalities._base.errors import InputError

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
NASTY = "</script><b>bold</b> & co"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two variants, one of two seeds, on items with pictures and a title that is markup."""
    folder = tmp_path_factory.mktemp("report")
    random = np.random.default_rng(0)
    rows = [(f"u{u}", f"i{i}") for u in range(30) for i in random.choice(20, 7, replace=False)]
    ids = sorted({item for _, item in rows})
    paths = []
    for number, item in enumerate(ids):
        path = folder / f"{item}.png"
        Image.new("RGB", (40, 60), (number * 10, 80, 200)).save(path)
        paths.append([str(path)])
    items = pl.DataFrame({"item_id": ids, "title": [NASTY, *ids[1:]], "images": paths})
    text = random.normal(size=(len(ids), 5)).astype("float32")
    source = Source(
        "shop",
        pl.DataFrame(rows, schema=["user", "item"], orient="row"),
        items=items,
        features={"text": FeatureStore.from_arrays(text, ids, modality="text")},
    )
    dataset = build_dataset(source, split="user-random", seed=1)
    dataset.save(folder / "data")
    dataset = graphrec.load_dataset(folder / "data")
    for name, seed in (("bpr", 0), ("bpr", 1), ("popularity", 0)):
        training = {"epochs": 3, "seed": seed}
        graphrec.train(
            dataset, name, folder / "runs" / f"{name}-{seed}", training=training, progress=False
        )
    return folder / "runs"


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.sources: list[str] = []
        self.text: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids += [value for key, value in attrs if key == "id" and value]
        self.sources += [value for key in ("src", "href") if (value := given.get(key))]
        if tag not in ("meta", "img", "line", "circle", "rect", "polyline"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_tells_everything_and_needs_nothing(runs: Path) -> None:
    page = write_report(runs).read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(page)
    assert not reader.open
    wanted = ["results", "curves", "cohorts", "cost", "graphs", "users", "neighbours", "runs"]
    assert reader.ids == wanted
    assert all(source.startswith(("#", "data:image/jpeg")) for source in reader.sources)
    assert sum(source.startswith("data:") for source in reader.sources) > 20
    assert "http" not in page.replace("http-equiv", "")
    text = " ".join(reader.text)
    assert NASTY in text
    assert "<b>bold</b>" not in page
    report = collect_report(runs)
    best = report.comparisons[0].variants[0].scores["recall@20"].mean
    assert f"{best:.4f}" in text
    for words in (
        "nothing is claimed about other seeds",
        "edges whose ends are co-bought",
        "data_id",
    ):
        assert words in text
    assert "training:" in text  # the configuration


def test_what_the_report_holds(runs: Path) -> None:
    report = collect_report(runs)
    assert report.split == "test"
    assert {run.label for run in report.runs} == {"bpr", "popularity"}
    assert sorted(run.seed for run in report.runs if run.label == "bpr") == [0, 1]
    assert len(report.curves["bpr"]) == 3
    assert all(run.memory_mib and run.memory_mib > 10 for run in report.runs)
    assert {"popularity", "activity", "coldness", "modalities"} == set(report.cohorts)
    top = pl.read_parquet(runs / "bpr-0" / "topk.parquet").filter(pl.col("split") == "test")
    for example in report.examples:
        rows = top.filter((pl.col("user") == example.user) & (pl.col("rank") <= 6)).sort("rank")
        assert [item.id for item in example.recommended["bpr"]] == rows["item"].to_list()
        assert [item.hit for item in example.recommended["bpr"]] == rows["hit"].to_list()
    assert set(report.neighbourhoods[0].nearest) == {"text"}


def test_without_the_dataset_the_rest_is_there(runs: Path, tmp_path: Path) -> None:
    moved = tmp_path / "runs"
    shutil.copytree(runs, moved)
    for config in moved.glob("*/config.yaml"):
        config.write_text(re.sub(r"path: .*", "path: /gone", config.read_text()))
    report = collect_report(moved)
    assert not report.health
    assert report.examples
    assert "Learning curves" in report_page(report)
    (tmp_path / "nothing").mkdir()
    found = collect_report(moved, data=runs.parent / "data")
    assert found.health
    with pytest.raises(InputError, match="does not exist"):
        collect_report(moved, data=tmp_path / "nowhere")
    with pytest.raises(InputError, match="no finished run"):
        collect_report(tmp_path / "nothing")


def test_charts_hold_what_they_are_given() -> None:
    lines = line_chart({"a<b": [(0, 1.0), (5, 2.0)], "empty": []}, "epoch", "recall")
    assert "a&lt;b: 2 at 5" in lines
    assert "empty" not in lines
    bars = bar_chart(["x", "y"], {"a": [0.5, None], "b": [0.25, 0.0]}, "recall")
    heights = [float(height) for height in re.findall(r'height="([\d.]+)"><title>', bars)]
    assert heights[0] == pytest.approx(2 * heights[1], rel=0.01)
    assert len(heights) == 3
    gains = interval_chart(
        [("up", 0.2, 0.1, 0.3), ("down", -0.2, -0.3, -0.1), ("even", 0, -1, 1)], "g"
    )
    assert re.findall(r'<g class="(\w+)"', gains) == ["up", "down", "even"]
    assert line_chart({}, "x", "y") == bar_chart(["g"], {"a": [None]}, "y") == ""


PROBE = """<script>
window.problems = [];
window.addEventListener("error", event => window.problems.push(String(event.message)));
window.addEventListener("load", () => {
  const table = document.querySelector("table.sortable"), head = table.querySelectorAll("th")[2];
  const values = () => [...table.tBodies[0].rows].map(row => Number(row.cells[2].dataset.value));
  head.click(); const down = values(); head.click(); const up = values();
  const pictures = [...document.images];
  const shown = pictures.filter(picture => picture.naturalWidth > 0).length;
  const wide = document.documentElement.scrollWidth;
  document.body.textContent =
    "RESULT" + JSON.stringify({problems, down, up, pictures: pictures.length, shown, wide}) + "END";
});
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
@pytest.mark.parametrize("width", [500, 1200])
def test_in_a_browser_tables_sort_and_pictures_show(runs: Path, tmp_path: Path, width: int) -> None:
    page = write_report(runs, tmp_path / "page.html").read_text(encoding="utf-8")
    probed = tmp_path / "probed.html"
    eager = page.replace(' loading="lazy"', "")
    probed.write_text(eager.replace("<head>", "<head>" + PROBE), encoding="utf-8")
    assert CHROMIUM is not None
    line = [
        CHROMIUM,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        f"--window-size={width},900",
    ]
    line += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=20000", "--dump-dom"]
    done = subprocess.run(
        [*line, probed.as_uri()], capture_output=True, text=True, timeout=120, check=False
    )
    found = re.search(r'RESULT({".*?})END', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    result = json.loads(found.group(1).replace("&quot;", '"'))
    assert result["problems"] == []
    assert result["down"] == sorted(result["down"], reverse=True)
    assert result["up"] == sorted(result["up"])
    assert result["shown"] == result["pictures"] > 20
    assert result["wide"] <= width  # the page itself does not scroll sideways


@pytest.fixture(scope="module")
def study(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One at a time from FREEDOM: levels of missing features, and a number that is none."""
    folder = tmp_path_factory.mktemp("levels")
    plan = StudyPlan.parse(
        {
            "name": "levels",
            "data": str(runs.parent / "data"),
            "base": {"model": {"name": "freedom", "dim": 4, "k": 3}, "training": {"epochs": 2}},
            "design": "one-at-a-time",
            "axes": {"missing": [0.5, 1], "model.k": [2], "model.knn_weights": ["cosine"]},
            "splits": {n: {"method": "user-random", "seed": s} for s, n in enumerate("ab")},
        }
    )
    assert not Study(plan, folder).run(threads=1).failed
    return folder


def test_curves_over_levels(study: Path) -> None:
    base = next(path for path in study.glob("runs/base-*") if "-a-" in path.name)
    graphrec.load_run(base).robustness("shuffled", [0.5, 1], seeds=2)
    report = collect_report(study)
    assert [panel.title for panel in report.panels] == [
        "Trained at each level: missing",
        "Trained at each level: model.k",
        "Trained once, then spoiled: shuffled (text)",
    ]
    scores = {
        (one.split_id, variant.label): variant.scores["recall@20"].mean
        for one in report.comparisons
        for variant in one.variants
    }
    assert len(scores) == 2 * 5
    points = report.panels[0].lines["recall@20"]["freedom"]
    assert [x for x, _ in points] == [0, 0.5, 1]
    for (_, y), label in zip(points, ("base", "missing=0.5", "missing=1")):
        assert y == pytest.approx(np.mean([v for (_, name), v in scores.items() if name == label]))
    ends = [value for (_, name), value in scores.items() if name == "base"]
    first_band = report.panels[0].bands["recall@20"]["freedom"][0]
    assert list(first_band) == [0, min(ends), max(ends)]
    assert [x for x, _ in report.panels[1].lines["recall@20"]["freedom"]] == [2, 3]
    measured = graphrec.load_run(base).metrics["valid"]["recall@20"]
    assert list(report.panels[2].lines["recall@20"]["base"][0]) == [0, measured]
    assert report.across[0].base == "base"
    page = report_page(report)
    assert "Curves by level" in page
    assert "split by split" in page
    assert page.count('class="band') == 2 * 2  # two metrics of two axes


def test_curves_of_runs_that_are_no_study(runs: Path, tmp_path: Path) -> None:
    moved = tmp_path / "runs"
    shutil.copytree(runs, moved)
    losses = {"bpr": 1, "content": 0.1}
    options: dict[str, Any] = {"preset": "lightgcn", "dim": 4, "losses": losses}
    run = graphrec.train(
        graphrec.load_dataset(runs.parent / "data"),
        "modular",
        moved / "still",
        training={"epochs": 2},
        progress=False,
        **options,
    )
    run.robustness("missing", [1.0], seeds=1)
    (panel,) = collect_report(moved).panels
    assert panel.lines["recall@20"] == {"modular": []}
    assert "No level changed a single score, so no line is shown: modular." in panel.notes


def test_bands_lie_behind_their_lines() -> None:
    chart = line_chart({"a": [(0, 1.0), (1, 2.0)]}, "x", "y", bands={"a": [(0, 0.5, 1.5)]})
    assert chart.index("polygon") < chart.index("polyline")
    assert "polygon" not in line_chart({"a": [(0, 1.0)]}, "x", "y")
