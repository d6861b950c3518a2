"""The synthetic catalogue as a whole: sizes, determinism, gaps, split."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from graphrec.data.catalogue import contact_sheet, make_catalogue
from graphrec.data.dataset import build_dataset
from graphrec.data.source import Source
from modalities._base.errors import InputError

TEXTS = [
    "title",
    "description",
    "brand",
    "category",
    "colour",
    "pattern",
    "material",
    "style",
    "price",
]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return make_catalogue(tmp_path_factory.mktemp("catalogue") / "images")


def _items(source: Source) -> pl.DataFrame:
    assert source.items is not None
    return source.items


def test_it_has_the_promised_size_and_columns(source: Source) -> None:
    assert _items(source).columns == ["item_id", *TEXTS, "images"]
    assert len(_items(source)) == 1200
    assert source.item_ids == _items(source)["item_id"].to_list()
    per_user = source.interactions.group_by("user").len()["len"]
    assert len(per_user) == 3000
    assert per_user.min() == 5
    assert 25_000 <= len(source.interactions) <= 35_000
    assert not source.interactions.select("user", "item").is_duplicated().any()


def test_it_is_called_synthetic(source: Source) -> None:
    assert source.name == "synthetic-catalogue"
    assert source.notes["synthetic"] is True
    assert all(item.startswith("syn-") for item in source.item_ids or [])


def test_a_few_per_cent_lack_a_picture_or_a_text(source: Source) -> None:
    items = _items(source)
    without_picture = items["images"].list.len() == 0
    assert without_picture.sum() == 48 == source.notes["items_without_picture"]
    without_title = items.filter(pl.col("title").is_null())
    assert len(without_title) == 36 == source.notes["items_without_text"]
    assert without_title.select(pl.all_horizontal(pl.col(TEXTS).is_null())).to_series().all()
    told = items.filter(pl.col("title").is_not_null())
    assert told.select(pl.col("title", "description", "brand", "category").is_null().sum()).row(
        0
    ) == (0, 0, 0, 0)


def test_every_listed_picture_exists_and_no_other(source: Source) -> None:
    paths = [Path(path) for path in _items(source)["images"].explode().drop_nulls()]
    assert len(paths) == 1152
    assert {path.parent for path in paths} == {paths[0].parent}
    assert set(paths[0].parent.iterdir()) == set(paths)
    with Image.open(paths[0]) as picture:
        assert (picture.size, picture.mode, picture.format) == ((128, 128), "RGB", "PNG")


def test_new_items_are_only_held_out(source: Source) -> None:
    counts = (
        source.interactions.group_by("item")
        .agg((pl.col("label") == 0).sum().alias("train"), (pl.col("label") > 0).sum().alias("held"))
        .sort("item")
    )
    cold = counts.filter(pl.col("train") == 0)
    assert source.notes["items_too_new_for_training"] == 36
    assert len(cold) == source.notes["items_without_training_interactions"]
    assert 36 <= len(cold) <= 40
    assert counts.height == 1200
    share = int(cold["held"].sum()) / int(counts["held"].sum())
    assert 0.02 < share < 0.06


def test_the_split_is_temporal_per_user_and_overall(source: Source) -> None:
    events = source.interactions
    assert events["timestamp"].is_sorted()
    by_user: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for user, time, label in events.select("user", "timestamp", "label").iter_rows():
        by_user[user].append((time, label))
    for history in by_user.values():
        held = 2 if len(history) < 10 else len(history) // 5
        n_valid = held // 2
        labels = [label for _, label in sorted(history, key=lambda event: event[0])]
        n_test = held - n_valid
        assert labels == [0] * (len(labels) - held) + [1] * n_valid + [2] * n_test
    last_train = events.filter(pl.col("label") == 0)["timestamp"][-1]
    first_held = events.filter(pl.col("label") > 0)["timestamp"][0]
    assert last_train < first_held


def test_popularity_follows_a_power_law(source: Source) -> None:
    train = source.interactions.filter(pl.col("label") == 0)
    counts = np.sort(train.group_by("item").len()["len"].to_numpy())[::-1]
    ranks = np.arange(1, len(counts) + 1)
    body = slice(10, 800)
    slope, offset = np.polyfit(np.log(ranks[body]), np.log(counts[body]), 1)
    assert -1.0 < slope < -0.4
    residual = np.log(counts[body]) - slope * np.log(ranks[body]) - offset
    assert residual.std() < 0.15
    assert counts[: len(counts) // 5].sum() > 0.4 * counts.sum()


def test_a_seed_decides_every_byte(tmp_path: Path) -> None:
    first, again, other = (
        make_catalogue(tmp_path / name, seed=seed, n_items=200, n_users=100)
        for name, seed in (("a", 3), ("b", 3), ("c", 4))
    )
    assert first.interactions.equals(again.interactions)
    assert _items(first).drop("images").equals(_items(again).drop("images"))
    assert not first.interactions.equals(other.interactions)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "b").iterdir())
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_it_becomes_a_dataset_with_cold_items(source: Source) -> None:
    dataset = build_dataset(source)
    assert (dataset.n_users, dataset.n_items) == (3000, 1200)
    assert dataset.split.spec["method"] == "given"
    cold = int((~dataset.train.warm_items).sum())
    assert cold == source.notes["items_without_training_interactions"]
    assert (dataset.split.labels >= 0).all()


def test_a_taken_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="already exists"):
        make_catalogue(tmp_path, n_items=200, n_users=10)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(("n_items", "n_users"), [(199, 10), (200, 0)])
def test_too_small_a_catalogue_is_refused(tmp_path: Path, n_items: int, n_users: int) -> None:
    with pytest.raises(InputError, match=f"got {n_items} and {n_users}"):
        make_catalogue(tmp_path / "images", n_items=n_items, n_users=n_users)
    assert not (tmp_path / "images").exists()


def test_a_contact_sheet_shows_the_pictures_in_order(source: Source, tmp_path: Path) -> None:
    chosen = [paths[0] for paths in _items(source)["images"].to_list() if paths][:5]
    contact_sheet(chosen, tmp_path / "sheet.png", columns=3, gap=2)
    with Image.open(tmp_path / "sheet.png") as sheet, Image.open(chosen[4]) as fifth:
        assert sheet.size == (3 * 130 + 2, 2 * 130 + 2)
        place = (130 + 2, 130 + 2, 130 + 2 + 128, 130 + 2 + 128)
        assert sheet.crop(place).tobytes() == fifth.tobytes()
