"""The first thing a newcomer runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphrec import quickstart
from graphrec.data.dataset import Dataset
from modalities._base.errors import InputError


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("sample") / "data"
    return quickstart.make_sample(folder, progress=False)


def test_the_sample_is_what_it_says(sample: Dataset) -> None:
    assert "synthetic" in sample.name
    assert sample.notes["synthetic"] is True
    assert abs(sample.n_items - 1200) < 60
    assert abs(sample.n_users - 3000) < 150
    assert set(sample.features) == {"image", "text"}
    for store in sample.features.values():
        assert 0.93 < store.coverage < 1
    assert int((~sample.train.warm_items).sum()) >= 20
    assert Path(sample.items["images"].drop_nulls().explode().drop_nulls()[0]).is_file()


def test_quickstart_prints_a_comparison_and_titles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(quickstart.TRAINING, "epochs", 5)
    monkeypatch.setenv("COLUMNS", "160")
    runs = quickstart.run_quickstart(tmp_path / "out", progress=False)
    printed = capsys.readouterr().out
    assert set(runs) == {"popularity", "lightgcn", "freedom"}
    for name, run in runs.items():
        assert name in printed
        assert f"{run.metrics['test']['recall@20']:.4f}" in printed
    assert "What FREEDOM recommends" in printed
    assert "features=[text]" in printed
    user = runs["freedom"].user_ids[0]
    for title in runs["freedom"].recommend([user], 5)["title"].drop_nulls():
        assert title in printed
    with pytest.raises(InputError, match="already exists"):
        quickstart.run_quickstart(tmp_path / "out", progress=False)
