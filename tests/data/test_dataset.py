from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from graphrec.data.dataset import Dataset, build_dataset
from graphrec.data.loading import load_dataset
from graphrec.data.source import Source
from graphrec.data.splits import make_split
from modalities import FeatureStore
from modalities._base.errors import InputError, UnknownNameError


def source(**changes: object) -> Source:
    frame = pl.DataFrame(
        {
            "user": ["a", "a", "b", "b", "c", "a"],
            "item": ["x", "y", "x", "z", "y", "x"],
            "rating": pl.Series([5, 1, 4, 5, 3, 5], dtype=pl.Float32),
            "timestamp": pl.Series([3, 1, 2, 5, 4, 9], dtype=pl.Int64),
            "label": pl.Series([0, 1, 0, 2, 0, 0], dtype=pl.Int8),
        }
    )
    values: dict[str, object] = {"name": "tiny", "interactions": frame, **changes}
    return Source(**values)  # type: ignore[arg-type]


def test_ids_follow_first_appearance_and_labels_are_kept() -> None:
    dataset = build_dataset(source(), dedupe=False)
    assert dataset.user_ids == ["a", "b", "c"]
    assert dataset.item_ids == ["x", "y", "z"]
    assert dataset.interactions.users.tolist() == [0, 0, 1, 1, 2, 0]
    assert dataset.split.labels.tolist() == [0, 1, 0, 2, 0, 0]
    assert dataset.interactions.users.dtype == np.int32


def test_filters_run_in_order_and_are_on_record() -> None:
    dataset = build_dataset(source(), rating_min=3)
    assert len(dataset.interactions) == 4  # one rated 1, one repeated pair
    assert dataset.interactions.timestamps is not None
    assert dataset.interactions.timestamps.tolist() == [3, 2, 5, 4]
    assert set(dataset.notes) >= {"rating", "duplicates"}


def test_filters_that_leave_nothing_say_so() -> None:
    with pytest.raises(InputError):
        build_dataset(source(), rating_min=6)
    with pytest.raises(InputError, match="core"):
        build_dataset(source(), k_core=5)


def test_features_are_aligned_by_id_not_by_row() -> None:
    store = FeatureStore.from_arrays(np.array([[1.0], [2.0], [3.0]]), ["z", "x", "unknown"])
    dataset = build_dataset(source(features={"text": store}))
    features = dataset.train.features["text"]
    assert features.values[:, 0].tolist() == [2, 0, 1]
    assert features.present.tolist() == [True, False, True]


def test_round_trip_keeps_everything(small_dataset: Dataset, tmp_path: Path) -> None:
    small_dataset.save(tmp_path / "data")
    back = Dataset.load(tmp_path / "data")
    assert back.data_id == small_dataset.data_id
    assert back.split_id == small_dataset.split_id
    assert back.feature_ids == small_dataset.feature_ids
    assert back.items.equals(small_dataset.items)
    np.testing.assert_array_equal(back.split.labels, small_dataset.split.labels)
    assert back.split.counts == small_dataset.split.counts
    assert not back.features["text"].parts[0].flags.owndata  # mapped


def test_identities_are_independent(small_dataset: Dataset) -> None:
    events = small_dataset.interactions
    resplit = small_dataset.with_split(
        make_split("user-random", events.users, events.items, seed=9)
    )
    assert resplit.data_id == small_dataset.data_id
    assert resplit.split_id != small_dataset.split_id
    more = FeatureStore.from_arrays(np.ones((30, 2)), list(small_dataset.item_ids))
    enriched = small_dataset.with_features(extra=more)
    assert enriched.data_id == small_dataset.data_id
    assert enriched.split_id == small_dataset.split_id
    assert enriched.feature_ids["text"] == small_dataset.feature_ids["text"]


def test_splitting_again_shares_the_features(small_dataset: Dataset, tmp_path: Path) -> None:
    small_dataset.save(tmp_path / "data")
    loaded = Dataset.load(tmp_path / "data")
    loaded.with_split(loaded.split).save(tmp_path / "again")
    part = Path("features") / "text" / "part-000000.safetensors"
    assert os.path.samefile(tmp_path / "data" / part, tmp_path / "again" / part)


def test_pictures_can_travel_with_the_dataset(tmp_path: Path) -> None:
    picture = tmp_path / "shop" / "x.png"
    picture.parent.mkdir()
    picture.write_bytes(b"not looked at here")
    items = pl.DataFrame({"item_id": ["x"], "images": [[str(picture)]]})
    dataset = build_dataset(source(items=items))
    dataset.save(tmp_path / "by-path")
    dataset.save(tmp_path / "with-copies", pictures="copy")
    picture.unlink()
    assert Dataset.load(tmp_path / "by-path").items["images"][0].to_list() == [str(picture)]
    copied = Path(Dataset.load(tmp_path / "with-copies").items["images"][0][0])
    assert copied.read_bytes() == b"not looked at here"
    assert copied.is_relative_to(tmp_path / "with-copies")


def test_a_changed_file_is_noticed(small_dataset: Dataset, tmp_path: Path) -> None:
    small_dataset.save(tmp_path / "data")
    labels = tmp_path / "data" / "split.parquet"
    pl.read_parquet(labels).with_columns(pl.lit(0, dtype=pl.Int8).alias("label")).write_parquet(
        labels
    )
    with pytest.raises(InputError, match="split_id"):
        Dataset.load(tmp_path / "data")


@pytest.mark.parametrize("name", ["interactions", "items", "users", "split"])
def test_a_missing_or_damaged_table_is_one_clear_error(
    small_dataset: Dataset, tmp_path: Path, name: str
) -> None:
    small_dataset.save(tmp_path / "data")
    file = tmp_path / "data" / f"{name}.parquet"
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(InputError, match=f"cannot read .*{name}"):
        Dataset.load(tmp_path / "data")
    file.unlink()
    with pytest.raises(InputError, match=f"{name}.parquet' is missing"):
        Dataset.load(tmp_path / "data")


def test_a_later_format_is_refused(small_dataset: Dataset, tmp_path: Path) -> None:
    small_dataset.save(tmp_path / "data")
    manifest = tmp_path / "data" / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "version": 99}))
    with pytest.raises(InputError, match="format version 99"):
        Dataset.load(tmp_path / "data")


def test_disk_full_leaves_nothing(
    small_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", full)
    with pytest.raises(OSError, match="No space left"):
        small_dataset.save(tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


def test_a_taken_folder_is_refused(small_dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.txt").write_text("precious")
    with pytest.raises(InputError, match="already exists"):
        small_dataset.save(tmp_path / "data")
    assert (tmp_path / "data" / "mine.txt").read_text() == "precious"


def test_features_with_the_wrong_number_of_rows(small_dataset: Dataset) -> None:
    from dataclasses import replace

    store = FeatureStore.from_arrays(np.ones((3, 2)), ["a", "b", "c"])
    with pytest.raises(InputError, match="'text' have 3 rows, the dataset has 30 items"):
        replace(small_dataset, features={"text": store})


def test_unknown_modality(small_dataset: Dataset) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'text'"):
        small_dataset.using(["texts"])


def test_folders_that_are_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        load_dataset(tmp_path / "nowhere")
    with pytest.raises(InputError, match="neither a graphrec dataset"):
        load_dataset(tmp_path)


def test_real_mmrec_folder(real_data: Path) -> None:
    dataset = load_dataset(real_data / "sports")
    assert (dataset.n_users, dataset.n_items) == (35598, 18357)
    counts = dataset.split.counts
    assert [counts[part] for part in ("train", "valid", "test")] == [218409, 40029, 37899]
    assert dataset.features["text"].dtype == np.float16
